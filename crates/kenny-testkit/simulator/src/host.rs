//! The engine's [`Host`] on a [`World`].

use jiff::Timestamp;
use kenny_core::update::{
    AgentSeen, File, Host, HostError, Journal, JournalProblem, Reach, Refusal, Waited, WatchLimits,
    Word,
};
use kenny_proto::update::Failure;
use kenny_proto::{FailureKind, Sha256Digest, UpdateId};
use semver::Version;

use crate::disk::{Content, Image, Name};
use crate::scenario::{Behaviour, Trust};
use crate::world::{World, version_of};

/// Whose process it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Agent,
    Updater(u32),
}

/// One process's hands on the PC.
pub(crate) struct SimulatedHost<'a> {
    world: &'a mut World,
    role: Role,
}

/// What may run here, by its digest.
pub(crate) struct Authorised(Sha256Digest);

/// What was verified, by where it lies.
pub(crate) struct Verified {
    file: File,
    digest: Sha256Digest,
}

impl<'a> SimulatedHost<'a> {
    pub(crate) fn new(world: &'a mut World, role: Role) -> Self {
        Self { world, role }
    }

    /// An effect: it can be interrupted before, and refused.
    fn effect(&mut self, what: &str) -> Result<(), HostError> {
        self.world.point(self.role, what);
        match self.world.refusal() {
            None => Ok(()),
            Some(refusal) => Err(error(refusal, what)),
        }
    }

    fn held(&self, file: File) -> Result<(), HostError> {
        if self.world.is_held(file) {
            Err(error(Refusal::InUse, "held by a scanner"))
        } else {
            Ok(())
        }
    }

    fn image(&self, file: File) -> Option<Image> {
        match self.world.disk.read(Name::Of(file)) {
            Some(Content::Image(image)) => Some(*image),
            Some(
                Content::Config(_) | Content::Journal(_) | Content::Starts(..) | Content::Torn,
            )
            | None => None,
        }
    }

    fn replace_active(&mut self, from: File) -> Result<(), HostError> {
        self.held(from)?;
        self.held(File::Active)?;
        let runs = self.world.scenario.image_in_use && self.image(File::Active) == Some(Image::Old);
        let is_there = self.world.disk.read(Name::Of(File::Active)).is_some();
        if is_there && (runs || !self.world.agent_is_dead()) {
            return Err(error(Refusal::InUse, "another process runs it"));
        }
        self.world.disk.rename(Name::Of(from), Name::Of(File::Active));
        Ok(())
    }
}

fn error(refusal: Refusal, what: &str) -> HostError {
    HostError { refusal, words: format!("{what}: {refusal:?}") }
}

fn missing(what: &str) -> HostError {
    HostError { refusal: Refusal::Other, words: format!("{what}: not there") }
}

fn refused(kind: FailureKind) -> Failure {
    Failure { kind, detail: "by the story".to_owned() }
}

impl Host for SimulatedHost<'_> {
    type Authorised = Authorised;
    type Verified = Verified;

    fn now(&mut self) -> Timestamp {
        self.world.clock
    }

    fn observed_ms(&mut self) -> u64 {
        self.world.now_ms
    }

    fn pause(&mut self, ms: u64) -> Waited {
        self.world.waiting_point(self.role);
        self.world.wait(ms);
        if self.world.going_down { Waited::Ending } else { Waited::Through }
    }

    fn read_journal(&mut self) -> Result<Option<Journal>, JournalProblem> {
        match self.world.disk.read(Name::Journal) {
            None => Ok(None),
            Some(Content::Journal(journal)) => Ok(Some(journal.as_ref().clone())),
            Some(Content::Image(_) | Content::Config(_) | Content::Starts(..) | Content::Torn) => {
                Err(JournalProblem::Damaged("torn".to_owned()))
            }
        }
    }

    fn write_journal(&mut self, journal: &Journal) -> Result<(), HostError> {
        self.effect("write the journal")?;
        self.world.disk.write(Name::JournalNew, Content::Journal(Box::new(journal.clone())));
        self.world.point(self.role, "flush the journal");
        self.world.disk.flush(Name::JournalNew);
        self.world.point(self.role, "rename the journal");
        self.world.disk.rename(Name::JournalNew, Name::Journal);
        self.world.wrote(journal);
        Ok(())
    }

    fn set_journal_aside(&mut self) -> Result<(), HostError> {
        self.effect("set the journal aside")?;
        self.world.disk.rename(Name::Journal, Name::JournalAside);
        Ok(())
    }

    fn changed(&mut self, _journal: &Journal) {}

    fn trouble(&mut self, what: &str, error: &HostError) {
        self.world.note(format!("{:?}: {what}: {error}", self.role));
    }

    fn digest(&mut self, file: File) -> Result<Option<Sha256Digest>, HostError> {
        Ok(self.world.disk.read(Name::Of(file)).map(Content::digest))
    }

    fn version_of(&mut self, file: File) -> Option<Version> {
        self.image(file).map(version_of)
    }

    fn copy(&mut self, from: File, to: File) -> Result<(), HostError> {
        self.effect(&format!("copy {from:?} to {to:?}"))?;
        let content = self.world.disk.read(Name::Of(from)).cloned();
        let content = content.ok_or_else(|| missing("copy"))?;
        self.world.disk.write(Name::Of(to), content);
        Ok(())
    }

    fn flush(&mut self, file: File) -> Result<(), HostError> {
        self.effect(&format!("flush {file:?}"))?;
        self.world.disk.flush(Name::Of(file));
        Ok(())
    }

    fn rename(&mut self, from: File, to: File) -> Result<(), HostError> {
        self.effect(&format!("rename {from:?} to {to:?}"))?;
        self.held(from)?;
        if self.world.disk.read(Name::Of(from)).is_none() {
            return Err(missing("rename"));
        }
        self.world.disk.rename(Name::Of(from), Name::Of(to));
        Ok(())
    }

    fn remove(&mut self, file: File) -> Result<(), HostError> {
        self.effect(&format!("remove {file:?}"))?;
        self.world.disk.remove(Name::Of(file));
        Ok(())
    }

    fn activate(&mut self, verified: &mut Verified) -> Result<(), HostError> {
        self.effect(&format!("put {:?} in place", verified.file))?;
        let there = self.world.disk.read(Name::Of(verified.file)).map(Content::digest);
        if there != Some(verified.digest) {
            return Err(missing("put in place"));
        }
        self.replace_active(verified.file)
    }

    fn undo_displace(&mut self) -> Result<(), HostError> {
        self.effect("put the displaced executable back")?;
        if self.world.disk.read(Name::Of(File::Displaced)).is_none() {
            return Err(missing("put back"));
        }
        self.replace_active(File::Displaced)
    }

    fn authorise(&mut self, journal: &Journal) -> Result<Authorised, Failure> {
        self.world.point(self.role, "authorise");
        let refuses = match self.world.scenario.trust {
            Trust::Names => false,
            Trust::NamesNothing => true,
            Trust::Withdraws => self.role != Role::Agent,
        };
        if refuses && !journal.is_rollback() {
            return Err(refused(FailureKind::Untrusted));
        }
        Ok(Authorised(journal.sha256))
    }

    fn fetch(&mut self, _journal: &Journal, _: &Authorised) -> Result<(), Failure> {
        self.effect("fetch")
            .map_err(|error| Failure { kind: FailureKind::Disk, detail: error.words })?;
        let Some(artifact) = self.world.scenario.artifact else {
            return Err(refused(FailureKind::Download));
        };
        let content =
            if self.world.scenario.truncated { Content::Torn } else { Content::Image(artifact) };
        self.world.disk.write(Name::Of(File::Candidate), content);
        self.world.point(self.role, "flush the download");
        self.world.disk.flush(Name::Of(File::Candidate));
        self.world.point(self.role, "downloaded");
        Ok(())
    }

    fn verify_candidate(
        &mut self,
        _journal: &Journal,
        authorised: &Authorised,
    ) -> Result<Verified, Failure> {
        self.effect("verify")
            .map_err(|error| Failure { kind: FailureKind::Disk, detail: error.words })?;
        let content = self.world.disk.read(Name::Of(File::Candidate));
        let digest = content.map(Content::digest).ok_or_else(|| refused(FailureKind::Disk))?;
        if digest != authorised.0 {
            return Err(refused(FailureKind::HashMismatch));
        }
        match self.image(File::Candidate) {
            Some(Image::OtherVersion) => Err(refused(FailureKind::WrongVersion)),
            Some(Image::Old | Image::New | Image::Kept | Image::Foreign) => {
                Ok(Verified { file: File::Candidate, digest })
            }
            Some(Image::OtherProcessor) | None => Err(refused(FailureKind::WrongPlatform)),
        }
    }

    fn verify_restored(&mut self, journal: &Journal) -> Result<Verified, HostError> {
        let digest = self.world.disk.read(Name::Of(File::ActiveNew)).map(Content::digest);
        match digest {
            Some(digest) if digest == journal.from_sha256 => {
                Ok(Verified { file: File::ActiveNew, digest })
            }
            Some(_) | None => Err(missing("the old version")),
        }
    }

    fn preflight(&mut self, _journal: &Journal, _: &Verified) -> Result<(), Failure> {
        self.world.point(self.role, "preflight");
        if self.world.scenario.fails_preflight {
            return Err(refused(FailureKind::Preflight));
        }
        Ok(())
    }

    fn updater_is_registered(&mut self) -> Result<bool, HostError> {
        Ok(self.world.updater_registered)
    }

    fn register_updater(&mut self) -> Result<(), HostError> {
        self.effect("register the updater")?;
        if self.world.scenario.no_updater {
            return Err(error(Refusal::Other, "register the updater"));
        }
        if self.image(File::Previous).is_none() {
            return Err(missing("the updater's image"));
        }
        self.world.updater_registered = true;
        Ok(())
    }

    fn flush_services(&mut self) -> Result<(), HostError> {
        self.effect("flush the services")?;
        self.world.flush_services();
        Ok(())
    }

    fn start_updater(&mut self) -> Result<(), HostError> {
        self.effect("start the updater")?;
        if !self.world.updater_registered {
            return Err(missing("the updater"));
        }
        if self.world.updater.is_none() {
            self.world.spawn_updater();
        }
        Ok(())
    }

    fn remove_updater(&mut self) -> Result<(), HostError> {
        self.effect("remove the updater")?;
        self.world.updater_registered = false;
        if self.role == Role::Agent {
            self.world.updater = None;
        }
        Ok(())
    }

    fn wait_for_word(&mut self, limit_ms: u64) -> Word {
        self.world.waiting_point(self.role);
        let given =
            |world: &World| world.updater.as_ref().is_some_and(|updater| updater.word_given);
        if !given(self.world) {
            // The agent works while this waits.
            self.world.run_task();
            self.world.waiting_point(self.role);
        }
        if given(self.world) {
            return Word::Given;
        }
        self.world.wait(limit_ms);
        if self.world.going_down { Word::Ending } else { Word::Silence }
    }

    fn set_recovery(&mut self, on: bool) -> Result<(), HostError> {
        self.effect("set the recovery")?;
        self.world.recovery = on;
        Ok(())
    }

    fn stop_agent(&mut self, limit_ms: u64) -> Result<(), HostError> {
        self.world.swap_began_ms.get_or_insert(self.world.now_ms);
        self.effect("stop the agent")?;
        if self.world.agent_is_dead() {
            return Ok(());
        }
        let hangs = self.world.scenario.hangs_at_stop;
        self.world.now_ms += if hangs { limit_ms } else { 20 };
        self.world.agent = None;
        self.world.agent_was_stopped = true;
        self.world.set_clock();
        if hangs && self.world.recovery {
            return Err(error(
                Refusal::Other,
                "the service manager restarted what was ended by force",
            ));
        }
        Ok(())
    }

    fn start_agent(&mut self) -> Result<(), HostError> {
        self.effect("start the agent")?;
        if self.world.start_agent() { Ok(()) } else { Err(missing("a service that starts")) }
    }

    fn agent(&mut self, expected: &Version) -> AgentSeen {
        self.world.tick();
        let Some(agent) = self.world.agent.clone().filter(|_| !self.world.agent_is_dead()) else {
            return AgentSeen::Dead("exit code 1".to_owned());
        };
        if self.world.behaviour(agent.image) == Behaviour::Hangs {
            return AgentSeen::Starting;
        }
        let accepted = self.world.is_accepted() && version_of(agent.image) == *expected;
        AgentSeen::Running { accepted }
    }

    fn reach(&mut self) -> Reach {
        self.world.reach()
    }

    fn limits(&mut self) -> WatchLimits {
        WatchLimits { probation_ms: 60_000, connect_ms: 120_000 }
    }

    fn starts(&mut self, update: UpdateId) -> u32 {
        match self.world.disk.read(Name::Starts) {
            Some(Content::Starts(of, starts)) if *of == update => *starts,
            Some(
                Content::Starts(..)
                | Content::Image(_)
                | Content::Config(_)
                | Content::Journal(_)
                | Content::Torn,
            )
            | None => 0,
        }
    }

    fn count_start(&mut self, update: UpdateId) -> u32 {
        let starts = self.starts(update) + 1;
        if self.effect("count a start").is_ok() {
            self.world.disk.write(Name::StartsNew, Content::Starts(update, starts));
            self.world.point(self.role, "flush the count");
            self.world.disk.flush(Name::StartsNew);
            self.world.point(self.role, "rename the count");
            self.world.disk.rename(Name::StartsNew, Name::Starts);
        }
        starts
    }
}
