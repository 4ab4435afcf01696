//! Builds the smallest executables that say what they are: seeds of the fuzzer and cases of the tests.

/// `IMAGE_FILE_MACHINE_AMD64`.
pub const PE_X86_64: u16 = 0x8664;
/// `IMAGE_FILE_MACHINE_ARM64`.
pub const PE_AARCH64: u16 = 0xaa64;
/// `EM_X86_64`.
pub const ELF_X86_64: u16 = 62;
/// `EM_AARCH64`.
pub const ELF_AARCH64: u16 = 183;

/// Where the one section of a PE is loaded.
const SECTION_ADDRESS: u32 = 0x1000;
/// `SHT_NOTE`.
const SECTION_OF_NOTES: u32 = 7;
const ELF_HEADER_BYTES: usize = 64;

/// Bytes that grow by little-endian numbers.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u16s(&mut self, numbers: &[u16]) {
        self.0.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }

    fn u32s(&mut self, numbers: &[u32]) {
        self.0.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }

    fn u64s(&mut self, numbers: &[u64]) {
        self.0.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    }

    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }
}

/// A 64-bit PE with one section, which holds the version resource, if there is one.
pub fn pe(machine: u16, version_info: Option<&[u8]>) -> Vec<u8> {
    const DIRECTORIES: u32 = 16;
    const OPTIONAL_HEADER_BYTES: u16 = 112 + 8 * 16;
    let resources = version_info.map(resources).unwrap_or_default();
    let size = u32_of(resources.len());
    let section_at = u32_of(64 + 4 + 20 + usize::from(OPTIONAL_HEADER_BYTES) + 40);

    let mut image = Bytes(b"MZ".to_vec());
    image.0.resize(60, 0);
    image.u32s(&[64]);
    image.0.extend(b"PE\0\0");
    // Machine, sections, time and symbols (none), size of the optional header; an executable for large addresses.
    image.u16s(&[machine, 1, 0, 0, 0, 0, 0, 0, OPTIONAL_HEADER_BYTES, 0x22]);
    let optional_header_at = image.0.len();
    image.u16s(&[0x020b]);
    image.0.resize(optional_header_at + 108, 0);
    image.u32s(&[DIRECTORIES, 0, 0, 0, 0]);
    image.u32s(&[if resources.is_empty() { 0 } else { SECTION_ADDRESS }, size]);
    image.0.resize(optional_header_at + usize::from(OPTIONAL_HEADER_BYTES), 0);
    image.0.extend(b".rsrc\0\0\0");
    image.u32s(&[size, SECTION_ADDRESS, size, section_at, 0, 0, 0, 0x4000_0040]);
    image.0.extend(resources);
    image.0
}

/// A resource directory: type 16 (version), name 1, language en-US, and the data behind the three tables.
fn resources(version_info: &[u8]) -> Vec<u8> {
    const TABLE: u32 = 0x8000_0000;
    const DATA_ENTRY_AT: u32 = 3 * 24;
    const DATA_AT: u32 = DATA_ENTRY_AT + 16;
    let mut bytes = Bytes::default();
    for (id, to) in [(16, TABLE + 24), (1, TABLE + 48), (0x0409, DATA_ENTRY_AT)] {
        bytes.u32s(&[0, 0, 0, 0x0001_0000, id, to]);
    }
    bytes.u32s(&[SECTION_ADDRESS + DATA_AT, u32_of(version_info.len()), 0, 0]);
    bytes.0.extend(version_info);
    bytes.0
}

/// A `VS_VERSIONINFO` with these strings.
pub fn version_info(strings: &[(&str, &str)]) -> Vec<u8> {
    let mut children = Bytes::default();
    for (key, value) in strings {
        children.align(4);
        let value: Vec<u8> = value.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        children.0.extend(node(key, true, &value, &[]));
    }
    let table = node("040904b0", true, &[], &children.0);
    node("VS_VERSION_INFO", false, &[7; 52], &node("StringFileInfo", true, &[], &table))
}

fn node(key: &str, is_text: bool, value: &[u8], children: &[u8]) -> Vec<u8> {
    let mut whole = Bytes(vec![0; 6]);
    for unit in key.encode_utf16().chain([0]) {
        whole.u16s(&[unit]);
    }
    whole.align(4);
    whole.0.extend(value);
    if !children.is_empty() {
        whole.align(4);
        whole.0.extend(children);
    }
    let value_length = if is_text { value.len() / 2 } else { value.len() };
    let head = [whole.0.len(), value_length, usize::from(is_text)];
    for (at, number) in head.into_iter().enumerate() {
        let number = u16::try_from(number).expect("a node is shorter than 64 KiB");
        whole.0[at * 2..at * 2 + 2].copy_from_slice(&number.to_le_bytes());
    }
    whole.0
}

/// A little-endian 64-bit ELF that names `sections` times a section of the same notes.
pub fn elf(machine: u16, notes: &[u8], sections: u16) -> Vec<u8> {
    let names = b"\0.note.kenny\0.shstrtab\0";
    let names_at = ELF_HEADER_BYTES + notes.len();
    let sections_at = (names_at + names.len()).next_multiple_of(8);

    let mut image = Bytes(b"\x7fELF\x02\x01\x01".to_vec());
    image.0.resize(16, 0);
    // A shared object (as every position-independent executable is).
    image.u16s(&[3, machine]);
    image.u32s(&[1]);
    image.u64s(&[0, 0, sections_at as u64]);
    image.u32s(&[0]);
    image.u16s(&[64, 56, 0, 64, sections + 2, sections + 1]);
    image.0.extend(notes);
    image.0.extend(names);
    image.0.resize(sections_at, 0);
    image.0.extend([0; 64]);
    let mut section = |name, kind, at: usize, size: usize| {
        image.u32s(&[name, kind]);
        image.u64s(&[0, 0, at as u64, size as u64, 0, 4, 0]);
    };
    for _ in 0..sections {
        section(1, SECTION_OF_NOTES, ELF_HEADER_BYTES, notes.len());
    }
    section(13, 3, names_at, names.len());
    image.0
}

/// One ELF note.
pub fn note(owner: &str, kind: u32, text: &[u8]) -> Vec<u8> {
    let mut note = Bytes::default();
    note.u32s(&[u32_of(owner.len() + 1), u32_of(text.len()), kind]);
    note.0.extend(owner.as_bytes());
    note.0.push(0);
    note.align(4);
    note.0.extend(text);
    note.align(4);
    note.0
}

fn u32_of(number: usize) -> u32 {
    u32::try_from(number).expect("test images are small")
}
