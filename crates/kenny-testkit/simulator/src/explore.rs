//! Every interruption of every story, one after the other.

use std::fmt;

use kenny_core::update::Refusal;

use crate::ending::Ending;
use crate::scenario::{Behaviour, Scenario};
use crate::world::{Broken, Interruption, World};

/// What was tried.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tried {
    /// Stories.
    pub scenarios: u64,
    /// Points at which a story was interrupted.
    pub points: u64,
    /// States that power cuts left, from which the PC came up again.
    pub power_cuts: u64,
    /// Power cuts during the recovery from another one.
    pub second_power_cuts: u64,
    /// Kills of one process, and shutdowns.
    pub kills: u64,
    /// Effects that were refused, once or more often.
    pub faults: u64,
    /// Times that somebody meddled with the journal, the updater's service or the candidate.
    pub meddlings: u64,
    /// Endings: the new version stayed.
    pub committed: u64,
    /// Endings: the old version came back.
    pub rolled_back: u64,
    /// Endings: nothing was touched.
    pub failed: u64,
}

impl Tried {
    /// Everything that was run to its end.
    pub const fn runs(&self) -> u64 {
        self.scenarios
            + self.power_cuts
            + self.second_power_cuts
            + self.kills
            + self.faults
            + self.meddlings
    }

    fn ended(&mut self, ending: Ending) {
        match ending {
            Ending::Committed => self.committed += 1,
            Ending::RolledBack => self.rolled_back += 1,
            Ending::Failed => self.failed += 1,
        }
    }

    fn add(&mut self, other: &Self) {
        self.scenarios += other.scenarios;
        self.points += other.points;
        self.power_cuts += other.power_cuts;
        self.second_power_cuts += other.second_power_cuts;
        self.kills += other.kills;
        self.faults += other.faults;
        self.meddlings += other.meddlings;
        self.committed += other.committed;
        self.rolled_back += other.rolled_back;
        self.failed += other.failed;
    }
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} scenarios, {} cut points: {} power-cut states, {} second power cuts, {} kills and shutdowns, {} refused effects, {} meddlings; recovered {} of {} ({} on the new version, {} rolled back, {} never begun)",
            self.scenarios,
            self.points,
            self.power_cuts,
            self.second_power_cuts,
            self.kills,
            self.faults,
            self.meddlings,
            self.runs(),
            self.runs(),
            self.committed,
            self.rolled_back,
            self.failed
        )
    }
}

/// How much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Every interruption once.
    Single,
    /// And every power cut during the recovery from a power cut.
    Double,
}

/// Tries one story.
pub fn explore(scenario: &Scenario, depth: Depth) -> Result<Tried, Broken> {
    let mut tried = Tried { scenarios: 1, ..Tried::default() };
    let mut world = World::new(scenario);
    world.run()?;
    tried.ended(world.check_rest(false)?);
    let points = world.points();
    tried.points = u64::from(points);
    for point in 0..points {
        power_cuts(scenario, point, depth, &mut tried)?;
        for interruption in
            [Interruption::KillUpdater, Interruption::KillAgent, Interruption::ShutDown]
        {
            let mut world = World::new(scenario);
            world.interrupt(point, interruption);
            world.run()?;
            tried.ended(world.check_rest(true)?);
            tried.kills += 1;
        }
        for (refusal, times) in
            [(Refusal::Full, 1), (Refusal::InUse, 1), (Refusal::Other, 1), (Refusal::Full, 7)]
        {
            let mut world = World::new(scenario);
            world.interrupt(point, Interruption::Refuses(refusal, times));
            world.run()?;
            // A service that could not be removed is there until the next start of the PC.
            world.reboot_for_leftovers();
            world.run()?;
            tried.ended(world.check_rest(true)?);
            tried.faults += 1;
        }
    }
    for point in 0..points {
        for interruption in
            [Interruption::DamagesJournal, Interruption::LosesUpdater, Interruption::LosesCandidate]
        {
            // A version that runs nothing of its own, and nobody left who would put the old one back: that is lost.
            if interruption == Interruption::LosesUpdater && scenario.behaviour != Behaviour::Good {
                continue;
            }
            let mut world = World::new(scenario);
            world.interrupt(point, interruption);
            world.run()?;
            world.reboot_if_unattended();
            world.run()?;
            world.reboot_for_leftovers();
            world.run()?;
            world.check_rest_after_meddling()?;
            tried.meddlings += 1;
        }
    }
    Ok(tried)
}

fn power_cuts(
    scenario: &Scenario,
    point: u32,
    depth: Depth,
    tried: &mut Tried,
) -> Result<(), Broken> {
    let mut at_cut = World::new(scenario);
    at_cut.interrupt(point, Interruption::PowerCut);
    if !at_cut.run()? {
        return Ok(());
    }
    for loss in at_cut.losses() {
        let mut world = at_cut.clone();
        world.boot(loss);
        let booted = world.clone();
        // Counts the points of the recovery, too.
        world.interrupt(u32::MAX, Interruption::PowerCut);
        world.run()?;
        tried.ended(world.check_rest(true)?);
        tried.power_cuts += 1;
        if depth == Depth::Single || !loss.services_kept {
            continue;
        }
        for second in 0..world.points() {
            let mut again = booted.clone();
            again.interrupt(second, Interruption::PowerCut);
            if !again.run()? {
                break;
            }
            // The loss that forgets most: what was tried one by one above.
            let Some(loss) = again.losses().into_iter().find(|loss| loss.names_kept == 0) else {
                continue;
            };
            again.boot(loss);
            again.run()?;
            tried.ended(again.check_rest(true)?);
            tried.second_power_cuts += 1;
        }
    }
    Ok(())
}

/// Tries every story, two at a time.
pub fn explore_all(scenarios: &[Scenario], depth: Depth) -> Result<Tried, Broken> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let mut tried = Tried::default();
        loop {
            let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some(scenario) = scenarios.get(at) else { return Ok(tried) };
            tried.add(&explore(scenario, depth)?);
        }
    };
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        let mut all = Tried::default();
        for thread in threads {
            all.add(&thread.join().expect("a story does not panic")?);
        }
        Ok(all)
    })
}
