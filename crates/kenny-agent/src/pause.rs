//! `kenny-agent pause` and `resume`: an administrator's word at the PC, kept in a file that the agent looks at with every
//! request. It outlives restarts and updates.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use kenny_proto::policy::Pause;

use crate::cli::{PauseArgs, print};
use crate::layout::Layout;
use crate::platform;
use crate::policy::pause_in_words;

/// The longest reason, which goes into every telemetry push.
const REASON_CHARACTERS: usize = 200;

const NOT_INSTALLED: u8 = 3;

/// Why nothing was paused or resumed.
#[derive(Debug, thiserror::Error)]
enum PauseError {
    #[error(
        "this needs an administrator: open a console with \"Run as administrator\" and say it again there"
    )]
    NotAdministrator,
    #[error("there is no agent of this name: {} is not there; --service-name says which one is meant", .0.display())]
    NotInstalled(std::path::PathBuf),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// Pauses the agent of a service.
pub fn pause(args: &PauseArgs) -> ExitCode {
    finish(prepare(&args.service_name).and_then(|layout| {
        let pause = wanted(args, Timestamp::now());
        write(&layout.pause_file, &pause).map_err(anyhow::Error::from)?;
        let words = pause_in_words(&pause).replacen("paused it", "paused", 1);
        Ok(format!(
            "{}: {words}. What changes this PC is refused, updates too; telemetry and reading tools go on. `kenny-agent resume` ends it.",
            args.service_name
        ))
    }))
}

/// Ends the pause of a service's agent.
pub fn resume(service_name: &str) -> ExitCode {
    finish(prepare(service_name).and_then(|layout| match fs_err::remove_file(&layout.pause_file) {
        Ok(()) => Ok(format!("{service_name}: not paused any more")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(format!("{service_name}: it was not paused"))
        }
        Err(error) => Err(anyhow::Error::from(error).into()),
    }))
}

fn prepare(service_name: &str) -> Result<Layout, PauseError> {
    if !platform::is_administrator().map_err(anyhow::Error::from)? {
        return Err(PauseError::NotAdministrator);
    }
    let layout = Layout::for_service(service_name)?;
    if !layout.state_dir.is_dir() {
        return Err(PauseError::NotInstalled(layout.state_dir));
    }
    Ok(layout)
}

fn wanted(args: &PauseArgs, now: Timestamp) -> Pause {
    let reason = args.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
    Pause {
        since: now,
        until: args.duration.and_then(|duration| now.checked_add(duration).ok()),
        reason: reason.map(|reason| reason.chars().take(REASON_CHARACTERS).collect()),
    }
}

/// Beside the file, flushed, and renamed over it: a pause is there or it is not.
fn write(path: &Path, pause: &Pause) -> std::io::Result<()> {
    use std::io::Write as _;
    let beside = path.with_extension("json.new");
    let mut file = fs_err::File::create(&beside)?;
    file.write_all(&serde_json::to_vec_pretty(pause).map_err(std::io::Error::other)?)?;
    file.sync_all()?;
    drop(file);
    platform::replace_file(&beside, path)
}

fn finish(done: Result<String, PauseError>) -> ExitCode {
    match done {
        Ok(words) => {
            print(&words);
            ExitCode::SUCCESS
        }
        Err(error) => {
            let code = match &error {
                PauseError::NotInstalled(_) => ExitCode::from(NOT_INSTALLED),
                PauseError::NotAdministrator | PauseError::Other(_) => ExitCode::FAILURE,
            };
            tracing::error!("{}", crate::words(&error));
            code
        }
    }
}

/// Reads a time such as `45m` or `1d12h`. The error is a sentence.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration; it looks like 45m, 2h or 1d12h");
    let (mut total, mut number) = (Duration::ZERO, String::new());
    for character in text.chars() {
        let unit = match character {
            '0'..='9' => {
                number.push(character);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 60 * 60,
            'd' => 24 * 60 * 60,
            _ => return Err(wrong()),
        };
        let count: u64 = number.parse().map_err(|_| wrong())?;
        number.clear();
        let seconds = count.checked_mul(unit).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_secs(seconds)).ok_or_else(wrong)?;
    }
    let year = Duration::from_hours(24 * 366);
    match (number.is_empty(), total.is_zero()) {
        (true, false) if total <= year => Ok(total),
        (true, false) => Err(format!("`{text}` is more than a year; leave --for out instead")),
        (_, _) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let minutes = |minutes| Ok(Duration::from_mins(minutes));
        assert_eq!(parse_duration("45m"), minutes(45));
        assert_eq!(parse_duration("2h"), minutes(120));
        assert_eq!(parse_duration("1d12h"), minutes(36 * 60));
        for bad in ["", "5", "h", "1w", "-5m", "0m", "1h5", "99999999999999999999d", "400d"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_was_said_is_what_is_read_and_an_earlier_pause_gives_way() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pause.json");
        let now = Timestamp::now();
        let args = |duration, reason: &str| PauseArgs {
            duration,
            reason: Some(reason.to_owned()),
            service_name: "x".to_owned(),
        };
        write(&file, &wanted(&args(None, " "), now)).unwrap();
        let long = "x".repeat(10_000);
        let pause = wanted(&args(Some(Duration::from_mins(5)), &long), now);
        write(&file, &pause).unwrap();
        let read: Pause = serde_json::from_slice(&fs_err::read(&file).unwrap()).unwrap();
        assert_eq!(read, pause);
        assert_eq!(read.reason.unwrap().len(), REASON_CHARACTERS);
        assert_eq!(read.until, Some(now + Duration::from_mins(5)));
        assert_eq!(wanted(&args(None, " "), now).reason, None);
    }
}
