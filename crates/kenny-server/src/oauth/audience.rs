//! What tokens are for: the MCP address of this server, as the sender of a request reached it (RFC 8707).

use axum::http::HeaderMap;
use url::Url;

use crate::app::App;
use crate::mcp;

/// The resource indicator of this server.
pub fn of(app: &App, headers: &HeaderMap) -> String {
    format!("{}{}", app.base_url(headers), mcp::PATH)
}

/// Whether a program means this resource: scheme and host in any case, with or without a slash at the end.
pub fn is_same(asked: &str, resource: &str) -> bool {
    let parse = |text: &str| Url::parse(text.strip_suffix('/').unwrap_or(text)).ok();
    // A fragment is forbidden (RFC 8707, section 2), and makes the two differ.
    matches!((parse(asked), parse(resource)), (Some(asked), Some(resource)) if asked == resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_this_servers_mcp_address_and_no_other() {
        let resource = "https://kenny.example.org/mcp";
        for same in
            [resource, "https://kenny.example.org/mcp/", "HTTPS://KENNY.example.org:443/mcp"]
        {
            assert!(is_same(same, resource), "{same}");
        }
        for other in [
            "https://kenny.example.org",
            "https://kenny.example.org/",
            "https://kenny.example.org/api",
            "https://evil.example/mcp",
            "http://kenny.example.org/mcp",
            "https://kenny.example.org/mcp#x",
            "https://kenny.example.org/mcp?x",
            "kenny.example.org/mcp",
        ] {
            assert!(!is_same(other, resource), "{other}");
        }
    }
}
