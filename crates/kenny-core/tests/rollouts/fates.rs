//! Random strategies, agents and fates.

use kenny_core::rollout::course::MemberFacts;
use kenny_proto::rollout::{Channel, Stage, StageSize, Strategy, Tolerated};

use super::random::Random;
use super::windows::random_window;
use super::world::{NEW, OLD, agent};

/// What becomes of an update on an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// It is through when it says so.
    Good,
    /// The version is blamed, after the swap.
    RollsBack,
    /// The version is blamed, before it.
    Fails,
    /// It is not heard of again.
    Lost,
    /// It is not heard of for a long time, and was good.
    LostForLong,
    /// It fails for other reasons now and then, and is good.
    Flaky,
    /// It fails for other reasons for ever.
    Full,
}

pub fn random_strategy(random: &mut Random) -> Strategy {
    let mut stages: Vec<Stage> = Vec::new();
    let bake_s = |random: &mut Random| random.below(4) * random.below(40_000);
    if random.percent(30) {
        let named = (0..3).map(|_| format!("pc-{}", random.below(50)).parse().unwrap());
        stages.push(Stage { to: StageSize::Agents(named.collect()), bake_s: 600 });
    }
    if random.percent(50) {
        let to = StageSize::Count(1 + random.below(4));
        stages.push(Stage { to, bake_s: bake_s(random) });
    }
    if random.percent(50) {
        let to = StageSize::Percent(10 + u8::try_from(random.below(40)).unwrap());
        stages.push(Stage { to, bake_s: bake_s(random) });
    }
    stages.push(Stage { to: StageSize::Percent(100), bake_s: bake_s(random) });
    let windows = random.below(3) * u32::from(random.percent(40));
    let strategy = Strategy {
        stages,
        max_in_flight: 1 + random.below(8),
        per_minute: random.percent(50).then(|| 1 + random.below(3)),
        jitter_s: random.below(2) * random.below(5000),
        tolerated: Tolerated {
            count: random.below(3),
            percent: u8::try_from(random.below(20)).unwrap(),
        },
        silent_after_s: 60 + random.below(20_000),
        windows: (0..windows).map(|_| random_window(random)).collect(),
    };
    kenny_core::rollout::strategy::check(&strategy).unwrap();
    strategy
}

pub fn random_agent(random: &mut Random, id: &str) -> MemberFacts {
    let mut member = agent(id);
    member.online = random.percent(80);
    member.running = match random.below(20) {
        0 => Some(NEW.parse().unwrap()),
        1 => None,
        _ => member.running,
    };
    member.pinned = random.percent(5).then(|| OLD.parse().unwrap());
    member.held = random.percent(3);
    member.paused = random.percent(5);
    member.channel = if random.percent(20) { Channel::Beta } else { Channel::Stable };
    let offset = i32::try_from(random.below(27)).unwrap() * 3600 - 12 * 3600;
    member.utc_offset_s = random.percent(90).then_some(offset);
    member
}

pub fn random_nature(random: &mut Random, ill_percent: u32) -> Nature {
    if !random.percent(ill_percent) {
        return Nature::Good;
    }
    match random.below(6) {
        0 => Nature::RollsBack,
        1 => Nature::Fails,
        2 => Nature::Lost,
        3 => Nature::LostForLong,
        4 => Nature::Flaky,
        _ => Nature::Full,
    }
}
