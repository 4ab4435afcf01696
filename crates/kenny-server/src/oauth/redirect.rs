//! Where a program may have the answer sent: by HTTPS to a host, or to the browser's own machine.

use url::{Host, Url};

/// The most that one address may have.
const MAX_BYTES: usize = 500;

/// Why an address is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RedirectError {
    /// Not an address, or too long.
    #[error("a redirect address is an absolute URL of at most 500 bytes")]
    NotAUrl,
    /// A scheme that hands the code to whoever listens.
    #[error(
        "a redirect address is an https:// one, or http:// on 127.0.0.1, [::1] or localhost, as MCP asks"
    )]
    Scheme,
    /// Parts that hide where it leads.
    #[error("a redirect address has no fragment, no user name and no password")]
    Hidden,
}

/// Checks an address at its registration.
pub fn check(text: &str) -> Result<Url, RedirectError> {
    // What an address parser would silently drop has no place here.
    let plain = text.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'\\');
    if text.len() > MAX_BYTES || !plain {
        return Err(RedirectError::NotAUrl);
    }
    let url = Url::parse(text).map_err(|_| RedirectError::NotAUrl)?;
    // Hosts may hold `;` and `,`, which mean something where a policy names them.
    let is_plain = |name: &str| {
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    };
    if url.domain().is_some_and(|name| !is_plain(name)) {
        return Err(RedirectError::NotAUrl);
    }
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(RedirectError::Hidden);
    }
    match url.scheme() {
        "https" if url.has_host() => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err(RedirectError::Scheme),
    }
}

/// True when the address is on the machine that the browser runs on.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The address that was asked for, where it is one of the registered ones: to the letter, but for the port of a program
/// on the browser's own machine, which takes a free one at each start (RFC 8252, section 7.3).
pub fn find(registered: &[String], asked: &str) -> Option<Url> {
    let url = check(asked).ok()?;
    let found = registered.iter().any(|one| {
        one == asked
            || (url.scheme() == "http"
                && check(one).is_ok_and(|one| without_port(one) == without_port(url.clone())))
    });
    found.then_some(url)
}

fn without_port(mut url: Url) -> Url {
    // Fails for addresses without a host, which `check` takes none of.
    let _ = url.set_port(None);
    url
}

/// How a person reads where an address leads: its host.
pub fn place(uri: &str) -> String {
    match Url::parse(uri) {
        Ok(url) if is_loopback(&url) => {
            format!("this computer ({})", url.host_str().unwrap_or_default())
        }
        Ok(url) => url.host_str().unwrap_or_default().to_owned(),
        Err(_) => String::new(),
    }
}

/// How a Content-Security-Policy names the place. It has no words for IPv6 addresses, so that the scheme has to do.
pub fn policy_source(url: &Url) -> String {
    match url.host() {
        Some(Host::Ipv6(_)) | None => format!("{}:", url.scheme()),
        Some(Host::Domain(_) | Host::Ipv4(_)) => url.origin().ascii_serialization(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(registered: &str, asked: &str) -> bool {
        find(&[registered.to_owned()], asked).is_some()
    }

    #[test]
    fn https_and_the_own_machine_are_taken() {
        for good in [
            "https://claude.ai/api/mcp/auth_callback",
            "https://app.example:8443/cb?x=1",
            "http://127.0.0.1:33418/",
            "http://localhost/callback",
            "http://[::1]:1234/cb",
        ] {
            check(good).unwrap_or_else(|error| panic!("{good}: {error}"));
        }
    }

    #[test]
    fn whatever_could_hand_the_code_to_somebody_else_is_not() {
        for (bad, error) in [
            ("http://evil.example/cb", RedirectError::Scheme),
            ("http://localhost.evil.example/cb", RedirectError::Scheme),
            ("javascript:alert(1)", RedirectError::Scheme),
            ("data:text/html,x", RedirectError::Scheme),
            ("app.example:/cb", RedirectError::Scheme),
            ("https://app.example/cb#x", RedirectError::Hidden),
            ("https://kenny@evil.example/cb", RedirectError::Hidden),
            ("/cb", RedirectError::NotAUrl),
            ("https://app.example\\@evil.example/", RedirectError::NotAUrl),
            ("https://app.example/c b", RedirectError::NotAUrl),
            ("https://a;sandbox/", RedirectError::NotAUrl),
            ("https://a,b.example/", RedirectError::NotAUrl),
            ("https://app.example/\u{e4}", RedirectError::NotAUrl),
        ] {
            assert_eq!(check(bad).unwrap_err(), error, "{bad}");
        }
        assert_eq!(
            check(&format!("https://a.example/{}", "a".repeat(500))),
            Err(RedirectError::NotAUrl)
        );
    }

    #[test]
    fn an_address_is_asked_for_to_the_letter() {
        let registered = "https://app.example/cb";
        assert!(found(registered, registered));
        for other in [
            "https://app.example/cb/",
            "https://app.example/CB",
            "https://app.example/cb?x=1",
            "https://app.example/a/../cb",
            "https://app.example:444/cb",
            "https://APP.example/cb",
            "https://evil.example/cb",
            "http://app.example/cb",
            "",
        ] {
            assert!(!found(registered, other), "{other}");
        }
    }

    #[test]
    fn a_program_on_the_own_machine_takes_any_port() {
        assert!(found("http://127.0.0.1:1/cb", "http://127.0.0.1:65000/cb"));
        assert!(found("http://127.0.0.1/cb", "http://127.0.0.1:65000/cb"));
        assert!(found("http://[::1]/cb", "http://[::1]:65000/cb"));
        for other in [
            "http://127.0.0.2:1/cb",
            "http://localhost:1/cb",
            "http://127.0.0.1:1/other",
            "http://127.0.0.1:1/cb?x=1",
            "https://127.0.0.1:1/cb",
        ] {
            assert!(!found("http://127.0.0.1:1/cb", other), "{other}");
        }
        assert!(!found("https://localhost:1/cb", "https://localhost:2/cb"));
    }

    #[test]
    fn people_read_the_host() {
        assert_eq!(
            place("https://kenny.example.org@evil.example/kenny.example.org"),
            "evil.example"
        );
        assert_eq!(place("https://xn--e1afmkfd.example/"), "xn--e1afmkfd.example");
        assert_eq!(place("http://127.0.0.1:33418/"), "this computer (127.0.0.1)");
    }

    #[test]
    fn policies_name_the_place() {
        let source = |text: &str| policy_source(&check(text).unwrap());
        assert_eq!(source("https://app.example/cb"), "https://app.example");
        assert_eq!(source("http://127.0.0.1:33418/"), "http://127.0.0.1:33418");
        assert_eq!(source("http://[::1]:1/cb"), "http:");
    }
}
