//! What an executable says of itself: product, version, operating system, architecture.
//!
//! Windows executables say it in their version resource (`VS_VERSIONINFO`), ELF executables in a note
//! (section `.note.kenny`, name `kenny`, type 1, a JSON descriptor). Both are stamped by the agent's
//! build script from the one version. The bytes come from anywhere, so nothing here trusts them: the work is linear in
//! their number whatever they claim, and an error's words are few and printable.

use kenny_proto::{Arch, Os};
use object::read::elf::{FileHeader as _, SectionHeader as _};
use object::read::pe::{PeFile64, ResourceDirectoryEntryData};
use object::{Endianness, FileKind, elf, pe};
use semver::Version;
use serde::Deserialize;

/// The product name that every agent carries.
pub const PRODUCT: &str = "kenny-agent";
/// The owner name of the ELF note.
pub const NOTE_NAME: &str = "kenny";
/// The type of the ELF note that names product and version.
pub const NOTE_TYPE: u32 = 1;

/// Longest version that is taken, in bytes: it goes into tables, journals and log lines. Ours have ten to thirty.
const MAX_VERSION_BYTES: usize = 128;
/// Most notes that are looked at. An executable has about five; sections may overlap, so that a file of the size that an
/// upload may have could name 10^13 of them.
const MAX_NOTES: usize = 1024;
/// Longest text of our note, in bytes; the build script writes about fifty.
const MAX_NOTE_BYTES: usize = 1024;
/// Most characters that an error repeats of what an executable says.
const MAX_SHOWN_CHARS: usize = 80;

/// What an agent's executable says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// Its version.
    pub version: Version,
    /// The operating system that it is for.
    pub os: Os,
    /// The architecture that it is for.
    pub arch: Arch,
}

/// Why the bytes are not an agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Neither PE nor ELF.
    #[error("it is neither a Windows nor a Linux executable")]
    NotAnExecutable,
    /// Its tables point outside the bytes.
    #[error("the executable is damaged or cut short ({0})")]
    Damaged(String),
    /// A format, processor or bitness that no agent is built for.
    #[error("no agent is built for its platform ({0})")]
    Platform(String),
    /// An executable of something else.
    #[error("it does not say that it is a kenny-agent ({0})")]
    NotAnAgent(String),
    /// An agent whose version is not SemVer.
    #[error("its version `{0}` is not a semantic version (like 1.4.0)")]
    Version(String),
}

/// Reads the facts out of a whole executable.
pub fn read_facts(bytes: &[u8]) -> Result<ImageFacts, ImageError> {
    match FileKind::parse(bytes) {
        Ok(FileKind::Pe64) => read_pe(bytes),
        Ok(FileKind::Elf64) => read_elf(bytes),
        Ok(kind) => Err(ImageError::Platform(format!("{kind:?}"))),
        Err(_) => Err(ImageError::NotAnExecutable),
    }
}

fn damaged(error: impl std::fmt::Display) -> ImageError {
    ImageError::Damaged(error.to_string())
}

/// The beginning of a foreign text, fit for a terminal and a log.
pub(crate) fn shown(text: &str) -> String {
    let mut escaped = text.escape_debug();
    let mut shown: String = escaped.by_ref().take(MAX_SHOWN_CHARS).collect();
    if escaped.next().is_some() {
        shown.push('…');
    }
    shown
}

fn facts(product: &str, version: &str, os: Os, arch: Arch) -> Result<ImageFacts, ImageError> {
    if product != PRODUCT {
        return Err(ImageError::NotAnAgent(format!("its product name is `{}`", shown(product))));
    }
    if version.len() > MAX_VERSION_BYTES {
        return Err(ImageError::NotAnAgent(format!(
            "its version is longer than {MAX_VERSION_BYTES} bytes"
        )));
    }
    let version = Version::parse(version).map_err(|_| ImageError::Version(shown(version)))?;
    Ok(ImageFacts { version, os, arch })
}

fn read_pe(bytes: &[u8]) -> Result<ImageFacts, ImageError> {
    let file = PeFile64::parse(bytes).map_err(damaged)?;
    let machine = file.nt_headers().file_header.machine.get(object::LittleEndian);
    let arch = match machine {
        pe::IMAGE_FILE_MACHINE_AMD64 => Arch::X86_64,
        pe::IMAGE_FILE_MACHINE_ARM64 => Arch::Aarch64,
        other => return Err(ImageError::Platform(format!("machine {other:?}"))),
    };
    let sections = file.section_table();
    for section in sections.iter() {
        let (offset, size) = section.pe_file_range();
        if u64::from(offset) + u64::from(size) > bytes.len() as u64 {
            return Err(damaged("a section ends after the file does"));
        }
    }
    let resources = file
        .data_directories()
        .resource_directory(bytes, &sections)
        .map_err(damaged)?
        .ok_or_else(|| ImageError::NotAnAgent("it has no version resource".to_owned()))?;
    let by_type = resources.root().map_err(damaged)?;
    let versions = by_type
        .entries
        .iter()
        .find(|entry| entry.name_or_id().id() == Some(pe::RT_VERSION))
        .ok_or_else(|| ImageError::NotAnAgent("it has no version resource".to_owned()))?;
    // Type, then name, then language: the first of each is the only one.
    let mut data = versions.data(resources).map_err(damaged)?;
    for _ in 0..2 {
        let ResourceDirectoryEntryData::Table(table) = data else { break };
        let first = table.entries.first().ok_or_else(|| damaged("an empty resource table"))?;
        data = first.data(resources).map_err(damaged)?;
    }
    let entry = data.data().ok_or_else(|| damaged("resource tables nested too deep"))?;
    let size = entry.size.get(object::LittleEndian) as usize;
    let info = sections
        .pe_data_at(bytes, entry.offset_to_data.get(object::LittleEndian))
        .and_then(|data| data.get(..size))
        .ok_or_else(|| damaged("the version resource ends after the file does"))?;
    let strings = VersionStrings::read(info);
    let (Some(product), Some(version)) = (strings.product, strings.version) else {
        return Err(ImageError::NotAnAgent("its version resource names no product".to_owned()));
    };
    facts(&product, &version, Os::Windows, arch)
}

#[derive(Default)]
struct VersionStrings {
    product: Option<String>,
    version: Option<String>,
}

impl VersionStrings {
    /// Walks `VS_VERSIONINFO` > `StringFileInfo` > `StringTable` > `String`
    /// (<https://learn.microsoft.com/windows/win32/menurc/vs-versioninfo>).
    fn read(info: &[u8]) -> Self {
        let mut strings = Self::default();
        let Some(root) = Node::first(info) else { return strings };
        for file_info in root.children().filter(|node| node.key == "StringFileInfo") {
            for string in file_info.children().flat_map(|table| table.children()) {
                let slot = match string.key.as_str() {
                    "ProductName" => &mut strings.product,
                    "ProductVersion" => &mut strings.version,
                    _ => continue,
                };
                slot.get_or_insert_with(|| string.text());
            }
        }
        strings
    }
}

/// One node of a version resource: length, value length, type, key, value, children; each aligned to 4.
struct Node<'data> {
    whole: &'data [u8],
    key: String,
    value: &'data [u8],
    children: &'data [u8],
}

impl<'data> Node<'data> {
    fn first(bytes: &'data [u8]) -> Option<Self> {
        let word =
            |at: usize| bytes.get(at..at + 2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        let length = usize::from(word(0)?);
        let is_text = word(4)? == 1;
        // A text value is counted in UTF-16 units, a binary one in bytes.
        let value_bytes = usize::from(word(2)?) * if is_text { 2 } else { 1 };
        let whole = bytes.get(..length).filter(|whole| whole.len() >= 6)?;
        let key_bytes = &whole[6..];
        let key_units = key_bytes.chunks_exact(2).position(|unit| unit == [0, 0])?;
        let key = utf16(&key_bytes[..key_units * 2]);
        let value_at = align4(6 + (key_units + 1) * 2).min(whole.len());
        let value_end = (value_at + value_bytes).min(whole.len());
        let children_at = align4(value_end).min(whole.len());
        Some(Self {
            whole,
            key,
            value: &whole[value_at..value_end],
            children: &whole[children_at..],
        })
    }

    fn children(&self) -> impl Iterator<Item = Node<'data>> + use<'data> {
        let mut rest = self.children;
        std::iter::from_fn(move || {
            let node = Node::first(rest)?;
            rest = rest.get(align4(node.whole.len())..).unwrap_or_default();
            Some(node)
        })
    }

    fn text(&self) -> String {
        utf16(self.value).trim_end_matches('\0').to_owned()
    }
}

fn align4(offset: usize) -> usize {
    offset.next_multiple_of(4)
}

fn utf16(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[derive(Deserialize)]
struct NoteText {
    product: String,
    version: String,
}

fn read_elf(bytes: &[u8]) -> Result<ImageFacts, ImageError> {
    let header = elf::FileHeader64::<Endianness>::parse(bytes).map_err(damaged)?;
    let endian = header.endian().map_err(damaged)?;
    let arch = match header.e_machine(endian) {
        _ if endian == Endianness::Big => {
            return Err(ImageError::Platform("big-endian".to_owned()));
        }
        elf::EM_X86_64 => Arch::X86_64,
        elf::EM_AARCH64 => Arch::Aarch64,
        other => return Err(ImageError::Platform(format!("machine {other:?}"))),
    };
    let sections = header.section_headers(endian, bytes).map_err(damaged)?;
    for section in sections {
        if let Some((offset, size)) = section.file_range(endian)
            && offset.checked_add(size).is_none_or(|end| end > bytes.len() as u64)
        {
            return Err(damaged("a section ends after the file does"));
        }
    }
    let mut notes_seen = 0;
    for section in sections {
        let Some(mut notes) = section.notes(endian, bytes).map_err(damaged)? else { continue };
        while let Some(note) = notes.next().map_err(damaged)? {
            if note.name() == NOTE_NAME.as_bytes()
                && note.n_type(endian) == elf::NoteType(NOTE_TYPE)
            {
                return note_facts(note.desc(), arch);
            }
            notes_seen += 1;
            if notes_seen > MAX_NOTES {
                return Err(ImageError::NotAnAgent(format!(
                    "the first {MAX_NOTES} of its notes are not kenny's"
                )));
            }
        }
    }
    Err(ImageError::NotAnAgent("it carries no kenny note".to_owned()))
}

fn note_facts(text: &[u8], arch: Arch) -> Result<ImageFacts, ImageError> {
    if text.len() > MAX_NOTE_BYTES {
        return Err(ImageError::NotAnAgent(format!(
            "its note is longer than {MAX_NOTE_BYTES} bytes"
        )));
    }
    let text: NoteText = serde_json::from_slice(text).map_err(|error| {
        ImageError::NotAnAgent(format!("its note is malformed: {}", shown(&error.to_string())))
    })?;
    facts(&text.product, &text.version, Os::Linux, arch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_agent_is_told_apart() {
        assert_eq!(read_facts(b""), Err(ImageError::NotAnExecutable));
        assert_eq!(
            read_facts(b"#!/bin/sh\necho hello there, this is no executable"),
            Err(ImageError::NotAnExecutable)
        );
        let own = std::env::current_exe().unwrap();
        #[expect(clippy::disallowed_methods, reason = "a real executable to read")]
        let own = std::fs::read(own).unwrap();
        assert!(matches!(read_facts(&own), Err(ImageError::NotAnAgent(_))));
        assert!(matches!(read_facts(&own[..own.len() / 2]), Err(ImageError::Damaged(_))));
    }
}
