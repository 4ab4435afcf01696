//! Redeeming at servers that answer, refuse, lie, or are lost on the way.

use std::sync::{Arc, Mutex};

use kenny_core::identity::IdentityKey;
use kenny_proto::Signature;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What the server makes of one request.
#[derive(Clone, Copy)]
enum Answer {
    /// Nothing: the connection ends.
    Lost,
    /// It has too much to do.
    Busy,
    /// The code is of no use.
    Refused,
    /// Ask elsewhere.
    Redirected,
    /// The request's key is the agent's now, by this.
    Enrolled(Sign),
}

/// Whose key the answer names, whose signs it, and over whose request.
#[derive(Clone, Copy)]
enum Sign {
    Right,
    /// Another server, which says so.
    Other,
    /// Another server, which names the pinned key.
    Pretending,
    /// The right server, in its answer to another request.
    AnotherNonce,
}

fn server_key() -> IdentityKey {
    IdentityKey::from_seed(&[5; 32])
}

fn enrolled(request: &EnrolRequest, sign: Sign) -> Enrolled {
    let other = IdentityKey::from_seed(&[6; 32]);
    let nonce = match sign {
        Sign::Right | Sign::Other | Sign::Pretending => request.nonce,
        Sign::AnotherNonce => Nonce([9; 32]),
    };
    let (named, signer) = match sign {
        Sign::Right | Sign::AnotherNonce => (server_key().public(), server_key()),
        Sign::Other => (other.public(), other),
        Sign::Pretending => (server_key().public(), other),
    };
    let enrolment = Enrolment {
        code: &request.code,
        agent_id: &request.agent_id,
        public_key: request.public_key,
        nonce,
        server_key: named,
    };
    let server_signature: Signature = signer.sign(&enrolment.server_transcript());
    Enrolled { agent_id: request.agent_id.clone(), server_key: named, server_signature }
}

async fn hear(socket: &mut TcpStream) -> EnrolRequest {
    let mut heard = Vec::new();
    while !heard.ends_with(b"\r\n\r\n") {
        heard.push(socket.read_u8().await.unwrap());
    }
    let lines = String::from_utf8(heard).unwrap().to_lowercase();
    assert!(lines.starts_with("post /agent/enroll "), "{lines}");
    let length = lines.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.trim().parse().unwrap()];
    socket.read_exact(&mut body).await.unwrap();
    serde_json::from_slice(&body).unwrap()
}

/// What came of an enrolment, and what the server heard of it.
struct Tried {
    outcome: Result<(), EnrolError>,
    heard: Vec<EnrolRequest>,
    folder: tempfile::TempDir,
    key_file: PathBuf,
}

/// Enrols at a server that gives these answers, one after the other, and then is gone.
async fn enrol_at(answers: &[Answer]) -> Tried {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let terms = Terms {
        server: format!("ws://{}/agent/ws", listener.local_addr().unwrap()).parse().unwrap(),
        agent_id: "annas-pc".parse().unwrap(),
        code: InvitationCode::from_random([7; 28]),
        server_key: server_key().public(),
        ca: None,
        tuf_root: None,
    };
    let folder = tempfile::tempdir().unwrap();
    let config_file = folder.path().join("kenny-agent.config.json");
    let mut config = Config::new(terms.server.clone(), terms.agent_id.clone(), None);
    config.identity = Some(terms.identity(&config_file));
    let key_file = terms.identity(&config_file).key_file;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let (answers, hears) = (answers.to_vec(), Arc::clone(&heard));
    let server = tokio::spawn(async move {
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let request = hear(&mut socket).await;
            let (status, body) = match answer {
                Answer::Lost => ("", json!({})),
                Answer::Busy => ("503 Service Unavailable", json!({})),
                Answer::Refused => (
                    "409 Conflict",
                    json!({"code": "code_used", "status": 409, "title": "Conflict", "detail": "the code was used"}),
                ),
                Answer::Redirected => {
                    ("307 Temporary Redirect\r\nlocation: /agent/enroll", json!({}))
                }
                Answer::Enrolled(sign) => ("200 OK", json!(enrolled(&request, sign))),
            };
            hears.lock().unwrap().push(request);
            if !status.is_empty() {
                let body = body.to_string();
                let head = format!(
                    "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                socket.write_all((head + &body).as_bytes()).await.unwrap();
            }
        }
    });
    let work = move || enrol_with_pauses(&terms, &config, Duration::ZERO);
    let outcome = tokio::task::spawn_blocking(work).await.unwrap();
    server.abort();
    let heard = heard.lock().unwrap().clone();
    Tried { outcome, heard, folder, key_file }
}

#[tokio::test]
async fn what_the_server_answered_is_final_and_the_code_is_not_sent_again() {
    let done = enrol_at(&[Answer::Enrolled(Sign::Right), Answer::Refused]).await;
    assert!(done.outcome.is_ok(), "{:?}", done.outcome);
    assert_eq!(done.heard.len(), 1);
    let refused = enrol_at(&[Answer::Refused, Answer::Enrolled(Sign::Right)]).await;
    let words = refused.outcome.unwrap_err().to_string();
    assert!(words.contains("the code was used"), "{words}");
    assert_eq!(refused.heard.len(), 1);
    // Whoever can answer in the server's place could have the code sent anywhere.
    let redirected = enrol_at(&[Answer::Redirected, Answer::Enrolled(Sign::Right)]).await;
    assert!(matches!(redirected.outcome, Err(EnrolError::Refused(_))), "{:?}", redirected.outcome);
    assert_eq!(redirected.heard.len(), 1);
}

#[tokio::test]
async fn what_was_lost_is_asked_again_with_the_same_key() {
    let tried = enrol_at(&[Answer::Lost, Answer::Busy, Answer::Enrolled(Sign::Right)]).await;
    assert!(tried.outcome.is_ok(), "{:?}", tried.outcome);
    let key = identity::load_or_make(&tried.key_file).unwrap().public();
    assert_eq!(tried.heard.len(), 3);
    for request in &tried.heard {
        assert_eq!(request.public_key, key, "the key that is kept is the one that enrolled");
        assert_eq!(request.code, InvitationCode::from_random([7; 28]));
        let enrolment = Enrolment {
            code: &request.code,
            agent_id: &request.agent_id,
            public_key: key,
            nonce: request.nonce,
            server_key: server_key().public(),
        };
        assert!(is_signed_by(&key, &enrolment.agent_transcript(), &request.signature));
    }
    assert_eq!(fs_err::read_dir(tried.folder.path()).unwrap().count(), 1, "the key and no more");

    let never = enrol_at(&[Answer::Lost, Answer::Lost, Answer::Lost, Answer::Lost]).await;
    assert!(matches!(never.outcome, Err(EnrolError::Unreachable { .. })), "{:?}", never.outcome);
    assert_eq!(never.heard.len(), 3);
}

#[tokio::test]
async fn a_server_without_the_key_of_the_invitation_enrols_nobody() {
    for sign in [Sign::Other, Sign::Pretending, Sign::AnotherNonce] {
        let tried = enrol_at(&[Answer::Enrolled(sign)]).await;
        assert!(matches!(tried.outcome, Err(EnrolError::NotTheServer(_))), "{:?}", tried.outcome);
    }
}
