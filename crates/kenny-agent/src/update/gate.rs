//! Which addresses an agent may download from: the server's own origin and those that the config allows.

use url::{Origin, Url};

/// Why an address is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not an absolute http or https URL.
    #[error("`url` is not an http or https address: {0}")]
    NotHttp(String),
    /// A name or password inside.
    #[error("`url` carries a user name or password; that is refused")]
    UserInfo,
    /// Plain http while the tunnel is encrypted.
    #[error("`url` is plain http while the tunnel is wss; serve the file over https")]
    Insecure,
    /// Another host.
    #[error(
        "`url` points to {found}, and this agent downloads from {expected} only; to allow it, add \"{found}\" to update.allowed_origins in the agent's config"
    )]
    OtherOrigin {
        /// The origin of the URL.
        found: String,
        /// The origin of the server.
        expected: String,
    },
}

/// The rule of one agent.
#[derive(Debug, Clone)]
pub struct Gate {
    server: Origin,
    allowed: Vec<Origin>,
    tunnel_is_secure: bool,
}

impl Gate {
    /// The rule for the tunnel at `server` (`ws` or `wss`) and the origins that the config allows besides.
    pub fn new(server: &Url, allowed: &[Url]) -> Self {
        let tunnel_is_secure = server.scheme() == "wss";
        let mut http = server.clone();
        // `set_scheme` takes ws to http and wss to https: all four are what the URL standard calls special.
        let changed = http.set_scheme(if tunnel_is_secure { "https" } else { "http" });
        debug_assert!(changed.is_ok());
        Self {
            server: http.origin(),
            allowed: allowed.iter().map(Url::origin).collect(),
            tunnel_is_secure,
        }
    }

    /// Parses and checks an address.
    pub fn check(&self, text: &str) -> Result<Url, UrlError> {
        // The URL standard reads a backslash as a slash, other parsers do not: two readers must not see two hosts.
        if text.contains('\\') {
            return Err(UrlError::NotHttp("it contains a backslash".to_owned()));
        }
        let url = Url::parse(text).map_err(|error| UrlError::NotHttp(error.to_string()))?;
        self.check_url(&url)?;
        Ok(url)
    }

    /// Checks an address that was parsed already (a redirect's target).
    pub fn check_url(&self, url: &Url) -> Result<(), UrlError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlError::NotHttp(format!("its scheme is `{}`", url.scheme())));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::UserInfo);
        }
        if self.tunnel_is_secure && url.scheme() == "http" {
            return Err(UrlError::Insecure);
        }
        let origin = url.origin();
        if origin != self.server && !self.allowed.contains(&origin) {
            return Err(UrlError::OtherOrigin {
                found: origin.ascii_serialization(),
                expected: self.server.ascii_serialization(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(server: &str, allowed: &[&str]) -> Gate {
        let allowed: Vec<Url> = allowed.iter().map(|text| text.parse().unwrap()).collect();
        Gate::new(&server.parse().unwrap(), &allowed)
    }

    #[test]
    fn the_servers_own_origin_is_allowed() {
        let plain = gate("ws://127.0.0.1:7741/agent/ws", &[]);
        assert!(plain.check("http://127.0.0.1:7741/artifacts/x").is_ok());
        assert!(
            gate("wss://kenny.example/agent/ws", &[]).check("https://kenny.example:443/x").is_ok()
        );
        assert!(
            gate("wss://kenny.example/agent/ws", &["https://cdn.example"])
                .check("https://cdn.example/x")
                .is_ok()
        );
    }

    #[test]
    fn everything_else_is_refused() {
        let secure = gate("wss://kenny.example/agent/ws", &["http://mirror.example"]);
        for bad in [
            "https://evil.example/x",
            "https://kenny.example:444/x",
            "http://kenny.example/x",
            "http://mirror.example/x",
            "https://kenny.example@evil.example/x",
            "https://user:pw@kenny.example/x",
            "https://evil.example\\@kenny.example/x",
            "ftp://kenny.example/x",
            "file:///c:/x",
            "/x",
            "",
        ] {
            assert!(secure.check(bad).is_err(), "{bad}");
        }
    }
}
