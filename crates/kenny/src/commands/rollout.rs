//! `kenny rollout ...` and `kenny channel`.

use jiff::Timestamp;
use kenny_proto::RolloutId;
use kenny_proto::channels::ChannelPolicies;
use kenny_proto::rollout::{
    Channel, Member, MemberState, NewRollout, Preset, Resume, Rollout, RolloutKind, RolloutState,
    StageView, WaitsFor, When, WhyNever,
};

use super::rollout_watch;
use crate::cli::rollouts::{ChannelArgs, RolloutArgs, RolloutCommand, RolloutStartArgs, selection};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{self, Cell, Output, Palette, Table, Tone, facts};
use crate::words;

/// `kenny rollout ...`.
pub async fn run(client: &Client, output: Output, command: RolloutCommand) -> Result<(), CliError> {
    match command {
        RolloutCommand::Start(args) => start(client, output, args).await,
        RolloutCommand::Plan(args) => plan(client, output, args).await,
        RolloutCommand::Watch { rollout, timeout } => {
            let id = find(client, &rollout).await?;
            rollout_watch::watch(client, output, id, timeout).await
        }
        RolloutCommand::Pause { rollout } => {
            let id = find(client, &rollout).await?;
            say(output, &client.pause_rollout(id).await?)
        }
        RolloutCommand::Resume { rollout, retry_failed } => {
            let id = find(client, &rollout).await?;
            say(output, &client.resume_rollout(id, Resume { retry_failed }).await?)
        }
        RolloutCommand::Cancel { rollout } => {
            let id = find(client, &rollout).await?;
            say(output, &client.cancel_rollout(id).await?)
        }
        RolloutCommand::RollBack { rollout } => {
            let id = find(client, &rollout).await?;
            say(output, &client.roll_back_rollout(id).await?)
        }
        RolloutCommand::List => list(client, output).await,
        RolloutCommand::Show { rollout } => {
            let id = find(client, &rollout).await?;
            show(client, output, id).await
        }
    }
}

async fn start(client: &Client, output: Output, args: RolloutStartArgs) -> Result<(), CliError> {
    let rollout = client.start_rollout(&wanted(&args.rollout)?).await?;
    if args.watch {
        return rollout_watch::watch(client, output, rollout.id, None).await;
    }
    say(output, &rollout)?;
    if !output.json {
        output::note(&format!("`kenny rollout watch {}` shows how it goes.", short(rollout.id)));
    }
    Ok(())
}

async fn plan(client: &Client, output: Output, args: RolloutArgs) -> Result<(), CliError> {
    let version = args.version.to_string();
    let plan = client.plan_rollout(&wanted(&args)?).await?;
    if output.json {
        return output::document(&plan);
    }
    let stages = plan.strategy.stages.len();
    output::text(&members(&plan.members, stages, Timestamp::now()).render(output.palette))?;
    let count = |of: fn(&StageView) -> u32| plan.stages.iter().map(of).sum::<u32>();
    output::note(&format!(
        "{} of {} PCs would get {version}, in {stages} {}; nothing is begun.",
        count(|stage| stage.waiting + stage.offline),
        count(|stage| stage.members),
        if stages == 1 { "stage" } else { "stages" }
    ));
    Ok(())
}

async fn list(client: &Client, output: Output) -> Result<(), CliError> {
    let list = client.rollouts().await?;
    if output.json {
        return output::document(&list);
    }
    if list.rollouts.is_empty() {
        output::note("There is no rollout yet; `kenny rollout start VERSION --to all` begins one.");
        return Ok(());
    }
    output::text(&table(&list.rollouts, Timestamp::now()).render(output.palette))
}

async fn show(client: &Client, output: Output, id: RolloutId) -> Result<(), CliError> {
    let detail = client.rollout(id).await?;
    if output.json {
        return output::document(&detail);
    }
    let now = Timestamp::now();
    let mut text = describe(&detail.rollout, now, output.palette);
    text.push('\n');
    let stages = detail.rollout.strategy.stages.len();
    text.push_str(&members(&detail.members, stages, now).render(output.palette));
    output::text(&text)
}

/// `kenny channel`.
pub async fn channel(client: &Client, output: Output, args: ChannelArgs) -> Result<(), CliError> {
    let mut policies = client.channels().await?;
    if let (Some(channel), true) = (args.channel, args.off || args.auto.is_some()) {
        match channel {
            Channel::Stable => policies.stable = args.auto,
            Channel::Beta => policies.beta = args.auto,
        }
        policies = client.set_channels(&policies).await?;
    }
    if output.json {
        return output::document(&policies);
    }
    output::text(&channels(policies))
}

fn channels(policies: ChannelPolicies) -> String {
    let words = |preset: Option<Preset>| match preset {
        Some(preset) => format!("a release is rolled out by itself: {}", preset_word(preset)),
        None => "nothing is rolled out by itself".to_owned(),
    };
    facts(&[("stable", Some(words(policies.stable))), ("beta", Some(words(policies.beta)))])
}

const fn preset_word(preset: Preset) -> &'static str {
    match preset {
        Preset::Careful => "careful",
        Preset::Normal => "normal",
        Preset::Now => "now",
    }
}

fn wanted(args: &RolloutArgs) -> Result<NewRollout, CliError> {
    let strategy = match &args.strategy {
        None => None,
        Some(path) => {
            let text = fs_err::read_to_string(path).map_err(CliError::File)?;
            Some(serde_json::from_str(&text).map_err(|error| {
                CliError::Usage(format!("{} is no strategy: {error}", path.display()))
            })?)
        }
    };
    Ok(NewRollout {
        version: args.version.to_string(),
        selection: selection(&args.to),
        preset: args.preset,
        strategy,
        allow_downgrade: args.allow_downgrade,
    })
}

/// The rollout that is meant: by its id or the beginning of it, or the newest to a version.
async fn find(client: &Client, text: &str) -> Result<RolloutId, CliError> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let list = client.rollouts().await?;
    among(&list.rollouts, text).map_err(CliError::Usage)
}

fn among(rollouts: &[Rollout], text: &str) -> Result<RolloutId, String> {
    let newest = rollouts.iter().find(|rollout| rollout.version == text);
    if let Some(rollout) = newest {
        return Ok(rollout.id);
    }
    let named = |rollout: &&Rollout| rollout.id.to_string().starts_with(text);
    match rollouts.iter().filter(named).collect::<Vec<_>>().as_slice() {
        [one] => Ok(one.id),
        [] => Err(format!(
            "there is no rollout `{text}`, by its id or its version; `kenny rollout list` names them"
        )),
        several => {
            Err(format!("`{text}` begins the ids of {} rollouts; give more of it", several.len()))
        }
    }
}

fn say(output: Output, rollout: &Rollout) -> Result<(), CliError> {
    if output.json {
        return output::document(rollout);
    }
    output::note(&format!("{} ({}): {}", what(rollout), short(rollout.id), standing(rollout)));
    Ok(())
}

/// What it does, for people.
pub fn what(rollout: &Rollout) -> String {
    match rollout.kind {
        RolloutKind::Update => format!("rollout of {}", rollout.version),
        RolloutKind::Rollback => format!("rollback from {}", rollout.version),
    }
}

/// The beginning of an id, by which it can be named.
pub fn short(id: RolloutId) -> String {
    id.to_string().chars().take(8).collect()
}

/// How it stands, with the reason.
pub fn standing(rollout: &Rollout) -> String {
    let stage = format!("stage {} of {}", rollout.stage + 1, rollout.strategy.stages.len());
    let word = state_word(rollout.state);
    match (&rollout.reason, rollout.state.is_open()) {
        (Some(reason), true) => format!("{word} in {stage}: {reason}"),
        (None, true) => format!("{word}, {stage}"),
        (Some(reason), false) => format!("{word}: {reason}"),
        (None, false) => word.to_owned(),
    }
}

const fn state_word(state: RolloutState) -> &'static str {
    match state {
        RolloutState::Running => "running",
        RolloutState::Paused => "paused",
        RolloutState::Halted => "halted",
        RolloutState::Completed => "complete",
        RolloutState::Cancelled => "cancelled",
    }
}

/// The colour of a rollout's state.
pub const fn tone(state: RolloutState) -> Tone {
    match state {
        RolloutState::Running | RolloutState::Paused => Tone::Pending,
        RolloutState::Halted => Tone::Bad,
        RolloutState::Completed => Tone::Good,
        RolloutState::Cancelled => Tone::Faint,
    }
}

fn table(rollouts: &[Rollout], now: Timestamp) -> Table {
    let mut table = Table::new(&["ID", "WHAT", "STARTED", "PCS", "DONE", "FAILED", "STATE"]);
    for rollout in rollouts {
        let sum = |of: fn(&StageView) -> u32| rollout.stages.iter().map(of).sum::<u32>();
        let bad = sum(|stage| stage.failed + stage.rolled_back + stage.silent);
        let bad_tone = if bad > 0 { Tone::Bad } else { Tone::Faint };
        table.row([
            short(rollout.id).into(),
            what(rollout).into(),
            format!("{} by {}", words::ago(rollout.started_at, now), rollout.started_by).into(),
            sum(|stage| stage.members).to_string().into(),
            sum(|stage| stage.succeeded).to_string().into(),
            Cell::new(bad_tone, bad.to_string()),
            Cell::new(tone(rollout.state), standing(rollout)),
        ]);
    }
    table
}

fn describe(rollout: &Rollout, now: Timestamp, palette: Palette) -> String {
    let ago = |at: Timestamp| format!("{} ({})", words::ago(at, now), words::moment(at));
    let preset = rollout.preset.map_or("by its own strategy", preset_word);
    let mut text = facts(&[
        ("id", Some(rollout.id.to_string())),
        ("what", Some(what(rollout))),
        ("state", Some(standing(rollout))),
        ("how", Some(preset.to_owned())),
        ("started", Some(format!("{} by {}", ago(rollout.started_at), rollout.started_by))),
        ("stage since", rollout.state.is_open().then(|| ago(rollout.stage_since))),
        ("ended", rollout.ended_at.map(ago)),
    ]);
    text.push('\n');
    for (stage, number) in rollout.stages.iter().zip(1..) {
        text.push_str(&rollout_watch::stage_line(number, stage, palette));
        text.push('\n');
    }
    text
}

fn members(members: &[Member], stages: usize, now: Timestamp) -> Table {
    let mut table = Table::new(&["AGENT", "STAGE", "RUNS", "WHEN", "WHY"]);
    for member in members {
        let (tone, when, why) = fate(member, now);
        table.row([
            member.agent_id.as_str().into(),
            format!("{} of {stages}", member.stage + 1).into(),
            member.version.as_deref().unwrap_or("-").into(),
            Cell::new(tone, when),
            why.into(),
        ]);
    }
    table
}

/// When a member gets its update, or what came of it, and why.
fn fate(member: &Member, now: Timestamp) -> (Tone, String, String) {
    let plain = |when: &str, why: &str| (Tone::Pending, when.to_owned(), why.to_owned());
    let left_out = |why: &str| (Tone::Faint, "never".to_owned(), why.to_owned());
    match &member.when {
        When::Done => outcome(member, now),
        When::AlreadyThere => {
            (Tone::Good, "done".to_owned(), "runs it, or newer, already".to_owned())
        }
        When::InFlight => {
            let since = member.since.map(|since| format!("since {}", words::ago(since, now)));
            (Tone::Pending, "under way".to_owned(), since.unwrap_or_default())
        }
        When::Now => plain("now", ""),
        When::At { at, why } => {
            let why = match why {
                WaitsFor::Jitter => "its own delay in the stage",
                WaitsFor::Window => "its maintenance window",
            };
            (Tone::Pending, words::moment(*at), why.to_owned())
        }
        When::InTurn => plain("in turn", "as many as may are under way"),
        When::Later => {
            let stage = member.stage + 1;
            (
                Tone::Plain,
                "later".to_owned(),
                format!("once stage {stage} is reached and it goes on"),
            )
        }
        When::Offline => plain("when it connects", "offline"),
        When::Paused => plain("when it is resumed", "paused at the PC"),
        When::Never { why } => left_out(match why {
            WhyNever::Pinned => "pinned to another version",
            WhyNever::Held => "the version is held for it",
            WhyNever::Channel => "its channel does not take the version",
            WhyNever::NoRelease => {
                "there is no release that it takes: none for its platform, or one that was withdrawn or is not signed"
            }
            WhyNever::VersionUnknown => "its version cannot be compared",
            WhyNever::NothingKept => "it kept no version to go back to",
            WhyNever::Overtaken => "an operator or a newer rollout decides about it",
        }),
    }
}

fn outcome(member: &Member, now: Timestamp) -> (Tone, String, String) {
    let (tone, word) = match member.state {
        MemberState::Succeeded => (Tone::Good, "done"),
        MemberState::Failed => (Tone::Bad, "failed"),
        MemberState::RolledBack => (Tone::Bad, "went back"),
        MemberState::Silent => (Tone::Bad, "silent"),
        MemberState::Overtaken => (Tone::Faint, "left out"),
        MemberState::Waiting | MemberState::InFlight => (Tone::Pending, "waits"),
    };
    let ago = member.since.map(|since| words::ago(since, now));
    (tone, word.to_owned(), member.detail.clone().or(ago).unwrap_or_default())
}

#[cfg(test)]
pub(super) mod tests {
    use kenny_proto::rollout::{Selection, Stage, StageSize, Strategy, Tolerated};

    use super::*;

    const PLAIN: Palette = Palette { coloured: false };

    /// A rollout of ten PCs in two stages.
    pub fn rollout(state: RolloutState) -> Rollout {
        let stage = |count| Stage { to: StageSize::Count(count), bake_s: 60 };
        Rollout {
            id: "6f1c6f5e-2d5a-4a0e-9c57-1d9b1f6f2a11".parse().unwrap(),
            kind: RolloutKind::Update,
            version: "1.4.0".to_owned(),
            selection: Selection { everyone: true, ..Selection::default() },
            preset: Some(Preset::Careful),
            strategy: Strategy {
                stages: vec![stage(2), stage(10)],
                max_in_flight: 5,
                per_minute: None,
                jitter_s: 0,
                tolerated: Tolerated::default(),
                silent_after_s: 3600,
                windows: Vec::new(),
            },
            allow_downgrade: false,
            state,
            reason: None,
            stage: 0,
            stage_since: Timestamp::UNIX_EPOCH,
            started_by: "anna".to_owned(),
            started_at: Timestamp::UNIX_EPOCH,
            ended_at: None,
            stages: vec![
                StageView { members: 2, succeeded: 1, in_flight: 1, ..StageView::default() },
                StageView {
                    members: 8,
                    waiting: 6,
                    offline: 1,
                    excluded: 1,
                    ..StageView::default()
                },
            ],
        }
    }

    #[test]
    fn rollouts_are_listed_with_what_they_came_to() {
        let mut halted = rollout(RolloutState::Halted);
        halted.reason = Some("2 of 2 PCs went back.".to_owned());
        halted.stages[0].rolled_back = 2;
        let now = Timestamp::from_second(120).unwrap();
        assert_eq!(
            table(&[rollout(RolloutState::Running), halted], now).render(PLAIN),
            "ID        WHAT              STARTED            PCS  DONE  FAILED  STATE\n\
             6f1c6f5e  rollout of 1.4.0  2 min ago by anna  10   1     0       running, stage 1 of 2\n\
             6f1c6f5e  rollout of 1.4.0  2 min ago by anna  10   1     2       halted in stage 1 of 2: 2 of 2 PCs went back.\n"
        );
    }

    #[test]
    fn a_plan_says_when_and_why() {
        let member = |id: &str, stage, when| Member {
            agent_id: id.parse().unwrap(),
            stage,
            state: MemberState::Waiting,
            when,
            since: None,
            version: Some("1.3.0".to_owned()),
            detail: None,
        };
        let at = Timestamp::from_second(3600).unwrap();
        let list = [
            member("a", 0, When::Now),
            member("b", 0, When::At { at, why: WaitsFor::Window }),
            member("c", 1, When::Later),
            member("d", 1, When::Never { why: WhyNever::Pinned }),
        ];
        assert_eq!(
            members(&list, 2, Timestamp::UNIX_EPOCH).render(PLAIN),
            "AGENT  STAGE   RUNS   WHEN                  WHY\n\
             a      1 of 2  1.3.0  now\n\
             b      1 of 2  1.3.0  1970-01-01 01:00:00Z  its maintenance window\n\
             c      2 of 2  1.3.0  later                 once stage 2 is reached and it goes on\n\
             d      2 of 2  1.3.0  never                 pinned to another version\n"
        );
    }

    #[test]
    fn a_rollout_is_named_by_its_version_or_the_beginning_of_its_id() {
        let rollouts = [rollout(RolloutState::Running)];
        for text in ["1.4.0", "6f1c", "6f1c6f5e-2d5a-4a0e-9c57-1d9b1f6f2a11"] {
            assert_eq!(among(&rollouts, text), Ok(rollouts[0].id), "{text}");
        }
        assert!(among(&rollouts, "1.5.0").unwrap_err().contains("kenny rollout list"));
        let two = [rollouts[0].clone(), rollouts[0].clone()];
        assert!(among(&two, "6f1c").unwrap_err().contains("2 rollouts"));
    }
}
