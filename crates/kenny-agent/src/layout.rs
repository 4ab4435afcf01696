//! Where everything is on a PC.

use std::path::{Path, PathBuf};

use crate::platform;

/// The service name when none is given.
pub const DEFAULT_SERVICE: &str = "kenny-agent";

/// The paths of one installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The service's name.
    pub service_name: String,
    /// The folder of the executable.
    pub install_dir: PathBuf,
    /// The *active* executable.
    pub executable: PathBuf,
    /// The config file, next to the executable.
    pub config_file: PathBuf,
    /// Staging and *previous*.
    pub update_dir: PathBuf,
    /// What the agent remembers.
    pub state_dir: PathBuf,
    /// Where the last update stands.
    pub journal_file: PathBuf,
    /// What the running agent says of itself.
    pub state_file: PathBuf,
    /// Somebody's word that nothing is to be changed here.
    pub pause_file: PathBuf,
    /// How often the new version of an update was started.
    pub starts_file: PathBuf,
    /// The logs.
    pub log_dir: PathBuf,
}

impl Layout {
    /// The ordinary installation under Program Files.
    pub fn for_service(service_name: &str) -> anyhow::Result<Self> {
        let folder = folder_name(service_name);
        let install_dir = platform::program_files()?.join(folder);
        let executable = install_dir.join(format!("kenny-agent{}", std::env::consts::EXE_SUFFIX));
        Self::new(service_name, executable)
    }

    /// The installation whose *active* executable is this one (`--in-place`, or as the service manager has it).
    pub fn new(service_name: &str, executable: PathBuf) -> anyhow::Result<Self> {
        let state_dir = platform::program_data()?.join(folder_name(service_name));
        Ok(Self::with_state_dir(service_name, executable, state_dir))
    }

    /// The same with the state in a given folder.
    pub fn with_state_dir(service_name: &str, executable: PathBuf, state_dir: PathBuf) -> Self {
        let install_dir = executable.parent().unwrap_or(Path::new(".")).to_owned();
        Self {
            service_name: service_name.to_owned(),
            config_file: install_dir.join("kenny-agent.config.json"),
            update_dir: install_dir.join("update"),
            journal_file: state_dir.join("journal.json"),
            state_file: state_dir.join("state.json"),
            pause_file: state_dir.join("pause.json"),
            starts_file: state_dir.join("starts.json"),
            log_dir: state_dir.join("logs"),
            install_dir,
            executable,
            state_dir,
        }
    }
}

impl Layout {
    /// The pinned root and what was verified by it.
    pub fn trust_dir(&self) -> PathBuf {
        self.state_dir.join("trust")
    }

    /// Held by whoever prepares an update.
    pub fn staging_lock(&self) -> PathBuf {
        self.update_dir.join("staging.lock")
    }

    /// Held by the updater.
    pub fn updater_lock(&self) -> PathBuf {
        self.update_dir.join("updater.lock")
    }
}

fn folder_name(service_name: &str) -> String {
    if service_name == DEFAULT_SERVICE {
        "Kenny".to_owned()
    } else {
        format!("Kenny-{service_name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_other_names_do_not_share_folders() {
        let one = Layout::new(DEFAULT_SERVICE, "/x/kenny-agent".into()).unwrap();
        let two = Layout::new("office", "/x/kenny-agent".into()).unwrap();
        assert_ne!(one.state_dir, two.state_dir);
        assert!(one.state_dir.ends_with("Kenny"));
        assert!(two.state_dir.ends_with("Kenny-office"));
    }
}
