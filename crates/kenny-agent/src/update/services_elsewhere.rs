//! There is no Windows service manager here: an update is refused long before anything of this is asked.

use std::path::Path;
use std::time::Duration;

use kenny_core::update::{AgentSeen, HostError, Refusal};
use semver::Version;

use super::host::Role;
use super::life::Life;
use crate::layout::Layout;

/// The services of an installation that has none.
#[derive(Debug)]
pub struct Services;

fn refuse<T>() -> Result<T, HostError> {
    let words = "this works with the Windows service manager only".to_owned();
    Err(HostError { refusal: Refusal::Other, words })
}

#[expect(clippy::unused_self, reason = "has the same form as where there are services")]
impl Services {
    /// Of this installation.
    pub fn new(_layout: Layout) -> Self {
        Self
    }

    /// None is.
    #[expect(clippy::unnecessary_wraps, reason = "asking Windows can fail")]
    pub fn updater_is_registered(&mut self) -> Result<bool, HostError> {
        Ok(false)
    }

    /// Says so.
    pub fn register_updater(&mut self, _image: &Path, _life: &Life) -> Result<(), HostError> {
        refuse()
    }

    /// Says so.
    pub fn flush(&mut self) -> Result<(), HostError> {
        refuse()
    }

    /// Says so.
    pub fn start_updater(&mut self) -> Result<(), HostError> {
        refuse()
    }

    /// None is there.
    #[expect(clippy::unnecessary_wraps, reason = "asking Windows can fail")]
    pub fn remove_updater(&mut self, _role: Role) -> Result<(), HostError> {
        Ok(())
    }

    /// Says so.
    pub fn set_recovery(&mut self, _on: bool) -> Result<(), HostError> {
        refuse()
    }

    /// Says so.
    pub fn stop_agent(&mut self, _limit: Duration) -> Result<(), HostError> {
        refuse()
    }

    /// Says so.
    pub fn start_agent(&mut self) -> Result<(), HostError> {
        refuse()
    }

    /// There is none.
    pub fn agent(&mut self, _expected: &Version) -> AgentSeen {
        AgentSeen::Dead("there are no services here".to_owned())
    }
}
