//! Ed25519 keys in files: private ones as passphrase-encrypted PKCS#8 (`BEGIN ENCRYPTED PRIVATE KEY`), public ones as
//! SubjectPublicKeyInfo (`BEGIN PUBLIC KEY`), as OpenSSL and securesystemslib read both.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use aws_lc_rs::signature::{ED25519_PUBLIC_KEY_LEN, Ed25519KeyPair, KeyPair as _};
use pkcs8::der::Decode as _;
use pkcs8::pkcs5::pbes2::Parameters;
use pkcs8::{Document, EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument};
use tough::schema::key::Key;

use super::hex;
use crate::error::CliError;
use crate::secret_file;

/// Rounds of PBKDF2 with HMAC-SHA-256, as OWASP's password storage cheat sheet of 2023 has it. Not scrypt: what OpenSSL
/// reads of it by default is limited to 32 MiB.
const ROUNDS: u32 = 600_000;
const SALT_BYTES: usize = 16;

const PRIVATE_LABEL: &str = "ENCRYPTED PRIVATE KEY";
const PUBLIC_LABEL: &str = "PUBLIC KEY";

/// What stands before the 32 bytes of an Ed25519 public key in its SubjectPublicKeyInfo (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a private key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// The passphrase is not the one.
    #[error("the passphrase is not that of {}", .0.display())]
    Passphrase(PathBuf),
    /// Something else is wrong.
    #[error(transparent)]
    Other(#[from] CliError),
}

/// Makes a key: the private half under the passphrase in `path`, the public half beside it in `path` with `.pub`.
pub fn create(path: &Path, passphrase: &str) -> Result<Key, CliError> {
    let public_path = public_path(path);
    for path in [path, &public_path] {
        if path.exists() {
            return Err(CliError::Usage(format!(
                "{} is there already, and a key is never written over",
                path.display()
            )));
        }
    }
    let pair = Ed25519KeyPair::generate().expect("the operating system gives random bytes");
    let plain = pair.to_pkcs8v1().expect("a key that was just made can be written");
    let encrypted = encrypt(plain.as_ref(), passphrase).expect("these parameters encrypt any key");
    let pem = encrypted.to_pem(PRIVATE_LABEL, LineEnding::LF).expect("a label without odd letters");
    let mut file = secret_file::create_new(path).map_err(CliError::File)?;
    file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).map_err(CliError::File)?;
    let public = pair.public_key().as_ref();
    fs_err::write(&public_path, public_pem(public)).map_err(CliError::File)?;
    Ok(public_key(public))
}

fn encrypt(plain: &[u8], passphrase: &str) -> Result<SecretDocument, pkcs8::Error> {
    let mut salt = [0; SALT_BYTES];
    let mut iv = [0; 16];
    for bytes in [&mut salt, &mut iv] {
        rand::fill(bytes).expect("the operating system gives random bytes");
    }
    let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(ROUNDS, &salt, iv)?;
    PrivateKeyInfoRef::from_der(plain)?.encrypt_with_params(parameters, passphrase)
}

/// Reads a private key.
pub fn unlock(path: &Path, passphrase: &str) -> Result<Ed25519KeyPair, UnlockError> {
    let pem = fs_err::read_to_string(path).map_err(CliError::File)?;
    let unusable = |what: &str| {
        UnlockError::Other(CliError::Usage(format!(
            "{} {what}; `kenny keys new` makes one that is",
            path.display()
        )))
    };
    let (label, document) =
        SecretDocument::from_pem(&pem).map_err(|_| unusable("is not a key in PEM format"))?;
    if label != PRIVATE_LABEL {
        return Err(unusable("is not a private key under a passphrase"));
    }
    let encrypted = EncryptedPrivateKeyInfoRef::from_der(document.as_bytes())
        .map_err(|_| unusable("is damaged, or not encrypted in a way that is known here"))?;
    let plain =
        encrypted.decrypt(passphrase).map_err(|_| UnlockError::Passphrase(path.to_owned()))?;
    Ed25519KeyPair::from_pkcs8(plain.as_bytes()).map_err(|_| unusable("is not an Ed25519 key"))
}

/// Where the public half of a key lies: `root-1.pem` has `root-1.pub`.
pub fn public_path(path: &Path) -> PathBuf {
    path.with_extension("pub")
}

/// Reads a public key: a file in PEM format, or 64 hexadecimal digits.
pub fn read_public(text: &str) -> Result<Key, CliError> {
    let is_hex = text.len() == 2 * ED25519_PUBLIC_KEY_LEN
        && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && let Ok(key) = text.parse() {
        return Ok(key);
    }
    read_public_file(Path::new(text))
}

/// Reads a public key out of its file.
pub fn read_public_file(path: &Path) -> Result<Key, CliError> {
    let pem = fs_err::read_to_string(path).map_err(CliError::File)?;
    let document = Document::from_pem(&pem).ok().filter(|(label, _)| *label == PUBLIC_LABEL);
    let bytes = document.map(|(_, document)| document.into_vec()).unwrap_or_default();
    match bytes.strip_prefix(&SPKI_PREFIX) {
        Some(public) if public.len() == ED25519_PUBLIC_KEY_LEN => Ok(public_key(public)),
        Some(_) | None => Err(CliError::Usage(format!(
            "{} is not an Ed25519 public key in PEM format (`BEGIN PUBLIC KEY`)",
            path.display()
        ))),
    }
}

fn public_pem(public: &[u8]) -> String {
    let spki = [&SPKI_PREFIX, public].concat();
    Document::try_from(spki)
        .and_then(|document| document.to_pem(PUBLIC_LABEL, LineEnding::LF))
        .expect("a prefix of DER and a key of its length")
}

fn public_key(public: &[u8]) -> Key {
    hex(public).parse().expect("32 bytes are an Ed25519 public key")
}

/// A key's id in metadata, hexadecimal.
pub fn id(key: &Key) -> String {
    hex(&key.key_id().expect("a public key serialises"))
}

#[cfg(test)]
mod tests {
    use tough::sign::Sign as _;

    use super::*;

    #[test]
    fn a_key_is_read_with_its_passphrase_and_with_no_other() {
        let folder = std::env::temp_dir().join(format!("kenny-test-{}", uuid::Uuid::new_v4()));
        fs_err::create_dir_all(&folder).unwrap();
        let path = folder.join("root-1.pem");
        let key = create(&path, "correct horse").unwrap();
        let pair = unlock(&path, "correct horse").unwrap();
        assert_eq!(pair.tuf_key(), key);
        assert!(matches!(unlock(&path, "wrong"), Err(UnlockError::Passphrase(_))));
        assert!(matches!(create(&path, "x"), Err(CliError::Usage(_))), "never written over");

        assert_eq!(read_public_file(&public_path(&path)).unwrap(), key);
        let text = hex(pair.public_key().as_ref());
        assert_eq!(read_public(&text).unwrap(), key);
        assert!(read_public(path.to_str().unwrap()).is_err(), "a private key is no public one");
        assert!(matches!(
            unlock(&public_path(&path), "correct horse"),
            Err(UnlockError::Other(CliError::Usage(_)))
        ));
        let private = fs_err::read_to_string(&path).unwrap();
        let cut = private.replacen(private.lines().nth(1).unwrap(), "", 1);
        fs_err::write(&path, cut).unwrap();
        assert!(matches!(unlock(&path, "correct horse"), Err(UnlockError::Other(_))));
        fs_err::remove_dir_all(folder).unwrap();
    }
}
