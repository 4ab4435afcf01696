//! `/agent/probe`: would this agent be accepted now? What a new version proves itself with before it takes over, and what
//! an updater asks before it blames a version. Touches no state and no database, and displaces nobody.
//!
//! An agent with a key asks twice: the first answer has the server's nonce and signature, the second request the agent's.
//! The nonce is the time under a MAC, so that nothing is remembered between the two, and the PC's clock does not matter.

use std::sync::Arc;

use aws_lc_rs::{constant_time, hmac};
use axum::extract::State;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use kenny_core::identity::is_signed_by;
use kenny_proto::enrolment::{
    AGENT_ID_HEADER, NONCE_HEADER, PROTOCOL_HEADER, SERVER_NONCE_HEADER, SIGNATURE_HEADER,
};
use kenny_proto::transcript::{Exchange, Purpose};
use kenny_proto::{AgentId, Nonce, PublicKey, Signature};

use crate::api::extract::bearer;
use crate::api::problem::problem;
use crate::app::App;
use crate::fleet::Identity;
use crate::limits;

/// Seconds after which a server that restarts is worth another try: it drains for up to 10 s and is back at once.
const RETRY_AFTER_S: &str = "15";
/// Seconds for which the server's nonce is good: the agent has it for one more request.
const NONCE_LIFE_S: i64 = 60;
/// Bytes of the nonce that are the time; the rest is the MAC.
const TIME_BYTES: usize = 8;

/// Makes the nonces of the probe and knows them again.
pub struct ProbeNonces(hmac::Key);

impl ProbeNonces {
    /// With a secret of the server.
    pub fn new(secret: &[u8; 32]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let own = hmac::sign(&root, b"kenny v1 nonces of the probe");
        Self(hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()))
    }

    fn make(&self, agent: &AgentId, client: Nonce, now: Timestamp) -> Nonce {
        let time = now.as_second().to_be_bytes();
        let message = [&time, client.0.as_slice(), agent.as_str().as_bytes()].concat();
        let tag = hmac::sign(&self.0, &message);
        let mut nonce = [0; 32];
        nonce[..TIME_BYTES].copy_from_slice(&time);
        nonce[TIME_BYTES..].copy_from_slice(&tag.as_ref()[..32 - TIME_BYTES]);
        Nonce(nonce)
    }

    fn is_good(&self, nonce: Nonce, agent: &AgentId, client: Nonce, now: Timestamp) -> bool {
        let time = nonce.0[..TIME_BYTES].try_into().expect("the first eight of 32 bytes");
        let made_at = i64::from_be_bytes(time);
        let Ok(made) = Timestamp::from_second(made_at) else { return false };
        let is_ours =
            constant_time::verify_slices_are_equal(&self.make(agent, client, made).0, &nonce.0);
        is_ours.is_ok() && (0..=NONCE_LIFE_S).contains(&now.as_second().saturating_sub(made_at))
    }
}

/// The handler of `/agent/probe`.
pub async fn probe(
    State(app): State<Arc<App>>,
    extensions: Extensions,
    headers: HeaderMap,
) -> Response {
    if app.stopping.is_cancelled() || app.tunnel_closing.is_cancelled() {
        let mut response = problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "going_down",
            "The server goes down",
            "the server restarts; ask again in a moment",
        )
        .into_response();
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
        return response;
    }
    let answer = answer(&app, &headers);
    match answer.status() {
        StatusCode::NO_CONTENT => limits::prove(&extensions),
        // The first half of a proof is none, and no mistake either.
        StatusCode::UNAUTHORIZED if !answer.headers().contains_key(SERVER_NONCE_HEADER) => {
            // A server that is asked too often is busy to an agent, not one that refuses it.
            if let Some(wait) = app.bounds.failed(app.client(&extensions, &headers)) {
                return limits::too_many(wait);
            }
        }
        _ => {}
    }
    answer
}

fn answer(app: &App, headers: &HeaderMap) -> Response {
    let Some(id) = read::<AgentId>(headers, AGENT_ID_HEADER) else {
        return refused("this needs the header `X-Kenny-Agent-Id: ID`, and a token or a nonce");
    };
    let identity = app.fleet.get(&id).and_then(|entry| {
        let state = entry.lock();
        (!state.removed).then_some(state.identity)
    });
    match (identity, bearer(headers)) {
        (Some(Identity::Key(key)), _) => by_key(app, headers, &id, key),
        (Some(Identity::Token(hash)), Some(token)) if hash.matches(token) => {
            StatusCode::NO_CONTENT.into_response()
        }
        (Some(Identity::Token(_) | Identity::None) | None, Some(_)) => {
            refused("no agent of this id is known here, or the token is not its")
        }
        (Some(Identity::Token(_) | Identity::None) | None, None) => refused(
            "no agent of this id has enrolled here, and no `Authorization: Bearer TOKEN` came",
        ),
    }
}

fn by_key(app: &App, headers: &HeaderMap, id: &AgentId, key: PublicKey) -> Response {
    let Some(client_nonce) = read::<Nonce>(headers, NONCE_HEADER) else {
        return refused(
            "this agent enrolled with a key: it sends `X-Kenny-Nonce`, and a token is not accepted",
        );
    };
    let protocol = headers.get(PROTOCOL_HEADER).and_then(|it| it.to_str().ok()).unwrap_or("");
    let exchange = |server_nonce| Exchange {
        protocol,
        agent_id: id,
        client_nonce,
        server_nonce,
        server_key: app.identity.public(),
    };
    let now = Timestamp::now();
    let answer = read::<Nonce>(headers, SERVER_NONCE_HEADER)
        .zip(read::<Signature>(headers, SIGNATURE_HEADER));
    let Some((server_nonce, signature)) = answer else {
        let server_nonce = app.probe_nonces.make(id, client_nonce, now);
        let signature = app.identity.sign(&exchange(server_nonce).transcript(Purpose::ProbeServer));
        let mut response = refused("sign the server's nonce and ask again");
        let headers = response.headers_mut();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Kenny-Ed25519"));
        headers.insert(HeaderName::from_static(SERVER_NONCE_HEADER), value(&server_nonce));
        headers.insert(HeaderName::from_static(SIGNATURE_HEADER), value(&signature));
        return response;
    };
    if !app.probe_nonces.is_good(server_nonce, id, client_nonce, now) {
        return refused("the server's nonce is older than a minute, or not of this server");
    }
    let exchange = exchange(server_nonce);
    if !is_signed_by(&key, &exchange.transcript(Purpose::ProbeAgent), &signature) {
        return refused("the signature is not by the key that this agent enrolled with");
    }
    let accepted = app.identity.sign(&exchange.transcript(Purpose::ProbeAccepted));
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().insert(HeaderName::from_static(SIGNATURE_HEADER), value(&accepted));
    response
}

fn read<T: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

fn value(bytes: &impl std::fmt::Display) -> HeaderValue {
    bytes.to_string().parse().expect("base64url is a header's value")
}

fn refused(detail: &str) -> Response {
    problem(StatusCode::UNAUTHORIZED, "unauthorized", "Not authorised", detail).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_for_a_minute_and_for_its_own_agent_and_question() {
        let nonces = ProbeNonces::new(&[1; 32]);
        let (pc, other) = ("pc".parse().unwrap(), "pc-2".parse().unwrap());
        let (client, later) = (Nonce([7; 32]), Nonce([8; 32]));
        let at = |second| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let nonce = nonces.make(&pc, client, at(0));
        assert!(nonces.is_good(nonce, &pc, client, at(0)));
        assert!(nonces.is_good(nonce, &pc, client, at(NONCE_LIFE_S)));
        assert!(!nonces.is_good(nonce, &pc, client, at(NONCE_LIFE_S + 1)));
        assert!(!nonces.is_good(nonce, &pc, client, at(-1)), "of the future");
        assert!(!nonces.is_good(nonce, &other, client, at(0)));
        assert!(!nonces.is_good(nonce, &pc, later, at(0)));
        assert!(!ProbeNonces::new(&[2; 32]).is_good(nonce, &pc, client, at(0)));
        for at_bit in 0..256 {
            let mut changed = nonce;
            changed.0[at_bit / 8] ^= 1 << (at_bit % 8);
            assert!(!nonces.is_good(changed, &pc, client, at(0)), "{at_bit}");
        }
    }
}
