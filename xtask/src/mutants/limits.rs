//! Breaks of what is bounded for whoever has not proved who it is.

use super::Mutant;
use super::judge::server;

const HTTP: &str = "crates/kenny-server/src/http.rs";
const ENROLMENT: &str = "crates/kenny-server/src/enrolment.rs";
const LIMITS_ADDRESS: &str = "crates/kenny-server/src/limits/address.rs";
const LIMITS_DOOR: &str = "crates/kenny-server/src/limits/door.rs";
const LIMITS_FAILURES: &str = "crates/kenny-server/src/limits/failures.rs";
const LIMITS_TUNNELS: &str = "crates/kenny-server/src/limits/tunnels.rs";
const SERVER: &str = "crates/kenny-server/src/server.rs";
const LIMITS_VISITS: &str = "crates/kenny-server/src/limits/visits.rs";
const LIMITS: &str = "crates/kenny-server/src/limits/mod.rs";

/// The breaks.
pub const BREAKS: &[Mutant] = &[
    Mutant {
        name: "a request's body has no bound",
        file: HTTP,
        find: ".layer(DefaultBodyLimit::max(BODY_BYTES))",
        replace: ".layer(DefaultBodyLimit::max(1 << 40))",
        judged_by: server("test(/limits::a_body_is_bounded/)"),
    },
    Mutant {
        name: "an enrolment's body has no bound",
        file: ENROLMENT,
        find: "axum::body::to_bytes(request.into_body(), MAX_ENROL_BYTES)",
        replace: "axum::body::to_bytes(request.into_body(), usize::MAX)",
        judged_by: server("test(/enrolment::/)"),
    },
    Mutant {
        name: "anybody is believed about where a request comes from",
        file: LIMITS_ADDRESS,
        find: "if !trusted.contains(&client) {\n        return client;",
        replace: "if trusted.len() > 99 {\n        return client;",
        judged_by: server("test(/address::|limits::/)"),
    },
    Mutant {
        name: "whoever has proved nothing may send without end",
        file: LIMITS_DOOR,
        find: "self.is_proven() || self.bytes_left",
        replace: "true || self.bytes_left",
        judged_by: server("test(/door::|limits::/)"),
    },
    Mutant {
        name: "whoever proves nothing may stay",
        file: LIMITS_DOOR,
        find: "if deadline.as_mut().poll(context).is_ready() {",
        replace: "if false && deadline.as_mut().poll(context).is_ready() {",
        judged_by: server("test(/limits::/)"),
    },
    Mutant {
        name: "an address may hold any number of sockets",
        file: LIMITS_DOOR,
        find: "if of_one >= most {",
        replace: "if of_one > 1 << 40 {",
        judged_by: server("test(/door::|limits::/)"),
    },
    Mutant {
        name: "whoever is wrong again and again never waits",
        file: LIMITS_FAILURES,
        find: "record.until = now + wait;",
        replace: "record.until = now + wait * 0;",
        judged_by: server("test(/failures::|limits::/)"),
    },
    Mutant {
        name: "any number of tunnels may wait to register",
        file: LIMITS_TUNNELS,
        find: "if counts.all >= self.most || of_one >= most_of_one {",
        replace: "if counts.all > 1 << 40 {",
        judged_by: server("test(/tunnels::|limits::/)"),
    },
    Mutant {
        name: "a request's head may take for ever",
        file: SERVER,
        find: ".header_read_timeout(limits.head_time)",
        replace: ".header_read_timeout(limits.head_time * 1000)",
        judged_by: server("test(/limits::/)"),
    },
    Mutant {
        name: "what anybody may ask has no bound",
        file: LIMITS_VISITS,
        find: "bucket.left = left;",
        replace: "let _ = left;",
        judged_by: server("test(/visits::|limits::/)"),
    },
    Mutant {
        name: "the clients of a proxy are not counted",
        file: LIMITS,
        find: "from.filter(|_| is_proxys)",
        replace: "from.filter(|_| false)",
        judged_by: server("test(/limits::/)"),
    },
];
