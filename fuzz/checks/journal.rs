//! What holds of the parser of journals, whatever the bytes are.

use kenny_core::update::journal::{decode, encode};
use kenny_proto::Sha256Digest;

/// Panics where it does not hold. True where the bytes were a journal.
pub fn check(input: &[u8]) -> bool {
    let as_it_is = check_file(input);
    // No fuzzer guesses a checksum, so the first line is tried with the right one as well.
    let body = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let checksum = format!("\n{}\n", digest(body));
    check_file(&[body, checksum.as_bytes()].concat()) || as_it_is
}

fn check_file(file: &[u8]) -> bool {
    match decode(file, digest) {
        Ok(journal) => {
            let written = encode(&journal, digest);
            assert_eq!(decode(&written, digest), Ok(journal));
            true
        }
        Err(problem) => {
            assert!(!problem.to_string().is_empty());
            false
        }
    }
}

/// Stands for SHA-256, which costs more than the parser: FNV-1a, spread over the digest's bytes.
fn digest(bytes: &[u8]) -> Sha256Digest {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut step = |byte: u8| {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        hash
    };
    for byte in bytes {
        step(*byte);
    }
    Sha256Digest(std::array::from_fn(|_| step(0).to_be_bytes()[0]))
}
