//! `kenny update --watch`: what is known of one update, shown as it becomes known.

use std::io::{self, Write};
use std::time::Duration;

use jiff::Timestamp;
use kenny_proto::api::{TimelineEntry, Update, UpdateState};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::follow::{Follower, Heard};
use crate::client::Client;
use crate::error::CliError;
use crate::output::{Output, Palette, Tone};
use crate::words;

/// How often the running line counts on.
const REFRESH: Duration = Duration::from_millis(100);

/// How far away the end is when there is none: tokio has no "never".
const NEVER: Duration = Duration::from_hours(10 * 365 * 24);

/// Shows the update until its outcome is known or `limit` is over.
pub async fn watch(
    client: &Client,
    output: Output,
    first: Update,
    limit: Option<Duration>,
) -> Result<Update, CliError> {
    let form = match (output.json, output.live) {
        (true, _) => Form::Records,
        (false, true) => Form::Live,
        (false, false) => Form::Lines,
    };
    let mut screen = Screen::new(io::stdout(), form, output.palette);
    let end = Instant::now() + limit.unwrap_or(NEVER);
    let mut refresh = interval(REFRESH);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Skip);
    screen.show(&first)?;
    if first.state.is_final() {
        screen.close(&first)?;
        return Ok(first);
    }
    let mut follower = Follower::new(client.clone(), &first);
    let mut update = first;
    loop {
        tokio::select! {
            heard = follower.next() => match heard? {
                // A record that was read earlier can arrive later.
                Heard::Update(newer) if newer.timeline.len() < update.timeline.len() => {}
                Heard::Update(newer) => {
                    update = *newer;
                    screen.show(&update)?;
                    if update.state.is_final() {
                        screen.close(&update)?;
                        return Ok(update);
                    }
                }
                Heard::Lost => screen.server_is_away(),
            },
            _ = refresh.tick() => screen.refresh(&update, Timestamp::now())?,
            () = sleep_until(end) => {
                screen.end_line()?;
                return Err(CliError::TimedOut(format!(
                    "the {} of {} to {} has no outcome yet ({}); it goes on, and `kenny updates {}` shows it",
                    words::what(&update), update.agent_id, update.version, words::progress(&update), update.agent_id
                )));
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A line per step, and one that counts on.
    Live,
    /// A line per step.
    Lines,
    /// The whole update as JSON at each change.
    Records,
}

struct Screen<W> {
    out: W,
    form: Form,
    palette: Palette,
    shown: Vec<TimelineEntry>,
    last_record: Option<String>,
    has_running_line: bool,
    is_server_away: bool,
}

impl<W: Write> Screen<W> {
    fn new(out: W, form: Form, palette: Palette) -> Self {
        Self {
            out,
            form,
            palette,
            shown: Vec::new(),
            last_record: None,
            has_running_line: false,
            is_server_away: false,
        }
    }

    /// Writes what is new.
    fn show(&mut self, update: &Update) -> Result<(), CliError> {
        self.is_server_away = false;
        if self.form == Form::Records {
            let record = serde_json::to_string(update).expect("our types serialise");
            if self.last_record.as_ref() != Some(&record) {
                self.write(&format!("{record}\n"))?;
                self.last_record = Some(record);
            }
            return Ok(());
        }
        let new: Vec<TimelineEntry> =
            update.timeline.iter().filter(|entry| !self.shown.contains(entry)).cloned().collect();
        for entry in new {
            self.end_line()?;
            let line = step_line(&entry, update.requested_at, self.palette);
            self.write(&line)?;
            self.shown.push(entry);
        }
        Ok(())
    }

    /// Counts on in the line that says what is being waited for.
    fn refresh(&mut self, update: &Update, now: Timestamp) -> Result<(), CliError> {
        if self.form != Form::Live {
            return Ok(());
        }
        let elapsed = words::duration(now.duration_since(update.requested_at));
        let waits_for = if self.is_server_away {
            "the server does not answer; trying again".to_owned()
        } else {
            match update.state {
                UpdateState::Waiting => format!("waiting for {} to connect", update.agent_id),
                UpdateState::Online => "online; the new version has yet to prove itself".to_owned(),
                UpdateState::Unknown => format!(
                    "{}; what happened is known when {} connects",
                    words::progress(update),
                    update.agent_id
                ),
                UpdateState::Running
                | UpdateState::Succeeded
                | UpdateState::RolledBack
                | UpdateState::Failed
                | UpdateState::Superseded => update.percent.map_or_else(|| "...".to_owned(), bar),
            }
        };
        let text = self.palette.paint(Tone::Pending, &waits_for);
        self.has_running_line = true;
        self.write(&format!("\r\x1b[K{elapsed:>12}  {text}"))
    }

    fn server_is_away(&mut self) {
        self.is_server_away = true;
    }

    /// Takes the running line away, so that what follows begins on a clean one.
    fn end_line(&mut self) -> Result<(), CliError> {
        if std::mem::take(&mut self.has_running_line) { self.write("\r\x1b[K") } else { Ok(()) }
    }

    fn close(&mut self, update: &Update) -> Result<(), CliError> {
        self.end_line()?;
        if self.form != Form::Records && update.state == UpdateState::Succeeded {
            let line = self.palette.paint(Tone::Good, &success(update));
            self.write(&format!("{line}\n"))?;
        }
        Ok(())
    }

    fn write(&mut self, text: &str) -> Result<(), CliError> {
        self.out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush())
            .map_err(CliError::Output)
    }
}

fn step_line(entry: &TimelineEntry, requested_at: Timestamp, palette: Palette) -> String {
    let elapsed = words::duration(entry.at.duration_since(requested_at));
    let tone = match entry.step.as_str() {
        "committed" | "online" => Tone::Good,
        "failed" | "rolled_back" => Tone::Bad,
        "unknown" => Tone::Pending,
        _ => Tone::Plain,
    };
    let step = palette.paint(tone, &words::harmless(&entry.step));
    match &entry.detail {
        Some(detail) => format!("{elapsed:>12}  {step}: {}\n", words::harmless(detail)),
        None => format!("{elapsed:>12}  {step}\n"),
    }
}

fn bar(percent: u8) -> String {
    let filled = usize::from(percent.min(100)) / 5;
    format!("[{}{}] {percent} %", "=".repeat(filled), " ".repeat(20 - filled))
}

fn success(update: &Update) -> String {
    let Update { agent_id: agent, version, .. } = update;
    if update.from_version.as_ref() == Some(version) {
        return format!("{agent} runs {version} already");
    }
    let online = update.timeline.iter().find(|entry| entry.step == "online");
    let online = online.map(|entry| {
        format!(
            ", online on it {} after the request",
            words::duration(entry.at.duration_since(update.requested_at))
        )
    });
    let offline =
        offline(update).map(|offline| format!(" and offline for {}", words::duration(offline)));
    format!("{agent} runs {version}{}{}", online.unwrap_or_default(), offline.unwrap_or_default())
}

/// By the PC's own clock, which saw both ends.
fn offline(update: &Update) -> Option<jiff::SignedDuration> {
    let at = |step: &str| {
        let moment = update.journal.iter().find(|moment| moment.step.as_deref() == Some(step));
        moment.map(|moment| moment.at)
    };
    Some(at("online")?.duration_since(at("stopped")?))
}

#[cfg(test)]
mod tests {
    use kenny_proto::{Phase, PhaseAt};

    use super::super::update::tests::update;
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    fn entry(step: &str, millis: i64) -> TimelineEntry {
        TimelineEntry { step: step.to_owned(), at: at(millis), detail: None }
    }

    fn running(steps: &[(&str, i64)]) -> Update {
        let timeline = steps.iter().map(|(step, millis)| entry(step, *millis)).collect();
        Update { timeline, ..update(UpdateState::Running) }
    }

    fn screen(form: Form) -> Screen<Vec<u8>> {
        Screen::new(Vec::new(), form, Palette { coloured: false })
    }

    fn written(screen: &mut Screen<Vec<u8>>) -> String {
        String::from_utf8(std::mem::take(&mut screen.out)).unwrap()
    }

    #[test]
    fn each_step_has_one_line() {
        let mut screen = screen(Form::Lines);
        screen.show(&running(&[("requested", 0)])).unwrap();
        let two = running(&[("requested", 0), ("sent", 20), ("downloading", 1250)]);
        screen.show(&two).unwrap();
        screen.show(&two).unwrap();
        screen.refresh(&two, at(2000)).unwrap();
        let journal_step = |step: &str, millis| PhaseAt {
            phase: Phase::Swapping,
            step: Some(step.to_owned()),
            at: at(millis),
        };
        let mut done =
            running(&[("requested", 0), ("sent", 20), ("downloading", 1250), ("online", 2000)]);
        done.state = UpdateState::Succeeded;
        done.journal = vec![journal_step("stopped", 9_000), journal_step("online", 9_090)];
        screen.show(&done).unwrap();
        screen.close(&done).unwrap();
        assert_eq!(
            written(&mut screen),
            "      0.00 s  requested\n\
             \x20     0.02 s  sent\n\
             \x20     1.25 s  downloading\n\
             \x20     2.00 s  online\n\
             anna-pc runs 1.4.0, online on it 2.00 s after the request and offline for 0.09 s\n"
        );
    }

    #[test]
    fn on_a_terminal_one_line_counts_on_and_makes_room() {
        let mut screen = screen(Form::Live);
        let one = running(&[("downloading", 0)]);
        screen.show(&one).unwrap();
        screen.refresh(&one, at(500)).unwrap();
        screen.server_is_away();
        screen.refresh(&one, at(600)).unwrap();
        screen.show(&running(&[("downloading", 0), ("verifying", 700)])).unwrap();
        assert_eq!(
            written(&mut screen),
            "      0.00 s  downloading\n\
             \r\x1b[K      0.50 s  [========            ] 40 %\
             \r\x1b[K      0.60 s  the server does not answer; trying again\
             \r\x1b[K      0.70 s  verifying\n"
        );
    }

    #[test]
    fn scripts_get_one_record_per_change() {
        let mut screen = screen(Form::Records);
        for update in [running(&[]), running(&[]), running(&[("sent", 1)])] {
            screen.show(&update).unwrap();
            screen.refresh(&update, at(5)).unwrap();
        }
        let text = written(&mut screen);
        let records: Vec<Update> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records, [running(&[]), running(&[("sent", 1)])]);
    }
}
