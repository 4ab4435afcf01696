//! The repository folder: `metadata/` with every root and targets that was signed, `targets/` with the executables,
//! `keys/` where `kenny keys init` puts the private keys that it makes.
//!
//! Only `keys/` is secret. The rest may be copied to whoever signs too.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use kenny_core::trust as core;
use kenny_proto::Sha256Digest;
use kenny_proto::trust::{MAX_METADATA_BYTES, TargetName};
use serde::de::DeserializeOwned;
use tough::schema::{Role, Root, Signed, Targets};

use super::roles::Standing;
use crate::error::CliError;

/// A repository folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Every root that is there, oldest first; each but the last is signed as it has to be.
    pub roots: Vec<Signed<Root>>,
    /// The newest targets.
    pub targets: Option<Signed<Targets>>,
}

impl Folder {
    /// Reads a folder; an empty or missing one is a repository without anything.
    pub fn open(path: &Path) -> Result<Self, CliError> {
        let mut folder = Self { path: path.to_owned(), roots: Vec::new(), targets: None };
        for version in folder.versions("root")? {
            let root = folder.read(&format!("{version}.root.json"))?;
            folder.add_root(root)?;
        }
        if let Some(newest) = folder.versions("targets")?.last() {
            folder.targets = Some(folder.read(&format!("{newest}.targets.json"))?);
        }
        Ok(folder)
    }

    /// Reads a folder that has something.
    pub fn existing(path: &Path) -> Result<Self, CliError> {
        let folder = Self::open(path)?;
        if folder.roots.is_empty() {
            return Err(CliError::Usage(format!(
                "{} has no metadata/1.root.json or later: `kenny keys init` makes a repository, `kenny release fetch` gets \
                 what a server has",
                path.display()
            )));
        }
        Ok(folder)
    }

    /// Where `kenny keys init` puts private keys.
    pub fn keys(&self) -> PathBuf {
        self.path.join("keys")
    }

    /// The newest root.
    pub fn root(&self) -> &Signed<Root> {
        self.roots.last().expect("looked for when the folder was opened")
    }

    /// The root before it.
    pub fn root_before(&self) -> Option<&Signed<Root>> {
        self.roots.len().checked_sub(2).map(|index| &self.roots[index])
    }

    /// How the newest root stands with its own keys and with those of the one before.
    pub fn root_standings(&self) -> Vec<Standing> {
        let newest = self.root();
        let roots = self.root_before().into_iter().chain([newest]);
        roots.map(|root| Standing::of(&root.signed, newest)).collect()
    }

    /// The newest root and targets, or what is missing for them to be signed on top of.
    pub fn complete(&self) -> Result<(&Signed<Root>, &Signed<Targets>), CliError> {
        let Some(targets) = &self.targets else {
            return Err(CliError::Usage(format!(
                "{} has no targets metadata",
                self.path.join("metadata").display()
            )));
        };
        let lacking = |what: &str, version: u64, standing: &Standing| {
            CliError::Usage(format!(
                "version {version} of the {what} metadata lacks signatures: {}. Whoever has one of them runs `kenny release \
                 sign --add-signature`",
                standing.lacks()
            ))
        };
        let root = self.root();
        for standing in self.root_standings() {
            if !standing.is_complete() {
                return Err(lacking("root", root.signed.version.get(), &standing));
            }
        }
        let standing = Standing::of(&root.signed, targets);
        if !standing.is_complete() {
            return Err(lacking("targets", targets.signed.version.get(), &standing));
        }
        Ok((root, targets))
    }

    /// Takes a root in, after the ones that are there.
    pub fn add_root(&mut self, root: Signed<Root>) -> Result<(), CliError> {
        let version = root.signed.version.get();
        if let Some(newest) = self.roots.last() {
            if version != newest.signed.version.get() + 1 {
                return Err(CliError::Usage(format!(
                    "{} lacks the root metadata between version {} and {version}",
                    self.path.display(),
                    newest.signed.version
                )));
            }
            if !self.root_standings().iter().all(Standing::is_complete) {
                return Err(CliError::Usage(format!(
                    "version {} of the root metadata lacks signatures and cannot be followed by version {version}",
                    newest.signed.version
                )));
            }
        }
        self.roots.push(root);
        Ok(())
    }

    /// Writes metadata under its name, so that a reader sees the old file or the new one.
    pub fn write<T: Role>(&self, document: &Signed<T>) -> Result<PathBuf, CliError> {
        let mut text =
            serde_json::to_vec_pretty(document).expect("metadata has string keys and no floats");
        text.push(b'\n');
        self.write_bytes(&document.signed.filename(true), &text)
    }

    /// Writes a file of metadata as it came.
    pub fn write_bytes(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, CliError> {
        let folder = self.path.join("metadata");
        let path = folder.join(name);
        let beside = folder.join(format!("{name}.part"));
        let write = || {
            fs_err::create_dir_all(&folder)?;
            let mut file = fs_err::File::create(&beside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs_err::rename(&beside, &path)
        };
        write().map_err(CliError::File)?;
        Ok(path)
    }

    /// The text of a file of metadata; none where it is not there.
    pub fn text(&self, name: &str) -> Result<Option<String>, CliError> {
        let path = self.path.join("metadata").join(name);
        let too_large = || {
            CliError::Usage(format!(
                "{} is larger than metadata may be ({} KiB)",
                path.display(),
                MAX_METADATA_BYTES / 1024
            ))
        };
        match fs_err::metadata(&path) {
            Ok(facts) if facts.len() > MAX_METADATA_BYTES => Err(too_large()),
            Ok(_) => fs_err::read_to_string(&path).map(Some).map_err(CliError::File),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CliError::File(error)),
        }
    }

    /// Where the executable of a target lies, as consistent snapshots name it.
    pub fn artifact(&self, name: &TargetName, sha256: Sha256Digest) -> PathBuf {
        let text = name.to_string();
        let (folder, file) = text.rsplit_once('/').expect("a target's name has four parts");
        self.path.join("targets").join(folder).join(format!("{sha256}.{file}"))
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Signed<T>, CliError> {
        let text = self.text(name)?.unwrap_or_default();
        parse(&text).map_err(|error| {
            CliError::Usage(format!(
                "{} is not metadata that can be used: {error}",
                self.path.join("metadata").join(name).display()
            ))
        })
    }

    fn versions(&self, role: &str) -> Result<Vec<u64>, CliError> {
        let entries = match fs_err::read_dir(self.path.join("metadata")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(CliError::File(error)),
        };
        let mut versions = Vec::new();
        for entry in entries {
            let name = entry.map_err(CliError::File)?.file_name();
            let version =
                name.to_str().and_then(|name| name.strip_suffix(&format!(".{role}.json")));
            versions.extend(version.and_then(|version| version.parse::<u64>().ok()));
        }
        versions.sort_unstable();
        Ok(versions)
    }
}

/// Reads metadata out of a text.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<Signed<T>, serde_json::Error> {
    serde_json::from_str(text)
}

/// What targets metadata names, sorted: name, digest, and what of its `custom` object people want to know.
pub fn list(targets: &Targets) -> Result<Vec<Listed>, CliError> {
    let unusable = |error: core::TargetError| CliError::Usage(error.to_string());
    let mut list = Vec::new();
    for (name, target) in &targets.targets {
        let custom = core::read_custom(name.raw(), target.custom.clone()).map_err(unusable)?;
        let sha256 = target.hashes.sha256.as_ref().try_into().map(Sha256Digest).map_err(|_| {
            CliError::Usage(format!("the target {} has no SHA-256 of 32 bytes", name.raw()))
        })?;
        list.push(Listed { sha256, size_bytes: target.length, custom });
    }
    list.sort_by(|one, other| {
        let key = |it: &Listed| (it.custom.version.clone(), it.custom.os, it.custom.arch);
        key(one).cmp(&key(other))
    });
    Ok(list)
}

/// One target.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its digest.
    pub sha256: Sha256Digest,
    /// Its size.
    pub size_bytes: u64,
    /// For which agents it is.
    pub custom: kenny_proto::trust::TargetCustom,
}
