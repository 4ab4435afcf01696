//! Breaks of who is an agent: the tunnel's handshake, enrolment, invitations.

use super::Mutant;
use super::judge::server;

const TUNNEL_HANDSHAKE: &str = "crates/kenny-server/src/tunnel/handshake.rs";
const ENROLMENT: &str = "crates/kenny-server/src/enrolment.rs";
const STORE_INVITATION_ROWS: &str = "crates/kenny-server/src/store/invitation_rows.rs";
const INVITE: &str = "crates/kenny-server/src/invite/mod.rs";

/// The breaks.
pub const BREAKS: &[Mutant] = &[
    Mutant {
        name: "an agent's answer to the challenge is not verified",
        file: TUNNEL_HANDSHAKE,
        find: "if pending.is_answered_by(&signature) { Ok(()) }",
        replace: "if true || pending.is_answered_by(&signature) { Ok(()) }",
        judged_by: server("test(/identity::/)"),
    },
    Mutant {
        name: "the server's nonce is always the same",
        file: TUNNEL_HANDSHAKE,
        find: "let server_nonce = Nonce(random_bytes());",
        replace: "let server_nonce = Nonce([7; 32]);",
        judged_by: server("test(/identity::/)"),
    },
    Mutant {
        name: "a token is accepted for an agent that enrolled with a key",
        file: TUNNEL_HANDSHAKE,
        find: "let nonce = nonce.ok_or(Rejection::TokenAfterKey)?;",
        replace: "let Some(nonce) = nonce else { return admit(app, &entry, identity, &meta, base_url) };",
        judged_by: server("test(/identity::/)"),
    },
    Mutant {
        name: "the token of a legacy agent is not compared",
        file: TUNNEL_HANDSHAKE,
        find: "Some(token) if hash.matches(&token) => {}",
        replace: "Some(token) if true || hash.matches(&token) => {}",
        judged_by: server("test(/tunnel::|identity::|limits::/)"),
    },
    Mutant {
        name: "an identity that was replaced meanwhile is let in",
        file: TUNNEL_HANDSHAKE,
        find: "if state.identity != proven {",
        replace: "if false {",
        judged_by: server("test(/identity::|enrolment::|tunnel::/)"),
    },
    Mutant {
        name: "a handshake may take for ever",
        file: TUNNEL_HANDSHAKE,
        find: "tokio::time::timeout(within, frame).await",
        replace: "tokio::time::timeout(within * 1000, frame).await",
        judged_by: server("test(/identity::/)"),
    },
    Mutant {
        name: "an enrolment's proof is not verified",
        file: ENROLMENT,
        find: "if !is_signed_by(&public_key, &enrolment.agent_transcript(), &signature) {",
        replace: "if false {",
        judged_by: server("test(/enrolment::/)"),
    },
    Mutant {
        name: "a code is good for a second PC",
        file: STORE_INVITATION_ROWS,
        find: "if let Some(redeemed_at) = redeemed_at {",
        replace: "if let Some(redeemed_at) = redeemed_at.filter(|_| false) {",
        judged_by: server("test(/enrolment::|invitation_rows::/)"),
    },
    Mutant {
        name: "an expired code is accepted",
        file: STORE_INVITATION_ROWS,
        find: "    if now >= expires_at {",
        replace: "    if false {",
        judged_by: server("test(/enrolment::|invitation_rows::/)"),
    },
    Mutant {
        name: "a code is good for another agent",
        file: STORE_INVITATION_ROWS,
        find: "if whose != *agent {",
        replace: "if false {",
        judged_by: server("test(/enrolment::|invitation_rows::/)"),
    },
    Mutant {
        name: "the connection of a replaced identity stays",
        file: ENROLMENT,
        find: "state.session.clone()\n            };",
        replace: "state.session.clone().filter(|_| false)\n            };",
        judged_by: server("test(/identity::|enrolment::/)"),
    },
    Mutant {
        name: "the page of an expired invitation offers its download",
        file: INVITE,
        find: "} else if kept.expires_at <= now {",
        replace: "} else if false {",
        judged_by: server("test(/invite::/)"),
    },
    Mutant {
        name: "an installer is given out for a used or expired invitation",
        file: INVITE,
        find: "!found.kept.is_redeemed\n            && found.kept.expires_at > Timestamp::now()\n            && name",
        replace: "true\n            && name",
        judged_by: server("test(/invite::/)"),
    },
];
