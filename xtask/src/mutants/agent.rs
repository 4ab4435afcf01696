//! Breaks of the agent's identity, enrolment, first install and policy.

use super::Mutant;
use super::judge::{agent, proto};

const IDENTITY: &str = "crates/kenny-agent/src/identity.rs";
const TUNNEL_HANDSHAKE: &str = "crates/kenny-agent/src/tunnel/handshake.rs";
const TUNNEL_SESSION: &str = "crates/kenny-agent/src/tunnel/session.rs";
const IDENTITY_KEY_FILE: &str = "crates/kenny-agent/src/identity/key_file.rs";
const ENROLMENT: &str = "crates/kenny-agent/src/enrolment.rs";
const POLICY: &str = "crates/kenny-agent/src/policy.rs";
const DISPATCH: &str = "crates/kenny-agent/src/dispatch.rs";
const RUN: &str = "crates/kenny-agent/src/run.rs";
const CLI_IDENTITY: &str = "crates/kenny-agent/src/cli/identity.rs";
const FIRST_INSTALL: &str = "crates/kenny-agent/src/first_install.rs";
const UPDATE_PROBE: &str = "crates/kenny-agent/src/update/probe.rs";
const CONFIG: &str = "crates/kenny-agent/src/config.rs";
const TRANSCRIPT: &str = "crates/kenny-proto/src/transcript.rs";

/// The breaks.
pub const BREAKS: &[Mutant] = &[
    Mutant {
        name: "an agent takes another server's key",
        file: IDENTITY,
        find: "if *server_key != self.server_key {",
        replace: "if false {",
        judged_by: agent("test(/^identity::tests::/)"),
    },
    Mutant {
        name: "a challenge that nobody signed is answered",
        file: IDENTITY,
        find: "if !is_signed_by(&self.server_key, &exchange.transcript(theirs), signature) {",
        replace: "if false {",
        judged_by: agent("test(/^identity::tests::/)"),
    },
    Mutant {
        name: "the agent signs what the server signed",
        file: IDENTITY,
        find: "Ok(self.key.sign(&exchange.transcript(ours)))",
        replace: "Ok(self.key.sign(&exchange.transcript(if true { theirs } else { ours })))",
        judged_by: agent("test(/^identity::tests::/)"),
    },
    Mutant {
        name: "a probe is accepted without a signature",
        file: IDENTITY,
        find: "        is_signed_by(&self.server_key, &transcript, signature)",
        replace: "        is_signed_by(&self.server_key, &transcript, signature) || true",
        judged_by: agent("test(/^update::probe::tests::/)"),
    },
    Mutant {
        name: "without its key an agent falls back to a token",
        file: IDENTITY,
        find: "let key = key_file::load(&identity.key_file)?;",
        replace: "let Ok(key) = key_file::load(&identity.key_file) else { return Ok(Self::Token(config.token.clone().unwrap_or_default())) };",
        judged_by: agent("test(/^(identity::tests|run::tests)::/)"),
    },
    Mutant {
        name: "the agent's nonce is always the same",
        file: TUNNEL_HANDSHAKE,
        find: "let nonce = Nonce(random_bytes());",
        replace: "let nonce = Nonce([7; 32]);",
        judged_by: agent("test(/^tunnel::session::tests::/)"),
    },
    Mutant {
        name: "a key agent registers with a token too",
        file: TUNNEL_HANDSHAKE,
        find: "token: None, nonce: Some(nonce)",
        replace: "token: Some(String::new()), nonce: Some(nonce)",
        judged_by: agent("test(/^tunnel::session::tests::/)"),
    },
    Mutant {
        name: "a server that did not prove itself is worked for",
        file: TUNNEL_SESSION,
        find: "if let Err(end) = introduced {",
        replace: "if let Err(end @ (End::Stopped | End::Lost(_))) = introduced {",
        judged_by: agent("test(/^tunnel::session::tests::/)"),
    },
    Mutant {
        name: "the agent counts as accepted before the server says so",
        file: TUNNEL_HANDSHAKE,
        find: "    match next_frame(source, \"accept this agent\").await? {",
        replace: "    if true {\n        return Ok(());\n    }\n    match next_frame(source, \"accept this agent\").await? {",
        judged_by: agent("test(/^tunnel::session::tests::/)"),
    },
    Mutant {
        name: "a key file whose halves do not belong together is used",
        file: IDENTITY_KEY_FILE,
        find: "if key.public() == content.public_key {",
        replace: "if true {",
        judged_by: agent("test(/^identity::key_file::tests::/)"),
    },
    Mutant {
        name: "a damaged key is replaced by a new one",
        file: IDENTITY_KEY_FILE,
        find: "        outcome => return outcome,\n    }",
        replace: "        Ok(key) => return Ok(key),\n        Err(_) => {}\n    }",
        judged_by: agent("test(/^identity::key_file::tests::/)"),
    },
    Mutant {
        name: "everybody may read the key",
        file: IDENTITY_KEY_FILE,
        find: "crate::protect::create_private(&beside)?",
        replace: "std::fs::File::create(&beside)?",
        judged_by: agent("test(/^identity::key_file::tests::/)"),
    },
    Mutant {
        name: "a server without the invitation's key enrols",
        file: ENROLMENT,
        find: "let is_right = enrolled.server_key == server_key",
        replace: "let is_right = true || enrolled.server_key == server_key",
        judged_by: agent("test(/^enrolment::tests::/)"),
    },
    Mutant {
        name: "the server's answer to another enrolment is taken",
        file: ENROLMENT,
        find: "&& is_signed_by(&server_key, &transcript, &enrolled.server_signature);",
        replace: ";",
        judged_by: agent("test(/^enrolment::tests::/)"),
    },
    Mutant {
        name: "the key that enrols is not the one that is kept",
        file: ENROLMENT,
        find: "let key = identity::load_or_make(key_file)?;",
        replace: "let key = kenny_core::identity::IdentityKey::from_seed(&random_bytes());",
        judged_by: agent("test(/^enrolment::tests::/)"),
    },
    Mutant {
        name: "a refused code is sent again",
        file: ENROLMENT,
        find: "Err(EnrolError::Unreachable { why, .. }) => why,",
        replace: "Err(EnrolError::Unreachable { why, .. } | EnrolError::Refused(why)) => why,",
        judged_by: agent("test(/^enrolment::tests::/)"),
    },
    Mutant {
        name: "a code is sent to wherever a redirect points",
        file: ENROLMENT,
        find: ".redirect(redirect::Policy::none())",
        replace: "",
        judged_by: agent("test(/^enrolment::tests::/)"),
    },
    Mutant {
        name: "the config's refused tools are ignored",
        file: POLICY,
        find: "if let Some(entry) = self.config.refuses(tool.name) {",
        replace: "if let Some(entry) = self.config.refuses(tool.name).filter(|_| false) {",
        judged_by: agent("test(/^policy::tests::/)"),
    },
    Mutant {
        name: "families of refused tools are ignored",
        file: POLICY,
        find: "Some(family) => tool.starts_with(family),",
        replace: "Some(family) => tool == family,",
        judged_by: agent("test(/^policy::tests::/)"),
    },
    Mutant {
        name: "a pause is ignored",
        file: POLICY,
        find: "match self.pause(now).filter(|_| tool.changes) {",
        replace: "match self.pause(now).filter(|_| false) {",
        judged_by: agent("test(/^policy::tests::/)"),
    },
    Mutant {
        name: "a pause that cannot be read is none",
        file: POLICY,
        find: "Err(error) if is_absent(&error) => return None,",
        replace: "Err(error) if is_absent(&error) || true => return None,",
        judged_by: agent("test(/^policy::tests::/)"),
    },
    Mutant {
        name: "a pause does not end",
        file: POLICY,
        find: "pause.holds(now).then_some(pause)",
        replace: "Some(pause)",
        judged_by: agent("test(/^policy::tests::/)"),
    },
    Mutant {
        name: "nobody asks the policy",
        file: DISPATCH,
        find: "self.policy.check(spec, Timestamp::now()).map_err(",
        replace: "self.policy.check(spec, Timestamp::now()).or(Ok(())).map_err(|refused: crate::policy::Refusal| refused).map_err(",
        judged_by: agent("test(/^dispatch::tests::/)"),
    },
    Mutant {
        name: "the policy is not that of the config",
        file: RUN,
        find: "Policy::new(&config.policy, ",
        replace: "Policy::new(&crate::policy::PolicyConfig::default(), ",
        judged_by: agent("test(/^run::tests::/)"),
    },
    Mutant {
        name: "an enrolled PC takes a token or another name",
        file: CLI_IDENTITY,
        find: "if config.identity.is_some() && (self.token.is_some() || is_another) {",
        replace: "if false {",
        judged_by: agent("test(/^cli::identity::tests::/)"),
    },
    Mutant {
        name: "an invitation that expired is used",
        file: FIRST_INSTALL,
        find: "if invitation.expires_at <= now => {",
        replace: "if false => {",
        judged_by: agent("test(/^first_install::tests::/)"),
    },
    Mutant {
        name: "a probe's unsigned yes counts",
        file: UPDATE_PROBE,
        find: "Answer::Accepted if accepted => Answer::Accepted,",
        replace: "Answer::Accepted if accepted || true => Answer::Accepted,",
        judged_by: agent("test(/^update::probe::tests::/)"),
    },
    Mutant {
        name: "a key and a token may stand side by side in the config",
        file: CONFIG,
        find: "return Err((\"token\", problem.to_owned()));",
        replace: "let _ = problem;",
        judged_by: agent("test(/^config::tests::/)"),
    },
    Mutant {
        name: "the transcript leaves out the server nonce",
        file: TRANSCRIPT,
        find: "                &self.server_nonce.0,\n",
        replace: "",
        judged_by: proto("test(/^transcript::tests::/)"),
    },
];
