//! The format of the journal file, as the agent has it.

use kenny_core::update::{JOURNAL_FORMAT, Journal};
use kenny_proto::Sha256Digest;

/// A journal that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalProblem {
    /// The content is not what was once written.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// A newer agent wrote it.
    #[error("it has format {0}, which a newer agent wrote")]
    Newer(u32),
}

/// The bytes of a journal: one line of JSON and one with its SHA-256, which `digest` computes.
pub fn encode(journal: &Journal, digest: impl Fn(&[u8]) -> Sha256Digest) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(journal).expect("a journal has string keys only");
    let checksum = digest(&bytes);
    bytes.extend(format!("\n{checksum}\n").into_bytes());
    bytes
}

/// Reads what [`encode`] wrote.
pub fn decode(
    bytes: &[u8],
    digest: impl Fn(&[u8]) -> Sha256Digest,
) -> Result<Journal, JournalProblem> {
    #[derive(serde::Deserialize)]
    struct Format {
        format: u32,
    }
    let damaged = |why: String| JournalProblem::Damaged(why);
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let body = lines.next().unwrap_or_default();
    let checksum = lines.next().unwrap_or_default();
    if digest(body).to_string().as_bytes() != checksum {
        return Err(damaged("its checksum does not match".to_owned()));
    }
    let format: Format =
        serde_json::from_slice(body).map_err(|error| damaged(error.to_string()))?;
    if format.format > JOURNAL_FORMAT {
        return Err(JournalProblem::Newer(format.format));
    }
    serde_json::from_slice(body).map_err(|error| damaged(error.to_string()))
}
