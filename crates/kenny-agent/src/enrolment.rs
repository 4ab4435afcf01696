//! Redeeming an invitation: a key is made and kept, then its public half becomes this agent's at the server.
//!
//! Whatever is interrupted may be done again with the same invitation: the key lies under the code's name, and a server
//! takes the same key for the same code as often as it is asked.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kenny_core::identity::is_signed_by;
use kenny_proto::api::Problem;
use kenny_proto::enrolment::{ENROL_PATH, EnrolRequest, Enrolled, MAX_ENROL_BYTES};
use kenny_proto::invitation::InvitationError;
use kenny_proto::transcript::Enrolment;
use kenny_proto::{AgentId, Invitation, InvitationCode, Nonce, PublicKey};
use reqwest::{Client, Response, StatusCode, redirect};
use url::Url;

use crate::config::{self, Config, IdentityConfig};
use crate::identity::{self, KeyFileError, random_bytes};

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(20);
/// How often a server that does not answer is asked: what was lost may be repeated.
const TRIES: u32 = 3;
/// Between two of them.
const PAUSE: Duration = Duration::from_secs(1);
/// The name of the certificates that came with an invitation, beside the config.
const CA_FILE: &str = "kenny-agent.ca.pem";

/// What a PC needs to enrol.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The tunnel's address.
    pub server: Url,
    /// The agent's name.
    pub agent_id: AgentId,
    /// Good for one enrolment.
    pub code: InvitationCode,
    /// The server's key, which is pinned.
    pub server_key: PublicKey,
    /// Certificates to trust besides the system's.
    pub ca: Option<String>,
    /// The root of the releases' signatures, as a file of it has it.
    pub tuf_root: Option<Vec<u8>>,
}

/// Why the PC did not enrol.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The invitation's file cannot be read.
    #[error("could not read the invitation {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was given is none.
    #[error("this is no invitation: {0}")]
    Invitation(#[from] InvitationError),
    /// Its address is none.
    #[error("the invitation's server: {0}")]
    Server(String),
    /// The key cannot be made or kept.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The certificates cannot be kept.
    #[error("could not keep the invitation's certificates in {}", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nothing can be sent.
    #[error("could not set up the connection: {0:#}")]
    Client(anyhow::Error),
    /// Nobody answers.
    #[error(
        "the server {server} does not answer: {why}. Install again with the same invitation when it does"
    )]
    Unreachable {
        /// Where it should be.
        server: Url,
        /// Why.
        why: String,
    },
    /// The server says no.
    #[error("the server did not enrol this PC: {0}")]
    Refused(String),
    /// Something else answered.
    #[error(
        "what answers at {0} does not prove that it has the server key of the invitation; nothing was installed. Is the address \
         right, and the network one that you trust?"
    )]
    NotTheServer(Url),
}

impl Terms {
    /// The terms of an invitation: its JSON, or the file that holds it.
    pub fn of_invitation(file_or_text: &str) -> Result<Self, EnrolError> {
        let text = if file_or_text.trim_start_matches('\u{feff}').trim_start().starts_with('{') {
            file_or_text.to_owned()
        } else {
            let path = PathBuf::from(file_or_text);
            fs_err::read_to_string(&path).map_err(|source| EnrolError::File { path, source })?
        };
        Self::from_invitation(Invitation::parse(&text)?)
    }

    /// The terms of an invitation.
    pub fn from_invitation(invitation: Invitation) -> Result<Self, EnrolError> {
        let Invitation { server, agent_id, code, server_key, ca, tuf_root, .. } = invitation;
        let server = config::parse_server(&server).map_err(EnrolError::Server)?;
        let tuf_root = tuf_root.map(|root| root.to_string().into_bytes());
        Ok(Self { server, agent_id, code, server_key, ca, tuf_root })
    }

    /// What the config says once this PC has enrolled.
    pub fn identity(&self, config_file: &Path) -> IdentityConfig {
        let key_file = identity::path_for(identity::folder_of(config_file), &self.code);
        IdentityConfig { key_file, server_key: self.server_key }
    }

    /// Where the certificates lie that came along; none where none did.
    pub fn ca_file(&self, config_file: &Path) -> Option<PathBuf> {
        self.ca.as_ref().map(|_| ca_file(config_file))
    }
}

/// Where the certificates of an invitation are kept.
pub fn ca_file(config_file: &Path) -> PathBuf {
    identity::folder_of(config_file).join(CA_FILE)
}

/// Enrols this PC. `config` is the one that it will have; its folder is there.
pub fn enrol(terms: &Terms, config: &Config) -> Result<(), EnrolError> {
    enrol_with_pauses(terms, config, PAUSE)
}

fn enrol_with_pauses(terms: &Terms, config: &Config, pause: Duration) -> Result<(), EnrolError> {
    let Some(IdentityConfig { key_file, .. }) = &config.identity else {
        unreachable!("a config that is made of terms has their identity")
    };
    if let (Some(pem), Some(path)) = (&terms.ca, &config.ca_file) {
        fs_err::write(path, pem).map_err(|source| EnrolError::Ca { path: path.clone(), source })?;
    }
    let key = identity::load_or_make(key_file)?;
    let (code, agent_id) = (&terms.code, &terms.agent_id);
    let (public_key, nonce) = (key.public(), Nonce(random_bytes()));
    let server_key = terms.server_key;
    let enrolment = Enrolment { code, agent_id, public_key, nonce, server_key };
    let request = EnrolRequest {
        code: code.clone(),
        agent_id: agent_id.clone(),
        public_key,
        nonce,
        signature: key.sign(&enrolment.agent_transcript()),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| EnrolError::Client(error.into()))?;
    let url = crate::http_url(&terms.server, ENROL_PATH);
    let enrolled = runtime.block_on(redeem(&url, config, &request, pause))?;
    let transcript = enrolment.server_transcript();
    let is_right = enrolled.server_key == server_key
        && is_signed_by(&server_key, &transcript, &enrolled.server_signature);
    if is_right {
        tracing::info!(agent.id = %agent_id, key = %public_key, "this PC has enrolled");
        Ok(())
    } else {
        Err(EnrolError::NotTheServer(url))
    }
}

async fn redeem(
    url: &Url,
    config: &Config,
    request: &EnrolRequest,
    pause: Duration,
) -> Result<Enrolled, EnrolError> {
    let tls = crate::tunnel::tls_config(config).map_err(EnrolError::Client)?;
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(LIMIT)
        .build()
        .map_err(|error| EnrolError::Client(error.into()))?;
    let mut tries = 1;
    loop {
        let why = match client.post(url.clone()).json(request).send().await {
            Ok(response) if is_busy(response.status()) => {
                format!("it answered {}", response.status())
            }
            Ok(response) => match heard(response, url).await {
                Err(EnrolError::Unreachable { why, .. }) => why,
                outcome => return outcome,
            },
            Err(error) => crate::words(&error),
        };
        if tries == TRIES {
            return Err(EnrolError::Unreachable { server: url.clone(), why });
        }
        tracing::warn!("the server does not answer ({why}); trying again");
        tries += 1;
        tokio::time::sleep(pause).await;
    }
}

fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

async fn heard(mut response: Response, url: &Url) -> Result<Enrolled, EnrolError> {
    let status = response.status();
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) if body.len() + piece.len() <= MAX_ENROL_BYTES => {
                body.extend_from_slice(&piece);
            }
            Ok(Some(_)) => return Err(EnrolError::NotTheServer(url.clone())),
            Ok(None) => break,
            Err(error) => {
                let why = crate::words(&error);
                return Err(EnrolError::Unreachable { server: url.clone(), why });
            }
        }
    }
    if status == StatusCode::OK {
        return serde_json::from_slice(&body).map_err(|_| EnrolError::NotTheServer(url.clone()));
    }
    Err(match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => EnrolError::Refused(problem.detail),
        Err(_) => EnrolError::Refused(format!(
            "it answered {status}; is it a kenny-server of 0.3 or later?"
        )),
    })
}

#[cfg(test)]
#[path = "enrolment_tests.rs"]
mod tests;
