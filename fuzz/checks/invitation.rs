//! What holds of invitations inside executables and of the reader of signatures, whatever the bytes are.

use kenny_core::authenticode::signer;
use kenny_core::invitation::{find, put};
use kenny_proto::Sha256Digest;

/// Stands in for SHA-256, so that the fuzzer gets past it: FNV-1a, in all four words.
pub fn digest(bytes: &[u8]) -> Sha256Digest {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut digest = [0; 32];
    for word in digest.chunks_exact_mut(8) {
        word.copy_from_slice(&hash.to_le_bytes());
    }
    Sha256Digest(digest)
}

/// Panics where it does not hold. True where the bytes carried an invitation.
pub fn check(input: &[u8]) -> bool {
    if let Ok(Some(signer)) = signer(input) {
        assert!(signer.common_name.chars().count() <= 81, "a name of any length");
        assert!(!signer.common_name.contains(char::is_control), "{:?}", signer.common_name);
    }
    // What can be put in is found, and what it was put into comes out.
    if let Ok(carrying) = put(input, digest(input), b"an invitation", digest) {
        let whole = carrying.to_vec();
        let found = find(&whole, digest).expect("just put in").expect("just put in");
        assert_eq!(found.text(), b"an invitation");
        assert!(found.without(digest).expect("nothing was changed") == input);
        // One that is damaged may be damaged in another way by what stands behind it.
        if let Ok(before) = signer(input) {
            let after = signer(&whole).expect("a signature that was readable");
            assert_eq!(after.map(|one| one.certificate), before.map(|one| one.certificate));
        }
    }
    let Ok(Some(found)) = find(input, digest) else { return false };
    let Ok(own) = found.without(digest) else { return false };
    // The digest covers no more than what it says; the headers' own numbers it does not.
    assert!(own.len() < input.len() && found.text().len() < input.len());
    if let Ok(again) = put(&own, digest(&own), found.text(), digest) {
        assert_eq!(again.to_vec().len(), input.len(), "put in again, it has another length");
    }
    true
}
