//! Invitations inside executables: what is put in is found again, the executable comes out as it was, and an Authenticode
//! signature stays what it was.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../images/builder.rs"]
#[expect(dead_code, reason = "only Windows executables here")]
mod builder;
#[path = "../../../../fuzz/checks/invitation.rs"]
mod carried;
#[cfg(target_os = "linux")]
mod signed;

use std::path::Path;

use builder::{PE_X86_64, pe, version_info};
use kenny_core::invitation::{CarryError, find, put};
use kenny_proto::Sha256Digest;
use kenny_proto::invitation::MAX_INVITATION_BYTES;

const TEXT: &[u8] = br#"{"v":1,"agent_id":"annas-pc"}"#;

fn sha256(bytes: &[u8]) -> Sha256Digest {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    Sha256Digest(digest.as_ref().try_into().unwrap())
}

/// An unsigned agent, of a length that is no multiple of eight.
fn agent() -> Vec<u8> {
    let strings = [("ProductName", "kenny-agent"), ("ProductVersion", "1.2.3")];
    let mut agent = pe(PE_X86_64, Some(&version_info(&strings)));
    agent.resize(agent.len().next_multiple_of(8) + 3, 7);
    agent
}

fn carrying(executable: &[u8], text: &[u8]) -> Vec<u8> {
    put(executable, sha256(executable), text, sha256).unwrap().to_vec()
}

/// Executables that carry an invitation, by the fuzzer's stand-in for SHA-256.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let digest: kenny_core::invitation::Sha256 = carried::digest;
    let whole = |own: &[u8]| put(own, digest(own), TEXT, digest).unwrap().to_vec();
    let mut summed = agent();
    summed[CHECKSUM_AT] = 1;
    vec![
        ("unsigned.pe", whole(&agent())),
        ("with-checksum.pe", whole(&summed)),
        ("none.pe", agent()),
    ]
}

#[test]
fn the_seeds_of_the_fuzzer_are_what_the_builder_makes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/invitation");
    let write = std::env::var_os("KENNY_WRITE_SEEDS").is_some();
    for (name, seed) in seeds() {
        assert!(carried::check(&seed) != (name == "none.pe"), "{name}");
        let path = folder.join(name);
        if write {
            #[expect(clippy::disallowed_methods, reason = "somebody asked for the files")]
            std::fs::write(&path, &seed).unwrap();
        }
        #[expect(clippy::disallowed_methods, reason = "the corpus lies in files")]
        let committed = std::fs::read(&path).unwrap();
        assert!(committed == seed, "{name}: KENNY_WRITE_SEEDS=1 writes it anew");
    }
}

/// Where the checksum of [`agent`] stands.
const CHECKSUM_AT: usize = 64 + 24 + 64;

#[test]
fn what_is_put_in_is_found_and_the_executable_comes_out_as_it_was() {
    let longest = vec![b'x'; MAX_INVITATION_BYTES];
    for checksum in [0_u32, 0x0001_2345] {
        let mut own = agent();
        own[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_le_bytes());
        assert!(find(&own, sha256).unwrap().is_none());
        for text in [b"", TEXT, &longest] {
            let whole = carrying(&own, text);
            assert_eq!(whole.len() % 8, 0);
            assert_eq!(whole[CHECKSUM_AT..CHECKSUM_AT + 4] == [0; 4], checksum == 0);
            let found = find(&whole, sha256).unwrap().unwrap();
            assert_eq!((found.text(), found.own_sha256()), (text, sha256(&own)));
            assert_eq!(found.without(sha256).unwrap(), own);
            assert_eq!(
                kenny_core::image::read_facts(&whole),
                kenny_core::image::read_facts(&own),
                "it says the same of itself"
            );
        }
    }
}

#[test]
fn one_invitation_of_bounded_length_is_all_that_an_executable_takes() {
    let own = agent();
    let put =
        |bytes: &[u8], text: &[u8]| put(bytes, sha256(bytes), text, sha256).map(drop).unwrap_err();
    let long = vec![b'x'; MAX_INVITATION_BYTES + 1];
    assert_eq!(put(&own, &long), CarryError::TooLong(MAX_INVITATION_BYTES + 1));
    assert_eq!(put(&carrying(&own, TEXT), TEXT), CarryError::Carries);
    for other in [&b"\x7fELF and more"[..], b"MZ", b""] {
        assert!(matches!(put(other, TEXT), CarryError::Executable(_)));
    }
}

#[test]
fn every_changed_byte_is_noticed_or_was_not_the_executable() {
    let own = agent();
    let whole = carrying(&own, TEXT);
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        match find(&changed, sha256) {
            // The end says whether there is one at all.
            Ok(None) => assert!(at >= whole.len() - 16, "{at}"),
            Ok(Some(found)) => {
                assert!(at < own.len(), "{at} of the invitation changed and was taken");
                let is_checksum = (CHECKSUM_AT..CHECKSUM_AT + 4).contains(&at);
                assert_eq!(found.without(sha256).is_ok(), is_checksum, "{at}");
            }
            Err(_) => assert!((own.len()..whole.len() - 16).contains(&at), "{at}"),
        }
    }
}

#[test]
fn a_file_that_is_cut_short_or_lengthened_has_no_invitation() {
    let whole = carrying(&agent(), TEXT);
    for cut in 0..whole.len() {
        assert!(matches!(find(&whole[..cut], sha256), Ok(None)), "{cut}");
        // The end of the file alone, as after a download that lost its beginning.
        if cut > 0 {
            assert!(find(&whole[cut..], sha256).is_err() || whole.len() - cut < 16, "{cut}");
        }
    }
    assert!(find(&[&whole[..], b"\0"].concat(), sha256).unwrap().is_none());
}

#[test]
fn a_later_format_is_told_from_damage() {
    let mut whole = carrying(&agent(), TEXT);
    let at = whole.len() - 16 - 32 - 4;
    whole[at] = 2;
    let error = find(&whole, sha256).unwrap_err();
    assert_eq!(error, CarryError::Format(2));
    assert!(error.to_string().contains("ask for a new invitation"), "{error}");
}

#[test]
fn lengths_that_lie_are_refused() {
    let whole = carrying(&agent(), TEXT);
    let footer = whole.len() - 104;
    for (at, bytes) in [(32, 8), (48, 4)] {
        for lie in [0_u64, 1, 8, u64::from(u32::MAX), u64::MAX, u64::MAX - 7, 1 << 40] {
            let mut lying = whole.clone();
            lying[footer + at..footer + at + bytes].copy_from_slice(&lie.to_le_bytes()[..bytes]);
            // A digest that is right for the lie.
            let covered = |from: usize| sha256(&lying[from..lying.len() - 48]).0;
            let from = usize::try_from(lie).unwrap_or(usize::MAX).min(lying.len() - 48);
            let digest = covered(if at == 32 { from } else { agent().len() });
            let digest_at = lying.len() - 48;
            lying[digest_at..digest_at + 32].copy_from_slice(&digest);
            assert!(matches!(find(&lying, sha256), Err(CarryError::Damaged(_))), "{at} {lie}");
        }
    }
}
