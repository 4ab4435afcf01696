//! The file of the agent's key: one JSON object, whose secret is protected as the operating system can.
//!
//! Its name comes from the invitation's code, so that an enrolment that was interrupted finds its own key again, and one
//! identity never overwrites another.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kenny_core::identity::IdentityKey;
use kenny_proto::{InvitationCode, PublicKey};
use serde::{Deserialize, Serialize};

use super::{protect, random_bytes};

const PREFIX: &str = "kenny-agent.";
const SUFFIX: &str = ".key";
/// Bytes of the code's hash in a name: enough that two never meet, and nothing that helps to guess 140 bits.
const NAME_BYTES: usize = 8;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("could not {attempt} the agent's key {}", path.display())]
    Io {
        /// `read`, `write`, `protect` or `unprotect`.
        attempt: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what was written.
    #[error("{} holds no key of this agent ({why}); install with a new invitation", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
}

/// The file's content.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    v: u32,
    /// How the secret is protected: `dpapi-machine`, or `mode-0600` where the file's own rights are all.
    protection: String,
    public_key: PublicKey,
    /// The protected seed, base64url.
    secret: String,
}

/// Where the key lies that enrols with this code.
pub fn path_for(folder: &Path, code: &InvitationCode) -> PathBuf {
    let hash = digest::digest(&digest::SHA256, code.as_bytes());
    let mut name = PREFIX.to_owned();
    for byte in hash.as_ref().iter().take(NAME_BYTES) {
        let _ = write!(name, "{byte:02x}");
    }
    folder.join(name + SUFFIX)
}

/// Reads a key.
pub fn load(path: &Path) -> Result<IdentityKey, KeyFileError> {
    let failed =
        |attempt| move |source| KeyFileError::Io { attempt, path: path.to_owned(), source };
    let damaged = |why| KeyFileError::Damaged { path: path.to_owned(), why };
    let bytes = fs_err::read(path).map_err(failed("read"))?;
    let content: Content = serde_json::from_slice(&bytes).map_err(|_| damaged("not its JSON"))?;
    if content.v != 1 || content.protection != protect::NAME {
        return Err(damaged("protected in a way that this agent does not know"));
    }
    let secret = URL_SAFE_NO_PAD.decode(content.secret).map_err(|_| damaged("no base64url"))?;
    let seed = protect::unprotect(&secret, &content.public_key.0).map_err(failed("unprotect"))?;
    let seed: [u8; 32] = seed.try_into().map_err(|_| damaged("the secret has not 32 bytes"))?;
    let key = IdentityKey::from_seed(&seed);
    if key.public() == content.public_key {
        Ok(key)
    } else {
        Err(damaged("its halves do not belong together"))
    }
}

/// Reads a key, or makes it where there is none. It is on the disk when this returns: nothing enrols that could be lost.
pub fn load_or_make(path: &Path) -> Result<IdentityKey, KeyFileError> {
    match load(path) {
        Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        outcome => return outcome,
    }
    let failed =
        |attempt| move |source| KeyFileError::Io { attempt, path: path.to_owned(), source };
    let seed = random_bytes();
    let key = IdentityKey::from_seed(&seed);
    let secret = protect::protect(&seed, &key.public().0).map_err(failed("protect"))?;
    let content = Content {
        v: 1,
        protection: protect::NAME.to_owned(),
        public_key: key.public(),
        secret: URL_SAFE_NO_PAD.encode(secret),
    };
    let json = serde_json::to_vec(&content).expect("it has string keys");
    write(path, &json).map_err(failed("write"))?;
    Ok(key)
}

/// Beside it, flushed, and renamed: a key that is there is whole.
fn write(path: &Path, json: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("key.new");
    let mut file = crate::protect::create_private(&beside)?;
    file.write_all(json)?;
    file.sync_all()?;
    drop(file);
    crate::platform::replace_file(&beside, path)
}

/// A key's file in memory, while its folder is cleared.
pub struct KeptKey {
    path: PathBuf,
    content: Vec<u8>,
}

impl KeptKey {
    /// Takes the file's content; none where there is no such file.
    pub fn take(path: &Path) -> Option<Self> {
        Some(Self { path: path.to_owned(), content: fs_err::read(path).ok()? })
    }

    /// Writes the file again where it is gone.
    pub fn put_back(self) -> Result<(), KeyFileError> {
        let Self { path, content } = self;
        let written = if path.exists() {
            Ok(())
        } else {
            fs_err::create_dir_all(super::folder_of(&path)).and_then(|()| write(&path, &content))
        };
        written.map_err(|source| KeyFileError::Io { attempt: "write", path, source })
    }
}

/// Removes the keys of a folder but for one: of identities that were, and of enrolments that came to nothing.
pub fn remove_others(folder: &Path, keep: Option<&Path>) {
    let Ok(entries) = fs_err::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_key = name.to_str().is_some_and(is_key_name);
        // By name: the folder may be written in two ways.
        let is_kept = keep.is_some_and(|keep| keep.file_name() == Some(&*name));
        if is_key
            && !is_kept
            && let Err(error) = fs_err::remove_file(entry.path())
        {
            tracing::warn!(error = %error, "a key that is of no use any more stays");
        }
    }
}

fn is_key_name(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else { return false };
    let rest = rest.strip_suffix(".new").unwrap_or(rest);
    let Some(hex) = rest.strip_suffix(SUFFIX) else { return false };
    hex.len() == 2 * NAME_BYTES && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(byte: u8) -> InvitationCode {
        InvitationCode::from_random([byte; 28])
    }

    #[test]
    fn the_same_code_finds_the_same_key_and_another_code_another() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (path_for(folder.path(), &code(1)), path_for(folder.path(), &code(2)));
        assert_ne!(one, two);
        let made = load_or_make(&one).unwrap().public();
        assert_eq!(load_or_make(&one).unwrap().public(), made);
        assert_eq!(load(&one).unwrap().public(), made);
        let kept = KeptKey::take(&one).unwrap();
        fs_err::remove_file(&one).unwrap();
        assert!(KeptKey::take(&one).is_none());
        kept.put_back().unwrap();
        assert_eq!(load(&one).unwrap().public(), made);
        assert_ne!(load_or_make(&two).unwrap().public(), made);
        assert!(!one.display().to_string().contains(&code(1).to_string()[..4]));
    }

    #[test]
    fn a_damaged_key_says_so_and_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = path_for(folder.path(), &code(1));
        load_or_make(&path).unwrap();
        let good = fs_err::read_to_string(&path).unwrap();
        let other = IdentityKey::from_seed(&[7; 32]).public().to_string();
        let own = serde_json::from_str::<Content>(&good).unwrap().public_key.to_string();
        for bad in [
            String::new(),
            good[..good.len() / 2].to_owned(),
            good.replace(protect::NAME, "rot13"),
            good.replace("\"v\":1", "\"v\":2"),
            good.replace(&own, &other),
        ] {
            fs_err::write(&path, &bad).unwrap();
            let error = load_or_make(&path).unwrap_err().to_string();
            assert!(
                error.contains("install with a new invitation") || error.contains("unprotect"),
                "{error}"
            );
            assert_eq!(fs_err::read_to_string(&path).unwrap(), bad);
        }
    }

    #[test]
    fn only_keys_of_ours_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (keep, go) = (path_for(folder.path(), &code(1)), path_for(folder.path(), &code(2)));
        let half = go.with_extension("key.new");
        let foreign =
            ["kenny-agent.config.json", "kenny-agent.exe", "kenny-agent.notes.key", "x.key"];
        for path in [&keep, &go, &half] {
            fs_err::write(path, "x").unwrap();
        }
        for name in foreign {
            fs_err::write(folder.path().join(name), "x").unwrap();
        }
        remove_others(folder.path(), Some(&keep));
        assert!(keep.exists() && !go.exists() && !half.exists());
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1 + foreign.len());
        remove_others(folder.path(), None);
        assert!(!keep.exists());
    }

    #[test]
    #[cfg(unix)]
    fn the_file_is_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = path_for(folder.path(), &code(1));
        load_or_make(&path).unwrap();
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
