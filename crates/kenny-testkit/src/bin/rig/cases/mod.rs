//! The cases of the live suite, by name.

mod failures;
mod faults;
mod first_install;
mod identity;
mod lifecycle;
mod operators;
mod policy;
mod rollbacks;
mod tools;
mod trust;
pub mod updates;

use std::future::Future;
use std::pin::Pin;

use anyhow::Result;

use crate::live::Options;
use crate::site::Site;

/// How a case that did not fail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// What it claims holds.
    Passed,
    /// This machine cannot show it, and why.
    Skipped(&'static str),
}

type Run = for<'site> fn(
    &'site Site,
    &'site Options,
) -> Pin<Box<dyn Future<Output = Result<Outcome>> + 'site>>;

/// One case.
pub struct Case {
    /// What it claims.
    pub name: &'static str,
    /// Shows it on a fresh site.
    pub run: Run,
}

macro_rules! cases {
    ($($module:ident :: $name:ident),* $(,)?) => {
        &[$(Case {
            name: stringify!($name),
            run: |site, options| Box::pin($module::$name(site, options)),
        }),*]
    };
}

/// Every case. The longest come first, so that two at a time end together.
pub const ALL: &[Case] = cases![
    failures::a_candidate_that_crashes_late_on_probation_is_rolled_back,
    faults::a_server_that_does_not_answer_is_not_the_versions_fault,
    faults::an_agent_for_another_processor_is_refused,
    faults::a_download_that_is_cut_every_200_kb_arrives,
    faults::downloads_that_cannot_be_right_leave_the_old_version_alone,
    faults::a_file_that_a_scanner_holds_is_waited_for,
    trust::a_pinned_agent_takes_what_was_signed_and_nothing_else,
    trust::signatures_that_are_not_renewed_stop_updates_and_nothing_else,
    trust::an_executable_without_authenticode_is_refused_where_it_is_required,
    updates::another_request_while_one_is_open_is_refused,
    failures::a_candidate_that_crashes_on_probation_is_rolled_back,
    failures::a_candidate_that_hangs_is_rolled_back,
    failures::a_candidate_that_never_connects_is_rolled_back,
    rollbacks::somebody_at_the_pc_goes_back,
    updates::a_reboot_on_probation_is_no_failure,
    failures::a_broken_config_is_restored,
    failures::a_candidate_that_exits_is_rolled_back,
    rollbacks::an_operator_goes_back_by_a_tool_call,
    failures::a_candidate_that_fails_its_preflight_stops_nothing,
    updates::a_foreign_file_in_the_staging_folder_survives,
    identity::a_server_with_another_key_is_refused,
    identity::an_invited_pc_has_a_key_that_stays_on_it,
    identity::an_update_keeps_the_identity_and_no_secret_beside_it,
    identity::an_agent_with_a_token_is_updated_and_then_gets_a_key,
    identity::an_invitation_that_is_of_no_use_changes_nothing,
    lifecycle::an_install_that_does_not_connect_says_why,
    operators::the_command_line_updates_an_agent,
    first_install::installed_apps_names_the_version_and_removes_everything,
    first_install::a_downloaded_installer_makes_the_pc_an_agent,
    first_install::ordinary_accounts_write_to_nothing,
    policy::a_paused_pc_refuses_changes_and_updates_wait,
    updates::a_newer_version_is_installed,
    lifecycle::a_reboot_brings_the_agent_back,
    lifecycle::installing_again_keeps_identity_and_config,
    lifecycle::installing_a_newer_version_upgrades_in_place,
    lifecycle::installs_and_says_how_it_is,
    lifecycle::a_preflight_says_whether_it_would_work_here,
    lifecycle::a_failed_install_leaves_nothing,
    lifecycle::stops_and_starts,
    lifecycle::a_bad_config_stops_the_service_with_its_code,
    lifecycle::uninstalling_removes_the_program_and_keeps_the_state,
    lifecycle::uninstalling_with_purge_leaves_nothing,
    updates::the_same_version_changes_nothing,
    updates::a_wrong_hash_is_refused,
    updates::a_release_that_is_no_agent_is_refused,
    tools::a_tool_call_is_answered,
    tools::a_running_tool_does_not_delay_a_stop,
    tools::telemetry_arrives,
];
