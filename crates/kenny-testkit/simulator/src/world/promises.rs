//! What is promised: at every instant, and once nothing moves any more.

use std::panic::resume_unwind;

use kenny_core::update::File;
use kenny_proto::Phase;

use super::{Broken, World};
use crate::disk::{Content, Image, Name};
use crate::ending::Ending;
use crate::scenario::Trust;

impl World {
    /// I3 and the half of I1 that is seen on the disk.
    pub(super) fn check_disk(&self) {
        let is_named = self.scenario.trust == Trust::Names;
        let authorised = |image: Image| {
            image == Image::Old
                || (image == self.scenario.announced && is_named)
                || image == Image::Kept
        };
        match self.disk.read(Name::Of(File::Active)) {
            Some(Content::Image(image)) if authorised(*image) => {}
            None if self.updater_registered => {}
            other => {
                let broken = self.broken(&format!("the active path holds {other:?}"));
                resume_unwind(Box::new(broken));
            }
        }
    }

    /// What must hold once nothing moves any more.
    pub fn check_rest(&self, interrupted: bool) -> Result<Ending, Broken> {
        let Some(Content::Journal(journal)) = self.disk.read(Name::Journal) else {
            return if interrupted && self.phases.is_empty() {
                self.check_running(Image::Old).map(|()| Ending::Failed)
            } else {
                Err(self.broken("there is no journal"))
            };
        };
        for (id, phases) in &self.phases {
            let finals = phases.iter().filter(|phase| phase.is_final()).count();
            let outcomes: Vec<&Phase> = phases.iter().filter(|phase| phase.is_final()).collect();
            if !phases.is_sorted() || outcomes.windows(2).any(|pair| pair[0] != pair[1]) {
                return Err(self.broken(&format!("phases of {id} go back: {phases:?} ({finals})")));
            }
        }
        let Some(ending) = Ending::of(journal.step) else {
            return Err(self.broken(&format!("the journal is open at {:?}", journal.step)));
        };
        if ending == Ending::Committed && !self.scenario.may_commit() {
            return Err(self.broken("a version stays that did not prove itself"));
        }
        let (expected, config) = match ending {
            Ending::Committed => (self.scenario.announced, Content::Config(2)),
            Ending::RolledBack | Ending::Failed => (Image::Old, Content::Config(1)),
        };
        self.check_running(expected)?;
        let found = self.disk.read(Name::Of(File::Config));
        if found != Some(&config) {
            return Err(self.broken(&format!("the config is {found:?}")));
        }
        let kind = journal.failure.as_ref().map(|failure| failure.kind);
        if !interrupted && (ending, kind) != self.scenario.ends {
            return Err(self.broken(&format!("it ended {ending:?} {kind:?}")));
        }
        Ok(ending)
    }

    /// What must hold at rest after somebody meddled with the update's own files: a verified agent runs, and nothing is
    /// left open.
    pub fn check_rest_after_meddling(&self) -> Result<(), Broken> {
        if let Some(Content::Journal(journal)) = self.disk.read(Name::Journal)
            && journal.is_open()
        {
            return Err(self.broken(&format!("the journal is open at {:?}", journal.step)));
        }
        let Some(Content::Image(active)) = self.disk.read(Name::Of(File::Active)) else {
            return Err(self.broken("nothing is active"));
        };
        self.check_running(*active)
    }

    fn check_running(&self, expected: Image) -> Result<(), Broken> {
        let active = self.disk.read(Name::Of(File::Active));
        if active != Some(&Content::Image(expected)) {
            return Err(self.broken(&format!("{active:?} is active and not {expected:?}")));
        }
        if self.agent_is_dead() {
            return Err(self.broken("the agent does not run"));
        }
        if self.agent.as_ref().map(|agent| agent.image) != Some(expected) {
            return Err(self.broken("another version runs than stands there"));
        }
        if self.updater_registered || self.updater.is_some() {
            return Err(self.broken("the updater is still there"));
        }
        if !self.recovery {
            return Err(self.broken("the service manager would not restart the agent"));
        }
        Ok(())
    }
}
