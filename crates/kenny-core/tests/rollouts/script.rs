//! Scripts: each line says what happens, and below it stands what the rollout then does.
//!
//! ```text
//! # A title: what is shown.
//! stages 1/60m 50%/60m 100%/0m      sizes (a number, a percentage, or names with commas) and bakes
//! in_flight 2 · per_minute 3 · jitter 10m · tolerated 1 · tolerated 5% · silent 4h · window mon,tue 22:00-05:00
//! preset careful · seed 7 · rollback · downgrade · target 1.4.0-beta.1
//! fleet a b c                       agents: online, on 1.3.0, on UTC
//! start                             cuts the stages and starts at the time that it is
//! at 1d2h3m                         the time since Monday, 00:00 UTC; it may go back
//! online a · offline a · succeeds a · fails a · rolled_back a · excused a · retried a · unsent a
//! running a 1.4.0 · kept a 1.2.0 · pinned a 1.3.0 · unpinned a · held a · unheld a · paused a · unpaused a
//! beta a · no_release a · offset a +2h · no_offset a · overtaken a · joins e · new a (never connected)
//! pause · cancel · resume · resume retry · restart
//! plan                              writes the plan out, in lines with a bar
//! ```
//!
//! Lines with `expect` and with a bar are what came of the lines before. `UPDATE_SNAPSHOTS=1` writes them anew.

use std::fmt::Write;

use kenny_core::rollout::course::Outcome;
use kenny_core::rollout::plan::plan;
use kenny_core::rollout::{stages, strategy};
use kenny_proto::rollout::{
    Channel, Day, Preset, RolloutKind, RolloutState, Stage, StageSize, Strategy, Tolerated, Window,
};

use super::table;
use super::world::{World, agent, course, monday, seconds};

/// Runs a script and returns it with the lines that have come of it.
pub fn run(script: &str) -> String {
    let strategy = Strategy {
        stages: Vec::new(),
        max_in_flight: 100,
        per_minute: None,
        jitter_s: 0,
        tolerated: Tolerated::default(),
        silent_after_s: 4 * 3600,
        windows: Vec::new(),
    };
    let mut world = World { course: course(strategy), members: Vec::new(), now: monday() };
    let mut is_started = false;
    let mut out = String::new();
    for line in script.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(verb) = words.first().copied() else {
            out.push('\n');
            continue;
        };
        if verb == "|" || verb == "expect" {
            continue;
        }
        out.push_str(line.trim_end());
        out.push('\n');
        if verb == "#" {
            continue;
        }
        if verb == "plan" {
            let plan = plan(&world.course, &world.members, world.now);
            for line in table::of_plan(&plan) {
                writeln!(out, "  | {line}").unwrap();
            }
            continue;
        }
        let arguments = &words[1..];
        if !set_up(&mut world, verb, arguments) {
            happen(&mut world, verb, arguments);
        }
        is_started |= verb == "start";
        if is_started {
            for line in table::of_effects(&world.settle()) {
                writeln!(out, "  expect {line}").unwrap();
            }
        }
    }
    out
}

/// Carries out a line about the rollout itself; false when it is about something else.
fn set_up(world: &mut World, verb: &str, arguments: &[&str]) -> bool {
    let strategy = &mut world.course.strategy;
    match verb {
        "stages" => strategy.stages = arguments.iter().map(|text| stage(text)).collect(),
        "in_flight" => strategy.max_in_flight = arguments[0].parse().unwrap(),
        "per_minute" => strategy.per_minute = Some(arguments[0].parse().unwrap()),
        "jitter" => strategy.jitter_s = length(arguments[0]),
        "tolerated" => {
            strategy.tolerated = match arguments[0].strip_suffix('%') {
                Some(percent) => Tolerated { count: 0, percent: percent.parse().unwrap() },
                None => Tolerated { count: arguments[0].parse().unwrap(), percent: 0 },
            };
        }
        "silent" => strategy.silent_after_s = length(arguments[0]),
        "window" => strategy.windows.push(window(arguments)),
        "preset" => {
            *strategy = strategy::of_preset(match arguments[0] {
                "careful" => Preset::Careful,
                "normal" => Preset::Normal,
                "now" => Preset::Now,
                other => panic!("no preset {other}"),
            });
        }
        "seed" => world.course.seed = arguments[0].parse().unwrap(),
        "target" => world.course.version = arguments[0].parse().unwrap(),
        "rollback" => world.course.kind = RolloutKind::Rollback,
        "downgrade" => world.course.allow_downgrade = true,
        "fleet" => world.members.extend(arguments.iter().map(|id| agent(id))),
        "start" => {
            strategy::check(strategy).unwrap();
            world.start();
        }
        _ => return false,
    }
    true
}

/// Carries out a line about what happens to the rollout or to agents.
fn happen(world: &mut World, verb: &str, arguments: &[&str]) {
    match verb {
        "at" => world.now = monday() + seconds(length(arguments[0]).into()),
        "pause" => world.course.state = RolloutState::Paused,
        "cancel" => world.course.state = RolloutState::Cancelled,
        "resume" => world.resume(arguments == ["retry"]),
        "restart" => world.course.listening_since = world.now,
        "joins" => {
            for id in arguments {
                let mut member = agent(id);
                member.since = world.now;
                member.stage = stages::of_joiner(&world.course.strategy);
                world.members.push(member);
            }
        }
        "running" => {
            world.member(arguments[0]).running = Some(arguments[1].parse().unwrap());
        }
        "kept" => world.member(arguments[0]).kept = Some(arguments[1].parse().unwrap()),
        "pinned" => world.member(arguments[0]).pinned = Some(arguments[1].parse().unwrap()),
        "offset" => {
            let (sign, text) = arguments[1].split_at(1);
            let offset = i32::try_from(length(text)).unwrap();
            world.member(arguments[0]).utc_offset_s =
                Some(if sign == "-" { -offset } else { offset });
        }
        "succeeds" => arguments.iter().for_each(|id| world.succeeds(id)),
        "fails" | "rolled_back" => {
            for id in arguments {
                let (rolled_back, detail) = (verb == "rolled_back", "it crashes".to_owned());
                world.fails(id, Outcome::Blamed { rolled_back, detail });
            }
        }
        "excused" => {
            for id in arguments {
                world.fails(id, Outcome::Excused { detail: "the disk is full".to_owned() });
            }
        }
        _ => arguments.iter().for_each(|id| change(world, verb, id)),
    }
}

/// Carries out a line about one agent after the other.
fn change(world: &mut World, verb: &str, id: &str) {
    let member = world.member(id);
    match verb {
        "online" => member.online = true,
        "offline" => member.online = false,
        "retried" => (member.outcome, member.in_hand) = (Outcome::None, true),
        "unsent" => member.in_hand = false,
        "unpinned" => member.pinned = None,
        "held" => member.held = true,
        "unheld" => member.held = false,
        "paused" => member.paused = true,
        "unpaused" => member.paused = false,
        "beta" => member.channel = Channel::Beta,
        "no_release" => member.release_available = false,
        "no_offset" => member.utc_offset_s = None,
        "overtaken" => member.overtaken = true,
        "new" => (member.running, member.online) = (None, false),
        "odd" => member.running = None,
        other => panic!("`{other}` is no line of a script"),
    }
}

fn stage(text: &str) -> Stage {
    let (size, bake) = text.split_once('/').unwrap();
    let to = if let Some(percent) = size.strip_suffix('%') {
        StageSize::Percent(percent.parse().unwrap())
    } else if let Ok(count) = size.parse() {
        StageSize::Count(count)
    } else {
        StageSize::Agents(size.split(',').map(|id| id.parse().unwrap()).collect())
    };
    Stage { to, bake_s: length(bake) }
}

fn window(arguments: &[&str]) -> Window {
    let (days, times) = match arguments {
        [times] => (Vec::new(), *times),
        [days, times] => (days.split(',').map(day).collect(), *times),
        other => panic!("a window has days and times: {other:?}"),
    };
    let (from, to) = times.split_once('-').unwrap();
    let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
    Window { days: days.into_iter().collect(), from, to }
}

fn day(text: &str) -> Day {
    serde_json::from_value(text.into()).unwrap()
}

/// Seconds of a text such as `1d2h30m`.
fn length(text: &str) -> u32 {
    let (mut sum, mut number) = (0, 0);
    for letter in text.chars() {
        let unit = match letter {
            '0'..='9' => {
                number = number * 10 + letter.to_digit(10).unwrap();
                continue;
            }
            'd' => 86_400,
            'h' => 3600,
            'm' => 60,
            's' => 1,
            other => panic!("`{other}` is no unit of time"),
        };
        sum += number * unit;
        number = 0;
    }
    assert_eq!(number, 0, "`{text}` ends without a unit");
    sum
}
