//! Whether this PC reaches the server, asked beside the tunnel: an authenticated request that displaces no connection.

use std::time::{Duration, Instant};

use kenny_core::update::Reach;
use kenny_proto::enrolment::{
    AGENT_ID_HEADER, NONCE_HEADER, PROBE_PATH, PROTOCOL_HEADER, SERVER_NONCE_HEADER,
    SIGNATURE_HEADER,
};
use kenny_proto::{Nonce, PROTOCOL, Signature};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use tokio::task::JoinHandle;
use url::Url;

use super::life::Life;
use crate::config::Config;
use crate::identity::{Credential, Pinned, random_bytes};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How often the server is asked at most.
const EVERY: Duration = Duration::from_secs(5);

/// What the server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It would accept this agent now.
    Accepted,
    /// It is there; a server of 0.2 does not say more.
    Present(u16),
    /// It is there and has too much to do.
    Busy(u16),
    /// It does not know this agent, its token or its key.
    Refused,
    /// Something is there, and does not prove that it is the server that this PC enrolled at.
    Unproven(String),
    /// Nobody answered.
    Unreachable(String),
}

impl Answer {
    /// What the engine makes of it: an agent that is refused is so whatever version it is.
    pub const fn reach(&self) -> Reach {
        match self {
            Self::Accepted | Self::Present(_) => Reach::Reachable,
            Self::Busy(_) => Reach::Busy,
            Self::Refused | Self::Unproven(_) | Self::Unreachable(_) => Reach::Unreachable,
        }
    }

    const fn from_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NO_CONTENT => Self::Accepted,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Self::Busy(status.as_u16())
            }
            StatusCode::UNAUTHORIZED => Self::Refused,
            other => Self::Present(other.as_u16()),
        }
    }
}

/// Asks one server as one agent.
#[derive(Debug, Clone)]
pub struct Probe {
    client: Client,
    url: Url,
    agent_id: String,
    credential: Credential,
}

impl Probe {
    /// Asks the server of this config.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let url = crate::http_url(&config.server, PROBE_PATH);
        let client = Client::builder()
            .tls_backend_preconfigured(crate::tunnel::tls_config(config)?)
            // As the tunnel does: straight there, and nowhere else.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(LIMIT)
            // A connection that stands says nothing of whether another one would.
            .pool_max_idle_per_host(0)
            .build()?;
        let credential = Credential::load(config)?;
        Ok(Self { client, url, agent_id: config.agent_id.to_string(), credential })
    }

    /// Asks.
    pub async fn ask(&self) -> Answer {
        match &self.credential {
            Credential::Token(token) => match self.request().bearer_auth(token).send().await {
                Ok(response) => Answer::from_status(response.status()),
                Err(error) => Answer::Unreachable(innermost(&error)),
            },
            Credential::Key(pinned) => match self.ask_by_key(pinned).await {
                Ok(answer) => answer,
                Err(error) => Answer::Unreachable(innermost(&error)),
            },
        }
    }

    fn request(&self) -> RequestBuilder {
        self.client.get(self.url.clone()).header(AGENT_ID_HEADER, &self.agent_id)
    }

    /// Asks twice: the server signs first, then this agent. What is not signed is no word of the server, but for that it
    /// is busy: nothing hangs on that.
    async fn ask_by_key(&self, pinned: &Pinned) -> reqwest::Result<Answer> {
        let nonce = Nonce(random_bytes());
        let request = || {
            let request = self.request().header(PROTOCOL_HEADER, PROTOCOL);
            request.header(NONCE_HEADER, nonce.to_string())
        };
        let first = request().send().await?;
        let server_nonce = header::<Nonce>(&first, SERVER_NONCE_HEADER);
        let signed = server_nonce.zip(header::<Signature>(&first, SIGNATURE_HEADER));
        let Some((server_nonce, signature)) = signed else {
            return Ok(match Answer::from_status(first.status()) {
                answer @ (Answer::Busy(_) | Answer::Refused) => answer,
                Answer::Accepted
                | Answer::Present(_)
                | Answer::Unproven(_)
                | Answer::Unreachable(_) => unproven(first.status()),
            });
        };
        let answer = match pinned.answer_probe(nonce, server_nonce, &signature) {
            Ok(answer) => answer,
            Err(problem) => return Ok(Answer::Unproven(problem.to_string())),
        };
        let second = request()
            .header(SERVER_NONCE_HEADER, server_nonce.to_string())
            .header(SIGNATURE_HEADER, answer.to_string())
            .send()
            .await?;
        let accepted = header::<Signature>(&second, SIGNATURE_HEADER)
            .is_some_and(|signature| pinned.is_accepted(nonce, server_nonce, &signature));
        Ok(match Answer::from_status(second.status()) {
            Answer::Accepted if accepted => Answer::Accepted,
            answer @ (Answer::Busy(_) | Answer::Refused) => answer,
            Answer::Accepted
            | Answer::Present(_)
            | Answer::Unproven(_)
            | Answer::Unreachable(_) => unproven(second.status()),
        })
    }
}

fn header<T: std::str::FromStr>(response: &Response, name: &str) -> Option<T> {
    response.headers().get(name)?.to_str().ok()?.parse().ok()
}

fn unproven(status: StatusCode) -> Answer {
    Answer::Unproven(format!("it answered {status} without the signature of this agent's server"))
}

/// The last cause, which is the one that says something.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// The answer as of the last five seconds.
#[derive(Debug)]
pub struct Reached {
    config: Option<Config>,
    probe: Option<Probe>,
    known: Option<(Instant, Reach)>,
    asking: Option<JoinHandle<Reach>>,
}

impl Reached {
    /// Nothing is known yet, and nothing ever is without a config.
    pub fn new(config: Option<Config>) -> Self {
        Self { config, probe: None, known: None, asking: None }
    }

    /// Asks ahead of the question, without waiting.
    pub fn ask_ahead(&mut self, life: &Life) {
        if self.asking.is_some() {
            return;
        }
        // Not before it is needed: what the system trusts takes time to read.
        if let (None, Some(config)) = (&self.probe, &self.config) {
            let probe = Probe::new(config);
            self.probe = probe
                .inspect_err(|error| tracing::warn!("the server cannot be asked: {error:#}"))
                .ok();
        }
        if let Some(probe) = self.probe.clone() {
            self.asking = Some(life.spawn(async move { probe.ask().await.reach() }));
        }
    }

    /// Whether the server is reached. Waits for an answer where none is fresh.
    pub fn now(&mut self, life: &Life) -> Reach {
        if let Some((at, reach)) = self.known
            && at.elapsed() < EVERY
        {
            return reach;
        }
        self.ask_ahead(life);
        // Without a config nobody knows where the server is: the version is not to blame for that.
        let Some(asking) = self.asking.take() else { return Reach::Unreachable };
        let reach = life.block_on(asking).unwrap_or(Reach::Unreachable);
        self.known = Some((Instant::now(), reach));
        reach
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use kenny_proto::transcript::{Exchange, Purpose};

    use super::*;
    use crate::cli::Identity;
    use crate::identity::testing::Golden;

    fn config(server: String) -> Config {
        let identity = Identity {
            server: Some(server),
            agent_id: Some("pc".to_owned()),
            token: Some("secret".to_owned()),
            ..Identity::default()
        };
        identity.over(None).unwrap()
    }

    /// What a probe makes of this answer, and what the server heard.
    async fn ask(answer: &str) -> (Answer, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = config(format!("ws://{}/agent/ws", listener.local_addr().unwrap()));
        let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
        let serve = async move { serve(&listener, |_| answer).await };
        let probe = Probe::new(&config).unwrap();
        tokio::join!(probe.ask(), serve)
    }

    /// Takes one request and answers it as this says. What was heard, with the names of headers in lower case.
    async fn serve(listener: &TcpListener, answer: impl FnOnce(&str) -> String) -> String {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\n") {
            let mut bytes = [0; 1024];
            let read = socket.read(&mut bytes).await.unwrap();
            heard.extend_from_slice(&bytes[..read]);
        }
        let heard = String::from_utf8(heard).unwrap();
        let lines = heard.lines().map(|line| match line.split_once(": ") {
            Some((name, value)) => format!("{}: {value}", name.to_lowercase()),
            None => line.to_owned(),
        });
        let heard = lines.collect::<Vec<_>>().join("\n");
        socket.write_all(answer(&heard).as_bytes()).await.unwrap();
        heard
    }

    /// What a server signs for the nonce in what it heard.
    fn signed(golden: &Golden, heard: &str, purpose: Purpose) -> Signature {
        let nonce = heard.lines().find_map(|line| line.strip_prefix("x-kenny-nonce: ")).unwrap();
        let exchange = Exchange {
            protocol: PROTOCOL,
            agent_id: &golden.agent_id,
            client_nonce: nonce.trim().parse().unwrap(),
            server_nonce: golden.server_nonce,
            server_key: golden.server_key,
        };
        golden.server().sign(&exchange.transcript(purpose))
    }

    /// The answers of a server to a probe by key; `for_first` and `for_second` are what it signs, none where it does not.
    async fn ask_by_key(
        first: &str,
        for_first: Option<Purpose>,
        second: &str,
        for_second: Option<Purpose>,
    ) -> Answer {
        let golden = Golden::read();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = config(format!("ws://{}/agent/ws", listener.local_addr().unwrap()));
        let mut probe = Probe::new(&config).unwrap();
        probe.agent_id = golden.agent_id.to_string();
        probe.credential = Credential::Key(std::sync::Arc::new(golden.agent()));
        let serving = async {
            for (status, purpose) in [(first, for_first), (second, for_second)] {
                let heard = serve(&listener, |heard| {
                    let signature = purpose.map_or(String::new(), |purpose| {
                        format!(
                            "x-kenny-server-nonce: {}\r\nx-kenny-signature: {}\r\n",
                            golden.server_nonce,
                            signed(&golden, heard, purpose)
                        )
                    });
                    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n{signature}\r\n")
                });
                assert!(!heard.await.contains("authorization"), "a key is no token");
            }
            std::future::pending::<Answer>().await
        };
        tokio::select! {
            answer = probe.ask() => answer,
            never = serving => never,
        }
    }

    #[tokio::test]
    async fn with_a_key_only_signed_words_count_but_for_being_busy_or_refused() {
        let asked = "401 Unauthorized";
        let (server, accepted) = (Some(Purpose::ProbeServer), Some(Purpose::ProbeAccepted));
        let good = ask_by_key(asked, server, "204 No Content", accepted).await;
        assert_eq!(good, Answer::Accepted);
        for (first, for_first, second, for_second, reach) in [
            // Nothing signed: a captive portal, a proxy, a server of 0.2.
            ("204 No Content", None, "", None, Reach::Unreachable),
            ("404 Not Found", None, "", None, Reach::Unreachable),
            ("200 OK", None, "", None, Reach::Unreachable),
            (asked, None, "", None, Reach::Unreachable),
            ("503 Service Unavailable", None, "", None, Reach::Busy),
            // Signed for something else, or only the first time.
            (asked, Some(Purpose::TunnelServer), "204 No Content", accepted, Reach::Unreachable),
            (asked, server, "204 No Content", None, Reach::Unreachable),
            (asked, server, "204 No Content", server, Reach::Unreachable),
            (asked, server, "404 Not Found", accepted, Reach::Unreachable),
            (asked, server, "401 Unauthorized", None, Reach::Unreachable),
            (asked, server, "429 Too Many Requests", None, Reach::Busy),
        ] {
            let answer = ask_by_key(first, for_first, second, for_second).await;
            assert_ne!(answer, Answer::Accepted);
            assert_eq!(answer.reach(), reach, "{first} {second}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn every_answer_has_its_meaning() {
        let cases = [
            ("204 No Content", Answer::Accepted, Reach::Reachable),
            ("404 Not Found", Answer::Present(404), Reach::Reachable),
            ("500 Oops", Answer::Present(500), Reach::Reachable),
            ("429 Too Many Requests", Answer::Busy(429), Reach::Busy),
            ("503 Service Unavailable", Answer::Busy(503), Reach::Busy),
            ("401 Unauthorized", Answer::Refused, Reach::Unreachable),
        ];
        for (said, expected, reach) in cases {
            let (answer, heard) = ask(said).await;
            assert_eq!((&answer, answer.reach()), (&expected, reach), "{said}");
            let heard = heard.to_lowercase();
            for part in
                ["get /agent/probe ", "authorization: bearer secret", "x-kenny-agent-id: pc"]
            {
                assert!(heard.contains(part), "{heard}");
            }
        }
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_not_followed() {
        let answer = ask("302 Found\r\nlocation: http://127.0.0.1:1/elsewhere").await.0;
        assert_eq!(answer, Answer::Present(302));
    }

    #[tokio::test]
    async fn nobody_there_is_unreachable() {
        // Bound and dropped: nobody listens on it.
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let answer = Probe::new(&config(format!("ws://{address}"))).unwrap().ask().await;
        assert!(matches!(answer, Answer::Unreachable(_)), "{answer:?}");
        assert_eq!(answer.reach(), Reach::Unreachable);
    }
}
