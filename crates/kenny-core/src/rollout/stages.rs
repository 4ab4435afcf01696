//! Which member is in which stage, in which order they come, and how far apart.
//!
//! All of it follows from the rollout's seed and the agent's id. The hash is FNV-1a with the finish of splitmix64: even
//! and the same everywhere. It is no cryptography: who chooses ids and knows the seed chooses stages, but ids are given by
//! the server's owner, and the seed is random.

use std::collections::BTreeMap;
use std::time::Duration;

use kenny_proto::AgentId;
use kenny_proto::rollout::{Stage, StageSize, Strategy};

use super::course::{Course, MemberFacts};
use super::member;

/// What an order within a stage differs by from the order that cut it: the first canary of one is not always the first.
const ORDER: u64 = 0x6f72_6465_7200_0001;

/// Sets each member's stage, from 0, at the start of a rollout or for the plan of one.
///
/// Members that a stage names are in that stage. The others come in the order of their hash, and each stage takes as
/// many as bring the rollout to its size; whoever is left over is in the last. A member that is not to be updated as
/// things are, or runs the target already, is in the last unless it is named: a canary is one that takes the update.
/// The sizes are of all members, percentages rounded up.
///
/// The order of the members is of no matter, and none is moved.
pub fn cut(course: &Course, members: &mut [MemberFacts]) {
    let stages = &course.strategy.stages;
    let last = of_joiner(&course.strategy);
    let named = named(stages);
    let mut placed = vec![0_usize; stages.len()];
    let mut order: Vec<(u64, usize)> = Vec::with_capacity(members.len());
    for (index, member) in members.iter_mut().enumerate() {
        member.stage = named.get(&member.id).copied().unwrap_or(last);
        if named.contains_key(&member.id) {
            placed[position(member.stage)] += 1;
        } else if member::takes_it(course, member) {
            order.push((hash(course.seed, &member.id), index));
        }
    }
    order.sort_unstable_by(|(a, at_a), (b, at_b)| {
        a.cmp(b).then_with(|| members[*at_a].id.cmp(&members[*at_b].id))
    });
    let total = members.len();
    let mut others = order.into_iter().map(|(_, index)| index);
    let mut reached = 0;
    for (stage, number) in stages.iter().zip(0..last) {
        reached += placed[position(number)];
        let size = match &stage.to {
            StageSize::Agents(_) => 0,
            StageSize::Count(count) => position(*count),
            StageSize::Percent(percent) => (total * usize::from(*percent)).div_ceil(100),
        };
        for index in others.by_ref().take(size.saturating_sub(reached)) {
            members[index].stage = number;
            reached += 1;
        }
    }
}

/// The stage of an agent that joins an open rollout: the last.
pub fn of_joiner(strategy: &Strategy) -> u32 {
    u32::try_from(strategy.stages.len().saturating_sub(1)).unwrap_or(u32::MAX)
}

/// Where a member stands among those of its stage. Smaller comes first.
pub fn order(seed: u64, agent: &AgentId) -> u64 {
    mix(hash(seed, agent) ^ ORDER)
}

/// How long after its stage a member begins: from zero to `jitter_s` seconds, in milliseconds, longer for those whose
/// [`order`] is greater.
pub fn jitter(order: u64, jitter_s: u32) -> Duration {
    let span = u128::from(jitter_s) * 1000 + 1;
    let part = (u128::from(order) * span) >> 64;
    Duration::from_millis(u64::try_from(part).expect("a part of 2^42 milliseconds fits"))
}

/// FNV-1a (64 bits) over the id from a basis that the seed changed, then the finish of splitmix64.
pub fn hash(seed: u64, agent: &AgentId) -> u64 {
    mix(fnv1a(mix(seed) ^ FNV_BASIS, agent.as_str().as_bytes()))
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

fn fnv1a(basis: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(basis, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// The step of splitmix64: of the state before it, the next number.
fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Who is named, with the first stage that does.
fn named(stages: &[Stage]) -> BTreeMap<&AgentId, u32> {
    let mut named = BTreeMap::new();
    for (stage, number) in stages.iter().zip(0..) {
        match &stage.to {
            StageSize::Agents(agents) => {
                for agent in agents {
                    named.entry(agent).or_insert(number);
                }
            }
            StageSize::Count(_) | StageSize::Percent(_) => {}
        }
    }
    named
}

fn position(number: u32) -> usize {
    usize::try_from(number).expect("a pointer has at least 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hashes_are_those_that_the_world_knows() {
        for (text, hash) in [
            ("", 0xcbf2_9ce4_8422_2325),
            ("a", 0xaf63_dc4c_8601_ec8c),
            ("foobar", 0x8594_4171_f739_67e8),
        ] {
            assert_eq!(fnv1a(FNV_BASIS, text.as_bytes()), hash, "FNV-1a of `{text}`");
        }
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf, "splitmix64's first number from 0");
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317, "and from 1234567");
    }
}
