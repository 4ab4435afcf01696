//! A disk that forgets what was not flushed.
//!
//! Names are journaled by the file system, as NTFS does it: after a power cut some prefix of the changes since the last
//! write-through is there. Bytes are not: those of a file that was not flushed may be anything.

use std::collections::BTreeMap;

use kenny_core::update::{File, Journal};
use kenny_proto::{Sha256Digest, UpdateId};

/// What names a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// One of the engine's files.
    Of(File),
    /// The journal.
    Journal,
    /// What becomes the journal.
    JournalNew,
    /// A journal that was put aside.
    JournalAside,
    /// The count of the new version's starts.
    Starts,
    /// What becomes the count.
    StartsNew,
}

/// An executable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Image {
    /// The version that runs.
    Old,
    /// The version that was asked for.
    New,
    /// The version that ran before [`Image::Old`], kept as *previous*.
    Kept,
    /// Bytes that nobody authorised.
    Foreign,
    /// For another processor.
    OtherProcessor,
    /// Says that it is another version than the one asked for.
    OtherVersion,
}

impl Image {
    /// A digest of its own.
    pub const fn digest(self) -> Sha256Digest {
        Sha256Digest([self as u8 + 1; 32])
    }
}

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// An executable.
    Image(Image),
    /// A config of this schema.
    Config(u8),
    /// A journal.
    Journal(Box<Journal>),
    /// How often the new version was started in an update.
    Starts(UpdateId, u32),
    /// Bytes that a power cut left, or that were scribbled over.
    Torn,
}

impl Content {
    /// The digest of the bytes.
    pub fn digest(&self) -> Sha256Digest {
        match self {
            Self::Image(image) => image.digest(),
            Self::Config(schema) => Sha256Digest([100 + schema; 32]),
            Self::Journal(_) | Self::Starts(..) => Sha256Digest([200; 32]),
            Self::Torn => Sha256Digest([255; 32]),
        }
    }
}

#[derive(Debug, Clone)]
struct Inode {
    content: Content,
    flushed: bool,
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Set(Name, usize),
    Move(Name, Name),
    Remove(Name),
}

/// The disk.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<Name, usize>,
    durable: BTreeMap<Name, usize>,
    pending: Vec<Change>,
}

fn apply(names: &mut BTreeMap<Name, usize>, change: Change) {
    match change {
        Change::Set(name, inode) => {
            names.insert(name, inode);
        }
        Change::Move(from, to) => {
            if let Some(inode) = names.remove(&from) {
                names.insert(to, inode);
            }
        }
        Change::Remove(name) => {
            names.remove(&name);
        }
    }
}

impl Disk {
    /// A file as it has always been there.
    pub fn install(&mut self, name: Name, content: Content) {
        self.inodes.push(Inode { content, flushed: true });
        let inode = self.inodes.len() - 1;
        self.names.insert(name, inode);
        self.durable.insert(name, inode);
    }

    /// What a file has in it, as every process sees it.
    pub fn read(&self, name: Name) -> Option<&Content> {
        self.names.get(&name).map(|inode| &self.inodes[*inode].content)
    }

    /// Writes a file from its beginning; not flushed.
    pub fn write(&mut self, name: Name, content: Content) {
        if let Some(inode) = self.names.get(&name) {
            self.inodes[*inode] = Inode { content, flushed: false };
            return;
        }
        self.inodes.push(Inode { content, flushed: false });
        self.change(Change::Set(name, self.inodes.len() - 1));
    }

    /// Brings a file's bytes to the disk. Its name is another matter.
    pub fn flush(&mut self, name: Name) {
        if let Some(inode) = self.names.get(&name) {
            self.inodes[*inode].flushed = true;
        }
    }

    /// Renames with write-through: every change of names up to this one is on the disk afterwards.
    pub fn rename(&mut self, from: Name, to: Name) {
        self.change(Change::Move(from, to));
        for change in std::mem::take(&mut self.pending) {
            apply(&mut self.durable, change);
        }
    }

    /// Removes a file.
    pub fn remove(&mut self, name: Name) {
        if self.names.contains_key(&name) {
            self.change(Change::Remove(name));
        }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, change);
        self.pending.push(change);
    }

    /// How many changes of names a power cut may or may not leave.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// True when bytes of a file may be lost.
    pub fn is_dirty(&self) -> bool {
        let mut inodes = self.names.values().chain(self.durable.values());
        inodes.any(|inode| !self.inodes[*inode].flushed)
    }

    /// The power is gone: the first `kept` pending changes of names are there, the others are not; bytes that were not
    /// flushed are torn, or by luck not.
    pub fn cut(&mut self, kept: usize, torn: bool) {
        for change in self.pending.drain(..).take(kept) {
            apply(&mut self.durable, change);
        }
        self.names = self.durable.clone();
        for inode in &mut self.inodes {
            if !inode.flushed && torn {
                inode.content = Content::Torn;
            }
            inode.flushed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Name = Name::Of(File::ActiveNew);
    const B: Name = Name::Of(File::Active);

    fn replaced(flush: bool) -> Disk {
        let mut disk = Disk::default();
        disk.install(B, Content::Image(Image::Old));
        disk.write(A, Content::Image(Image::New));
        if flush {
            disk.flush(A);
        }
        disk.rename(A, B);
        disk
    }

    #[test]
    fn what_was_flushed_and_renamed_survives() {
        let mut disk = replaced(true);
        assert!(!disk.is_dirty());
        disk.cut(0, true);
        assert_eq!(disk.read(B), Some(&Content::Image(Image::New)));
        assert_eq!(disk.read(A), None);
    }

    #[test]
    fn what_was_not_flushed_may_be_torn_under_its_new_name() {
        let mut disk = replaced(false);
        assert!(disk.is_dirty());
        disk.cut(0, true);
        assert_eq!(disk.read(B), Some(&Content::Torn));
    }

    #[test]
    fn names_come_back_in_the_order_in_which_they_changed() {
        for kept in 0..=2 {
            let mut disk = Disk::default();
            disk.install(B, Content::Image(Image::Old));
            disk.write(A, Content::Image(Image::New));
            disk.remove(B);
            assert_eq!(disk.pending(), 2);
            disk.cut(kept, false);
            assert_eq!(disk.read(A).is_some(), kept >= 1);
            assert_eq!(disk.read(B).is_some(), kept < 2);
        }
    }
}
