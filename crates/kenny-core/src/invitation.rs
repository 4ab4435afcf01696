//! An invitation inside an executable: put in by the server, found again by the agent, and taken out at install.
//!
//! It stands at the very end of the file. In a signed executable it is padding of the last certificate: Authenticode's
//! digest leaves out the table of certificates, the table's directory entry and the checksum, which are all that changes,
//! so the signature stays valid. In an unsigned one it simply follows the last byte. What the executable was before is
//! written down with it, and is restored to the byte.
//!
//! ```text
//! executable | zeros to 8 | text | zeros to 8 | SHA-256 of the executable (32) | its length (8) | its checksum (4)
//!   | length of its last certificate, 0 unsigned (4) | length of the text (4) | format (4)
//!   | SHA-256 of all from the first zeros on (32) | "kenny-invitation" (16)
//! ```
//!
//! The digests find damage. They authenticate nothing: who can change the file can change both. What the agent may trust
//! is said by where the file came from, and by the keys that the text pins.

use kenny_proto::Sha256Digest;
use kenny_proto::invitation::MAX_INVITATION_BYTES;

use crate::pe::{CERTIFICATE_ALIGNMENT, PeError, Places, checksum, u32_at};

const MAGIC: &[u8; 16] = b"kenny-invitation";
/// The arrangement that the module's comment shows.
const FORMAT: u32 = 1;
const DIGEST_BYTES: usize = 32;
/// What follows the text's zeros.
const FOOTER_BYTES: usize = 32 + 8 + 4 + 4 + 4 + 4 + 32 + 16;
/// What of the footer the second digest covers.
const COVERED_BYTES: usize = FOOTER_BYTES - DIGEST_BYTES - MAGIC.len();

/// SHA-256, which whoever calls brings along: there is no cryptography in this crate.
pub type Sha256 = fn(&[u8]) -> Sha256Digest;

/// Why an invitation cannot be put in or found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CarryError {
    /// It cannot carry one.
    #[error("this executable cannot carry an invitation: {0}")]
    Executable(#[from] PeError),
    /// It is too long.
    #[error(
        "the invitation has {0} bytes, more than the {MAX_INVITATION_BYTES} that an executable carries"
    )]
    TooLong(usize),
    /// There is one.
    #[error("this executable carries an invitation already; take one as it was built")]
    Carries,
    /// What stands there is not what was put there.
    #[error("the invitation inside is damaged ({0}); download the file again")]
    Damaged(&'static str),
    /// An invitation of a later server.
    #[error(
        "the invitation inside has the format {0}, which this version does not know; ask for a new invitation"
    )]
    Format(u32),
}

/// An executable with an invitation, in the pieces that it is sent in: most of it is the released file as it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carrying<'a> {
    /// The headers, changed.
    pub head: Vec<u8>,
    /// What is as it was.
    pub body: &'a [u8],
    /// The last certificate where there is one, and the invitation.
    pub tail: Vec<u8>,
}

impl Carrying<'_> {
    /// All of it.
    pub fn to_vec(&self) -> Vec<u8> {
        [&self.head, self.body, &self.tail].concat()
    }
}

/// Puts an invitation into an executable that has none. `own_sha256` is the executable's digest.
pub fn put<'a>(
    executable: &'a [u8],
    own_sha256: Sha256Digest,
    text: &[u8],
    sha256: Sha256,
) -> Result<Carrying<'a>, CarryError> {
    if text.len() > MAX_INVITATION_BYTES {
        return Err(CarryError::TooLong(text.len()));
    }
    if executable.ends_with(MAGIC) {
        return Err(CarryError::Carries);
    }
    let places = Places::of(executable)?;
    let last = places.certificates.last();
    let old_certificate_bytes = match last {
        Some(last) => u32_at(executable, last.at).ok_or(PeError::Certificates)?,
        None => 0,
    };
    let old_checksum = places.checksum(executable);

    let mut tag = vec![0; align(executable.len()) - executable.len()];
    tag.extend(text);
    tag.resize(align(executable.len() + tag.len()) - executable.len(), 0);
    tag.extend(own_sha256.0);
    tag.extend((executable.len() as u64).to_le_bytes());
    let text_bytes = u32::try_from(text.len()).expect("bounded above");
    for number in [old_checksum, old_certificate_bytes, text_bytes, FORMAT] {
        tag.extend(number.to_le_bytes());
    }
    tag.extend(sha256(&tag).0);
    tag.extend(MAGIC);

    let head_end = places.directory_at.map_or(places.checksum_at + 4, |at| at + 8);
    let tail_at = last.map_or(executable.len(), |last| last.at);
    let mut head = executable[..head_end].to_vec();
    let mut tail = executable[tail_at..].to_vec();
    tail.extend(&tag);
    if let (Some(directory_at), Some(first)) = (places.directory_at, places.certificates.first()) {
        let total = executable.len() + tag.len();
        set_u32(&mut head, directory_at + 4, total - first.at)?;
        let bytes = tail.len();
        set_u32(&mut tail, 0, bytes)?;
    }
    let body = &executable[head_end..tail_at];
    if old_checksum != 0 {
        let new = checksum(&[&head, body, &tail], places.checksum_at);
        head[places.checksum_at..places.checksum_at + 4].copy_from_slice(&new.to_le_bytes());
    }
    Ok(Carrying { head, body, tail })
}

/// An executable in which an invitation was found.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    whole: &'a [u8],
    text: &'a [u8],
    footer: Footer,
}

/// What an executable was before it carried the invitation.
#[derive(Debug, Clone, Copy)]
struct Footer {
    own_sha256: Sha256Digest,
    own_bytes: usize,
    checksum: u32,
    certificate_bytes: u32,
    text_bytes: usize,
}

/// Finds the invitation that an executable carries. One that is there and cannot be read is an error, never none.
pub fn find(executable: &[u8], sha256: Sha256) -> Result<Option<Found<'_>>, CarryError> {
    let Some(before_magic) = executable.strip_suffix(MAGIC) else { return Ok(None) };
    let short = CarryError::Damaged("it is cut short");
    let footer_at = executable.len().checked_sub(FOOTER_BYTES).ok_or(short)?;
    let (covered_to, digest) = before_magic.split_at(footer_at + COVERED_BYTES);
    let footer = Footer::read(&covered_to[footer_at..])?;
    let lengths = CarryError::Damaged("its lengths do not fit the file");
    let text_at =
        footer.own_bytes.checked_next_multiple_of(CERTIFICATE_ALIGNMENT).ok_or(lengths)?;
    let text_end = text_at.checked_add(footer.text_bytes).ok_or(lengths)?;
    let text_fits = text_end.checked_next_multiple_of(CERTIFICATE_ALIGNMENT) == Some(footer_at);
    if footer.text_bytes > MAX_INVITATION_BYTES || !text_fits {
        return Err(lengths);
    }
    let tag = &covered_to[footer.own_bytes..];
    if sha256(tag).0 != digest {
        return Err(CarryError::Damaged("its SHA-256 does not match"));
    }
    let zeros = [&executable[footer.own_bytes..text_at], &executable[text_end..footer_at]];
    if zeros.iter().copied().flatten().any(|byte| *byte != 0) {
        return Err(CarryError::Damaged("its padding is not empty"));
    }
    Ok(Some(Found { whole: executable, text: &executable[text_at..text_end], footer }))
}

impl Footer {
    fn read(bytes: &[u8]) -> Result<Self, CarryError> {
        let (own_sha256, numbers) = bytes.split_at(DIGEST_BYTES);
        let number = |at| u32_at(numbers, at).expect("a footer is whole");
        let format = number(20);
        if format != FORMAT {
            return Err(CarryError::Format(format));
        }
        let own_bytes = u64::from(number(0)) | u64::from(number(4)) << 32;
        let lengths = |_| CarryError::Damaged("its lengths do not fit the file");
        Ok(Self {
            own_sha256: Sha256Digest(own_sha256.try_into().expect("split above")),
            own_bytes: usize::try_from(own_bytes).map_err(lengths)?,
            checksum: number(8),
            certificate_bytes: number(12),
            text_bytes: number(16) as usize,
        })
    }
}

impl<'a> Found<'a> {
    /// The invitation.
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The digest that the executable had without it.
    pub fn own_sha256(&self) -> Sha256Digest {
        self.footer.own_sha256
    }

    /// The executable as it was without it, to the byte.
    pub fn without(&self, sha256: Sha256) -> Result<Vec<u8>, CarryError> {
        let mut own = self.whole[..self.footer.own_bytes].to_vec();
        let places = self.places_before()?;
        own[places.checksum_at..places.checksum_at + 4]
            .copy_from_slice(&self.footer.checksum.to_le_bytes());
        if let (Some(directory_at), Some(first), Some(last)) =
            (places.directory_at, places.certificates.first(), places.certificates.last())
        {
            let table_bytes = own.len().checked_sub(first.at);
            let table_bytes = table_bytes.ok_or(CarryError::Damaged("its table is gone"))?;
            let damaged = CarryError::Damaged("its last certificate is gone");
            let last = own.get_mut(last.at..last.at + 4).ok_or(damaged)?;
            last.copy_from_slice(&self.footer.certificate_bytes.to_le_bytes());
            set_u32(&mut own, directory_at + 4, table_bytes)?;
        }
        if sha256(&own) != self.footer.own_sha256 {
            return Err(CarryError::Damaged("the executable around it was changed"));
        }
        Ok(own)
    }

    /// The places of the headers, which are the same with the invitation and without.
    fn places_before(&self) -> Result<Places, CarryError> {
        let places = Places::of(self.whole)?;
        let header_end = places.directory_at.map_or(places.checksum_at + 4, |at| at + 8);
        if header_end > self.footer.own_bytes {
            return Err(CarryError::Damaged("its lengths do not fit the file"));
        }
        Ok(places)
    }
}

fn align(length: usize) -> usize {
    length.next_multiple_of(CERTIFICATE_ALIGNMENT)
}

fn set_u32(bytes: &mut [u8], at: usize, number: usize) -> Result<(), PeError> {
    let number = u32::try_from(number).map_err(|_| PeError::Certificates)?;
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    Ok(())
}
