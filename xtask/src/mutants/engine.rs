//! Breaks of the update engine: the enumeration has to notice each.

use super::{Judge, Mutant};

const STAGE: &str = "crates/kenny-core/src/update/stage.rs";
const FINISH: &str = "crates/kenny-core/src/update/finish.rs";
const ENGINE: &str = "crates/kenny-core/src/update/engine.rs";
const WATCH: &str = "crates/kenny-core/src/update/watch.rs";
const STEP: &str = "crates/kenny-core/src/update/step.rs";

/// The breaks.
pub const BREAKS: &[Mutant] = &[
    Mutant {
        name: "previous is not flushed",
        file: STAGE,
        find: "retry_locked(host, |host| host.flush(File::PreviousNew))?;",
        replace: "",
        judged_by: Judge::Enumeration,
    },
    Mutant {
        name: "the swap comes without previous being kept",
        file: STAGE,
        find: "if host.digest(File::Previous)? != Some(journal.from_sha256) {",
        replace: "if false {",
        judged_by: Judge::Enumeration,
    },
    Mutant {
        name: "the kept config is not flushed",
        file: STAGE,
        find: "host.flush(File::ConfigKeptNew)?;",
        replace: "",
        judged_by: Judge::Enumeration,
    },
    Mutant {
        name: "that a reboot starts the updater is not on the disk",
        file: STAGE,
        find: "host.flush_services()?;",
        replace: "",
        judged_by: Judge::Enumeration,
    },
    Mutant {
        name: "the candidate is not verified after the download",
        file: STEP,
        find: "to(Step::Verifying, Effect::Verify)",
        replace: "to(Step::Staging, Effect::StartUpdater)",
        judged_by: Judge::Enumeration,
    },
    Mutant {
        name: "preflight is left out",
        file: STEP,
        find: "to(Step::Preflight, Effect::Preflight)",
        replace: "to(Step::Staging, Effect::StartUpdater)",
        judged_by: Judge::Enumeration,
    },
    Mutant {
        name: "a version is committed without proof",
        file: WATCH,
        find: "if self.accepted_for_ms >= limits.probation_ms {",
        replace: "if limits.probation_ms > 0 {",
        judged_by: Judge::Enumeration,
    },
    Mutant {
        name: "a network that is down is blamed on the version",
        file: ENGINE,
        find: "Seen::Offline(host.reach())",
        replace: "Seen::Offline(super::watch::Reach::Reachable)",
        judged_by: Judge::Enumeration,
    },
    Mutant {
        name: "a version may die for ever",
        file: STEP,
        find: "if deaths < DEATHS {",
        replace: "if deaths > 0 {",
        judged_by: Judge::Enumeration,
    },
    Mutant {
        name: "steps of the updater are not journaled",
        file: FINISH,
        find: "if next != journal",
        replace: "if next.step.is_final()",
        judged_by: Judge::Enumeration,
    },
    Mutant {
        name: "a failed swap is not rolled back",
        file: STEP,
        find: "journal.failed_at(Step::Restoring, failure, now), Effect::Restore",
        replace: "journal.failed_at(Step::Failed, failure, now), Effect::CleanUp",
        judged_by: Judge::Enumeration,
    },
    Mutant {
        name: "the restored executable is not flushed",
        file: FINISH,
        find: "host.flush(File::ActiveNew)?;",
        replace: "",
        judged_by: Judge::Enumeration,
    },
    Mutant {
        name: "the config is not restored",
        file: FINISH,
        find: "if journal.config_sha256.is_some() && ",
        replace: "if false && ",
        judged_by: Judge::Enumeration,
    },
    Mutant {
        name: "the service is not started after a rollback",
        file: STEP,
        find: "(Step::Restoring, Event::Restored) => to(Step::Reviving, Effect::Revive),",
        replace: "(Step::Restoring, Event::Restored) => to(Step::RolledBack, Effect::CleanUp),",
        judged_by: Judge::Enumeration,
    },
    Mutant {
        name: "the service manager's restarts race the swap",
        file: FINISH,
        find: "    let _ = host.set_recovery(false);\n    match host.stop_agent(STOP_MS) {",
        replace: "    match host.stop_agent(STOP_MS) {",
        judged_by: Judge::Enumeration,
    },
    Mutant {
        name: "the service manager's restarts stay off",
        file: ENGINE,
        find: "match host.set_recovery(true) {",
        replace: "match host.set_recovery(false) {",
        judged_by: Judge::Enumeration,
    },
    Mutant {
        name: "an executable that something else runs is not renamed aside",
        file: FINISH,
        find: "first.refusal == Refusal::InUse && host.rename",
        replace: "first.refusal == Refusal::Full && host.rename",
        judged_by: Judge::Enumeration,
    },
    Mutant {
        name: "a lost updater is not registered again",
        file: STEP,
        find: "                AtStart::RegisterUpdater\n",
        replace: "                AtStart::EnsureUpdater\n",
        judged_by: Judge::Enumeration,
    },
];
