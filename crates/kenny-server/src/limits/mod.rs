//! Bounds for whoever has not proved who it is: how many sockets and tunnels, for how long, with how many bytes, and how
//! often it may be wrong. Whoever has proved it (a registered agent, an operator, the holder of a signed link) is outside
//! of them all, so that an office of a hundred PCs behind one address is not locked out by its own number, nor by a
//! neighbour who keeps being wrong.

pub mod address;
mod door;
mod failures;
mod tunnels;
mod visits;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{Extensions, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use kenny_proto::REGISTER_TIMEOUT_S;
use kenny_proto::invitation::INVITE_PATH;

use crate::api::problem::problem;
use crate::app::App;

pub use door::{Door, Doorkeeper, Slot};
use failures::Failures;
use tunnels::Tunnels;
pub use tunnels::Waiting;
use visits::Visits;

/// The numbers. Each has a reason, and tests set them lower.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Sockets of one address that have proved nothing. A hundred PCs that come back after a power cut have one each for
    /// as long as a register takes; a browser opens six.
    pub sockets_of_address: usize,
    /// Sockets of all addresses that have proved nothing. Above it each address gets [`SOCKETS_WHEN_FULL`].
    pub sockets: usize,
    /// How long a socket may go on without having proved anything: three times what a register may take, with TLS before it,
    /// and enough for a page on a slow line.
    pub proof_time: Duration,
    /// Bytes that such a socket may send: a register frame (256 KiB at most) and its request head.
    pub proof_bytes: usize,
    /// How long each frame of an agent's handshake may take.
    pub register_time: Duration,
    /// Tunnels of one address that have yet to register.
    pub tunnels_of_address: usize,
    /// Tunnels of all addresses that have yet to register: each may hold a register frame in memory, so 256 MiB.
    pub tunnels: usize,
    /// Wrong credentials of one address that cost nothing: a mistyped token, three PCs that were reinstalled.
    pub free_failures: u32,
    /// Requests of one address, at once, for what anybody may ask and what costs something: logins, registrations of
    /// programs, their tokens, pages of invitations. A family that logs in everywhere needs a dozen.
    pub visits_of_address: u32,
    /// How long a request's head may take.
    pub head_time: Duration,
    /// How long a body may pause.
    pub body_pause: Duration,
}

/// What each address gets while the whole house is full.
pub const SOCKETS_WHEN_FULL: usize = 8;

impl Default for Limits {
    fn default() -> Self {
        Self {
            sockets_of_address: 256,
            sockets: 4096,
            proof_time: Duration::from_mins(1),
            proof_bytes: 320 * 1024,
            register_time: Duration::from_secs(u64::from(REGISTER_TIMEOUT_S)),
            tunnels_of_address: 128,
            tunnels: 1024,
            free_failures: 10,
            visits_of_address: 60,
            head_time: Duration::from_secs(15),
            body_pause: Duration::from_secs(30),
        }
    }
}

/// Whoever uses the socket of this request has proved who it is.
pub fn prove(extensions: &Extensions) {
    if let Some(slot) = extensions.get::<Arc<Slot>>() {
        slot.prove();
    }
    if let Some(Through(slot)) = extensions.get::<Through>() {
        slot.prove();
    }
}

/// A request that came through a trusted proxy, whose sockets are nobody's: it counts for the client's address, as a
/// socket does, until it has proved who asks or is over.
#[derive(Debug, Clone)]
pub struct Through(Arc<Slot>);

/// What anybody may ask and what costs something.
fn is_for_visitors(path: &str) -> bool {
    const PATHS: [&str; 6] = [
        "/login",
        "/login/code",
        "/api/v1/login",
        "/oauth/register",
        "/oauth/token",
        "/oauth/revoke",
    ];
    PATHS.contains(&path) || path.starts_with(INVITE_PATH)
}

/// Bounds what comes in, before anybody looks at it.
pub async fn admit(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let from = app.client(request.extensions(), request.headers());
    let is_proxys = request.extensions().get::<Arc<Slot>>().is_some_and(|slot| slot.is_proxys());
    // Held until there is an answer: a handler that waits for the body has let go of the extensions.
    let mut through = None;
    if let Some(client) = from.filter(|_| is_proxys) {
        let Some(slot) = app.doorkeeper.admit(client) else {
            return too_many(Duration::from_secs(1));
        };
        request.extensions_mut().insert(Through(Arc::clone(&slot)));
        through = Some(slot);
    }
    if is_for_visitors(request.uri().path())
        && let Err(wait) = app.bounds.visits.enter(from, Instant::now())
    {
        return too_many(wait);
    }
    let response = next.run(request).await;
    drop(through);
    response
}

/// What is counted.
#[derive(Debug)]
pub struct Bounds {
    tunnels: Tunnels,
    failures: Failures,
    visits: Visits,
    register_time: Duration,
}

impl Bounds {
    /// Nothing counted yet.
    pub fn new(limits: &Limits) -> Self {
        Self {
            tunnels: Tunnels::new(limits.tunnels, limits.tunnels_of_address),
            failures: Failures::new(limits.free_failures),
            visits: Visits::new(limits.visits_of_address),
            register_time: limits.register_time,
        }
    }

    /// A tunnel that has yet to register, or how long its agent should wait. An address that has been wrong again and
    /// again gets few at a time, and not none: others may be behind it.
    pub fn tunnel(&self, from: Option<IpAddr>) -> Result<Waiting, Duration> {
        let few = self.failures.wait(from, Instant::now()).is_some();
        self.tunnels.enter(from, few)
    }

    /// Somebody was wrong about who it is. While its address has to wait, the time that is left: the answer is then
    /// [`too_many`] instead of what was wrong. Whoever is right is never asked to wait.
    pub fn failed(&self, from: Option<IpAddr>) -> Option<Duration> {
        self.failures.failed(from, Instant::now())
    }

    /// How long each frame of an agent's handshake may take.
    pub const fn register_time(&self) -> Duration {
        self.register_time
    }

    /// How many tunnels have yet to register.
    pub fn waiting_tunnels(&self) -> usize {
        self.tunnels.waiting()
    }
}

/// 429, with the time after which to ask again.
pub fn too_many(wait: Duration) -> Response {
    let seconds = wait.as_secs().max(1);
    let mut response = problem(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many",
        "Too many at once",
        format!("too many attempts or connections from this address; ask again in {seconds} s"),
    )
    .into_response();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}
