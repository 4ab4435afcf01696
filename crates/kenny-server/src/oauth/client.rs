//! Programs that register themselves (RFC 7591), without a row for each: the client id carries what was registered,
//! under this server's seal. So nobody fills the database with programs that never come back.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::redirect::{self, RedirectError};

/// The most redirect addresses of one program.
const MAX_REDIRECTS: usize = 10;
/// The most that all of them have, so that a client id fits into an address.
const MAX_REDIRECT_BYTES: usize = 1200;
/// The most characters of a name that are kept.
const MAX_NAME: usize = 60;
/// No id that this server made is longer: base64url of the above with some room, and a seal.
const MAX_ID_BYTES: usize = 2600;

/// A program that asked to be known. Nothing that it says of itself is proven.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// What it calls itself.
    #[serde(rename = "n")]
    pub name: Option<String>,
    /// Where answers may go.
    #[serde(rename = "r")]
    pub redirect_uris: Vec<String>,
    /// When it registered, in seconds of Unix time.
    #[serde(rename = "t")]
    pub registered_unix: i64,
}

/// Why a registration is refused, as RFC 7591, section 3.2.2 has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// No addresses, or too many.
    #[error(
        "`redirect_uris` holds 1 to {MAX_REDIRECTS} addresses of at most {MAX_REDIRECT_BYTES} bytes together"
    )]
    Count,
    /// One of them is not taken.
    #[error(transparent)]
    Redirect(#[from] RedirectError),
}

impl Client {
    /// What a registration says, with the name cut and cleaned for a page.
    pub fn new(
        name: Option<&str>,
        redirect_uris: Vec<String>,
        registered_unix: i64,
    ) -> Result<Self, RegistrationError> {
        let bytes: usize = redirect_uris.iter().map(String::len).sum();
        if redirect_uris.is_empty()
            || redirect_uris.len() > MAX_REDIRECTS
            || bytes > MAX_REDIRECT_BYTES
        {
            return Err(RegistrationError::Count);
        }
        for uri in &redirect_uris {
            redirect::check(uri)?;
        }
        Ok(Self { name: name.and_then(clean), redirect_uris, registered_unix })
    }
}

/// A name without what would let it pretend to be more than a name on a page: control and direction characters.
fn clean(name: &str) -> Option<String> {
    let words = name
        .split(|c: char| c.is_whitespace() || c.is_control())
        .map(|word| word.chars().filter(|c| !is_direction(*c)).collect::<String>())
        .filter(|word| !word.is_empty());
    let name: String = words.collect::<Vec<_>>().join(" ").chars().take(MAX_NAME).collect();
    (!name.is_empty()).then_some(name)
}

/// Invisible characters and those that turn the direction of text (Unicode TR 9).
const fn is_direction(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{61c}')
}

/// Makes client ids and reads them.
pub struct Seal {
    key: hmac::Key,
}

impl Seal {
    /// A seal that is made of a secret of this server, and differs from whatever else is made of it.
    pub fn new(secret: &[u8; 32]) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = hmac::sign(&secret, b"kenny oauth client v1");
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()) }
    }

    /// The id of a program.
    pub fn id(&self, client: &Client) -> String {
        let body = URL_SAFE_NO_PAD.encode(serde_json::to_vec(client).expect("plain values"));
        let tag = hmac::sign(&self.key, body.as_bytes());
        format!("{body}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// The program of an id that this server made.
    pub fn client(&self, id: &str) -> Option<Client> {
        if id.len() > MAX_ID_BYTES {
            return None;
        }
        let (body, tag) = id.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.key, body.as_bytes(), &tag).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: Option<&str>) -> Client {
        Client::new(name, vec!["http://127.0.0.1:1/cb".to_owned()], 1_800_000_000).unwrap()
    }

    #[test]
    fn an_id_is_read_by_the_server_that_made_it_alone() {
        let seal = Seal::new(&[7; 32]);
        let id = seal.id(&client(Some("Example")));
        assert_eq!(seal.client(&id), Some(client(Some("Example"))));
        assert_eq!(Seal::new(&[8; 32]).client(&id), None);
        let (body, tag) = id.split_once('.').unwrap();
        let forged = URL_SAFE_NO_PAD.encode(
            serde_json::to_vec(&Client {
                redirect_uris: vec!["https://evil.example/".to_owned()],
                ..client(None)
            })
            .unwrap(),
        );
        for other in
            ["", ".", body, &format!("{forged}.{tag}"), &format!("{body}."), &"a.".repeat(2000)]
        {
            assert_eq!(seal.client(other), None, "{other}");
        }
    }

    #[test]
    fn the_longest_registration_has_an_id_that_is_read() {
        let uris = vec![format!("https://a.example/{}", "a".repeat(382)); 3];
        let longest = Client::new(Some(&"\u{1f600}".repeat(100)), uris, i64::MAX).unwrap();
        let seal = Seal::new(&[7; 32]);
        assert_eq!(seal.client(&seal.id(&longest)), Some(longest));
    }

    #[test]
    fn names_are_cut_and_cleaned() {
        let name = |text: &str| client(Some(text)).name;
        assert_eq!(name("  Claude\r\nCode\u{202e} "), Some("Claude Code".to_owned()));
        assert_eq!(name("\u{200b}\n"), None);
        assert_eq!(name(&"a".repeat(500)).unwrap().len(), MAX_NAME);
    }

    #[test]
    fn a_registration_needs_addresses_that_are_taken() {
        let new =
            |uris: &[&str]| Client::new(None, uris.iter().map(ToString::to_string).collect(), 0);
        assert_eq!(new(&[]), Err(RegistrationError::Count));
        assert_eq!(new(&["http://127.0.0.1/"; 11]), Err(RegistrationError::Count));
        assert_eq!(
            new(&["http://127.0.0.1/", "http://evil.example/"]),
            Err(RegistrationError::Redirect(RedirectError::Scheme))
        );
    }
}
