//! Links to artifacts: they cannot be guessed, expire, and survive a restart because nothing but the secret makes them.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use kenny_proto::Sha256Digest;

/// How long a link lives, in hours: a slow line needs hours, and an agent that comes back later gets a new one.
pub const LINK_LIFE_HOURS: i64 = 24;

/// Where the links begin.
pub const PREFIX: &str = "/artifacts";

/// Why a link is not honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// This server did not make it.
    #[error("there is nothing at this address")]
    Forged,
    /// Its time is over.
    #[error(
        "this link has expired; the server offers a new one when the update is asked for again"
    )]
    Expired,
}

/// Makes and checks links.
#[derive(Clone)]
pub struct Signer {
    key: hmac::Key,
}

/// The parts of a link's path, as they came from outside.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Link {
    /// Until when, in seconds of Unix time.
    pub expires_unix: i64,
    /// The signature, in base64url.
    pub signature: String,
    /// Which artifact.
    pub sha256: Sha256Digest,
    /// The name that the artifact is offered under.
    pub file_name: String,
}

impl Signer {
    /// A signer with the server's secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// The path of an artifact until `expires_at`. `file_name` is of characters that a URL takes as they are.
    pub fn path(&self, sha256: Sha256Digest, file_name: &str, expires_at: Timestamp) -> String {
        let expires_unix = expires_at.as_second();
        let tag = hmac::sign(&self.key, &message(expires_unix, sha256, file_name));
        let signature = URL_SAFE_NO_PAD.encode(tag);
        format!("{PREFIX}/{expires_unix}/{signature}/{sha256}/{file_name}")
    }

    /// Checks, in constant time, that this server made the link, and that it holds at `now`.
    pub fn check(&self, link: &Link, now: Timestamp) -> Result<(), LinkError> {
        let tag = URL_SAFE_NO_PAD.decode(&link.signature).map_err(|_| LinkError::Forged)?;
        let message = message(link.expires_unix, link.sha256, &link.file_name);
        hmac::verify(&self.key, &message, &tag).map_err(|_| LinkError::Forged)?;
        if now.as_second() < link.expires_unix { Ok(()) } else { Err(LinkError::Expired) }
    }
}

fn message(expires_unix: i64, sha256: Sha256Digest, file_name: &str) -> Vec<u8> {
    // The name comes last: it alone could hold a line break.
    format!("kenny artifact v1\n{expires_unix}\n{sha256}\n{file_name}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn link(path: &str) -> Link {
        let parts: Vec<&str> = path.split('/').collect();
        let ["", "artifacts", expires, signature, sha256, file_name] = parts[..] else {
            panic!("{path}")
        };
        Link {
            expires_unix: expires.parse().unwrap(),
            signature: signature.to_owned(),
            sha256: sha256.parse().unwrap(),
            file_name: file_name.to_owned(),
        }
    }

    #[test]
    fn a_link_holds_until_it_expires_also_after_a_restart() {
        let path = Signer::new(&[7; 32]).path(Sha256Digest([1; 32]), "a.exe", at(1000));
        let later = Signer::new(&[7; 32]);
        assert_eq!(later.check(&link(&path), at(999)), Ok(()));
        assert_eq!(later.check(&link(&path), at(1000)), Err(LinkError::Expired));
    }

    #[test]
    fn no_part_of_a_link_can_be_changed() {
        let signer = Signer::new(&[7; 32]);
        let good = link(&signer.path(Sha256Digest([1; 32]), "a.exe", at(1000)));
        let forged = [
            Link { expires_unix: 2000, ..good.clone() },
            Link { sha256: Sha256Digest([2; 32]), ..good.clone() },
            Link { file_name: "b.exe".to_owned(), ..good.clone() },
            Link { signature: good.signature[1..].to_owned(), ..good.clone() },
            Link { signature: String::new(), ..good.clone() },
            Link { signature: "?".to_owned(), ..good.clone() },
        ];
        for link in forged {
            assert_eq!(signer.check(&link, at(0)), Err(LinkError::Forged), "{link:?}");
        }
        assert_eq!(Signer::new(&[8; 32]).check(&good, at(0)), Err(LinkError::Forged));
    }
}
