//! Who an executable says that it was signed by: Authenticode's PKCS#7 in the table of certificates.
//!
//! It is read, not checked: whether the signature is good, and whether anybody vouches for the certificate, is for Windows
//! to say. The bytes come from anywhere, so nothing here trusts them; the work is linear in their number.

use der::{Encode as _, Header, Reader as _, SliceReader, Tag};

use crate::image::shown;
use crate::pe::Places;

/// `id-signedData` and `id-at-commonName`, as their bytes stand in DER.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// The one who signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer<'a> {
    /// The common name in the certificate's subject, fit for a terminal and a log.
    pub common_name: String,
    /// The certificate, DER.
    pub certificate: &'a [u8],
}

/// Why the signer cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is signed, and the signature cannot be read ({0})")]
pub struct SignerError(&'static str);

impl From<der::Error> for SignerError {
    fn from(_: der::Error) -> Self {
        Self("its DER is damaged")
    }
}

/// Reads the signer of a 64-bit Windows executable; none where it carries no signature, or is no such executable.
pub fn signer(executable: &[u8]) -> Result<Option<Signer<'_>>, SignerError> {
    let Ok(places) = Places::of(executable) else { return Ok(None) };
    let Some(certificate) = places.certificates.iter().find(|one| one.is_signature) else {
        return Ok(None);
    };
    // What follows the first element is padding.
    let mut reader = SliceReader::new(&executable[certificate.content.clone()])?;
    let content_info = Element::next(&mut reader)?.children(Tag::Sequence)?;
    let [kind, content, ..] = &content_info[..] else {
        return Err(SignerError("it is no PKCS#7"));
    };
    if (kind.tag, kind.value) != (Tag::ObjectIdentifier, SIGNED_DATA) {
        return Err(SignerError("it is no PKCS#7 of signed data"));
    }
    let content = Element::of(content.value)?.children(Tag::Sequence)?;
    let certificates = content.iter().find(|one| context_specific(one.tag, 0));
    let signers = content.last().filter(|one| one.tag == Tag::Set);
    let (Some(certificates), Some(signers)) = (certificates, signers) else {
        return Err(SignerError("it names no certificate or no signer"));
    };
    let signer = Element::of_first(signers.value)?.children(Tag::Sequence)?;
    let Some(issuer_and_serial) = signer.get(1).filter(|one| one.tag == Tag::Sequence) else {
        return Err(SignerError("its signer is not named by issuer and number"));
    };
    let issuer_and_serial = elements(issuer_and_serial.value)?;
    for certificate in elements(certificates.value)? {
        let parts = Parts::of(&certificate)?;
        if issuer_and_serial == [parts.issuer, parts.serial] {
            let common_name = shown(&common_name(&parts.subject)?.unwrap_or_default());
            return Ok(Some(Signer { common_name, certificate: certificate.whole }));
        }
    }
    Err(SignerError("the signer's certificate is not in it"))
}

/// What is needed of a certificate.
struct Parts<'a> {
    serial: Element<'a>,
    issuer: Element<'a>,
    subject: Element<'a>,
}

impl<'a> Parts<'a> {
    fn of(certificate: &Element<'a>) -> Result<Self, SignerError> {
        let certificate = certificate.children(Tag::Sequence)?;
        let to_be_signed = certificate.first().ok_or(SignerError("an empty certificate"))?;
        let mut fields = to_be_signed.children(Tag::Sequence)?;
        if fields.first().is_some_and(|first| context_specific(first.tag, 0)) {
            // The version.
            fields.remove(0);
        }
        let [serial, _algorithm, issuer, _validity, subject, ..] = fields[..] else {
            return Err(SignerError("a certificate that is cut short"));
        };
        Ok(Self { serial, issuer, subject })
    }
}

/// The last common name of a subject, which is the most specific.
fn common_name(subject: &Element<'_>) -> Result<Option<String>, SignerError> {
    let mut found = None;
    for set in subject.children(Tag::Sequence)? {
        for pair in set.children(Tag::Set)? {
            if let [kind, value] = pair.children(Tag::Sequence)?[..]
                && (kind.tag, kind.value) == (Tag::ObjectIdentifier, COMMON_NAME)
            {
                found = Some(value.text());
            }
        }
    }
    Ok(found)
}

fn context_specific(tag: Tag, number: u32) -> bool {
    tag.is_context_specific() && tag.number().value() == number
}

/// One element of DER.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Element<'a> {
    tag: Tag,
    whole: &'a [u8],
    value: &'a [u8],
}

impl<'a> Element<'a> {
    fn next(reader: &mut SliceReader<'a>) -> Result<Self, SignerError> {
        let header = Header::peek(reader)?;
        let header_bytes = u32::from(header.encoded_len()?) as usize;
        let whole = reader.tlv_bytes()?;
        Ok(Self { tag: header.tag(), whole, value: &whole[header_bytes..] })
    }

    /// The only one in these bytes.
    fn of(bytes: &'a [u8]) -> Result<Self, SignerError> {
        match elements(bytes)?[..] {
            [only] => Ok(only),
            _ => Err(SignerError("one element was expected")),
        }
    }

    fn of_first(bytes: &'a [u8]) -> Result<Self, SignerError> {
        Self::next(&mut SliceReader::new(bytes)?)
    }

    fn children(&self, tag: Tag) -> Result<Vec<Self>, SignerError> {
        if self.tag != tag {
            return Err(SignerError("its parts are in another order"));
        }
        elements(self.value)
    }

    /// Of any of the string types that certificates have.
    fn text(&self) -> String {
        if self.tag == Tag::BmpString {
            let units =
                self.value.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
            return char::decode_utf16(units).map(|unit| unit.unwrap_or('\u{fffd}')).collect();
        }
        String::from_utf8_lossy(self.value).into_owned()
    }
}

fn elements(bytes: &[u8]) -> Result<Vec<Element<'_>>, SignerError> {
    let mut reader = SliceReader::new(bytes)?;
    let mut elements = Vec::new();
    while !reader.is_finished() {
        elements.push(Element::next(&mut reader)?);
    }
    Ok(elements)
}
