//! Where log lines go: standard error in the foreground, a bounded daily file in the service.

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use jiff::Timestamp;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt};

/// The updater's logs are called so.
pub const UPDATER: &str = "kenny-updater";
/// The agent's.
pub const AGENT: &str = "kenny-agent";

/// Largest log file in bytes: readable in any editor.
const FILE_BYTES: u64 = 10 * 1024 * 1024;
/// Files kept: ten days of a quiet agent, 100 MiB of a noisy one.
const FILES: usize = 10;

/// What is logged: `KENNY_LOG` (such as `debug` or `warn,kenny_agent::tunnel=trace`), else this crate at the level and
/// libraries' warnings. Not an `EnvFilter`, which brings an engine for regular expressions into the executable.
fn filter(level: &str) -> Targets {
    let asked = std::env::var("KENNY_LOG").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or_else(|| {
        let level = level.parse().unwrap_or(LevelFilter::INFO);
        Targets::new().with_default(LevelFilter::WARN).with_target("kenny_agent", level)
    })
}

/// Logs to standard error.
pub fn to_stderr(level: &str) {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let layer = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(!plain && io::stderr().is_terminal())
        .with_target(false);
    // A second call in one process (tests) keeps the first.
    drop(tracing_subscriber::registry().with(filter(level)).with(layer).try_init());
}

/// Logs to files in `folder`, and errors to the event log as well.
pub fn to_files(folder: &Path, name: &str, level: &str) {
    let writer = Mutex::new(DailyFile::new(folder, name));
    let layer = fmt::layer().with_writer(writer).with_ansi(false).with_target(false);
    drop(tracing_subscriber::registry().with(filter(level)).with(layer).with(EventLog).try_init());
}

/// The newest log of this name in a folder.
pub fn newest(folder: &Path, name: &str) -> Option<PathBuf> {
    DailyFile::new(folder, name).all().pop().map(|(_, path)| path)
}

/// Errors go to the Windows event log.
struct EventLog;

impl<S: Subscriber> Layer<S> for EventLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() == Level::ERROR {
            let mut words = Words::default();
            event.record(&mut words);
            crate::platform::report_event(&words.text);
        }
    }
}

#[derive(Default)]
struct Words {
    text: String,
}

impl tracing::field::Visit for Words {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        use std::fmt::Write as _;
        if field.name() == "message" {
            self.text = format!("{value:?}{}", self.text);
        } else {
            // Writing to a string does not fail.
            let _ = write!(self.text, " ({}: {value:?})", field.name());
        }
    }
}

/// A file a day, `NAME.2026-11-24.log`, and another one (`NAME.2026-11-24.1.log`) when that is full; the oldest go.
/// Nothing that goes wrong here reaches the agent.
struct DailyFile {
    folder: PathBuf,
    name: String,
    open: Option<OpenFile>,
}

struct OpenFile {
    file: fs_err::File,
    bytes: u64,
    day: String,
    number: u32,
}

impl DailyFile {
    fn new(folder: &Path, name: &str) -> Self {
        Self { folder: folder.to_owned(), name: name.to_owned(), open: None }
    }

    fn append(&mut self, line: &[u8], today: &str) -> io::Result<()> {
        let length = line.len() as u64;
        let fits = |open: &OpenFile| {
            open.day == today && (open.bytes == 0 || open.bytes + length <= FILE_BYTES)
        };
        let mut open = match self.open.take() {
            Some(open) if fits(&open) => open,
            other => {
                fs_err::create_dir_all(&self.folder)?;
                let first = other.filter(|open| open.day == today).map_or(0, |open| open.number);
                let mut next = self.open_file(today, first)?;
                while !fits(&next) {
                    next = self.open_file(today, next.number + 1)?;
                }
                self.remove_old();
                next
            }
        };
        open.file.write_all(line)?;
        open.bytes += length;
        self.open = Some(open);
        Ok(())
    }

    fn open_file(&self, day: &str, number: u32) -> io::Result<OpenFile> {
        let name = match number {
            0 => format!("{}.{day}.log", self.name),
            number => format!("{}.{day}.{number}.log", self.name),
        };
        let file =
            fs_err::OpenOptions::new().create(true).append(true).open(self.folder.join(name))?;
        let bytes = file.metadata()?.len();
        Ok(OpenFile { file, bytes, day: day.to_owned(), number })
    }

    /// What cannot be removed, as somebody reads it, goes the next time.
    fn remove_old(&self) {
        let logs = self.all();
        let surplus = logs.len().saturating_sub(FILES);
        for (_, path) in logs.into_iter().take(surplus) {
            drop(fs_err::remove_file(path));
        }
    }

    /// Every log of this name, oldest first.
    fn all(&self) -> Vec<((String, u32), PathBuf)> {
        let Ok(entries) = fs_err::read_dir(&self.folder) else { return Vec::new() };
        let mut logs: Vec<((String, u32), PathBuf)> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| {
                Some((self.age(&entry.file_name().to_string_lossy())?, entry.path()))
            })
            .collect();
        logs.sort();
        logs
    }

    /// Day and number of a log of this name.
    fn age(&self, file_name: &str) -> Option<(String, u32)> {
        let rest = file_name.strip_prefix(&self.name)?.strip_prefix('.')?.strip_suffix(".log")?;
        match rest.split_once('.') {
            None => Some((rest.to_owned(), 0)),
            Some((day, number)) => Some((day.to_owned(), number.parse().ok()?)),
        }
    }
}

impl Write for DailyFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let now = Timestamp::now().to_string();
        // A full disk must not end the agent: the line is lost.
        drop(self.append(line, now.get(..10).unwrap_or_default()));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs_err::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_bounded_in_size_and_number_and_the_newest_lines_stay() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("somebody-elses.log"), b"kept").unwrap();
        let line = vec![b'x'; 1024 * 1024];
        for day in 10..13 {
            // A start of the agent each day.
            let mut log = DailyFile::new(folder.path(), "kenny-agent");
            let today = format!("2026-11-{day}");
            for _ in 0..45 {
                log.append(&line, &today).unwrap();
            }
            log.append(b"the last of the day\n", &today).unwrap();
        }
        let names = names(folder.path());
        assert_eq!(names.len(), FILES + 1, "{names:?}");
        assert!(names.contains(&"somebody-elses.log".to_owned()));
        for name in &names {
            let length = fs_err::metadata(folder.path().join(name)).unwrap().len();
            assert!(length <= FILE_BYTES, "{name}: {length}");
        }
        let last = fs_err::read(folder.path().join("kenny-agent.2026-11-12.4.log")).unwrap();
        assert!(last.ends_with(b"the last of the day\n"));
    }

    #[test]
    fn a_new_start_goes_on_in_the_last_file_of_the_day() {
        let folder = tempfile::tempdir().unwrap();
        let half = vec![b'x'; usize::try_from(FILE_BYTES / 2).unwrap()];
        for _ in 0..5 {
            DailyFile::new(folder.path(), "log").append(&half, "2026-11-24").unwrap();
        }
        let expected = ["log.2026-11-24.1.log", "log.2026-11-24.2.log", "log.2026-11-24.log"];
        assert_eq!(names(folder.path()), expected);
    }

    #[test]
    fn a_level_of_the_config_is_this_crates_and_libraries_only_warn() {
        let filter = filter("debug");
        assert!(filter.would_enable("kenny_agent::tunnel", &Level::DEBUG));
        assert!(!filter.would_enable("kenny_agent::tunnel", &Level::TRACE));
        assert!(filter.would_enable("rustls", &Level::WARN));
        assert!(!filter.would_enable("rustls", &Level::INFO));
    }

    #[test]
    fn a_folder_that_cannot_be_made_loses_the_line_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs_err::write(&file, b"").unwrap();
        let mut log = DailyFile::new(&file.join("logs"), "kenny-agent");
        assert_eq!(log.write(b"line\n").unwrap(), 5);
    }
}
