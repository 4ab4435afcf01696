//! Where to go after signing in: a place on this server, and nowhere else.

use std::fmt;

use url::Url;

/// The start page of who signed in.
pub const HOME: &str = "/";

/// The most that a path may have: an authorization request with long redirect addresses fits.
const MAX_BYTES: usize = 6000;

/// A path with its query on this very server. A browser cannot read anything else into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPath(String);

impl LocalPath {
    /// What came from outside, where it is such a path; [`HOME`] otherwise.
    pub fn or_home(text: Option<&str>) -> Self {
        text.and_then(Self::parse).unwrap_or_else(|| Self(HOME.to_owned()))
    }

    /// Browsers drop tabs and line breaks from addresses and take `\` for `/`, so that `/\evil.example` leaves the
    /// server: the text is resolved as they do, and has to come out as it went in.
    fn parse(text: &str) -> Option<Self> {
        let base = Url::parse("http://kenny.invalid").expect("a constant");
        if text.len() > MAX_BYTES || !text.starts_with('/') || text.starts_with("//") {
            return None;
        }
        let resolved = base.join(text).ok()?;
        let same_place = resolved.origin() == base.origin() && resolved.username().is_empty();
        let path = &resolved[url::Position::BeforePath..url::Position::AfterQuery];
        // A fragment is not this server's business, and `//` after resolving would be a host.
        (same_place && path == text && !path.starts_with("//")).then(|| Self(text.to_owned()))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address of the page that signs in and then goes here.
    pub fn through_login(&self) -> String {
        if self.0 == HOME {
            return "/login".to_owned();
        }
        let next: String = url::form_urlencoded::byte_serialize(self.0.as_bytes()).collect();
        format!("/login?next={next}")
    }
}

impl fmt::Display for LocalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_this_server_are_kept() {
        for path in [
            "/account",
            "/oauth/authorize?client_id=a.b&redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2F",
        ] {
            assert_eq!(LocalPath::or_home(Some(path)).as_str(), path);
        }
    }

    #[test]
    fn whatever_leads_elsewhere_leads_home() {
        for path in [
            "https://evil.example/",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "\\\\evil.example",
            "/./\\evil.example",
            "/.//evil.example",
            "javascript:alert(1)",
            "account",
            "",
            "/account#x",
            "/account\r\nSet-Cookie: a=b",
        ] {
            assert_eq!(LocalPath::or_home(Some(path)).as_str(), HOME, "{path:?}");
        }
        assert_eq!(LocalPath::or_home(None).as_str(), HOME);
        assert_eq!(LocalPath::or_home(Some(&format!("/{}", "a".repeat(7000)))).as_str(), HOME);
    }

    #[test]
    fn the_way_through_the_login_page_comes_back() {
        let path = LocalPath::or_home(Some("/oauth/authorize?a=b&c=%2F"));
        assert_eq!(path.through_login(), "/login?next=%2Foauth%2Fauthorize%3Fa%3Db%26c%3D%252F");
        assert_eq!(LocalPath::or_home(None).through_login(), "/login");
    }
}
