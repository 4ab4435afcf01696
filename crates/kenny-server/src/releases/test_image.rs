//! What the tests here push around: the smallest executable that is an agent, and a folder that goes by itself.

use std::io;
use std::path::{Path, PathBuf};

use axum::body::Bytes;
use futures_util::{Stream, stream};
use kenny_core::image::{NOTE_NAME, NOTE_TYPE, PRODUCT};
use uuid::Uuid;

/// A 64-bit ELF with the agent's note and `padding_bytes` of nothing.
pub(crate) fn agent_image(version: &str, padding_bytes: usize) -> Vec<u8> {
    const HEADER: usize = 64;
    let text = format!("{{\"product\":\"{PRODUCT}\",\"version\":\"{version}\"}}");
    let mut note = Vec::new();
    note.extend(u32::try_from(NOTE_NAME.len() + 1).unwrap().to_le_bytes());
    note.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
    note.extend(NOTE_TYPE.to_le_bytes());
    for field in [NOTE_NAME.as_bytes(), text.as_bytes()] {
        note.extend(field);
        // The name ends with a zero, and each field is padded to four.
        note.resize(
            (note.len() + usize::from(field == NOTE_NAME.as_bytes())).next_multiple_of(4),
            0,
        );
    }
    let names = b"\0.note.kenny\0.shstrtab\0";
    let names_at = HEADER + note.len();
    let sections_at = (names_at + names.len()).next_multiple_of(8);

    let mut image = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    image.extend([3, 0, 62, 0, 1, 0, 0, 0]); // shared object, x86_64, version
    image.extend([0; 16]); // entry, program headers
    image.extend((sections_at as u64).to_le_bytes());
    image.extend([0; 4]);
    for half in [64_u16, 56, 0, 64, 3, 2] {
        image.extend(half.to_le_bytes());
    }
    image.extend(&note);
    image.extend(names);
    image.resize(sections_at, 0);
    image.extend([0; 64]);
    for (name, kind, at, size) in
        [(1_u32, 7_u32, HEADER, note.len()), (13, 3, names_at, names.len())]
    {
        image.extend(name.to_le_bytes());
        image.extend(kind.to_le_bytes());
        for word in [0, 0, at as u64, size as u64, 0, 4, 0] {
            image.extend(word.to_le_bytes());
        }
    }
    image.resize(image.len() + padding_bytes, 0);
    image
}

/// A Windows agent with a signature, which is one of the fuzzer's seeds.
pub(crate) fn signed_agent() -> Vec<u8> {
    include_bytes!("../../../../fuzz/corpus/invitation/signed.pe").to_vec()
}

/// The bytes in pieces, as a socket brings them.
pub(crate) fn pieces(bytes: &[u8]) -> impl Stream<Item = io::Result<Bytes>> + Unpin + use<> {
    let pieces: Vec<_> =
        bytes.chunks(10_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    stream::iter(pieces)
}

/// A new folder below the system's temporary one; removed at the end.
pub(crate) struct TempFolder(PathBuf);

impl TempFolder {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("kenny-test-{}", Uuid::new_v4()));
        fs_err::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = fs_err::remove_dir_all(&self.0);
    }
}
