//! `cargo xtask mutants`: the code is broken on purpose, one break after the other, and the enumeration or the tests must
//! notice each of them. A break that nothing notices is a hole in the suite.
//!
//! It works on a copy of the sources under `target/mutants`, never on the checkout.

mod accounts;
mod agent;
mod audit;
mod copy;
mod engine;
mod identity;
mod judge;
mod limits;
mod oauth;
mod releases;
mod trust;

use anyhow::{Result, bail, ensure};

use crate::arguments::Arguments;
use crate::process::{Step, seconds};
use crate::workspace;
use copy::Copy;
use judge::{Bench, Verdict};

pub use judge::Judge;

/// One break: in this file, this text becomes that one.
pub struct Mutant {
    /// What is wrong then, in words.
    name: &'static str,
    /// Below the checkout.
    file: &'static str,
    /// Stands there once.
    find: &'static str,
    replace: &'static str,
    /// Who has to notice.
    judged_by: Judge,
}

/// Every break, by the part that it is in.
const PARTS: &[(&str, &[Mutant])] = &[
    ("engine", engine::BREAKS),
    ("trust", trust::BREAKS),
    ("agent", agent::BREAKS),
    ("identity", identity::BREAKS),
    ("accounts", accounts::BREAKS),
    ("oauth", oauth::BREAKS),
    ("audit", audit::BREAKS),
    ("limits", limits::BREAKS),
    ("releases", releases::BREAKS),
];

/// `cargo xtask mutants [WORD...]`: all of them, those of a part, or those whose names contain a word.
pub fn command(arguments: Arguments) -> Result<()> {
    let words = arguments.words()?;
    run(&words).map(|summary| println!("{summary}"))
}

/// Breaks the code in each way; the error names the breaks that nothing noticed.
pub fn run(words: &[String]) -> Result<String> {
    let is_chosen = |part: &str, mutant: &Mutant| {
        words.is_empty() || words.iter().any(|word| part == word || mutant.name.contains(word))
    };
    let chosen: Vec<&Mutant> = PARTS
        .iter()
        .flat_map(|(part, breaks)| breaks.iter().map(move |mutant| (*part, mutant)))
        .filter(|(part, mutant)| is_chosen(part, mutant))
        .map(|(_, mutant)| mutant)
        .collect();
    ensure!(
        !chosen.is_empty(),
        "no break has such a name; parts are {}",
        PARTS.iter().map(|(part, _)| *part).collect::<Vec<_>>().join(", ")
    );
    let folder = workspace::target().join("mutants");
    let copy = Copy::of_the_checkout(&folder)?;
    let mut bench = Bench::new(&copy, &folder)?;
    bench.check_without_breaks(chosen.iter().map(|mutant| &mutant.judged_by))?;
    let mut wrong = Vec::new();
    for mutant in &chosen {
        let step = Step::begin(format!("broken: {}", mutant.name));
        let verdict = match copy.broken(mutant.file, mutant.find, mutant.replace)? {
            Some(_restored_at_the_end) => bench.verdict(&mutant.judged_by)?,
            None => Verdict::DoesNotFit,
        };
        let took = step.done();
        println!("mutants: {verdict:32} {:>10}  {}", seconds(took), mutant.name);
        if !verdict.is_noticed() {
            wrong.push(format!("  {verdict}: {} ({})", mutant.name, mutant.file));
        }
    }
    let noticed = chosen.len() - wrong.len();
    let summary = format!("mutants: {noticed} of {} breaks were noticed", chosen.len());
    if !wrong.is_empty() {
        bail!("{summary}; not these:\n{}", wrong.join("\n"));
    }
    Ok(summary)
}
