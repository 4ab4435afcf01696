//! Where the files of an update are, and which files of the staging folder are ours.

use std::path::PathBuf;

use kenny_core::update::File;
use kenny_proto::Sha256Digest;

use super::download::Staging;
use crate::layout::Layout;

/// The paths of the engine's files in one installation.
#[derive(Debug, Clone)]
pub struct Places {
    layout: Layout,
    /// The candidate of the update that is open.
    candidate: Option<Sha256Digest>,
}

impl Places {
    /// Without a candidate yet.
    pub fn new(layout: Layout) -> Self {
        Self { layout, candidate: None }
    }

    /// From now on [`File::Candidate`] is the one with this digest.
    pub fn set_candidate(&mut self, sha256: Sha256Digest) {
        self.candidate = Some(sha256);
    }

    /// Where a file is; none for the candidate while no update is known.
    pub fn path(&self, file: File) -> Option<PathBuf> {
        let staged = |name: &str| Some(self.layout.update_dir.join(name));
        match file {
            File::Active => Some(self.layout.executable.clone()),
            File::Candidate => {
                self.candidate.map(|sha256| self.staging(sha256)).map(|own| own.candidate())
            }
            File::Previous => staged("previous.exe"),
            File::PreviousNew => staged("previous.new"),
            File::ActiveNew => staged("restored.exe"),
            File::Displaced => staged("displaced.exe"),
            File::Config => Some(self.layout.config_file.clone()),
            File::ConfigKept => staged("previous.config.json"),
            File::ConfigKeptNew => staged("previous.config.new"),
            // Beside the config, so that one rename puts it there whatever volume the staging folder is on.
            File::ConfigNew => Some(self.layout.config_file.with_extension("json.restored")),
        }
    }

    /// The names of one artifact in the staging folder.
    pub fn staging(&self, sha256: Sha256Digest) -> Staging {
        Staging::new(&self.layout.update_dir, sha256)
    }

    /// Removes all that a download of the candidate may have left.
    pub fn clear_candidate(&self) {
        if let Some(sha256) = self.candidate {
            self.staging(sha256).clear();
        }
    }

    /// Removes what downloads left in the staging folder, but for those of one digest. What is not called as a download
    /// of ours is somebody else's, and stays.
    pub fn clear_downloads(&self, keep: Option<Sha256Digest>) {
        let Ok(entries) = fs_err::read_dir(&self.layout.update_dir) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let digest = name.to_str().and_then(digest_of_download);
            if let Some(digest) = digest.filter(|digest| Some(*digest) != keep) {
                self.staging(digest).clear();
            }
        }
    }
}

/// The digest in the name of a candidate, a part or an etag.
fn digest_of_download(name: &str) -> Option<Sha256Digest> {
    let (digest, extension) = name.split_once('.')?;
    if !["exe", "part", "etag"].contains(&extension) {
        return None;
    }
    digest.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_downloads_of_ours_are_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::with_state_dir(
            "test",
            folder.path().join("kenny-agent.exe"),
            folder.path().into(),
        );
        fs_err::create_dir(&layout.update_dir).unwrap();
        let (old, new) = ("1".repeat(64), "2".repeat(64));
        let stay = [
            "previous.exe".to_owned(),
            "notes.txt".to_owned(),
            "setup.exe".to_owned(),
            format!("{old}.zip"),
            format!("{}.exe", "z".repeat(64)),
            format!("{new}.part"),
        ];
        let go = [format!("{old}.exe"), format!("{old}.part"), format!("{old}.etag")];
        for name in stay.iter().chain(&go) {
            fs_err::write(layout.update_dir.join(name), b"x").unwrap();
        }
        let mut places = Places::new(layout.clone());
        assert_eq!(places.path(File::Candidate), None);
        places.set_candidate(new.parse().unwrap());
        places.clear_downloads(Some(new.parse().unwrap()));
        for name in &stay {
            assert!(layout.update_dir.join(name).exists(), "{name}");
        }
        for name in &go {
            assert!(!layout.update_dir.join(name).exists(), "{name}");
        }
        places.clear_downloads(None);
        assert!(!layout.update_dir.join(&stay[5]).exists());
    }

    #[test]
    fn every_file_has_a_place_of_its_own() {
        let layout = Layout::with_state_dir("test", "/i/kenny-agent.exe".into(), "/s".into());
        let mut places = Places::new(layout);
        places.set_candidate(Sha256Digest([1; 32]));
        let mut paths: Vec<PathBuf> =
            File::ALL.into_iter().filter_map(|file| places.path(file)).collect();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), File::ALL.len());
    }
}
