//! Disks that are full, nearly full, or not writable.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kenny_agent::update::download::Disk;
use kenny_proto::FailureKind;
use kenny_testkit::faults::Fault;

use super::rig::{Rig, TAG, begins, statuses};

const MIB: u64 = 1024 * 1024;
/// Of an artifact of 3 MiB: twice that, and 64 MiB.
const NEEDED: u64 = 70 * MIB;
const SIZE: usize = 3 * 1024 * 1024;

fn with_room(free: u64) -> Disk {
    Disk::default().with_free_bytes(move |_| Ok(free))
}

/// A disk that takes so many bytes and is full then.
fn that_takes(bytes: usize) -> Disk {
    let left = Arc::new(AtomicUsize::new(bytes));
    with_room(NEEDED).with_write(move |file, bytes| {
        let fits = bytes.len().min(left.load(Ordering::SeqCst));
        left.fetch_sub(fits, Ordering::SeqCst);
        file.write_all(&bytes[..fits])?;
        if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    })
}

#[tokio::test]
async fn without_room_for_twice_the_size_and_64_mib_nothing_is_read() {
    let mut rig = Rig::new(SIZE);
    rig.disk = with_room(NEEDED - 1);
    let (failure, requests) = rig.fails([]).await;
    assert_eq!(failure.kind, FailureKind::Disk);
    assert!(failure.detail.contains("69 MiB free"), "{}", failure.detail);
    assert!(failure.detail.contains("needs 70 MiB"), "{}", failure.detail);
    assert_eq!(statuses(&requests), [200]);
    assert_eq!(rig.part(), None);

    rig.disk = with_room(NEEDED);
    rig.arrives([]).await;
}

#[tokio::test]
async fn what_is_there_already_needs_no_room() {
    let mut rig = Rig::new(SIZE);
    let there = 2 * 1024 * 1024;
    rig.leave_part(&rig.bytes[..there], Some(TAG));
    rig.disk = with_room(NEEDED - there as u64 - 1);
    let (failure, requests) = rig.fails([]).await;
    assert_eq!(failure.kind, FailureKind::Disk);
    assert!(failure.detail.contains("needs 68 MiB"), "{}", failure.detail);
    assert_eq!(statuses(&requests), [206]);
    assert_eq!(rig.part().unwrap().len(), there, "it is kept for the time when there is room");

    rig.disk = with_room(NEEDED - there as u64);
    assert_eq!(begins(&rig.arrives([]).await), [there]);
}

#[tokio::test]
async fn room_that_cannot_be_told_stops_nothing() {
    let mut rig = Rig::new(50_000);
    rig.disk = Disk::default().with_free_bytes(|_| Err(io::ErrorKind::Unsupported.into()));
    rig.arrives([]).await;
}

#[tokio::test]
async fn a_disk_that_fills_up_keeps_what_it_took_and_goes_on_when_there_is_room() {
    for offset in [1, 4096, 1_000_000, SIZE - 1] {
        let mut rig = Rig::new(SIZE);
        rig.disk = that_takes(offset);
        let (failure, requests) = rig.fails([]).await;
        assert_eq!(failure.kind, FailureKind::Disk);
        assert!(failure.detail.contains("disk is full: 70 MiB free"), "{}", failure.detail);
        assert!(failure.detail.contains("needs"), "{}", failure.detail);
        assert_eq!(requests.len(), 1, "a full disk is not tried again");
        assert!(rig.part().unwrap() == rig.bytes[..offset], "{offset}");

        rig.disk = Disk::default();
        assert_eq!(begins(&rig.arrives([]).await), [offset]);
    }
}

#[tokio::test]
async fn a_disk_that_is_full_from_the_start_or_for_nothing_gets_its_room_back() {
    for (takes, fault) in [(0, None), (1_000_000, Some(Fault::NoEtag))] {
        let mut rig = Rig::new(SIZE);
        rig.disk = that_takes(takes);
        let faults: Vec<Fault> = fault.into_iter().collect();
        let (failure, _) = rig.fails(faults).await;
        assert_eq!(failure.kind, FailureKind::Disk);
        assert_eq!(rig.names_in_folder(), <[String; 0]>::default(), "it could not be continued");
    }
}

#[tokio::test]
async fn a_staging_folder_that_cannot_be_is_named() {
    let rig = Rig::new(50_000);
    fs_err::write(rig.staging.folder(), "a file").unwrap();
    let server = rig.served([]).await;
    let failure = rig.fetch(&server).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Disk);
    assert!(failure.detail.contains("update"), "{}", failure.detail);
    assert_eq!(server.requests(), []);
}

#[tokio::test]
async fn a_part_that_cannot_be_written_is_named() {
    let rig = Rig::new(50_000);
    fs_err::create_dir_all(rig.staging.part()).unwrap();
    let (failure, requests) = rig.fails([]).await;
    assert_eq!(failure.kind, FailureKind::Disk);
    assert!(failure.detail.contains(".part"), "{}", failure.detail);
    assert_eq!(requests.len(), 1);
}
