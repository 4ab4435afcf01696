//! Putting a server together, serving, and going down in order.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use jiff::Timestamp;
use kenny_proto::audit::AuditOutcome;
use kenny_proto::{AccountName, Sha256Digest};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::accounts::{self, Accounts, Directory};
use crate::app::App;
use crate::audit::{self, Audit, Entry, Subject, Who};
use crate::auth;
use crate::config::Config;
use crate::enrolment::Door;
use crate::events::Events;
use crate::fleet::{self, Fleet};
use crate::limits::{self, Bounds, Doorkeeper, Limits};
use crate::metrics::Metrics;
use crate::oauth::client::Seal;
use crate::ops::releases::Releases;
use crate::ops::setup::{self, Setup};
use crate::releases::links::Signer;
use crate::releases::{ReleaseFiles, Uplink};
use crate::rollout::staged::{self, Policies, Rollouts, Staged};
use crate::store::{
    DataDir, Restricted, Right, Store, account_rows, rollout_rows, rows, trust_rows, update_rows,
};
use crate::trust::Trust;
use crate::tunnel::ProbeNonces;
use crate::web::pending::PendingLogins;
use crate::{http, identity, ops, rollout, tls, trust, tunnel};

/// How long running calls may take once the server is asked to stop.
const DRAIN_TIME: Duration = Duration::from_secs(10);
/// The most that a request's head may have: browsers send some 2 KiB, and a token 100 bytes.
const HEAD_BYTES: usize = 64 * 1024;
/// A server that holds its data folder and listens, and has yet to serve.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// The operator's token, when this start made it. It is not kept anywhere.
    pub operator_token: Option<String>,
    /// Where the first owner sets a name and a password, while no account has one. Good once, and for an hour.
    pub setup_link: Option<String>,
    app: Arc<App>,
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    limits: Limits,
    /// Held until the server is gone.
    data_dir: DataDir,
}

impl Server {
    /// Takes the data folder and the address.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        config.check()?;
        let tls = config.tls.as_ref().map(tls::server_config).transpose()?;
        let data_dir = DataDir::open(&config.data_dir)?;
        let metrics = Arc::new(Metrics::default());
        let store = Store::open(&data_dir, Arc::clone(&metrics)).with_context(|| {
            format!("the database in {} cannot be opened", config.data_dir.display())
        })?;
        let files = ReleaseFiles::open(data_dir.path())
            .context("the folder of the releases cannot be opened")?;
        let identity = identity::load_or_make(data_dir.path())?;
        let agent_ca = config.agent_ca.as_deref().map(tls::certificates_for_agents).transpose()?;
        let kept = Kept::load(&store).await.context("the database cannot be read")?;
        let listener = TcpListener::bind(config.listen).with_context(|| {
            format!("cannot listen on {}; is another server running there?", config.listen)
        })?;
        let address = listener.local_addr().context("the listener has no address")?;
        let (setup, setup_code) = Setup::begin(&kept.directory, Instant::now());
        let app = App {
            setup,
            address,
            tls: tls.is_some(),
            public_url: config.public_url,
            heartbeat: config.heartbeat,
            pace: config.pace,
            accounts: Accounts::new(store.clone(), kept.directory),
            identity,
            probe_nonces: ProbeNonces::new(&kept.artifact_secret.0),
            door: Door::default(),
            agent_ca,
            fleet: kept.fleet,
            uplink: Uplink::new(config.download_limit),
            rollouts: Rollouts::new(
                kept.rollouts,
                kept.policies,
                kept.artifact_secret.0,
                Timestamp::now(),
            ),
            releases: Releases::new(files, Signer::new(&kept.artifact_secret.0), kept.releases),
            doorkeeper: Doorkeeper::new(config.limits.clone(), config.trusted_proxies.clone()),
            ready: tokio::sync::Mutex::default(),
            bounds: Bounds::new(&config.limits),
            trusted_proxies: config.trusted_proxies,
            audit: Audit::new(store.clone()),
            trust: Trust::open(&kept.trust, config.lifetimes)?,
            clients: Seal::new(&kept.artifact_secret.0),
            pending_logins: PendingLogins::default(),
            events: Events::new(store.clone(), kept.newest_event, Timestamp::now()),
            store: Restricted::new(store),
            proofs_ended: watch::Sender::new(()),
            metrics,
            stopping: CancellationToken::new(),
            tunnel_closing: CancellationToken::new(),
            disconnected: Notify::new(),
        };
        let setup_link = setup_code.map(|code| setup::link(&app, &code));
        Ok(Self {
            address,
            operator_token: kept.operator_token,
            setup_link,
            app: Arc::new(app),
            listener,
            tls,
            limits: config.limits,
            data_dir,
        })
    }

    /// The server's address as a URL, without a slash at its end.
    pub fn url(&self) -> String {
        self.app.own_url()
    }

    /// What its parts share.
    #[cfg(test)]
    pub(crate) fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Serves until `shutdown` is ready, then goes down in order: no new connections, event streams end, running
    /// calls get 10 s, agents are sent away with 1001, the database is closed.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        let Self { app, listener, tls, limits, data_dir, .. } = self;
        let keeper = Arc::clone(&app.doorkeeper);
        let router =
            http::router(&app, &limits).into_make_service_with_connect_info::<SocketAddr>();
        let handle = Handle::new();
        let mut server = axum_server::from_tcp(listener).context("the listener cannot be used")?;
        server
            .http_builder()
            .http1()
            .header_read_timeout(limits.head_time)
            .max_buf_size(HEAD_BYTES);
        let server = server
            .handle(handle.clone())
            .first_request_timeout(limits.head_time)
            .accept_error_handler(|peer, error| {
                if let Some(peer) = peer {
                    tracing::debug!(%peer, %error, "a connection was not established");
                } else {
                    tracing::warn!(%error, "connections cannot be accepted");
                }
            });
        let serving = async {
            match tls {
                Some(config) => {
                    let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(config))
                        .acceptor(NoDelayAcceptor::new());
                    server.acceptor(limits::Door::new(keeper, acceptor)).serve(router).await
                }
                None => {
                    server
                        .acceptor(limits::Door::new(keeper, NoDelayAcceptor::new()))
                        .serve(router)
                        .await
                }
            }
        };
        let background = Background::start(&app);
        tracing::info!(address = %app.address, tls = app.tls, "listening");
        let drained = {
            tokio::pin!(serving);
            tokio::select! {
                ended = &mut serving => ended,
                () = shutdown => {
                    tracing::info!("going down: running calls get {} s", DRAIN_TIME.as_secs());
                    app.stopping.cancel();
                    handle.graceful_shutdown(Some(DRAIN_TIME));
                    serving.await
                }
            }
        };
        app.stopping.cancel();
        app.tunnel_closing.cancel();
        tunnel::close_all(&app).await;
        background.stop();
        if let Err(error) = app.fleet.flush(app.store.by(&Running)).await {
            tracing::warn!(%error, "what agents reported last is not in the database");
        }
        if let Err(error) = app.accounts.save_uses().await {
            tracing::warn!(%error, "when tokens were last used is not in the database");
        }
        app.store.by(&Running).close().await;
        drop(data_dir);
        tracing::info!("stopped");
        drained.context("serving failed")
    }
}

/// By this the server keeps what it learnt, and closes the database at its end.
struct Running;

impl Right for Running {}

/// The tasks that every server runs beside its connections.
struct Background(Vec<tokio::task::AbortHandle>);

impl Background {
    fn start(app: &Arc<App>) -> Self {
        let (swept, written, rolled) = (Arc::clone(app), Arc::clone(app), Arc::clone(app));
        let renewed = Arc::clone(app);
        let sweeper = tokio::spawn(async move { tunnel::run_sweeper(&swept).await });
        let writer =
            tokio::spawn(
                async move { written.fleet.write_behind(written.store.by(&Running)).await },
            );
        let timer = tokio::spawn(async move { rollout::run_timer(&rolled).await });
        let trust = tokio::spawn(async move { trust::run_timer(&renewed).await });
        let accounts = Arc::clone(&app.accounts);
        let uses = tokio::spawn(async move { accounts.write_uses().await });
        let kept = Arc::clone(app);
        let artifacts = tokio::spawn(async move { ops::releases::run_sweeper(&kept).await });
        let many = Arc::clone(app);
        let rollouts = tokio::spawn(async move { staged::run(&many).await });
        let tasks = [sweeper, writer, timer, trust, uses, artifacts, rollouts];
        Self(tasks.map(|task| task.abort_handle()).into())
    }

    fn stop(self) {
        for task in self.0 {
            task.abort();
        }
    }
}

/// What the database has at start; secrets that it has not are made.
struct Kept {
    operator_token: Option<String>,
    directory: Directory,
    artifact_secret: Sha256Digest,
    fleet: Fleet,
    rollouts: Vec<Staged>,
    policies: Policies,
    releases: Vec<kenny_proto::api::Release>,
    newest_event: Option<i64>,
    trust: trust_rows::Kept,
}

impl Kept {
    async fn load(store: &Store) -> anyhow::Result<Self> {
        let kept = store
            .run(|connection| {
                let operator_token = account_rows::first_account(connection, Timestamp::now())?;
                let artifact_secret =
                    if let Some(secret) = rows::bytes_setting(connection, rows::ARTIFACT_SECRET)? {
                        secret
                    } else {
                        let secret = Sha256Digest(auth::random_bytes());
                        rows::set_setting(connection, rows::ARTIFACT_SECRET, &secret.to_string())?;
                        secret
                    };
                Ok(Self {
                    operator_token,
                    directory: Directory::load(connection)?,
                    artifact_secret,
                    fleet: Fleet::new(
                        rows::agents(connection)?,
                        fleet::Kept {
                            updates: update_rows::last_updates(connection)?,
                            standings: update_rows::standings(connection)?,
                            holds: update_rows::holds(connection)?,
                            health: rows::health(connection)?,
                        },
                    ),
                    rollouts: rollout_rows::unfinished(connection)?,
                    policies: Policies::read(connection)?,
                    releases: rows::releases(connection)?,
                    newest_event: rows::event_range(connection)?.map(|(_, newest)| newest),
                    trust: trust_rows::kept(connection, Sha256Digest(auth::random_bytes()))?,
                })
            })
            .await?;
        Ok(kept)
    }
}

/// Makes a new token of the account `owner` for the data folder of a server that does not run. Its other tokens are worth
/// nothing from then on.
pub async fn reset_operator_token(data_dir: &Path) -> anyhow::Result<String> {
    let data_dir = DataDir::open(data_dir)?;
    let store = Store::open(&data_dir, Arc::default())?;
    let now = Timestamp::now();
    let subject = Subject::named("owner");
    let row = Entry::now(Who::CONSOLE, "token.create", subject, AuditOutcome::Done);
    let token = store
        .run(move |connection| {
            let token = account_rows::rescue_token(connection, now)?;
            audit::append(connection, &row)?;
            Ok(token)
        })
        .await?;
    store.close().await;
    Ok(token)
}

/// Gives an account a random password, for the data folder of a server that does not run: its second factor, tokens and
/// sessions are gone, and it is enabled. The password.
pub async fn reset_account(data_dir: &Path, name: &AccountName) -> anyhow::Result<String> {
    let data_dir = DataDir::open(data_dir)?;
    let store = Store::open(&data_dir, Arc::default())?;
    let password = accounts::new_password();
    let (hash, wanted) = (accounts::make_hash(&password), name.clone());
    let subject = Subject::named(name.as_str());
    let row = Entry::now(Who::CONSOLE, "account.reset", subject, AuditOutcome::Done);
    let names = store
        .run(move |connection| {
            let Some(id) = account_rows::find_account(connection, wanted.as_str())? else {
                let accounts = account_rows::accounts(connection)?;
                return Ok(Err(accounts.into_iter().map(|account| account.name.to_string())));
            };
            account_rows::reset_account(connection, id, &hash)?;
            account_rows::set_disabled(connection, id, false)?;
            audit::append(connection, &row)?;
            Ok(Ok(()))
        })
        .await?;
    store.close().await;
    if let Err(names) = names {
        let names: Vec<String> = names.collect();
        anyhow::bail!("there is no account `{name}`; there are: {}", names.join(", "));
    }
    Ok(password)
}
