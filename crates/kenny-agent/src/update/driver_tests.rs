//! What the driver lets begin, whom it lets join, and what it says to the rest.

use kenny_core::update::{BUDGET, Event, Step, step};
use kenny_proto::AgentFrame;
use kenny_proto::frames::UpdateStatus;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::cli::Identity;
use crate::tunnel::Outbound;

struct Site {
    driver: Driver,
    layout: Layout,
    outbound: mpsc::Receiver<Outbound>,
    listener: TcpListener,
    url: String,
    _folder: tempfile::TempDir,
    _stop: watch::Sender<bool>,
}

/// A driver that believes to run under a service manager, and a server that it may download from.
async fn site() -> Site {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let identity = Identity {
        server: Some(format!("ws://{address}")),
        agent_id: Some("pc".to_owned()),
        token: Some("secret".to_owned()),
        ..Identity::default()
    };
    let executable = folder.path().join("program/kenny-agent.exe");
    let layout = Layout::with_state_dir("test", executable, folder.path().join("state"));
    fs_err::create_dir_all(&layout.install_dir).unwrap();
    let (sender, outbound) = mpsc::channel(64);
    let outbox = Outbox::default();
    outbox.attach(Some(sender));
    let (stop, stopping) = watch::channel(false);
    let config = identity.over(None).unwrap();
    let driver = Driver::new(layout.clone(), config, Mode::Service, outbox, stopping);
    let url = format!("http://{address}/artifact");
    Site { driver, layout, outbound, listener, url, _folder: folder, _stop: stop }
}

impl Site {
    fn args(&self, content: &[u8]) -> UpdateArgs {
        UpdateArgs {
            version: Version::new(9, 0, 0),
            url: self.url.clone(),
            sha256: files::sha256_of(content),
            update_id: Some(UpdateId::random()),
            deadline: None,
            allow_quarantined: false,
        }
    }

    /// Begins a request on a task of its own.
    fn ask(&self, args: &UpdateArgs) -> tokio::task::JoinHandle<Answer> {
        let (driver, args) = (self.driver.clone(), args.clone());
        tokio::spawn(async move { driver.update(args).await })
    }

    /// Waits until the download is asked for.
    async fn asked_for(&self) -> TcpStream {
        let (mut socket, _) = self.listener.accept().await.unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\n") {
            let mut bytes = [0; 1024];
            let read = socket.read(&mut bytes).await.unwrap();
            heard.extend_from_slice(&bytes[..read]);
        }
        socket
    }

    /// Waits until the download is asked for, and answers it with this.
    async fn serve(&self, content: &[u8]) {
        answer(&mut self.asked_for().await, "200 OK", content).await;
    }

    /// The status frames so far.
    fn told(&mut self) -> Vec<UpdateStatus> {
        let mut told = Vec::new();
        while let Ok(Outbound { frame, .. }) = self.outbound.try_recv() {
            let AgentFrame::UpdateStatus(status) = frame else { panic!("{frame:?}") };
            told.push(status);
        }
        told
    }

    fn journal(&self) -> JournalFile {
        JournalFile::new(&self.layout.journal_file)
    }
}

async fn answer(socket: &mut TcpStream, status: &str, content: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", content.len());
    socket.write_all(&[head.as_bytes(), content].concat()).await.unwrap();
}

fn refused(answer: Answer) -> ToolError {
    match answer {
        Err(error) => error,
        Ok((staged, _)) => panic!("it was taken: {staged:?}"),
    }
}

#[tokio::test]
async fn what_may_not_begin_is_told_and_leaves_nothing() {
    let mut site = site().await;
    site.driver.settle();
    let good = site.args(b"x");
    let past = Timestamp::UNIX_EPOCH;
    let running = crate::VERSION.parse::<Version>().unwrap();
    let cases = [
        (UpdateArgs { url: "http://127.0.0.1:1/x".to_owned(), ..good.clone() }, "origin"),
        (UpdateArgs { deadline: Some(past), ..good.clone() }, "`deadline`"),
        (UpdateArgs { version: running, ..good.clone() }, "runs already"),
    ];
    for (args, named) in cases {
        let error = refused(site.driver.update(args).await);
        assert_eq!(error.code, ErrorCode::BadArgs, "{error}");
        assert!(error.message.contains(named), "{error}");
    }
    assert_eq!(site.journal().read(), Ok(None));
    assert!(site.told().is_empty());
}

#[tokio::test]
async fn the_running_bytes_are_there_already() {
    let site = site().await;
    site.driver.settle();
    let own = fs_err::read(std::env::current_exe().unwrap()).unwrap();
    let args = UpdateArgs { version: crate::VERSION.parse().unwrap(), ..site.args(&own) };
    let (staged, after) = site.driver.update(args).await.unwrap();
    assert!(staged.ok && after.is_none());
    assert_eq!(site.journal().read(), Ok(None));
}

#[tokio::test]
async fn the_same_request_joins_and_another_one_is_refused() {
    let mut site = site().await;
    site.driver.settle();
    let args = site.args(b"what was announced");
    let first = site.ask(&args);
    // Until it downloads, the slot may not be taken yet.
    let mut socket = site.asked_for().await;
    let again = site.ask(&UpdateArgs { update_id: None, ..args.clone() });
    let other = refused(site.driver.update(site.args(b"something else")).await);
    assert!(other.message.contains("one at a time"), "{other}");
    let back = refused(site.driver.rollback(RollbackArgs::default()).await);
    assert!(back.message.contains("an update to 9.0.0 is running"), "{back}");

    answer(&mut socket, "404 Not Found", b"").await;
    let (first, again) = (refused(first.await.unwrap()), refused(again.await.unwrap()));
    assert_eq!(first, again);
    assert!(first.message.starts_with("download: "), "{first}");
    let told = site.told();
    let phases: Vec<Phase> = told.iter().map(|status| status.phase).collect();
    assert_eq!(phases, [Phase::Accepted, Phase::Downloading, Phase::Failed]);
    assert!(told.iter().all(|status| Some(status.update_id) == args.update_id));

    // The slot is free again, and the next one begins.
    let next = site.ask(&args);
    site.serve(b"other bytes").await;
    let error = refused(next.await.unwrap());
    assert!(error.message.starts_with("hash_mismatch: "), "{error}");
}

#[tokio::test]
async fn a_version_that_failed_here_is_refused_by_its_bytes_until_an_operator_allows_it() {
    let mut site = site().await;
    site.driver.settle();
    let args = site.args(b"what was announced");
    for _ in 0..BUDGET {
        let failing = site.ask(&args);
        site.serve(b"what was announced").await;
        refused(failing.await.unwrap());
    }
    site.told();
    let error = refused(site.driver.update(args.clone()).await);
    assert!(error.message.starts_with("quarantined: "), "{error}");
    let told = site.told();
    let failure = told[0].failure.clone().unwrap();
    assert_eq!((told[0].phase, failure.kind), (Phase::Failed, FailureKind::Quarantined));
    assert_eq!(Some(told[0].update_id), args.update_id);
    // A server that names no update is told by the answer alone.
    let nameless = UpdateArgs { update_id: None, ..args.clone() };
    refused(site.driver.update(nameless).await);
    assert!(site.told().is_empty());

    let allowed = site.ask(&UpdateArgs { allow_quarantined: true, ..args });
    site.serve(b"what was announced").await;
    assert!(refused(allowed.await.unwrap()).message.starts_with("wrong_platform: "));
    let journal = site.journal().read().unwrap().unwrap();
    assert_eq!(journal.quarantine.entries()[0].failures, BUDGET + 1);
}

fn open_journal(until: &[Event]) -> Journal {
    let wanted = Wanted {
        update_id: UpdateId::random(),
        version: Version::new(8, 0, 0),
        sha256: Sha256Digest([8; 32]),
        source: Source::Download { url: "http://127.0.0.1:1/x".to_owned() },
    };
    let from = (running_version(), Sha256Digest([7; 32]));
    let now = Timestamp::now();
    let mut journal = Journal::accepted(wanted, from, Quarantine::default(), now);
    for event in until {
        journal = step(&journal, event.clone(), now).unwrap().0;
    }
    journal
}

#[tokio::test]
async fn an_update_that_is_open_keeps_every_other_one_out() {
    let site = site().await;
    let open = open_journal(&[Event::Begun]);
    site.journal().write(&open).unwrap();
    // Not settled: as if its updater were at it.
    site.driver.shared.settled.send_replace(true);
    let error = refused(site.driver.update(site.args(b"x")).await);
    assert!(error.message.contains("an update to 8.0.0 is still open"), "{error}");
    assert_eq!(site.journal().read(), Ok(Some(open)));
}

#[tokio::test]
async fn what_the_start_takes_up_again_is_joined_and_ends_where_its_link_is_dead() {
    let mut site = site().await;
    let mut open = open_journal(&[Event::Begun]);
    open.source = Source::Download { url: site.url.clone() };
    site.journal().write(&open).unwrap();
    site.driver.settle();
    let again = UpdateArgs { version: open.version.clone(), sha256: open.sha256, ..site.args(b"") };
    let joined = site.ask(&again);
    let mut socket = site.asked_for().await;
    answer(&mut socket, "403 Forbidden", b"").await;
    let error = refused(joined.await.unwrap());
    assert!(error.message.starts_with("download: "), "{error}");
    let closed = site.journal().read().unwrap().unwrap();
    assert_eq!((closed.update_id, closed.step), (open.update_id, Step::Failed));
    assert_eq!(closed.resumes, 1);
    assert_eq!(site.told().last().map(|status| status.phase), Some(Phase::Failed));
}

#[tokio::test]
async fn an_outcome_that_came_after_the_register_is_told_once_the_server_accepted() {
    let mut site = site().await;
    let open = open_journal(&[Event::Begun]);
    site.journal().write(&open).unwrap();
    assert_eq!(site.driver.report().map(|report| report.phase), Some(Phase::Downloading));
    let failure = fail(FailureKind::Interrupted, "x");
    let closed = step(&open, Event::Failed(failure), Timestamp::now()).unwrap().0;
    site.journal().write(&closed).unwrap();
    site.driver.on_accepted();
    assert_eq!(site.told().iter().map(|status| status.phase).collect::<Vec<_>>(), [Phase::Failed]);
    // Known by then.
    assert_eq!(site.driver.report().map(|report| report.phase), Some(Phase::Failed));
    site.driver.on_accepted();
    assert!(site.told().is_empty());
}

#[tokio::test]
async fn there_must_be_a_version_to_go_back_to() {
    let mut site = site().await;
    site.driver.settle();
    let own = fs_err::read(std::env::current_exe().unwrap()).unwrap();
    let previous = site.layout.update_dir.join("previous.exe");
    fs_err::create_dir_all(&site.layout.update_dir).unwrap();
    for (kept, named) in [(None, "kept none"), (Some(b"MZ".to_vec()), "no agent"), (Some(own), "")]
    {
        if let Some(kept) = kept {
            fs_err::write(&previous, kept).unwrap();
        }
        let update_id = Some(UpdateId::random());
        let error = refused(site.driver.rollback(RollbackArgs { update_id }).await);
        assert_eq!(error.code, ErrorCode::ExecFailed);
        assert!(error.message.starts_with("no_previous: "), "{error}");
        assert!(error.message.contains(named), "{error}");
        let told = site.told();
        assert_eq!(told[0].failure.as_ref().unwrap().kind, FailureKind::NoPrevious);
        assert_eq!(Some(told[0].update_id), update_id);
    }
    assert_eq!(site.journal().read(), Ok(None));
}

#[tokio::test]
async fn a_journal_that_was_cut_short_is_set_aside_by_the_next_update() {
    let site = site().await;
    site.driver.shared.settled.send_replace(true);
    fs_err::create_dir_all(&site.layout.state_dir).unwrap();
    fs_err::write(&site.layout.journal_file, b"{\"format\":2,").unwrap();
    let failing = site.ask(&site.args(b"what was announced"));
    site.serve(b"other bytes").await;
    refused(failing.await.unwrap());
    assert_eq!(site.journal().read().unwrap().unwrap().step, Step::Failed);
    assert!(site.layout.journal_file.with_extension("json.damaged").exists());
}

#[tokio::test]
async fn an_older_config_gets_this_versions_schema_once_no_update_is_open() {
    let older = r#"{"server":"ws://127.0.0.1:1/agent/ws","agent_id":"pc","token":"secret"}"#;
    for open in [false, true] {
        let site = site().await;
        fs_err::write(&site.layout.config_file, older).unwrap();
        if open {
            let mut journal = open_journal(&[Event::Begun]);
            journal.source = Source::Download { url: site.url.clone() };
            site.journal().write(&journal).unwrap();
        }
        site.driver.settle();
        if open {
            // It is at its download by then, and the journal is open.
            let mut socket = site.asked_for().await;
            let config = fs_err::read_to_string(&site.layout.config_file).unwrap();
            assert_eq!(config, older);
            answer(&mut socket, "403 Forbidden", b"").await;
        } else {
            drop(site.driver.shared.settled.subscribe().wait_for(|settled| *settled).await);
            let config = fs_err::read_to_string(&site.layout.config_file).unwrap();
            assert!(config.contains("\"schema\""), "{config}");
        }
    }
}
