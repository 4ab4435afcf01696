//! The points at which a story can be interrupted, and what happens there.

use std::panic::resume_unwind;

use kenny_core::update::{File, Refusal};

use super::{End, RESTART_MS, World};
use crate::disk::{Content, Name};
use crate::host::Role;

/// An interruption at a point of the story, or a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruption {
    /// The power is cut.
    PowerCut,
    /// The updater's process is killed.
    KillUpdater,
    /// The agent's process is killed.
    KillAgent,
    /// The PC is shut down as it should be.
    ShutDown,
    /// From here so many effects on files and services fail in this way.
    Refuses(Refusal, u32),
    /// The journal's bytes are damaged on the disk.
    DamagesJournal,
    /// Somebody deletes the updater's service and ends its process.
    LosesUpdater,
    /// Somebody deletes the candidate, as a virus scanner does.
    LosesCandidate,
}

impl World {
    /// Arranges for an interruption at a point.
    pub fn interrupt(&mut self, point: u32, interruption: Interruption) {
        self.points = 0;
        self.interruption = Some((point, interruption));
    }

    /// How many points there were.
    pub const fn points(&self) -> u32 {
        self.points
    }

    /// A point at which the story can be interrupted; what is promised for every instant is checked here.
    pub(crate) fn point(&mut self, role: Role, what: &str) {
        self.paused_since_point = false;
        self.reach_point(role, what);
    }

    /// A wait: a point only once between two others, as nothing changes in it.
    pub(crate) fn waiting_point(&mut self, role: Role) {
        if !std::mem::replace(&mut self.paused_since_point, true) {
            self.reach_point(role, "waiting");
        }
    }

    fn reach_point(&mut self, role: Role, what: &str) {
        self.check_disk();
        if let Role::Updater(generation) = role
            && self.updater.as_ref().is_none_or(|updater| updater.generation != generation)
        {
            // Somebody ended this process while another was at work.
            resume_unwind(Box::new(End::Updater));
        }
        let point = self.points;
        self.points += 1;
        let Some((_, interruption)) = self.interruption.filter(|(at, _)| *at == point) else {
            return;
        };
        self.interruption = None;
        self.note(format!("{interruption:?} at point {point}, {role:?} {what}"));
        match interruption {
            Interruption::PowerCut => resume_unwind(Box::new(End::Power)),
            Interruption::KillUpdater if matches!(role, Role::Updater(_)) => {
                resume_unwind(Box::new(End::Updater));
            }
            Interruption::KillUpdater => {
                self.updater = None;
                if self.updater_registered {
                    self.spawn_updater();
                }
            }
            Interruption::KillAgent if role == Role::Agent => resume_unwind(Box::new(End::Agent)),
            Interruption::KillAgent => {
                self.agent = None;
                self.task = None;
                if self.recovery {
                    self.agent_boots_at_ms = Some(self.now_ms + RESTART_MS);
                }
            }
            Interruption::ShutDown => {
                self.going_down = true;
                if role == Role::Agent {
                    resume_unwind(Box::new(End::Agent));
                }
            }
            Interruption::Refuses(refusal, times) => self.refusing = Some((refusal, times)),
            Interruption::DamagesJournal => {
                if self.disk.read(Name::Journal).is_some() {
                    self.disk.write(Name::Journal, Content::Torn);
                    self.disk.flush(Name::Journal);
                }
            }
            // Between the two renames of an executable that something else runs, the registered updater is what I1
            // rests on: who deletes it then, deletes the agent.
            Interruption::LosesUpdater if self.disk.read(Name::Of(File::Active)).is_none() => {}
            Interruption::LosesUpdater => {
                self.updater_registered = false;
                self.updater_registered_durably = false;
                self.updater = None;
                if role != Role::Agent {
                    resume_unwind(Box::new(End::Updater));
                }
            }
            Interruption::LosesCandidate => self.disk.remove(Name::Of(File::Candidate)),
        }
    }

    /// An effect is refused where a fault was arranged.
    pub(crate) fn refusal(&mut self) -> Option<Refusal> {
        let (refusal, times) = self.refusing?;
        self.refusing = (times > 1).then(|| (refusal, times - 1));
        Some(refusal)
    }
}
