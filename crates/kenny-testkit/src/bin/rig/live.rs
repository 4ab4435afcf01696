//! The live suite: the real agent as a real service, driven by the real server.
//!
//! Each case has a machine and a server of its own. A case that fails shows what a person would look at.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use futures_util::{FutureExt as _, StreamExt as _, stream};

use crate::cases::{self, Case, Outcome};
use crate::site::Site;
use crate::{Assets, downtime, kills};

/// What to run, and how.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    pub assets: Assets,
    /// A candidate that fails; the folder that it is in names its version, and that how. May be given again.
    #[arg(long)]
    pub bad: Vec<PathBuf>,
    /// How many cases run at once. More than two disturb each other on two cores.
    #[arg(long, default_value_t = 2)]
    pub jobs: usize,
    /// Over how many updates the downtime is measured at the end.
    #[arg(long, default_value_t = 30)]
    pub updates: usize,
    /// How often the kill matrix is run.
    #[arg(long, default_value_t = 1)]
    pub rounds: usize,
    /// Only cases whose names contain one of these words; `downtime` is the measurement, `kills` the kill matrix.
    pub only: Vec<String>,
}

impl Options {
    /// The candidate that fails in this way.
    pub fn bad(&self, failing: &str) -> Result<&PathBuf> {
        let version = format!("9.0.0-{failing}");
        let is_it =
            |path: &&PathBuf| path.parent().is_some_and(|folder| folder.ends_with(&version));
        self.bad.iter().find(is_it).with_context(|| format!("{version} was not built"))
    }
}

struct Report {
    name: &'static str,
    took: Duration,
    outcome: Result<Outcome>,
}

/// Runs the suite; false when a case failed.
pub async fn run(options: &Options) -> Result<bool> {
    let began = Instant::now();
    let chosen =
        |name: &str| options.only.is_empty() || options.only.iter().any(|word| name.contains(word));
    let cases: Vec<&Case> = cases::ALL.iter().filter(|case| chosen(case.name)).collect();
    let mut reports: Vec<Report> = stream::iter(cases)
        .map(|case| run_case(options, case))
        .buffer_unordered(options.jobs.max(1))
        .inspect(print)
        .collect()
        .await;
    if options.rounds > 0
        && (chosen("kills") || options.only.iter().any(|word| kills::is_series(word)))
    {
        let began = Instant::now();
        let outcome = kills::run(options, options.rounds).await.and_then(|matrix| {
            println!("{matrix}");
            if matrix.is_good() {
                return Ok(Outcome::Passed);
            }
            Err(anyhow!("not every kill was recovered from\n{}", matrix.failures.join("\n")))
        });
        let report = Report { name: "kills", took: began.elapsed(), outcome };
        print(&report);
        reports.push(report);
    }
    if options.updates > 0 && chosen("downtime") {
        // Alone: what runs beside it would be measured too.
        let began = Instant::now();
        let measured = downtime::measure(&options.assets, options.updates).await;
        let outcome = measured.map(|measured| {
            println!("{measured}");
            Outcome::Passed
        });
        let report = Report { name: "downtime", took: began.elapsed(), outcome };
        print(&report);
        reports.push(report);
    }

    let count =
        |wanted: fn(&Report) -> bool| reports.iter().filter(|report| wanted(report)).count();
    let failed = count(|report| report.outcome.is_err());
    let skipped = count(|report| matches!(report.outcome, Ok(Outcome::Skipped(_))));
    println!(
        "live suite: {} passed, {failed} failed, {skipped} skipped in {:.1} s",
        reports.len() - failed - skipped,
        began.elapsed().as_secs_f64()
    );
    Ok(failed == 0 && !reports.is_empty())
}

fn print(report: &Report) {
    let seconds = report.took.as_secs_f64();
    match &report.outcome {
        Ok(Outcome::Passed) => println!("passed   {:34} {seconds:6.1} s", report.name),
        Ok(Outcome::Skipped(why)) => println!("skipped  {:34} {seconds:6.1} s  {why}", report.name),
        Err(error) => println!("FAILED   {:34} {seconds:6.1} s\n{error:#}", report.name),
    }
}

async fn run_case(options: &Options, case: &'static Case) -> Report {
    let began = Instant::now();
    let outcome = run_on_site(options, case).await;
    Report { name: case.name, took: began.elapsed(), outcome }
}

async fn run_on_site(options: &Options, case: &Case) -> Result<Outcome> {
    let site = Site::create(&options.assets, case.name).await?;
    let outcome = AssertUnwindSafe((case.run)(&site, options)).catch_unwind().await;
    let outcome = outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(anyhow!("it panicked: {}", text.unwrap_or_default()))
    });
    match outcome {
        Ok(outcome) => {
            site.close().await.context("it passed, and then the machine did not end cleanly")?;
            Ok(outcome)
        }
        Err(error) => {
            let evidence = site.evidence();
            Err(anyhow!("{error:#}\n{evidence}"))
        }
    }
}
