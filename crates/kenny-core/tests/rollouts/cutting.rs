//! Stages: who is in which, and how far apart they begin.

use std::time::Duration;

use kenny_core::rollout::course::{Course, MemberFacts};
use kenny_core::rollout::stages::{cut, hash, jitter, of_joiner, order};
use kenny_core::rollout::strategy::of_preset;
use kenny_proto::rollout::{Preset, Stage, StageSize};

use super::random::Random;
use super::world::{agent, course};

fn with(sizes: Vec<StageSize>, seed: u64) -> Course {
    let mut strategy = of_preset(Preset::Now);
    strategy.stages = sizes.into_iter().map(|to| Stage { to, bake_s: 0 }).collect();
    let mut course = course(strategy);
    course.seed = seed;
    course
}

fn fleet(count: u32) -> Vec<MemberFacts> {
    (1..=count).map(|number| agent(&format!("pc-{number}"))).collect()
}

fn named(ids: &[&str]) -> StageSize {
    StageSize::Agents(ids.iter().map(|id| id.parse().unwrap()).collect())
}

fn sizes(members: &[MemberFacts], stages: u32) -> Vec<usize> {
    (0..stages).map(|stage| members.iter().filter(|member| member.stage == stage).count()).collect()
}

fn stage_of(members: &[MemberFacts], id: &str) -> u32 {
    members.iter().find(|member| member.id.as_str() == id).unwrap().stage
}

#[test]
fn hashes_stay_what_they_are() {
    for (seed, id, hash_is, order_is) in [
        (0, "pc-1", 0x239b_b99b_9372_5ae7, 0x254b_187b_3e66_4675),
        (0, "pc-2", 0x741d_9f88_52c1_e47a, 0x0d03_4efc_773a_f340),
        (1, "pc-1", 0x57cd_3634_04b9_664c, 0xe5c9_b2a2_a6bf_c338),
        (u64::MAX, "anna@home", 0x6ee4_98e3_de78_5bed, 0x289d_7161_1a24_052f),
    ] {
        let id = id.parse().unwrap();
        assert_eq!((hash(seed, &id), order(seed, &id)), (hash_is, order_is), "{seed} {id}");
    }
}

#[test]
fn sizes_are_cumulative_and_percentages_are_rounded_up() {
    let sizes_of = |sizes_are: Vec<StageSize>, count| {
        let stages = u32::try_from(sizes_are.len()).unwrap();
        let mut members = fleet(count);
        cut(&with(sizes_are, 3), &mut members);
        sizes(&members, stages)
    };
    use StageSize::{Count, Percent};
    assert_eq!(
        sizes_of(vec![Count(2), Percent(10), Percent(50), Percent(100)], 100),
        [2, 8, 40, 50]
    );
    assert_eq!(sizes_of(vec![Percent(10), Percent(100)], 11), [2, 9], "1.1 are two");
    assert_eq!(
        sizes_of(vec![Count(2), Percent(10), Percent(100)], 10),
        [2, 0, 8],
        "one is reached"
    );
    assert_eq!(sizes_of(vec![Count(5), Percent(100)], 3), [3, 0]);
    assert_eq!(sizes_of(vec![Count(1), Percent(50)], 10), [1, 9], "the rest is in the last");
    assert_eq!(sizes_of(vec![Count(1), Percent(100)], 0), [0, 0]);
}

#[test]
fn who_is_named_is_in_that_stage_and_in_none_before() {
    for seed in 0..50 {
        let mut members = fleet(10);
        let sizes_are = vec![
            named(&["pc-4"]),
            StageSize::Count(3),
            named(&["pc-9", "pc-4"]),
            StageSize::Percent(100),
        ];
        cut(&with(sizes_are, seed), &mut members);
        assert_eq!(sizes(&members, 4), [1, 2, 1, 6], "seed {seed}");
        assert_eq!((stage_of(&members, "pc-4"), stage_of(&members, "pc-9")), (0, 2), "seed {seed}");
    }
}

#[test]
fn a_canary_is_one_that_takes_the_update() {
    for seed in 0..50 {
        let mut members = fleet(6);
        members[0].pinned = Some("1.0.0".parse().unwrap());
        members[1].held = true;
        members[2].running = Some("1.4.0".parse().unwrap());
        members[3].release_available = false;
        members[4].online = false;
        cut(&with(vec![StageSize::Count(1), StageSize::Percent(100)], seed), &mut members);
        assert!(members[..4].iter().all(|member| member.stage == 1), "seed {seed}");
        assert_eq!(sizes(&members, 2), [1, 5], "seed {seed}");
    }
}

#[test]
fn the_cut_depends_on_the_seed_and_on_nothing_else() {
    let cut_with = |seed, mut members: Vec<MemberFacts>| {
        cut(&with(vec![StageSize::Percent(30), StageSize::Percent(100)], seed), &mut members);
        members.sort_by(|a, b| a.id.cmp(&b.id));
        members.into_iter().map(|member| member.stage).collect::<Vec<_>>()
    };
    let first = cut_with(1, fleet(40));
    let mut moved = fleet(40);
    for seed in 0..20 {
        Random(seed).shuffle(&mut moved);
        assert_eq!(cut_with(1, moved.clone()), first);
    }
    let others = (2..30).filter(|seed| cut_with(*seed, fleet(40)) != first).count();
    assert_eq!(others, 28, "each seed cuts otherwise");
}

#[test]
fn over_many_seeds_each_is_a_canary_as_often_as_any() {
    let mut times = [0_u32; 10];
    for seed in 0..2000 {
        let mut members = fleet(10);
        cut(&with(vec![StageSize::Count(1), StageSize::Percent(100)], seed), &mut members);
        times[members.iter().position(|member| member.stage == 0).unwrap()] += 1;
    }
    // 200 each, with a deviation of 13: five of them are far out.
    assert!(times.iter().all(|times| (135..=265).contains(times)), "{times:?}");
}

#[test]
fn delays_fill_the_span_and_come_in_order() {
    assert_eq!(jitter(u64::MAX, 0), Duration::ZERO);
    assert_eq!(jitter(0, 600), Duration::ZERO);
    assert_eq!(jitter(u64::MAX, 600), Duration::from_mins(10));
    assert_eq!(jitter(u64::MAX, u32::MAX), Duration::from_secs(u32::MAX.into()));
    let mut orders: Vec<u64> = fleet(1000).iter().map(|member| order(5, &member.id)).collect();
    orders.sort_unstable();
    let delays: Vec<Duration> = orders.iter().map(|order| jitter(*order, 600)).collect();
    assert!(delays.is_sorted());
    let of_quarter = |from: u64| {
        let span = Duration::from_secs(from)..Duration::from_secs(from + 150);
        delays.iter().filter(|delay| span.contains(delay)).count()
    };
    for from in [0, 150, 300, 450] {
        // 250 each, with a deviation of 14.
        assert!((180..=320).contains(&of_quarter(from)), "{} from {from} s", of_quarter(from));
    }
}

#[test]
fn the_order_within_a_stage_is_not_that_of_the_cut() {
    let members = fleet(100);
    let by = |key: fn(u64, &kenny_proto::AgentId) -> u64| {
        members.iter().min_by_key(|member| key(9, &member.id)).unwrap().id.clone()
    };
    assert_ne!(by(hash), by(order));
}

#[test]
fn who_joins_later_is_in_the_last_stage() {
    assert_eq!(of_joiner(&of_preset(Preset::Careful)), 3);
    assert_eq!(of_joiner(&of_preset(Preset::Now)), 0);
}
