//! This PC's files, as the engine moves them.

use std::sync::{Arc, Mutex};

use kenny_core::update::{Quarantine, Wanted};
use tokio::sync::watch;

use super::*;

/// Keeps what it is told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Listener for Told {
    fn changed(&mut self, journal: &Journal) {
        self.0.lock().unwrap().push(journal.step.to_string());
    }

    fn progress(&mut self, _journal: &Journal, bytes: u64, _total: Option<u64>) {
        self.0.lock().unwrap().push(bytes.to_string());
    }
}

fn pc(folder: &Path) -> (Pc, Layout) {
    let executable = folder.join("program/kenny-agent.exe");
    let layout = Layout::with_state_dir("test", executable, folder.join("state"));
    fs_err::create_dir_all(&layout.install_dir).unwrap();
    fs_err::write(&layout.executable, b"the old version").unwrap();
    let (_, stop) = watch::channel(false);
    let life = Life::of_worker(stop, None).unwrap();
    let told = Box::new(Told::default());
    (Pc::new(layout.clone(), None, life, told, Role::Agent), layout)
}

fn journal(source: Source) -> Journal {
    let wanted = Wanted {
        update_id: UpdateId::random(),
        version: Version::new(1, 1, 0),
        sha256: files::sha256_of(b"the new version"),
        source,
    };
    let from = (Version::new(1, 0, 0), files::sha256_of(b"the old version"));
    Journal::accepted(wanted, from, Quarantine::default(), Timestamp::UNIX_EPOCH)
}

#[test]
fn previous_is_kept_and_comes_back_to_the_active_path() {
    let folder = tempfile::tempdir().unwrap();
    let (mut pc, layout) = pc(folder.path());
    let journal = journal(Source::Previous {});
    assert_eq!(pc.digest(File::Previous), Ok(None));
    pc.copy(File::Active, File::PreviousNew).unwrap();
    pc.flush(File::PreviousNew).unwrap();
    pc.rename(File::PreviousNew, File::Previous).unwrap();
    assert_eq!(pc.digest(File::PreviousNew), Ok(None));
    assert_eq!(pc.digest(File::Previous), Ok(Some(journal.from_sha256)));

    fs_err::write(&layout.executable, b"something bad").unwrap();
    pc.copy(File::Previous, File::ActiveNew).unwrap();
    pc.flush(File::ActiveNew).unwrap();
    let mut verified = pc.verify_restored(&journal).unwrap();
    pc.activate(&mut verified).unwrap();
    assert_eq!(fs_err::read(&layout.executable).unwrap(), b"the old version");
    assert_eq!(pc.digest(File::Previous), Ok(Some(journal.from_sha256)));

    // Cut short on its way: it never goes to the active path.
    pc.copy(File::Previous, File::ActiveNew).unwrap();
    fs_err::write(layout.update_dir.join("restored.exe"), b"the old ver").unwrap();
    assert!(pc.verify_restored(&journal).is_err());

    // Renamed aside and back.
    pc.rename(File::Active, File::Displaced).unwrap();
    assert_eq!(pc.digest(File::Active), Ok(None));
    pc.undo_displace().unwrap();
    assert_eq!(fs_err::read(&layout.executable).unwrap(), b"the old version");
}

#[test]
fn removing_a_candidate_takes_all_of_its_download_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let (mut pc, layout) = pc(folder.path());
    fs_err::create_dir_all(&layout.update_dir).unwrap();
    let journal = journal(Source::Previous {});
    let names: Vec<String> =
        ["exe", "part", "etag"].iter().map(|end| format!("{}.{end}", journal.sha256)).collect();
    let make = || {
        for name in names.iter().map(String::as_str).chain(["setup.exe"]) {
            fs_err::write(layout.update_dir.join(name), b"x").unwrap();
        }
    };
    let left = || -> usize { fs_err::read_dir(&layout.update_dir).unwrap().count() };
    make();
    // No update is known yet.
    assert!(pc.digest(File::Candidate).is_err());
    pc.remove(File::Candidate).unwrap();
    assert_eq!(left(), 1);
    make();
    pc.write_journal(&journal).unwrap();
    assert!(pc.digest(File::Candidate).unwrap().is_some());
    pc.remove(File::Candidate).unwrap();
    assert_eq!(left(), 1);
    assert!(layout.update_dir.join("setup.exe").exists());
    pc.remove(File::Candidate).unwrap();
    for file in File::TEMPORARY {
        pc.remove(file).unwrap();
    }
    assert_eq!(pc.read_journal(), Ok(Some(journal)));
}

#[test]
fn without_a_config_nothing_is_fetched_and_the_waits_are_the_usual_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (mut pc, _) = pc(folder.path());
    let source = Source::Download { url: "http://127.0.0.1:1/x".to_owned() };
    for (source, kind) in
        [(source, FailureKind::Download), (Source::Previous {}, FailureKind::Other)]
    {
        let journal = journal(source);
        let authorised = pc.authorise(&journal).unwrap();
        assert_eq!(pc.fetch(&journal, &authorised).unwrap_err().kind, kind);
    }
    assert_eq!(pc.limits(), WatchLimits { probation_ms: 60_000, connect_ms: 120_000 });
    assert_eq!(pc.reach(), Reach::Unreachable);
    let update = UpdateId::random();
    assert_eq!((pc.count_start(update), pc.starts(update)), (1, 1));
    let before = pc.observed_ms();
    assert!(pc.observed_ms() >= before);
}
