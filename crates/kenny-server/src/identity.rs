//! The server's own identity: an Ed25519 key, made at the first start and kept in the data folder. Agents pin its
//! public half, so whoever restores a server from a backup restores this file too.

#[cfg_attr(unix, path = "identity/secret_file_unix.rs")]
#[cfg_attr(windows, path = "identity/secret_file_windows.rs")]
mod secret_file;

use std::io;
use std::path::Path;

use anyhow::Context as _;
use aws_lc_rs::signature::Ed25519KeyPair;
use kenny_core::identity::IdentityKey;

use crate::auth::random_bytes;

/// Its name in the data folder. PKCS#8 in DER, as `openssl pkey -inform DER` reads it.
const FILE: &str = "identity.key";

/// Reads the key of the data folder, or makes it where there is none.
pub fn load_or_make(data_dir: &Path) -> anyhow::Result<IdentityKey> {
    let path = data_dir.join(FILE);
    match fs_err::read(&path) {
        Ok(pkcs8) => read(&pkcs8).with_context(|| {
            format!(
                "{} holds no Ed25519 key. Restore it from a backup: agents that enrolled trust the key that was in it. \
                 Without one, move it away, and every agent has to be invited anew",
                path.display()
            )
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let seed = random_bytes();
            let pair = Ed25519KeyPair::from_seed_unchecked(&seed).context("no key can be made")?;
            let pkcs8 = pair.to_pkcs8v1().context("the key cannot be written down")?;
            secret_file::write(&path, pkcs8.as_ref())
                .with_context(|| format!("the server's key cannot be kept in {}", path.display()))?;
            let key = IdentityKey::from_seed(&seed);
            tracing::info!(file = %path.display(), key = %key.public(), "made the server's identity key; back it up");
            Ok(key)
        }
        Err(error) => Err(error).context("the server's key cannot be read"),
    }
}

fn read(pkcs8: &[u8]) -> anyhow::Result<IdentityKey> {
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let seed = pair.seed().context("its seed cannot be read")?;
    let seed = aws_lc_rs::encoding::AsBigEndian::<aws_lc_rs::encoding::Curve25519SeedBin<'_>>::as_be_bytes(&seed)
        .context("its seed cannot be read")?;
    Ok(IdentityKey::from_seed(seed.as_ref().try_into().context("its seed has not 32 bytes")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn the_key_is_made_once_and_a_damaged_one_is_not_replaced() {
        let folder = TempDir::new();
        let made = load_or_make(folder.path()).unwrap().public();
        assert_eq!(load_or_make(folder.path()).unwrap().public(), made);
        let other = TempDir::new();
        assert_ne!(load_or_make(other.path()).unwrap().public(), made);

        let path = folder.path().join(FILE);
        let whole = fs_err::read(&path).unwrap();
        for damaged in [&whole[..whole.len() - 1], b""] {
            fs_err::write(&path, damaged).unwrap();
            let error = load_or_make(folder.path()).unwrap_err();
            assert!(format!("{error:#}").contains("backup"), "{error:#}");
            assert_eq!(fs_err::read(&path).unwrap(), damaged);
        }
    }

    #[test]
    #[cfg(unix)]
    fn the_file_is_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = TempDir::new();
        load_or_make(folder.path()).unwrap();
        let facts = fs_err::metadata(folder.path().join(FILE)).unwrap();
        assert_eq!(facts.permissions().mode() & 0o777, 0o600);
        let files: Vec<_> = fs_err::read_dir(folder.path()).unwrap().collect();
        assert_eq!(files.len(), 1, "{files:?}");
    }
}
