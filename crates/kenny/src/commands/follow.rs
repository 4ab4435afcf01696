//! Follows one update: by the server's events, and by asking again where these do not come.

use std::time::Duration;

use kenny_proto::api::Update;
use kenny_proto::{AgentId, UpdateId};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::client::Client;
use crate::error::CliError;

/// How long events may stay away before the update is asked for, lest a stream that died silently is waited for.
const ASK_BESIDE_EVENTS: Duration = Duration::from_secs(5);

/// How long to wait before the server is asked again after it refused or ended the stream.
const RETRY: Duration = Duration::from_millis(500);

/// A server that restarts is back long before; after that it counts as gone.
const GONE: Duration = Duration::from_mins(1);

/// What was learnt.
#[derive(Debug)]
pub enum Heard {
    /// The update as it stands.
    Update(Box<Update>),
    /// The server does not answer at the moment.
    Lost,
}

/// Asks on in the background until it is dropped.
pub struct Follower {
    heard: mpsc::Receiver<Result<Heard, CliError>>,
    _task: AbortOnDropHandle<()>,
}

impl Follower {
    /// Follows this update.
    pub fn new(client: Client, update: &Update) -> Self {
        let (sender, heard) = mpsc::channel(16);
        let task = Task { client, agent: update.agent_id.clone(), id: update.id, sender };
        Self { heard, _task: AbortOnDropHandle::new(tokio::spawn(task.run())) }
    }

    /// What is learnt next; an error ends it. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Heard, CliError> {
        self.heard.recv().await.unwrap_or_else(|| {
            Err(CliError::Failed("the update cannot be followed any more".to_owned()))
        })
    }
}

struct Task {
    client: Client,
    agent: AgentId,
    id: UpdateId,
    sender: mpsc::Sender<Result<Heard, CliError>>,
}

/// The watcher is gone or was told the reason.
struct Over;

impl Task {
    async fn run(self) {
        let mut away_since = None;
        loop {
            // The stream comes first and the question second, so that nothing falls between them.
            let stream = self.client.events(Some(&self.agent), None).await;
            if self.ask(&mut away_since).await.is_err() {
                return;
            }
            if let Ok(mut stream) = stream {
                loop {
                    let told = match timeout(ASK_BESIDE_EVENTS, stream.next()).await {
                        Ok(Some(Ok(event))) if event.kind == "resync" => {
                            self.ask(&mut away_since).await
                        }
                        Ok(Some(Ok(event))) => match event.update {
                            Some(update) if update.id == self.id => {
                                self.tell(Ok(Heard::Update(update))).await
                            }
                            Some(_) | None => Ok(()),
                        },
                        Ok(Some(Err(_)) | None) => break,
                        Err(_) => self.ask(&mut away_since).await,
                    };
                    if told.is_err() {
                        return;
                    }
                }
            }
            sleep(RETRY).await;
        }
    }

    async fn ask(&self, away_since: &mut Option<Instant>) -> Result<(), Over> {
        let error = match self.client.update(self.id).await {
            Ok(update) => {
                *away_since = None;
                return self.tell(Ok(Heard::Update(Box::new(update)))).await;
            }
            Err(error) => error,
        };
        let since = *away_since.get_or_insert_with(Instant::now);
        if error.exit_code() == 3 && since.elapsed() < GONE {
            return self.tell(Ok(Heard::Lost)).await;
        }
        // The watcher has its reason whether or not it still listens.
        let _ = self.tell(Err(error)).await;
        Err(Over)
    }

    async fn tell(&self, heard: Result<Heard, CliError>) -> Result<(), Over> {
        self.sender.send(heard).await.map_err(|_| Over)
    }
}
