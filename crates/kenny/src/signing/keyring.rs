//! The private keys that are at hand, each opened only when something is to be signed with it.

use std::path::{Path, PathBuf};

use aws_lc_rs::signature::Ed25519KeyPair;
use tough::schema::{Role, Root, Signature, Signed};
use tough::sign::Sign as _;

use super::keyfile::{self, UnlockError};
use super::passphrase::{Passphrases, TRIES};
use super::roles;
use crate::error::CliError;

/// Key files.
#[derive(Debug)]
pub struct Keyring {
    keys: Vec<Held>,
    passphrases: Passphrases,
}

#[derive(Debug)]
struct Held {
    path: PathBuf,
    /// Its id, where that is known without its passphrase.
    id: Option<String>,
    pair: Option<Ed25519KeyPair>,
}

impl Keyring {
    /// These files or, where none are named, every `*.pem` of `folder`.
    pub fn of(
        files: &[PathBuf],
        folder: &Path,
        passphrases: Passphrases,
    ) -> Result<Self, CliError> {
        let mut ring = Self { keys: Vec::new(), passphrases };
        if files.is_empty() {
            ring.add_folder(folder)?;
        } else {
            for file in files {
                fs_err::metadata(file).map_err(CliError::File)?;
                ring.add(file.clone());
            }
        }
        Ok(ring)
    }

    /// Where passphrases come from.
    pub fn passphrases(&mut self) -> &mut Passphrases {
        &mut self.passphrases
    }

    /// Takes in what lies in a folder and is not here yet.
    pub fn add_folder(&mut self, folder: &Path) -> Result<(), CliError> {
        let entries = match fs_err::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(CliError::File(error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(CliError::File)?.path();
            if path.extension().is_some_and(|extension| extension == "pem") {
                files.push(path);
            }
        }
        files.sort();
        for file in files {
            self.add(file);
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf) {
        if self.keys.iter().any(|held| held.path == path) {
            return;
        }
        // A public half that cannot be read only costs a passphrase.
        let id = keyfile::read_public_file(&keyfile::public_path(&path)).ok();
        self.keys.push(Held { path, id: id.as_ref().map(keyfile::id), pair: None });
    }

    /// Adds the signatures of the keys that are here and have a say by one of `roots`. The ids of those that were added.
    pub fn sign<T: Role>(
        &mut self,
        document: &mut Signed<T>,
        roots: &[&Root],
    ) -> Result<Vec<String>, CliError> {
        let has_say =
            |id: &str| roots.iter().any(|root| roles::key_ids(root, T::TYPE).any(|it| it == id));
        let signed_by = |document: &Signed<T>, id: &str| {
            roots.iter().any(|root| roles::is_signed_by(root, document, id))
        };
        let text =
            document.signed.canonical_form().expect("metadata has string keys and no floats");
        let mut added = Vec::new();
        for held in &mut self.keys {
            if held.id.as_ref().is_some_and(|id| !has_say(id) || signed_by(document, id)) {
                continue;
            }
            held.open(&mut self.passphrases)?;
            let pair = held.pair.as_ref().expect("opened above");
            let key = pair.tuf_key();
            let id = keyfile::id(&key);
            held.id = Some(id.clone());
            if !has_say(&id) || signed_by(document, &id) {
                continue;
            }
            let keyid = key.key_id().expect("a public key serialises");
            // One of the same key for another content would be in the way.
            document.signatures.retain(|signature| signature.keyid != keyid);
            let sig = Ed25519KeyPair::sign(pair, &text).as_ref().to_vec().into();
            document.signatures.push(Signature { keyid, sig });
            added.push(id);
        }
        Ok(added)
    }
}

impl Held {
    fn open(&mut self, passphrases: &mut Passphrases) -> Result<(), CliError> {
        if self.pair.is_none() {
            self.pair = Some(unlock(&self.path, passphrases)?);
        }
        Ok(())
    }
}

fn unlock(path: &Path, passphrases: &mut Passphrases) -> Result<Ed25519KeyPair, CliError> {
    for known in passphrases.known() {
        match keyfile::unlock(path, known) {
            Ok(pair) => return Ok(pair),
            Err(UnlockError::Passphrase(_)) => {}
            Err(UnlockError::Other(error)) => return Err(error),
        }
    }
    for _ in 0..TRIES {
        let typed = passphrases.ask(path)?;
        match keyfile::unlock(path, &typed) {
            Ok(pair) => return Ok(pair),
            Err(error @ UnlockError::Passphrase(_)) => crate::output::note(&error.to_string()),
            Err(UnlockError::Other(error)) => return Err(error),
        }
    }
    Err(CliError::Usage(format!("{} was not opened", path.display())))
}
