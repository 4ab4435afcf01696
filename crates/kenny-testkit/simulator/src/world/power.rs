//! What a power cut takes, and how the PC comes up again, after one or as it should be.

use super::World;

/// How long a boot takes until services start.
const BOOT_MS: u64 = 20_000;

/// What a power cut leaves, and how the PC comes up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// So many of the changes of names that were not written through are there.
    pub names_kept: usize,
    /// Bytes that were not flushed are torn.
    pub torn: bool,
    /// What the service manager was told and did not flush is there.
    pub services_kept: bool,
    /// The updater's service starts before the agent's.
    pub updater_first: bool,
}

impl World {
    /// The losses that a power cut can cause in this state.
    pub fn losses(&self) -> Vec<Loss> {
        let torn: &[bool] = if self.disk.is_dirty() { &[true, false] } else { &[false] };
        let services: &[bool] = if self.updater_registered == self.updater_registered_durably {
            &[true]
        } else {
            &[true, false]
        };
        let mut losses = Vec::new();
        for names_kept in 0..=self.disk.pending() {
            for torn in torn.iter().copied() {
                for services_kept in services.iter().copied() {
                    for updater_first in [false, true] {
                        losses.push(Loss { names_kept, torn, services_kept, updater_first });
                    }
                }
            }
        }
        losses
    }

    /// Switches the PC on again after its power was cut.
    pub fn boot(&mut self, loss: Loss) {
        self.note(format!("power cut: {loss:?}"));
        self.disk.cut(loss.names_kept, loss.torn);
        if loss.services_kept {
            self.updater_registered_durably = self.updater_registered;
        }
        self.updater_registered = self.updater_registered_durably;
        self.check_disk();
        self.come_up(loss.updater_first);
    }

    /// Restarts the PC as it should be, if the agent does not run, the update is open or the service manager's restarts
    /// are off: nobody is left who would see to it before.
    pub fn reboot_if_unattended(&mut self) {
        if self.agent_is_dead() || self.journal_is_open() || !self.recovery {
            self.note("restart for the agent".to_owned());
            self.disk.cut(self.disk.pending(), false);
            self.come_up(false);
        }
    }

    /// Restarts the PC as it should be, if something of the update is left that a start has to remove.
    pub fn reboot_for_leftovers(&mut self) {
        if self.updater_registered && self.updater.is_none() {
            self.note("restart for what is left".to_owned());
            self.disk.cut(self.disk.pending(), false);
            self.come_up(false);
        }
    }

    pub(super) fn come_up(&mut self, updater_first: bool) {
        self.agent = None;
        self.agent_was_stopped = false;
        self.updater = None;
        self.task = None;
        self.going_down = false;
        self.interruption = None;
        self.refusing = None;
        self.now_ms += BOOT_MS;
        if updater_first {
            self.agent_boots_at_ms = Some(self.now_ms + 2_000);
        }
        if self.updater_registered {
            self.spawn_updater();
        }
        if !updater_first {
            self.agent_boots_at_ms = Some(self.now_ms);
        }
    }
}
