//! What servers answer: busy, broken, elsewhere, never ending, and wrong about the length.

use std::time::{Duration, Instant};

use kenny_proto::FailureKind;
use kenny_testkit::Faults;
use kenny_testkit::faults::Fault;

use super::rig::{Rig, TAG, begins, statuses};

fn status(code: u16, times: usize) -> Fault {
    Fault::Status { code, times, retry_after: None }
}

#[tokio::test]
async fn a_server_that_is_busy_or_broken_for_a_while_is_waited_for() {
    for code in [429, 503, 500, 502, 504] {
        let rig = Rig::new(50_000);
        let requests = rig.arrives(status(code, 9)).await;
        let (last, before) =
            statuses(&requests).split_last().map(|(l, b)| (*l, b.to_vec())).unwrap();
        assert_eq!((last, before), (200, vec![code; 9]));
    }
}

fn asking_for(retry_after: &str, code: u16) -> Fault {
    Fault::Status { code, times: 2, retry_after: Some(retry_after.to_owned()) }
}

#[tokio::test]
async fn retry_after_is_honoured_up_to_a_limit() {
    for code in [429, 503] {
        let mut rig = Rig::new(5000);
        rig.limits.longest_retry_after = Duration::from_millis(150);
        // No patience is needed for a wait that is followed by progress.
        rig.limits.patience = Duration::ZERO;
        let began = Instant::now();
        let requests = rig.arrives(asking_for("86400", code)).await;
        assert_eq!(statuses(&requests), [code, code, 200]);
        assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_server_that_asks_for_no_time_gets_none() {
    let mut rig = Rig::new(5000);
    rig.limits.longest_retry_after = Duration::from_hours(1);
    let asked = rig.arrives(asking_for("0", 429)).await;
    assert_eq!(statuses(&asked), [429, 429, 200]);
}

#[tokio::test]
async fn a_server_that_stays_busy_is_given_up_in_words() {
    for (code, named) in [(503, "503"), (429, "429"), (500, "500")] {
        let mut rig = Rig::new(5000);
        rig.limits.patience = Duration::from_millis(50);
        rig.leave_part(&rig.bytes[..1000], Some(TAG));
        let (words, requests) = rig.is_not_to_be_had(status(code, usize::MAX)).await;
        assert!(words.contains(named) && words.contains("attempts"), "{words}");
        assert!(requests.len() >= 5, "{}", requests.len());
        assert_eq!(rig.part().unwrap(), rig.bytes[..1000], "what is there stays");
    }
}

#[tokio::test]
async fn busy_in_the_middle_goes_on_in_the_middle() {
    let rig = Rig::new(50_000);
    rig.leave_part(&rig.bytes[..30_000], Some(TAG));
    let requests = rig.arrives(status(503, 3)).await;
    assert_eq!(statuses(&requests), [503, 503, 503, 206]);
    assert_eq!(begins(&requests), [30_000; 4]);
}

#[tokio::test]
async fn a_link_that_is_gone_is_not_tried_again() {
    for (code, named) in [(410, "expired"), (404, "not valid"), (403, "expired"), (401, "401")] {
        let rig = Rig::new(50_000);
        rig.leave_part(&rig.bytes[..30_000], Some(TAG));
        let (words, requests) = rig.is_not_to_be_had(status(code, usize::MAX)).await;
        assert!(words.contains(named), "{words}");
        assert_eq!(statuses(&requests), [code]);
        assert_eq!(rig.part().unwrap().len(), 30_000, "another link can go on with it");
    }
}

#[tokio::test]
async fn a_redirect_to_another_host_is_refused_and_never_followed() {
    let rig = Rig::new(50_000);
    let elsewhere = rig.served([]).await;
    for target in [
        elsewhere.url(),
        elsewhere.url().replace("127.0.0.1", "localhost"),
        elsewhere.url().replace("http://", "http://user:secret@"),
        "file:///etc/passwd".to_owned(),
    ] {
        let (failure, requests) = rig.fails(Fault::Redirect(target.clone())).await;
        assert_eq!(failure.kind, FailureKind::UrlRefused, "{target}: {}", failure.detail);
        assert!(failure.detail.contains("redirect"), "{}", failure.detail);
        assert!(!failure.detail.contains("secret"), "{}", failure.detail);
        assert_eq!(statuses(&requests), [302]);
    }
    assert_eq!(elsewhere.requests(), []);
    assert_eq!(rig.part(), None);
}

#[tokio::test]
async fn a_redirect_at_home_is_followed_with_the_range() {
    let rig = Rig::new(50_000);
    rig.leave_part(&rig.bytes[..30_000], Some(TAG));
    let requests = rig.arrives(Fault::Redirect("/moved".to_owned())).await;
    assert_eq!(statuses(&requests), [302, 206]);
    assert_eq!(requests[1].target, "/moved");
    assert_eq!(begins(&requests), [30_000; 2]);
}

#[tokio::test]
async fn redirects_without_end_are_given_up_at_once() {
    let rig = Rig::new(50_000);
    let (words, requests) = rig.is_not_to_be_had(Fault::RedirectLoop).await;
    assert!(words.contains("redirects more than 5 times"), "{words}");
    assert_eq!(statuses(&requests), [302; 6]);
}

#[tokio::test]
async fn a_body_without_end_stops_at_the_limit_and_leaves_nothing() {
    let mut rig = Rig::new(50_000);
    rig.limits.max_bytes = 1024 * 1024;
    let (words, requests) = rig.is_not_to_be_had(Fault::Endless).await;
    assert!(words.contains("larger than 1 MiB"), "{words}");
    assert_eq!(statuses(&requests), [200]);
    // What is sent beyond the limit is what fits the buffers of a connection.
    assert!(requests[0].body_bytes < 64 * 1024 * 1024, "{}", requests[0].body_bytes);
    assert_eq!(rig.names_in_folder(), <[String; 0]>::default());
}

#[tokio::test]
async fn what_is_announced_as_too_large_is_not_read() {
    let mut rig = Rig::new(3 * 1024 * 1024);
    rig.limits.max_bytes = 2 * 1024 * 1024;
    let (words, _) = rig.is_not_to_be_had([]).await;
    assert!(words.contains("larger than 2 MiB"), "{words}");
    assert_eq!(rig.part(), None);

    // The same for the rest of one, whose size stands in the range.
    rig.leave_part(&rig.bytes[..1000], Some(TAG));
    let (words, _) = rig.is_not_to_be_had([]).await;
    assert!(words.contains("larger than 2 MiB"), "{words}");
}

#[tokio::test]
async fn a_length_that_is_too_long_is_a_cut_and_the_rest_is_nothing() {
    let rig = Rig::new(50_000);
    let requests = rig.arrives(Fault::LengthTooLong(500)).await;
    assert_eq!((statuses(&requests), begins(&requests)), (vec![200, 416], vec![0, 50_000]));
}

#[tokio::test]
async fn a_length_that_is_too_short_makes_a_file_that_the_hash_refuses() {
    let rig = Rig::new(50_000);
    let server = rig.served(Fault::LengthTooShort(500)).await;
    assert_eq!(rig.fetch(&server).await, Ok(()));
    assert_eq!(statuses(&server.requests()), [200]);
    rig.assert_arrived_wrong(49_500);
}

#[tokio::test]
async fn a_range_that_is_shorter_than_it_says_is_never_the_end() {
    let mut rig = Rig::new(50_000);
    rig.limits.patience = Duration::ZERO;
    rig.leave_part(&rig.bytes[..30_000], Some(TAG));
    let (words, requests) = rig.is_not_to_be_had(Fault::LengthTooShort(500)).await;
    assert!(words.contains("before its end"), "{words}");
    assert_eq!(begins(&requests), [30_000, 49_500, 49_500, 49_500, 49_500, 49_500]);
}

#[tokio::test]
async fn a_file_that_is_cut_short_at_the_server_is_refused_by_its_hash() {
    let rig = Rig::new(50_000);
    let server = rig.served(Fault::Truncated(40_000)).await;
    assert_eq!(rig.fetch(&server).await, Ok(()));
    assert_eq!(statuses(&server.requests()), [200]);
    rig.assert_arrived_wrong(40_000);
}

#[tokio::test]
async fn without_a_length_the_hash_tells_the_end_from_a_cut() {
    let rig = Rig::new(50_000);
    assert_eq!(statuses(&rig.arrives(Fault::NoLength).await), [200]);
    rig.staging.clear();
    let requests = rig.arrives([Fault::NoLength, Fault::CutAfter(vec![20_000, 10_000])]).await;
    assert_eq!(
        (statuses(&requests), begins(&requests)),
        (vec![200, 206, 206], vec![0, 20_000, 30_000])
    );
}

#[tokio::test]
async fn wrong_bytes_are_fetched_a_bounded_number_of_times() {
    for (fault, expected) in [
        (None, vec![200]),
        (Some(Fault::NoLength), vec![200, 416, 200]),
        (Some(Fault::CutEvery(20_000)), vec![200, 206, 206, 200, 206, 206]),
    ] {
        let rig = Rig::new(50_000);
        let faults: Vec<Fault> = fault.into_iter().collect();
        let server = Faults::start(vec![9; 50_000], faults).await.unwrap();
        assert_eq!(rig.fetch(&server).await, Ok(()));
        assert_eq!(statuses(&server.requests()), expected);
        rig.assert_arrived_wrong(50_000);
        // Its verification refuses it, and the next try begins with nothing.
        rig.staging.clear();
        assert_eq!(rig.names_in_folder(), <[String; 0]>::default());
    }
}

#[tokio::test]
async fn an_encoding_is_not_undone() {
    for encoding in ["gzip", "br", "zstd", "deflate"] {
        let rig = Rig::new(50_000);
        assert_eq!(rig.arrives(Fault::ContentEncoding(encoding)).await.len(), 1, "{encoding}");
    }
}
