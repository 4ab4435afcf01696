//! Where a 64-bit Windows executable keeps its checksum and its certificates
//! (<https://learn.microsoft.com/windows/win32/debug/pe-format>). The bytes come from anywhere: nothing here trusts them.

use std::ops::Range;

/// The size of `WIN_CERTIFICATE` before its content: length, revision, type.
pub const CERTIFICATE_HEADER_BYTES: usize = 8;
/// `WIN_CERT_TYPE_PKCS_SIGNED_DATA`: an Authenticode signature.
const PKCS_SIGNED_DATA: u16 = 2;
/// What certificates are aligned to.
pub const CERTIFICATE_ALIGNMENT: usize = 8;

/// `IMAGE_DIRECTORY_ENTRY_SECURITY`.
const SECURITY: usize = 4;
/// Offsets in the optional header of a 64-bit executable.
const CHECKSUM: usize = 64;
const DIRECTORY_COUNT: usize = 108;
const DIRECTORIES: usize = 112;
const DIRECTORY_BYTES: usize = 8;
/// `IMAGE_NT_OPTIONAL_HDR64_MAGIC`.
const PE32_PLUS: u16 = 0x020b;

/// Why the bytes are no such executable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeError {
    /// Another format.
    #[error("it is no 64-bit Windows executable")]
    NotPe,
    /// The table of certificates is not where it has to be: at the end of the file, in whole entries.
    #[error("its table of certificates is damaged, or is not the end of the file")]
    Certificates,
}

/// One entry of the table of certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Where it begins.
    pub at: usize,
    /// Its content, without the header.
    pub content: Range<usize>,
    /// True for an Authenticode signature.
    pub is_signature: bool,
}

/// The places of one executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// The checksum, four bytes.
    pub checksum_at: usize,
    /// The directory entry of the certificates (address, size), where the executable has room for one.
    pub directory_at: Option<usize>,
    /// The certificates, in their order; none where it is not signed.
    pub certificates: Vec<Certificate>,
}

impl Places {
    /// Finds them.
    pub fn of(bytes: &[u8]) -> Result<Self, PeError> {
        let signature_at =
            u32_at(bytes, 60).filter(|_| bytes.starts_with(b"MZ")).ok_or(PeError::NotPe)?;
        let signature_at = signature_at as usize;
        if bytes.get(signature_at..signature_at.saturating_add(4)) != Some(b"PE\0\0") {
            return Err(PeError::NotPe);
        }
        let header_at = signature_at + 24;
        let header_bytes = u16_at(bytes, signature_at + 20).ok_or(PeError::NotPe)?;
        let header = bytes
            .get(header_at..header_at + usize::from(header_bytes))
            .filter(|header| header.len() >= DIRECTORIES && u16_at(header, 0) == Some(PE32_PLUS))
            .ok_or(PeError::NotPe)?;
        let count = u32_at(header, DIRECTORY_COUNT).ok_or(PeError::NotPe)? as usize;
        let entry_at = DIRECTORIES + SECURITY * DIRECTORY_BYTES;
        let entry =
            Some(entry_at).filter(|at| count > SECURITY && at + DIRECTORY_BYTES <= header.len());
        let mut certificates = Vec::new();
        if let Some(entry) = entry
            && let (Some(at), Some(size)) = (u32_at(header, entry), u32_at(header, entry + 4))
            && (at, size) != (0, 0)
        {
            certificates = Some(at as usize)
                .filter(|at| *at >= header_at + header.len())
                .and_then(|at| table(bytes, at, size as usize))
                .ok_or(PeError::Certificates)?;
        }
        Ok(Self {
            checksum_at: header_at + CHECKSUM,
            directory_at: entry.map(|entry| header_at + entry),
            certificates,
        })
    }

    /// The checksum that the executable carries; 0 where it has none.
    pub fn checksum(&self, bytes: &[u8]) -> u32 {
        u32_at(bytes, self.checksum_at).expect("the header was there when the places were found")
    }
}

/// Reads a table that fills the rest of the file.
fn table(bytes: &[u8], at: usize, size: usize) -> Option<Vec<Certificate>> {
    if at.checked_add(size)? != bytes.len() || !at.is_multiple_of(CERTIFICATE_ALIGNMENT) {
        return None;
    }
    let mut certificates = Vec::new();
    let mut at = at;
    while at < bytes.len() {
        let length = u32_at(bytes, at)? as usize;
        let end = at.checked_add(length)?;
        if length < CERTIFICATE_HEADER_BYTES || end > bytes.len() {
            return None;
        }
        let is_signature = u16_at(bytes, at + 6)? == PKCS_SIGNED_DATA;
        certificates.push(Certificate {
            at,
            content: at + CERTIFICATE_HEADER_BYTES..end,
            is_signature,
        });
        at = end.checked_next_multiple_of(CERTIFICATE_ALIGNMENT)?;
    }
    // The last entry's padding belongs to the file.
    (at == bytes.len()).then_some(certificates)
}

/// The checksum of an executable that lies in pieces, as `CheckSumMappedFile` computes it: the sum of its 16-bit words with
/// end-around carry, the checksum's own four bytes counted as zero, and its length.
pub fn checksum(pieces: &[&[u8]], checksum_at: usize) -> u32 {
    let own = checksum_at..checksum_at.saturating_add(4);
    let mut sum: u64 = 0;
    let mut at = 0;
    for byte in pieces.iter().copied().flatten() {
        if !own.contains(&at) {
            sum += u64::from(*byte) << (8 * (at & 1));
        }
        at += 1;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = sum + at as u64;
    u32::try_from(sum & 0xffff_ffff).expect("32 bits")
}

/// A little-endian number, where the bytes reach that far.
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().expect("two bytes")))
}

/// A little-endian number, where the bytes reach that far.
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
}
