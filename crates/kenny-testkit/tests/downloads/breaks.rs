//! Connections that break, stall or drip, and agents that are ended in the middle.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kenny_testkit::eventually;
use kenny_testkit::faults::Fault;

use super::rig::{Rig, TAG, begins, statuses};

#[tokio::test]
async fn a_good_line_takes_one_request_for_the_bytes_as_they_are() {
    let rig = Rig::new(700_000);
    let requests = rig.arrives([]).await;
    assert_eq!(statuses(&requests), [200]);
    assert_eq!(begins(&requests), [0]);
    assert_eq!(requests[0].header("accept-encoding"), Some("identity"));
    assert_eq!(rig.reached.load(Ordering::SeqCst), 700_000);
}

#[tokio::test]
async fn what_was_fetched_before_is_not_fetched_again() {
    let rig = Rig::new(10_000);
    rig.arrives([]).await;
    assert_eq!(rig.arrives([]).await, []);
}

#[tokio::test]
async fn each_cut_is_taken_up_where_it_was() {
    let rig = Rig::new(1_000_000);
    let requests = rig.arrives(Fault::CutEvery(200_000)).await;
    assert_eq!(statuses(&requests), [200, 206, 206, 206, 206]);
    assert_eq!(begins(&requests), [0, 200_000, 400_000, 600_000, 800_000]);
    assert!(requests[1..].iter().all(|request| request.if_range() == Some(TAG)));
    let sent: u64 = requests.iter().map(|request| request.body_bytes).sum();
    assert_eq!(sent, 1_000_000, "no byte is sent twice");
}

#[tokio::test]
async fn many_cuts_with_progress_between_them_use_up_no_patience() {
    let mut rig = Rig::new(100_000);
    rig.limits.patience = Duration::ZERO;
    assert_eq!(rig.arrives(Fault::CutEvery(1000)).await.len(), 100);
}

#[tokio::test]
async fn a_server_that_hangs_up_is_asked_again() {
    let rig = Rig::new(5000);
    assert_eq!(statuses(&rig.arrives(Fault::HangUp(7)).await), [0, 0, 0, 0, 0, 0, 0, 200]);
}

#[tokio::test]
async fn a_server_that_only_hangs_up_is_given_up_after_some_attempts() {
    let mut rig = Rig::new(5000);
    rig.limits.patience = Duration::from_millis(50);
    let (words, requests) = rig.is_not_to_be_had(Fault::HangUp(usize::MAX)).await;
    assert!(words.contains("connection broke"), "{words}");
    assert!(words.contains(&format!("{} attempts", requests.len())), "{words}");
    assert!(requests.len() >= 5, "{}", requests.len());
}

#[tokio::test]
async fn nobody_listening_is_a_failed_download() {
    let mut rig = Rig::new(5000);
    rig.limits.patience = Duration::ZERO;
    let server = rig.served([]).await;
    let (url, tunnel) = (server.url(), server.tunnel());
    drop(server);
    eventually("the end of the server", Duration::from_secs(5), async || {
        let host = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
        Ok(tokio::net::TcpStream::connect(host).await.is_err().then_some(()))
    })
    .await
    .unwrap();
    let failure = rig.fetch_at(&tunnel, &url).await.unwrap_err();
    assert!(failure.detail.contains("5 attempts"), "{}", failure.detail);
}

#[tokio::test]
async fn a_stall_ends_the_connection_and_not_the_download() {
    let mut rig = Rig::new(100_000);
    rig.limits.stall = Duration::from_millis(300);
    let requests = rig.arrives(Fault::StallAfter(40_000)).await;
    assert_eq!(begins(&requests), [0, 40_000, 80_000]);
}

#[tokio::test]
async fn a_server_that_never_says_anything_is_given_up() {
    let mut rig = Rig::new(100_000);
    rig.limits.stall = Duration::from_millis(20);
    rig.limits.patience = Duration::from_millis(50);
    let (words, requests) = rig.is_not_to_be_had(Fault::StallAfter(0)).await;
    assert!(words.contains("nothing came for 20ms"), "{words}");
    assert!(requests.len() >= 5, "{}", requests.len());
}

#[tokio::test]
async fn a_slow_line_that_makes_progress_is_no_stall() {
    let mut rig = Rig::new(30_000);
    rig.limits.stall = Duration::from_millis(500);
    let began = Instant::now();
    let requests = rig.arrives(Fault::Trickle { bytes_per_second: 30_000 }).await;
    assert_eq!(requests.len(), 1);
    assert!(began.elapsed() > rig.limits.stall, "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_agent_that_was_ended_goes_on_where_it_stopped() {
    let rig = Rig::new(300_000);
    let first = rig.served(Fault::StallAfter(100_000)).await;
    let seen = async {
        eventually("100 kB", Duration::from_secs(10), async || {
            Ok((rig.reached.load(Ordering::SeqCst) == 100_000).then_some(()))
        })
        .await
    };
    tokio::select! {
        outcome = rig.fetch(&first) => panic!("it stalls: {outcome:?}"),
        seen = seen => seen.unwrap(),
    }
    assert_eq!(rig.part().unwrap(), rig.bytes[..100_000]);

    // Another process of the agent, and a server that was restarted too.
    let requests = rig.arrives([]).await;
    assert_eq!(statuses(&requests), [206]);
    assert_eq!(begins(&requests), [100_000]);
}

#[tokio::test]
async fn a_rate_cap_lets_bytes_through_in_small_pieces() {
    let mut rig = Rig::new(60_000);
    rig.limits.max_bytes_per_second = Some(200_000);
    let began = Instant::now();
    rig.arrives([]).await;
    // 20,000 bytes are a bucket; the rate itself is tested in virtual time beside its code.
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
}

#[tokio::test]
async fn cuts_anywhere_always_end_with_the_exact_bytes() {
    for seed in 0..80 {
        let mut random = fastrand::Rng::with_seed(seed);
        let rig = Rig::new(random.usize(1..150_000));
        let cuts: Vec<usize> =
            (0..random.usize(0..6)).map(|_| random.usize(0..=rig.bytes.len())).collect();
        let by = random.usize(1..2000);
        let others = [
            None,
            Some(Fault::NoLength),
            Some(Fault::NoEtag),
            Some(Fault::WeakEtag),
            Some(Fault::ChangingEtag),
            Some(Fault::IgnoresRange),
            Some(Fault::RefusesRange),
            Some(Fault::EarlierRange(by)),
            Some(Fault::LengthTooLong(by)),
        ];
        let mut faults = vec![Fault::CutAfter(cuts)];
        faults.extend(random.choice(others).flatten());
        // What an earlier process may have left: nothing, a true beginning, or rubbish under the right name.
        let left = random.usize(0..=rig.bytes.len());
        match random.u8(0..4) {
            0 => rig.leave_part(&rig.bytes[..left], Some(TAG)),
            1 => rig.leave_part(&vec![0; left + random.usize(0..10)], Some(TAG)),
            2 => rig.leave_part(&rig.bytes[..left], None),
            _ => {}
        }
        let server = rig.served(faults.clone()).await;
        let outcome = rig.fetch(&server).await;
        let story = format!("seed {seed}, {faults:?}: {:?}", server.requests());
        assert_eq!(outcome, Ok(()), "{story}");
        assert!(fs_err::read(rig.staging.candidate()).unwrap() == rig.bytes, "{story}");
    }
}
