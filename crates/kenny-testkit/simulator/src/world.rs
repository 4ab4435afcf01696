//! A PC in memory: disk, service manager, processes, clock and network, and the promises that hold at every instant.

mod points;
mod power;
mod promises;

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use jiff::{SignedDuration, Timestamp};
use kenny_core::update::{
    Effect, File, Finished, Host as _, Journal, Quarantine, Reach, Refusal, Settled, Source, Step,
    Wanted, finish, prove_alone, settle, stage,
};
use kenny_proto::{Phase, UpdateId};
use semver::Version;

use crate::disk::{Content, Disk, Image, Name};
use crate::host::{Role, SimulatedHost};
use crate::scenario::{Behaviour, Scenario};

pub use points::Interruption;
pub use power::Loss;

/// How long after its start a version is accepted by a server that it reaches.
const ACCEPTED_AFTER_MS: u64 = 700;
/// How long the service manager waits before it starts a service again that ended by itself.
const RESTART_MS: u64 = 5_000;
/// How often an agent looks after an update that is the updater's.
const LOOK_AFTER_MS: u64 = 60_000;
/// More time than any story needs: a day without a network, and what comes after it.
const MOST_MS: u64 = 4 * 24 * 3_600_000;
/// So many of the last lines of a story are shown.
const SHOWN: usize = 40;
/// More rounds than any story needs: who gets there does not converge.
const MOST_ROUNDS: u32 = 300;

/// What ends a process in the middle of what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The power is cut: every process.
    Power,
    /// The updater, alone.
    Updater,
    /// The agent, alone.
    Agent,
}

/// A promise was broken.
#[derive(Debug, Clone)]
pub struct Broken(pub String);

#[derive(Debug, Clone)]
pub(crate) struct AgentProcess {
    pub image: Image,
    pub started_ms: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct UpdaterProcess {
    pub generation: u32,
    pub word_given: bool,
}

#[derive(Debug, Clone)]
enum Task {
    Stage(Box<Journal>, Effect),
    ProveAlone(Box<Journal>),
}

/// The PC.
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) scenario: Scenario,
    pub(crate) disk: Disk,
    pub(crate) now_ms: u64,
    pub(crate) clock: Timestamp,
    pub(crate) agent: Option<AgentProcess>,
    pub(crate) updater: Option<UpdaterProcess>,
    pub(crate) generations: u32,
    pub(crate) updater_registered: bool,
    updater_registered_durably: bool,
    pub(crate) recovery: bool,
    pub(crate) agent_was_stopped: bool,
    pub(crate) going_down: bool,
    pub(crate) first_new_start_ms: Option<u64>,
    pub(crate) swap_began_ms: Option<u64>,
    agent_boots_at_ms: Option<u64>,
    task: Option<Task>,
    interruption: Option<(u32, Interruption)>,
    refusing: Option<(Refusal, u32)>,
    points: u32,
    paused_since_point: bool,
    phases: BTreeMap<UpdateId, Vec<Phase>>,
    trace: VecDeque<String>,
}

impl World {
    /// A PC that runs the old version, and whose agent has just been asked for the update.
    pub fn new(scenario: &Scenario) -> Self {
        let mut disk = Disk::default();
        disk.install(Name::Of(File::Active), Content::Image(Image::Old));
        disk.install(Name::Of(File::Previous), Content::Image(Image::Kept));
        disk.install(Name::Of(File::Config), Content::Config(1));
        let clock = Timestamp::from_second(1_800_000_000).expect("a time of this century");
        let mut world = Self {
            scenario: scenario.clone(),
            disk,
            now_ms: 0,
            clock,
            agent: Some(AgentProcess { image: Image::Old, started_ms: 0 }),
            updater: None,
            generations: 0,
            updater_registered: false,
            updater_registered_durably: false,
            recovery: true,
            agent_was_stopped: false,
            going_down: false,
            first_new_start_ms: None,
            swap_began_ms: None,
            agent_boots_at_ms: None,
            task: None,
            interruption: None,
            refusing: None,
            points: 0,
            paused_since_point: false,
            phases: BTreeMap::new(),
            trace: VecDeque::new(),
        };
        world.now_ms = 3_600_000;
        let source = if scenario.rollback {
            Source::Previous {}
        } else {
            Source::Download { url: "http://127.0.0.1/agent.exe".to_owned() }
        };
        let wanted = Wanted {
            update_id: UpdateId::random(),
            version: version_of(scenario.announced),
            sha256: scenario.announced.digest(),
            source,
        };
        let from = (version_of(Image::Old), Image::Old.digest());
        let journal = Journal::accepted(wanted, from, Quarantine::default(), clock);
        world.task = Some(Task::Stage(Box::new(journal), Effect::Download));
        world
    }

    /// Lets the story go on until nothing moves any more. True when the power was cut.
    pub fn run(&mut self) -> Result<bool, Broken> {
        for _ in 0..MOST_ROUNDS {
            match catch_unwind(AssertUnwindSafe(|| self.round())) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(payload) => match ended(payload)? {
                    End::Power => return Ok(true),
                    End::Updater => self.updater_ended(),
                    End::Agent => self.agent = None,
                },
            }
        }
        Err(self.broken("it does not come to rest"))
    }

    /// One thing that happens next; false when there is none.
    fn round(&mut self) -> bool {
        self.tick();
        if self.going_down {
            self.note("shut down".to_owned());
            // As it should be: everything is on the disk.
            self.disk.cut(self.disk.pending(), false);
            self.updater_registered_durably = self.updater_registered;
            self.come_up(false);
            return true;
        }
        if self.run_task() {
            return true;
        }
        if let Some(generation) = self.updater.as_ref().map(|updater| updater.generation) {
            let finished = finish(&mut SimulatedHost::new(self, Role::Updater(generation)));
            self.note(format!("the updater ended: {finished:?}"));
            match finished {
                Finished::Done => self.updater = None,
                Finished::ToBeContinued(_) => self.updater_ended(),
            }
            return true;
        }
        if let Some(at_ms) = self.agent_boots_at_ms {
            self.now_ms = self.now_ms.max(at_ms);
            return true;
        }
        if !self.agent_is_dead() && self.journal_is_open() && self.runs_the_engine() {
            // An agent looks after an open update once a minute.
            self.now_ms += LOOK_AFTER_MS;
            self.settle_again();
            return true;
        }
        // One that was told to stop is not restarted.
        if self.agent_is_dead() && self.recovery && !self.agent_was_stopped {
            self.now_ms += RESTART_MS;
            self.start_agent();
            return true;
        }
        false
    }

    /// Runs what the agent has to do; false when that is nothing.
    pub(crate) fn run_task(&mut self) -> bool {
        if self.agent_is_dead() {
            self.task = None;
            return false;
        }
        let Some(task) = self.task.take() else { return false };
        match task {
            Task::Stage(journal, effect) => {
                let mut host = SimulatedHost::new(self, Role::Agent);
                let begun = journal.step != Step::Accepted || host.write_journal(&journal).is_ok();
                let staged = begun
                    .then(|| stage(&mut SimulatedHost::new(self, Role::Agent), *journal, effect));
                self.note(format!(
                    "staged: {:?}",
                    staged.as_ref().map(|staged| staged.as_ref().map(|journal| journal.step))
                ));
                match (&staged, &mut self.updater) {
                    (Some(Ok(_)), Some(updater)) => updater.word_given = true,
                    // Nobody is there to take the word: the agent looks after its update again.
                    (Some(Ok(_)), None) => self.settle_again(),
                    (Some(Err(_)) | None, _) => {}
                }
            }
            Task::ProveAlone(journal) => {
                prove_alone(&mut SimulatedHost::new(self, Role::Agent), &journal);
            }
        }
        true
    }

    fn updater_ended(&mut self) {
        self.updater = None;
        if self.updater_registered {
            // Its service has restarts of its own.
            self.now_ms += RESTART_MS;
            self.spawn_updater();
        }
    }

    pub(crate) fn spawn_updater(&mut self) {
        self.generations += 1;
        self.updater = Some(UpdaterProcess { generation: self.generations, word_given: false });
    }

    /// Time goes by.
    pub(crate) fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.tick();
    }

    pub(crate) fn tick(&mut self) {
        if self.now_ms > MOST_MS {
            let broken = self.broken("it does not come to rest");
            resume_unwind(Box::new(broken));
        }
        if self.agent_boots_at_ms.is_some_and(|at_ms| at_ms <= self.now_ms) {
            self.agent_boots_at_ms = None;
            self.start_agent();
        }
    }

    /// The agent's process starts and does what an agent does first. False when it cannot start.
    pub(crate) fn start_agent(&mut self) -> bool {
        if !self.agent_is_dead() {
            return true;
        }
        self.agent = None;
        let Some(Content::Image(image)) = self.disk.read(Name::Of(File::Active)).cloned() else {
            return false;
        };
        let is_new = image == self.scenario.announced;
        if is_new {
            self.first_new_start_ms.get_or_insert(self.now_ms);
            if self.scenario.scribbles_config {
                self.disk.write(Name::Of(File::Config), Content::Torn);
            }
        }
        let behaviour = self.behaviour(image);
        if behaviour == Behaviour::DoesNotStart {
            return false;
        }
        self.agent = Some(AgentProcess { image, started_ms: self.now_ms });
        self.agent_was_stopped = false;
        let reaches_its_service =
            !matches!(behaviour, Behaviour::Hangs | Behaviour::CrashesAfter(0));
        if is_new && reaches_its_service && !self.scenario.scribbles_config {
            // A newer version writes its config in its own schema.
            self.disk.write(Name::Of(File::Config), Content::Config(2));
            self.disk.flush(Name::Of(File::Config));
        }
        if reaches_its_service {
            let settled = catch_unwind(AssertUnwindSafe(|| {
                settle(&mut SimulatedHost::new(self, Role::Agent), image.digest(), true)
            }));
            match settled {
                Ok(settled) => self.take_up(settled),
                Err(payload) => match payload.downcast::<End>() {
                    Ok(end) if *end == End::Agent => self.agent = None,
                    Ok(end) => resume_unwind(end),
                    Err(payload) => resume_unwind(payload),
                },
            }
        }
        true
    }

    fn settle_again(&mut self) {
        let Some(image) = self.agent.as_ref().map(|agent| agent.image) else { return };
        let settled = settle(&mut SimulatedHost::new(self, Role::Agent), image.digest(), false);
        self.take_up(settled);
    }

    fn take_up(&mut self, settled: Settled) {
        self.note(format!("settled: {settled:?}"));
        match settled {
            Settled::Resume(journal, effect) => self.task = Some(Task::Stage(journal, effect)),
            Settled::ProveAlone(journal) => self.task = Some(Task::ProveAlone(journal)),
            Settled::Nothing | Settled::Closed(_) | Settled::WithUpdater | Settled::Later(_) => {}
        }
    }

    fn journal_is_open(&self) -> bool {
        matches!(self.disk.read(Name::Journal), Some(Content::Journal(journal)) if journal.is_open())
    }

    /// True where the process got as far as the engine.
    fn runs_the_engine(&self) -> bool {
        let Some(agent) = &self.agent else { return false };
        !matches!(self.behaviour(agent.image), Behaviour::Hangs | Behaviour::DoesNotStart)
    }

    /// How an executable behaves.
    pub(crate) fn behaviour(&self, image: Image) -> Behaviour {
        if image == self.scenario.announced { self.scenario.behaviour } else { Behaviour::Good }
    }

    /// True when no process of the agent's service is there.
    pub(crate) fn agent_is_dead(&self) -> bool {
        let Some(agent) = &self.agent else { return true };
        match self.behaviour(agent.image) {
            Behaviour::CrashesAfter(ms) => self.now_ms >= agent.started_ms + ms,
            Behaviour::Good
            | Behaviour::Hangs
            | Behaviour::CannotConnect
            | Behaviour::DoesNotStart
            | Behaviour::LosesConnectionAfter(_) => false,
        }
    }

    /// True while the server's acceptance of what runs stands.
    pub(crate) fn is_accepted(&self) -> bool {
        let Some(agent) = self.agent.as_ref().filter(|_| !self.agent_is_dead()) else {
            return false;
        };
        let up_ms = self.now_ms - agent.started_ms;
        let willing = match self.behaviour(agent.image) {
            Behaviour::Good | Behaviour::CrashesAfter(_) => true,
            Behaviour::LosesConnectionAfter(ms) => up_ms < ms,
            Behaviour::Hangs | Behaviour::CannotConnect | Behaviour::DoesNotStart => false,
        };
        willing && up_ms >= ACCEPTED_AFTER_MS && self.reach() == Reach::Reachable
    }

    /// Whether this PC reaches the server.
    pub(crate) fn reach(&self) -> Reach {
        let since = self.first_new_start_ms.map_or(0, |at_ms| self.now_ms.saturating_sub(at_ms));
        if self.first_new_start_ms.is_none() {
            Reach::Reachable
        } else if since < self.scenario.network_down_ms {
            Reach::Unreachable
        } else if since < self.scenario.busy_ms {
            Reach::Busy
        } else {
            Reach::Reachable
        }
    }

    /// True while a virus scanner holds the file.
    pub(crate) fn is_held(&self, file: File) -> bool {
        let Some((held, ms)) = self.scenario.scanner else { return false };
        held == file
            && self.swap_began_ms.is_some_and(|began| self.now_ms < began.saturating_add(ms))
    }

    /// The clock is set.
    pub(crate) fn set_clock(&mut self) {
        self.clock += SignedDuration::from_secs(self.scenario.clock_jump_s);
    }

    pub(crate) fn flush_services(&mut self) {
        self.updater_registered_durably = self.updater_registered;
    }

    /// A phase was written down: it moves forward, and the last one is never left.
    pub(crate) fn wrote(&mut self, journal: &Journal) {
        self.note(format!("journal: {:?} {:?}", journal.step, journal.failure));
        self.phases.entry(journal.update_id).or_default().push(journal.phase());
    }

    pub(crate) fn note(&mut self, text: impl std::fmt::Display) {
        if self.trace.len() == SHOWN {
            self.trace.pop_front();
        }
        self.trace.push_back(format!("{:>10} {text}", self.now_ms));
    }

    fn broken(&self, what: &str) -> Broken {
        let mut text = format!("{}: {what}\n", self.scenario.name);
        for line in &self.trace {
            text.push_str("    ");
            text.push_str(line);
            text.push('\n');
        }
        Broken(text)
    }
}

/// What ended a process, or the promise that it broke, or a defect of this simulation.
fn ended(payload: Box<dyn Any + Send>) -> Result<End, Broken> {
    match payload.downcast::<End>() {
        Ok(end) => Ok(*end),
        Err(payload) => match payload.downcast::<Broken>() {
            Ok(broken) => Err(*broken),
            Err(payload) => resume_unwind(payload),
        },
    }
}

/// The version that an executable says it is.
pub(crate) fn version_of(image: Image) -> Version {
    match image {
        Image::Kept => Version::new(0, 9, 0),
        Image::Old => Version::new(1, 0, 0),
        Image::New | Image::Foreign | Image::OtherProcessor => Version::new(1, 1, 0),
        Image::OtherVersion => Version::new(1, 2, 0),
    }
}
