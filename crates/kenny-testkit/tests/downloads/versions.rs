//! Which bytes belong together: tags, ranges, and parts that an earlier process left.

use kenny_testkit::faults::Fault;

use super::rig::{Rig, TAG, begins, statuses};

#[tokio::test]
async fn a_part_of_an_unknown_version_is_not_continued() {
    for tag in [None, Some(""), Some("W/\"one\""), Some("\"on"), Some("\0\0\0\0\0")] {
        let rig = Rig::new(50_000);
        rig.leave_part(&rig.bytes[..20_000], tag);
        let requests = rig.arrives([]).await;
        assert_eq!((statuses(&requests), begins(&requests)), (vec![200], vec![0]), "{tag:?}");
    }
}

#[tokio::test]
async fn a_part_of_another_version_is_replaced() {
    let rig = Rig::new(50_000);
    rig.leave_part(&vec![7; 20_000], Some("\"zero\""));
    let requests = rig.arrives([]).await;
    assert_eq!((statuses(&requests), begins(&requests)), (vec![200], vec![20_000]));
}

#[tokio::test]
async fn a_range_of_another_version_is_seen_by_its_tag() {
    let rig = Rig::new(50_000);
    rig.leave_part(&vec![7; 20_000], Some("\"zero\""));
    let requests = rig.arrives(Fault::IgnoresIfRange).await;
    assert_eq!((statuses(&requests), begins(&requests)), (vec![206, 200], vec![20_000, 0]));
}

#[tokio::test]
async fn a_part_that_is_longer_than_the_file_starts_over() {
    let rig = Rig::new(50_000);
    rig.leave_part(&[rig.bytes.as_slice(), b"more"].concat(), Some(TAG));
    let requests = rig.arrives([]).await;
    assert_eq!((statuses(&requests), begins(&requests)), (vec![416, 200], vec![50_004, 0]));
}

#[tokio::test]
async fn a_part_that_is_larger_than_any_artifact_starts_over() {
    let mut rig = Rig::new(50_000);
    rig.limits.max_bytes = 60_000;
    rig.leave_part(&vec![7; 60_001], Some(TAG));
    assert_eq!(begins(&rig.arrives([]).await), [0]);
}

#[tokio::test]
async fn a_part_that_is_the_whole_file_needs_no_byte_more() {
    let rig = Rig::new(50_000);
    rig.leave_part(&rig.bytes, Some(TAG));
    let requests = rig.arrives([]).await;
    assert_eq!((statuses(&requests), begins(&requests)), (vec![416], vec![50_000]));
}

#[tokio::test]
async fn a_part_whose_bytes_are_wrong_is_found_out_at_the_end_and_fetched_once_more() {
    // What a power cut can leave: the length is right and the bytes are not.
    for length in [1, 20_000, 50_000] {
        let rig = Rig::new(50_000);
        rig.leave_part(&vec![0; length], Some(TAG));
        let requests = rig.arrives([]).await;
        let first = if length == 50_000 { 416 } else { 206 };
        assert_eq!((statuses(&requests), begins(&requests)), (vec![first, 200], vec![length, 0]));
    }
}

#[tokio::test]
async fn servers_without_ranges_send_the_whole_again() {
    for (fault, expected) in [
        (Fault::IgnoresRange, vec![200, 200]),
        (Fault::RefusesRange, vec![200, 416, 200]),
        (Fault::EarlierRange(10), vec![200, 206, 200]),
    ] {
        let rig = Rig::new(50_000);
        let requests = rig.arrives([fault, Fault::CutAfter(vec![20_000])]).await;
        assert_eq!(statuses(&requests), expected);
        assert_eq!(begins(&requests)[..2], [0, 20_000]);
    }
}

#[tokio::test]
async fn a_file_without_a_name_for_its_version_begins_again() {
    for fault in [Fault::NoEtag, Fault::WeakEtag] {
        let rig = Rig::new(50_000);
        let requests = rig.arrives([fault, Fault::CutAfter(vec![20_000, 30_000])]).await;
        assert_eq!((statuses(&requests), begins(&requests)), (vec![200; 3], vec![0; 3]));
    }
}

#[tokio::test]
async fn a_file_that_changes_meanwhile_begins_again() {
    let rig = Rig::new(50_000);
    let requests = rig.arrives([Fault::ChangingEtag, Fault::CutAfter(vec![20_000, 30_000])]).await;
    assert_eq!((statuses(&requests), begins(&requests)), (vec![200; 3], vec![0, 20_000, 30_000]));
    assert_eq!(requests[2].if_range(), Some("\"1\""));
}

#[tokio::test]
async fn a_file_that_only_ever_begins_again_is_given_up_soon() {
    for fault in [Fault::ChangingEtag, Fault::NoEtag, Fault::IgnoresRange] {
        let rig = Rig::new(50_000);
        let (words, requests) = rig.is_not_to_be_had([fault, Fault::CutEvery(20_000)]).await;
        assert!(words.contains("began again from nothing 5 times"), "{words}");
        assert_eq!(statuses(&requests), [200; 7]);
    }
}
