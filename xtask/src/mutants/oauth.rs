//! Breaks of what programs may do by OAuth, and of the way in by MCP.

use super::Mutant;
use super::judge::server;

const OAUTH_GRANTS: &str = "crates/kenny-server/src/oauth/grants.rs";
const OAUTH_REDIRECT: &str = "crates/kenny-server/src/oauth/redirect.rs";
const MCP_GUARD: &str = "crates/kenny-server/src/mcp/guard.rs";

/// The breaks.
pub const BREAKS: &[Mutant] = &[
    Mutant {
        name: "the verifier of PKCE is not checked",
        file: OAUTH_GRANTS,
        find: "&& challenge == grant.code_challenge;",
        replace: "&& (true || challenge == grant.code_challenge);",
        judged_by: server("test(/permissions::/)"),
    },
    Mutant {
        name: "the audience of an access token is not checked",
        file: OAUTH_GRANTS,
        find: "grant.resource == resource",
        replace: "(true || grant.resource == resource)",
        judged_by: server("test(/permissions::/)"),
    },
    Mutant {
        name: "an access token never ends",
        file: OAUTH_GRANTS,
        find: "now.as_second() < token.expires_unix",
        replace: "token.expires_unix > 0",
        judged_by: server("test(/permissions::/)"),
    },
    Mutant {
        name: "an authorization code is good twice",
        file: OAUTH_GRANTS,
        find: "if grant.code_used {",
        replace: "if false {",
        judged_by: server("test(/permissions::/)"),
    },
    Mutant {
        name: "an authorization code never expires",
        file: OAUTH_GRANTS,
        find: "&& now.as_second() < grant.code_expires_unix",
        replace: "&& (true || now.as_second() < grant.code_expires_unix)",
        judged_by: server("test(/permissions::/)"),
    },
    Mutant {
        name: "an authorization code is good for another program",
        file: OAUTH_GRANTS,
        find: "&& client_id == grant.client_id",
        replace: "&& !client_id.is_empty()",
        judged_by: server("test(/permissions::/)"),
    },
    Mutant {
        name: "a refresh token is good twice",
        file: OAUTH_GRANTS,
        find: "if token.used {",
        replace: "if false {",
        judged_by: server("test(/permissions::/)"),
    },
    Mutant {
        name: "a refresh gives more than was permitted",
        file: OAUTH_GRANTS,
        find: "if scope > grant.scope {",
        replace: "if false {",
        judged_by: server("test(/permissions::/)"),
    },
    Mutant {
        name: "any redirect address is taken",
        file: OAUTH_REDIRECT,
        find: "one == asked\n            ||",
        replace: "true\n            ||",
        judged_by: server("test(/redirect::|consent::/)"),
    },
    Mutant {
        name: "a code is redeemed with another redirect address",
        file: OAUTH_GRANTS,
        find: "redirect_uri.is_none_or(|uri| is_same_address(&uri, &grant.redirect_uri))",
        replace: "redirect_uri.is_none_or(|uri| !uri.is_empty())",
        judged_by: server("test(/permissions::/)"),
    },
    Mutant {
        name: "MCP is open to pages of other sites",
        file: MCP_GUARD,
        find: "if !is_own_origin(request.headers(), app.public_url.as_ref()) {",
        replace: "if false {",
        judged_by: server("test(/browser_safety::/)"),
    },
    Mutant {
        name: "a program's scope does not bound its role",
        file: MCP_GUARD,
        find: "let role = access.scope.role(access.account.role);",
        replace: "let role = access.account.role;",
        judged_by: server("test(/permissions::/)"),
    },
];
