//! Ed25519: signing with a key whose seed the caller keeps, and checking. What is signed is in
//! [`kenny_proto::transcript`]; where seeds come from and lie is the shell's.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use kenny_proto::{PublicKey, Signature};

/// A key that can sign.
pub struct IdentityKey(Ed25519KeyPair);

impl IdentityKey {
    /// The key of these 32 secret bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed"))
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        let bytes = self.0.public_key().as_ref();
        PublicKey(bytes.try_into().expect("a public key has 32 bytes"))
    }

    /// Signs a transcript.
    pub fn sign(&self, transcript: &[u8]) -> Signature {
        let signature = self.0.sign(transcript);
        Signature(signature.as_ref().try_into().expect("a signature has 64 bytes"))
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityKey(of {})", self.public())
    }
}

/// True when the signature is by this key over this transcript. What is no key, or one of the few for which a
/// signature proves nothing, signs nothing.
pub fn is_signed_by(key: &PublicKey, transcript: &[u8], signature: &Signature) -> bool {
    !has_small_order(key)
        && UnparsedPublicKey::new(&ED25519, key.0).verify(transcript, &signature.0).is_ok()
}

/// True for the points of which eight times anything is nothing: with them some signatures hold for messages that
/// nobody signed (RFC 8032 leaves it to its users to refuse them; the list is libsodium's).
fn has_small_order(key: &PublicKey) -> bool {
    const ORDER_8: [[u8; 32]; 2] = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef,
            0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88,
            0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    let mut point = key.0;
    // The sign of x.
    point[31] &= 0x7f;
    let middle = &point[1..31];
    let low = point[31] == 0 && point[0] <= 1 && middle.iter().all(|byte| *byte == 0);
    // p - 1, and 0 and 1 written as p and p + 1.
    let high = point[31] == 0x7f
        && (0xec..=0xee).contains(&point[0])
        && middle.iter().all(|byte| *byte == 0xff);
    low || high || ORDER_8.contains(&point)
}

#[cfg(test)]
mod tests {
    use kenny_proto::transcript::{Enrolment, Exchange, Purpose};
    use kenny_proto::{AgentId, InvitationCode, Nonce};
    use serde::Deserialize;

    use super::*;

    /// `fixtures/identity.json`.
    #[derive(Deserialize)]
    struct Golden {
        agent_seed_hex: String,
        agent_key: PublicKey,
        server_seed_hex: String,
        server_key: PublicKey,
        protocol: String,
        agent_id: AgentId,
        client_nonce: Nonce,
        server_nonce: Nonce,
        code: InvitationCode,
        signed: Vec<Signed>,
    }

    #[derive(Deserialize)]
    struct Signed {
        label: String,
        by: String,
        transcript_hex: String,
        signature: Signature,
    }

    impl Golden {
        fn read() -> Self {
            let text = include_str!("../../kenny-proto/fixtures/identity.json");
            serde_json::from_str(text).unwrap()
        }

        fn key(&self, by: &str) -> IdentityKey {
            let hex = if by == "agent" { &self.agent_seed_hex } else { &self.server_seed_hex };
            IdentityKey::from_seed(unhex(hex).as_slice().try_into().unwrap())
        }

        fn exchange(&self) -> Exchange<'_> {
            Exchange {
                protocol: &self.protocol,
                agent_id: &self.agent_id,
                client_nonce: self.client_nonce,
                server_nonce: self.server_nonce,
                server_key: self.server_key,
            }
        }

        fn enrolment(&self) -> Enrolment<'_> {
            Enrolment {
                code: &self.code,
                agent_id: &self.agent_id,
                public_key: self.agent_key,
                nonce: self.client_nonce,
                server_key: self.server_key,
            }
        }

        /// Who signs what, in the order of the file.
        fn transcripts(&self) -> Vec<(&'static str, Vec<u8>)> {
            let by = |purpose| match purpose {
                Purpose::TunnelServer | Purpose::ProbeServer | Purpose::ProbeAccepted => "server",
                Purpose::TunnelAgent | Purpose::ProbeAgent => "agent",
            };
            let exchange = self.exchange();
            let mut all: Vec<_> = Purpose::ALL
                .into_iter()
                .map(|purpose| (by(purpose), exchange.transcript(purpose)))
                .collect();
            all.push(("agent", self.enrolment().agent_transcript()));
            all.push(("server", self.enrolment().server_transcript()));
            all
        }
    }

    fn unhex(text: &str) -> Vec<u8> {
        let pairs = text.as_bytes().chunks(2);
        pairs
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn keys_transcripts_and_signatures_are_those_of_the_golden_file() {
        let golden = Golden::read();
        assert_eq!(golden.key("agent").public(), golden.agent_key);
        assert_eq!(golden.key("server").public(), golden.server_key);
        let transcripts = golden.transcripts();
        assert_eq!(transcripts.len(), golden.signed.len());
        for (expected, (by, transcript)) in golden.signed.iter().zip(transcripts) {
            assert_eq!(unhex(&expected.transcript_hex), transcript, "{}", expected.label);
            assert!(transcript[2..].starts_with(expected.label.as_bytes()), "{}", expected.label);
            assert_eq!(expected.by, by, "{}", expected.label);
            let key = golden.key(by);
            assert_eq!(key.sign(&transcript), expected.signature, "{}", expected.label);
            assert!(is_signed_by(&key.public(), &transcript, &expected.signature));
        }
    }

    #[test]
    fn a_signature_holds_for_its_own_bytes_key_and_purpose_only() {
        let golden = Golden::read();
        let all = golden.transcripts();
        for (signed, (by, transcript)) in golden.signed.iter().zip(&all) {
            let key = golden.key(by).public();
            for (other_by, other) in &all {
                let same = other == transcript;
                assert_eq!(is_signed_by(&key, other, &signed.signature), same, "{}", signed.label);
                let wrong = golden.key(if *other_by == "agent" { "server" } else { "agent" });
                if wrong.public() != key {
                    assert!(!is_signed_by(&wrong.public(), other, &signed.signature));
                }
            }
            // Every bit of the transcript counts, and so does its length.
            for at in 0..transcript.len() * 8 {
                let mut changed = transcript.clone();
                changed[at / 8] ^= 1 << (at % 8);
                assert!(!is_signed_by(&key, &changed, &signed.signature), "{} {at}", signed.label);
            }
            let longer = [transcript.as_slice(), &[0]].concat();
            for changed in [&transcript[1..], &transcript[..transcript.len() - 1], &longer] {
                assert!(!is_signed_by(&key, changed, &signed.signature), "{}", signed.label);
            }
            // And every bit of the signature.
            for at in 0..512 {
                let mut changed = signed.signature;
                changed.0[at / 8] ^= 1 << (at % 8);
                assert!(!is_signed_by(&key, transcript, &changed), "{} {at}", signed.label);
            }
        }
    }

    #[test]
    fn a_signature_has_no_second_form() {
        // The order of the group, the least significant byte first: S + L is the same number to a careless verifier.
        let order = unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let golden = Golden::read();
        for (signed, (by, transcript)) in golden.signed.iter().zip(golden.transcripts()) {
            let mut changed = signed.signature;
            let mut carry = 0;
            for (byte, add) in changed.0[32..].iter_mut().zip(&order) {
                let sum = u16::from(*byte) + u16::from(*add) + carry;
                *byte = u8::try_from(sum & 0xff).unwrap();
                carry = sum >> 8;
            }
            assert_ne!(changed, signed.signature);
            assert!(!is_signed_by(&golden.key(by).public(), &transcript, &changed));
        }
    }

    #[test]
    fn keys_for_which_anything_verifies_are_none() {
        let mut points: Vec<[u8; 32]> = [
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        ]
        .map(|text| unhex(text).try_into().unwrap())
        .to_vec();
        for (low, middle, high) in
            [(0, 0, 0), (1, 0, 0), (0xec, 0xff, 0x7f), (0xed, 0xff, 0x7f), (0xee, 0xff, 0x7f)]
        {
            let mut point = [middle; 32];
            (point[0], point[31]) = (low, high);
            points.push(point);
        }
        // S = 0 and R the neutral element: to a verifier that takes such keys it is by one of them for one message in
        // eight at least.
        let mut signature = Signature([0; 64]);
        signature.0[0] = 1;
        for point in points {
            for sign in [0, 0x80] {
                let mut key = PublicKey(point);
                key.0[31] |= sign;
                for message in 0..64_u8 {
                    assert!(!is_signed_by(&key, &[message], &signature), "{key} {message}");
                }
            }
        }
    }

    #[test]
    fn a_key_prints_its_public_half_only() {
        let golden = Golden::read();
        let printed = format!("{:?}", golden.key("agent"));
        assert!(printed.contains(&golden.agent_key.to_string()), "{printed}");
        assert!(!printed.contains(&golden.agent_seed_hex), "{printed}");
    }
}
