//! Strategies: what is allowed, and those that have a name.

use kenny_proto::rollout::{NewRollout, Preset, Stage, StageSize, Strategy, Tolerated, Window};

/// The most stages: each needs an outcome and a bake, and whoever wants more wants a count per day.
pub const MAX_STAGES: usize = 20;
/// The most windows: one for each day and part of the day.
pub const MAX_WINDOWS: usize = 28;
/// The most updates at a time: as many agents as a server is made for.
pub const MAX_IN_FLIGHT: u32 = 10_000;
/// The longest bake, deadline or jitter, 90 days in seconds: longer ones are slips of the keyboard (milliseconds, say).
pub const MAX_TIME_S: u32 = 90 * 24 * 60 * 60;

const MINUTE_S: u32 = 60;
const HOUR_S: u32 = 60 * MINUTE_S;
const DAY_S: u32 = 24 * HOUR_S;

/// A field has a value that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}, but {allowed}")]
pub struct Invalid {
    /// The field's path in the request, such as `strategy.stages[1].to.percent`.
    pub field: String,
    /// What it is.
    pub value: String,
    /// What it may be, and what to do.
    pub allowed: String,
}

impl Invalid {
    pub(super) fn new(
        field: impl Into<String>,
        value: &dyn std::fmt::Display,
        allowed: impl Into<String>,
    ) -> Self {
        Self { field: field.into(), value: value.to_string(), allowed: allowed.into() }
    }
}

/// The strategy that a request means: its own, that of its preset, or `careful`.
pub fn of_request(request: &NewRollout) -> Result<Strategy, Invalid> {
    match (&request.strategy, request.preset) {
        (Some(_), Some(preset)) => Err(Invalid::new(
            "preset",
            &format!("{preset:?}").to_lowercase(),
            "there is a strategy as well: leave one of the two out",
        )),
        (Some(strategy), None) => check(strategy).map(|()| strategy.clone()),
        (None, preset) => Ok(of_preset(preset.unwrap_or(Preset::Careful))),
    }
}

/// A strategy by its name.
pub fn of_preset(name: Preset) -> Strategy {
    match name {
        Preset::Careful => careful(),
        Preset::Normal => normal(),
        Preset::Now => now(),
    }
}

/// For PCs whose owners sleep and whose helper is not there.
///
/// - Two canaries: one may be off or odd. A tenth and a half show what two cannot, and leave somebody to compare with.
/// - A day between: every PC was restarted, used and left alone once.
/// - From 1 to 5 in the morning: nobody sits there, and it is over before anybody does.
/// - Five at a time, and within half an hour: a server at home has one uplink.
/// - No failure is tolerated: the helper wants to hear of the first.
/// - A PC that was lost is silent after a day: it was switched on at the hour at which it was lost.
fn careful() -> Strategy {
    let night = Window {
        days: std::collections::BTreeSet::new(),
        from: jiff::civil::time(1, 0, 0, 0),
        to: jiff::civil::time(5, 0, 0, 0),
    };
    Strategy {
        stages: vec![
            Stage { to: StageSize::Count(2), bake_s: DAY_S },
            Stage { to: StageSize::Percent(10), bake_s: DAY_S },
            Stage { to: StageSize::Percent(50), bake_s: DAY_S },
            Stage { to: StageSize::Percent(100), bake_s: DAY_S },
        ],
        max_in_flight: 5,
        per_minute: Some(2),
        jitter_s: 30 * MINUTE_S,
        tolerated: Tolerated { count: 0, percent: 0 },
        silent_after_s: DAY_S,
        windows: vec![night],
    }
}

/// For an afternoon at which the helper has an eye on it.
///
/// - One canary, a quarter, all: three looks in an afternoon.
/// - An hour between: a probation ends after minutes, and what breaks later breaks in the first hour of use.
/// - Twenty at a time, thirty a minute, within five minutes: the artifact comes from memory, and the uplink breathes.
/// - One of twenty may fail: in a big fleet there is always one with a full disk or a pulled plug.
/// - Silent after four hours: a lunch with a closed lid and a reboot with updates are shorter.
fn normal() -> Strategy {
    Strategy {
        stages: vec![
            Stage { to: StageSize::Count(1), bake_s: HOUR_S },
            Stage { to: StageSize::Percent(25), bake_s: HOUR_S },
            Stage { to: StageSize::Percent(100), bake_s: HOUR_S },
        ],
        max_in_flight: 20,
        per_minute: Some(30),
        jitter_s: 5 * MINUTE_S,
        tolerated: Tolerated { count: 0, percent: 5 },
        silent_after_s: 4 * HOUR_S,
        windows: Vec::new(),
    }
}

/// For a hole that is to be shut today.
///
/// - One stage without a bake: nothing is waited for.
/// - Two hundred at a time: so many at most are hurt before it stops, and ten thousand are through in an hour.
/// - One of twenty may fail, and one in a small fleet: the haste is worth that much, a broken version is not.
/// - Silent after an hour: the longest silence of a healthy update is half that (a reboot with Windows updates).
fn now() -> Strategy {
    Strategy {
        stages: vec![Stage { to: StageSize::Percent(100), bake_s: 0 }],
        max_in_flight: 200,
        per_minute: None,
        jitter_s: 0,
        tolerated: Tolerated { count: 1, percent: 5 },
        silent_after_s: HOUR_S,
        windows: Vec::new(),
    }
}

/// Refuses what cannot be meant. Errors name the field as it is in `POST /rollouts`.
pub fn check(strategy: &Strategy) -> Result<(), Invalid> {
    check_stages(&strategy.stages)?;
    within("max_in_flight", strategy.max_in_flight, 1, MAX_IN_FLIGHT)?;
    if let Some(rate) = strategy.per_minute {
        within("per_minute", rate, 1, MAX_IN_FLIGHT)?;
    }
    within("jitter_s", strategy.jitter_s, 0, MAX_TIME_S)?;
    within("tolerated.percent", u32::from(strategy.tolerated.percent), 0, 100)?;
    within("silent_after_s", strategy.silent_after_s, 1, MAX_TIME_S)?;
    check_windows(&strategy.windows)
}

fn check_stages(stages: &[Stage]) -> Result<(), Invalid> {
    if !(1..=MAX_STAGES).contains(&stages.len()) {
        return Err(Invalid::new(
            "strategy.stages",
            &format_args!("a list of {}", stages.len()),
            format!("there are 1 to {MAX_STAGES} stages"),
        ));
    }
    // The sizes that came before, which a later one of the same sort has to exceed.
    let (mut count_before, mut percent_before) = (0, 0);
    for (index, stage) in stages.iter().enumerate() {
        within(&format!("stages[{index}].bake_s"), stage.bake_s, 0, MAX_TIME_S)?;
        let field = format!("stages[{index}].to");
        match &stage.to {
            StageSize::Agents(agents) if agents.is_empty() => {
                return Err(Invalid::new(
                    format!("strategy.{field}.agents"),
                    &"an empty list",
                    "a stage by names has at least one",
                ));
            }
            StageSize::Agents(_) => {}
            StageSize::Count(count) => {
                within(&format!("{field}.count"), *count, 1, u32::MAX)?;
                grows(&format!("{field}.count"), *count, &mut count_before)?;
            }
            StageSize::Percent(percent) => {
                let percent = u32::from(*percent);
                within(&format!("{field}.percent"), percent, 1, 100)?;
                grows(&format!("{field}.percent"), percent, &mut percent_before)?;
            }
        }
    }
    Ok(())
}

/// Sizes are cumulative, so that one that is no greater would be an empty stage.
fn grows(field: &str, value: u32, before: &mut u32) -> Result<(), Invalid> {
    if value <= *before {
        return Err(Invalid::new(
            format!("strategy.{field}"),
            &value,
            format!("sizes count everybody so far, and an earlier stage comes to {before} already"),
        ));
    }
    *before = value;
    Ok(())
}

fn check_windows(windows: &[Window]) -> Result<(), Invalid> {
    if windows.len() > MAX_WINDOWS {
        return Err(Invalid::new(
            "strategy.windows",
            &format_args!("a list of {}", windows.len()),
            format!("there are at most {MAX_WINDOWS}"),
        ));
    }
    for (index, window) in windows.iter().enumerate() {
        for (name, time) in [("from", window.from), ("to", window.to)] {
            if time.subsec_nanosecond() != 0 {
                return Err(Invalid::new(
                    format!("strategy.windows[{index}].{name}"),
                    &time,
                    "windows begin and end at whole seconds",
                ));
            }
        }
        if window.from == window.to {
            return Err(Invalid::new(
                format!("strategy.windows[{index}].to"),
                &window.to,
                "that is when the window begins: it would never be open. For any time leave `windows` empty",
            ));
        }
    }
    Ok(())
}

fn within(field: &str, value: u32, least: u32, most: u32) -> Result<(), Invalid> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let allowed = if most == u32::MAX {
        format!("the least is {least}")
    } else {
        format!("it is from {least} to {most}")
    };
    Err(Invalid::new(format!("strategy.{field}"), &value, allowed))
}
