//! `kenny rollout watch`: a bar for each stage that fills while it runs.

use std::io::{self, Write};
use std::time::Duration;

use kenny_proto::RolloutId;
use kenny_proto::rollout::{Rollout, RolloutState, StageView};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::rollout::{short, standing, tone, what};
use crate::client::{Client, EventStream};
use crate::error::CliError;
use crate::output::{Output, Palette, Tone};

/// Letters of a bar.
const BAR: u32 = 30;
/// How long events may stay away before the rollout is asked for.
const ASK_BESIDE_EVENTS: Duration = Duration::from_secs(3);
/// Events that come together are shown together.
const BREATH: Duration = Duration::from_millis(200);
/// How long to wait before a server is asked again that did not answer.
const RETRY: Duration = Duration::from_millis(500);
/// A server that restarts is back long before; after that it counts as gone.
const GONE: Duration = Duration::from_mins(1);
/// As good as no end.
const NEVER: Duration = Duration::from_hours(24 * 365);

/// Shows a rollout until it is complete, which is success, or stopped or cancelled, which is not.
pub async fn watch(
    client: &Client,
    output: Output,
    id: RolloutId,
    limit_s: Option<u64>,
) -> Result<(), CliError> {
    let form = match (output.json, output.live) {
        (true, _) => Form::Records,
        (false, true) => Form::Live,
        (false, false) => Form::Lines,
    };
    let mut screen = Screen::new(io::stdout(), form, output.palette);
    let end = Instant::now() + limit_s.map_or(NEVER, Duration::from_secs);
    let following = follow(client, id, &mut screen);
    let ended = tokio::select! {
        ended = following => Some(ended?),
        () = sleep_until(end) => None,
    };
    match ended {
        Some(rollout) => outcome(&rollout),
        None => Err(CliError::TimedOut(format!(
            "the rollout is not over yet; it goes on, and `kenny rollout show {}` shows it",
            short(id)
        ))),
    }
}

/// Nothing but an operator makes a halted one go on.
fn outcome(rollout: &Rollout) -> Result<(), CliError> {
    let id = short(rollout.id);
    let why = format!("the {} is {}", what(rollout), standing(rollout));
    match rollout.state {
        RolloutState::Completed | RolloutState::Running | RolloutState::Paused => Ok(()),
        RolloutState::Cancelled => Err(CliError::Failed(why)),
        RolloutState::Halted => Err(CliError::Failed(format!(
            "{why}\n`kenny rollout show {id}` names them; then `kenny rollout resume {id}` (with --retry-failed they are tried \
             once more), `kenny rollout roll-back {id}` or `kenny rollout cancel {id}`."
        ))),
    }
}

/// Shows what is learnt until there is nothing more to wait for.
async fn follow<W: Write>(
    client: &Client,
    id: RolloutId,
    screen: &mut Screen<W>,
) -> Result<Rollout, CliError> {
    let mut away_since: Option<Instant> = None;
    loop {
        // The stream comes first and the question second, so that nothing falls between them.
        let mut stream = client.events(None, None).await.ok();
        match client.rollout_summary(id).await {
            Ok(rollout) => {
                away_since = None;
                screen.show(&rollout)?;
                match rollout.state {
                    RolloutState::Running | RolloutState::Paused => {}
                    RolloutState::Halted | RolloutState::Completed | RolloutState::Cancelled => {
                        return Ok(rollout);
                    }
                }
            }
            Err(error) => {
                let since = *away_since.get_or_insert_with(Instant::now);
                if error.exit_code() != 3 || since.elapsed() > GONE {
                    return Err(error);
                }
            }
        }
        match &mut stream {
            Some(stream) => until_news(stream, id).await,
            None => sleep(RETRY).await,
        }
    }
}

/// Returns when something of the rollout happened, or when it is time to ask anyway.
async fn until_news(stream: &mut EventStream, id: RolloutId) {
    let news = async {
        loop {
            match stream.next().await {
                Some(Ok(event)) if event.rollout == Some(id) || event.kind == "resync" => break,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    sleep(RETRY).await;
                    break;
                }
            }
        }
    };
    if timeout(ASK_BESIDE_EVENTS, news).await.is_ok() {
        sleep(BREATH).await;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// The stages, written over.
    Live,
    /// A line per change.
    Lines,
    /// The whole rollout as JSON at each change.
    Records,
}

struct Screen<W> {
    out: W,
    form: Form,
    palette: Palette,
    /// How many lines can be written over.
    drawn: usize,
    shown: Option<Rollout>,
}

impl<W: Write> Screen<W> {
    const fn new(out: W, form: Form, palette: Palette) -> Self {
        Self { out, form, palette, drawn: 0, shown: None }
    }

    /// Writes what is new.
    fn show(&mut self, rollout: &Rollout) -> Result<(), CliError> {
        if self.shown.as_ref() == Some(rollout) {
            return Ok(());
        }
        let text = match self.form {
            Form::Records => {
                let record = serde_json::to_string(rollout).expect("our types serialise");
                format!("{record}\n")
            }
            Form::Lines => self.lines(rollout),
            Form::Live => {
                let lines = picture(rollout, self.palette);
                let up = match self.drawn {
                    0 => String::new(),
                    drawn => format!("\x1b[{drawn}A"),
                };
                self.drawn = lines.len();
                let drawn: Vec<String> =
                    lines.into_iter().map(|line| format!("\r\x1b[K{line}\n")).collect();
                up + &drawn.concat()
            }
        };
        self.shown = Some(rollout.clone());
        self.out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush())
            .map_err(CliError::Output)
    }

    /// The stages that changed, and the state where that did.
    fn lines(&self, rollout: &Rollout) -> String {
        let mut text = String::new();
        let before = self.shown.as_ref();
        let stood = |it: &Rollout| (it.state, it.stage, it.reason.clone());
        if before.map(stood) != Some(stood(rollout)) {
            let line = format!("{} ({}): {}", what(rollout), short(rollout.id), standing(rollout));
            text.push_str(&self.palette.paint(tone(rollout.state), &line));
            text.push('\n');
        }
        for (index, stage) in rollout.stages.iter().enumerate() {
            if before.and_then(|before| before.stages.get(index)) != Some(stage) {
                text.push_str(&stage_line(index + 1, stage, self.palette));
                text.push('\n');
            }
        }
        text
    }
}

/// The rollout as lines.
fn picture(rollout: &Rollout, palette: Palette) -> Vec<String> {
    let title = format!("{} ({})", what(rollout), short(rollout.id));
    let mut lines = vec![palette.paint(Tone::Heading, &title)];
    lines.extend(
        rollout.stages.iter().enumerate().map(|(at, stage)| stage_line(at + 1, stage, palette)),
    );
    lines.push(palette.paint(tone(rollout.state), &standing(rollout)));
    lines
}

/// One stage as a bar with its numbers.
pub fn stage_line(number: usize, stage: &StageView, palette: Palette) -> String {
    let bad = stage.failed + stage.rolled_back + stage.silent;
    let there = stage.members - stage.excluded.min(stage.members);
    let parts = [
        (stage.succeeded, '#', Tone::Good),
        (bad, 'x', Tone::Bad),
        (stage.in_flight, '>', Tone::Pending),
    ];
    let mut bar = String::new();
    let (mut counted, mut drawn) = (0, 0);
    for (count, letter, tone) in parts {
        counted += count;
        // Whoever is there is seen, also among thousands; the sum of all never exceeds the bar.
        let upto = (counted * BAR).checked_div(there).unwrap_or(0).min(BAR);
        let width = upto.max(drawn + u32::from(count > 0)).min(BAR) - drawn;
        drawn += width;
        let letters: String = std::iter::repeat_n(letter, width as usize).collect();
        if width > 0 {
            bar.push_str(&palette.paint(tone, &letters));
        }
    }
    bar.extend(std::iter::repeat_n('.', (BAR - drawn) as usize));
    let mut words = vec![format!("{} of {there} done", stage.succeeded)];
    for (count, word) in [
        (stage.in_flight, "under way"),
        (stage.failed, "failed"),
        (stage.rolled_back, "went back"),
        (stage.silent, "silent"),
        (stage.offline, "offline"),
        (stage.excluded, "left out"),
    ] {
        if count > 0 {
            words.push(format!("{count} {word}"));
        }
    }
    format!("{number:>3}  [{bar}]  {}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::rollout::tests::rollout;
    use super::*;

    const PLAIN: Palette = Palette { coloured: false };

    fn screen(form: Form) -> Screen<Vec<u8>> {
        Screen::new(Vec::new(), form, PLAIN)
    }

    fn written(screen: &mut Screen<Vec<u8>>) -> String {
        String::from_utf8(std::mem::take(&mut screen.out)).unwrap()
    }

    #[test]
    fn a_stage_is_a_bar_of_what_its_pcs_did() {
        let stage = StageView {
            members: 11,
            succeeded: 5,
            rolled_back: 1,
            in_flight: 2,
            waiting: 2,
            excluded: 1,
            ..StageView::default()
        };
        assert_eq!(
            stage_line(2, &stage, PLAIN),
            "  2  [###############xxx>>>>>>......]  5 of 10 done, 2 under way, 1 went back, 1 left out"
        );
        let one = StageView { members: 9000, silent: 1, waiting: 8999, ..StageView::default() };
        assert!(stage_line(1, &one, PLAIN).contains("[x....."), "one of thousands is seen");
        let nobody = StageView { members: 3, excluded: 3, ..StageView::default() };
        assert!(stage_line(1, &nobody, PLAIN).contains("0 of 0 done, 3 left out"));
        let all = StageView { members: 40, succeeded: 39, failed: 1, ..StageView::default() };
        assert!(stage_line(1, &all, PLAIN).contains(&format!("[{}x]", "#".repeat(29))));
    }

    #[test]
    fn the_picture_is_drawn_over_itself_on_a_terminal_and_changes_are_lines_elsewhere() {
        let first = rollout(RolloutState::Running);
        let mut second = first.clone();
        second.stages[0].succeeded = 2;
        second.stages[0].in_flight = 0;
        let mut live = screen(Form::Live);
        live.show(&first).unwrap();
        assert_eq!(written(&mut live).matches('\n').count(), 4);
        live.show(&first).unwrap();
        assert_eq!(written(&mut live), "", "nothing new");
        live.show(&second).unwrap();
        let text = written(&mut live);
        assert!(text.starts_with("\x1b[4A\r\x1b[Krollout of 1.4.0"), "{text:?}");
        let mut lines = screen(Form::Lines);
        lines.show(&first).unwrap();
        assert_eq!(written(&mut lines).lines().count(), 3);
        lines.show(&second).unwrap();
        assert_eq!(written(&mut lines), "  1  [##############################]  2 of 2 done\n");
        let mut records = screen(Form::Records);
        records.show(&second).unwrap();
        assert_eq!(serde_json::from_str::<Rollout>(&written(&mut records)).unwrap(), second);
    }

    #[test]
    fn the_exit_code_says_how_it_ended() {
        let code = |state| outcome(&rollout(state)).map_err(|error| error.exit_code());
        assert_eq!(code(RolloutState::Completed), Ok(()));
        assert_eq!(code(RolloutState::Halted), Err(1));
        assert_eq!(code(RolloutState::Cancelled), Err(1));
    }
}
