//! Reads an answer's status and headers: what they mean for a download that has so much of the file already.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use kenny_proto::FailureKind;
use kenny_proto::update::Failure;
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderName, LOCATION, RETRY_AFTER,
    TRANSFER_ENCODING,
};
use reqwest::{StatusCode, Version};

use super::staging::{Resume, is_strong};
use crate::update::files::fail;

/// What an answer is good for.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The file from its beginning.
    Whole {
        /// Its size, where it is announced.
        total: Option<u64>,
        /// Its strong tag, where it has one.
        etag: Option<String>,
        /// True where the end of the connection is the end of the file: a cut looks like the end.
        ends_with_connection: bool,
    },
    /// What follows the bytes that are there.
    Rest {
        /// The size of the whole, where it is announced.
        total: Option<u64>,
    },
    /// The bytes that are there are all that the server has.
    Complete,
    /// The bytes that are there are of no use to this server. Says why.
    StartOver(String),
    /// Not now.
    Later {
        /// What the server said.
        reason: String,
        /// How long it wants to be left alone.
        wait: Option<Duration>,
    },
    /// Never at this address.
    Refused(Failure),
}

/// Reads an answer to a request that wanted what follows `resume`, or the whole file. `now` is this PC's clock.
pub fn read(
    version: Version,
    status: StatusCode,
    headers: &HeaderMap,
    resume: Option<&Resume>,
    now: Timestamp,
) -> Answer {
    match (status, resume) {
        (StatusCode::OK, _) => Answer::Whole {
            total: text(headers, &CONTENT_LENGTH).and_then(|length| length.parse().ok()),
            etag: text(headers, &ETAG).filter(|tag| is_strong(tag)).map(ToOwned::to_owned),
            ends_with_connection: version < Version::HTTP_2
                && !headers.contains_key(CONTENT_LENGTH)
                && !headers.contains_key(TRANSFER_ENCODING),
        },
        (StatusCode::PARTIAL_CONTENT, Some(resume)) => rest(headers, resume),
        (StatusCode::RANGE_NOT_SATISFIABLE, Some(resume)) => {
            let size =
                text(headers, &CONTENT_RANGE).and_then(|range| range.strip_prefix("bytes */"));
            if size.and_then(|size| size.parse().ok()) == Some(resume.there) {
                return Answer::Complete;
            }
            Answer::StartOver(format!(
                "the server has {} bytes, here are {}",
                size.unwrap_or("other"),
                resume.there
            ))
        }
        (status, _) => without_file(status, headers, now),
    }
}

fn rest(headers: &HeaderMap, resume: &Resume) -> Answer {
    let range = text(headers, &CONTENT_RANGE).unwrap_or("none");
    let Some((begin, end, total)) = parse_content_range(range) else {
        return Answer::StartOver(format!("the server's range `{range}` says nothing"));
    };
    let contradicts = total.is_some_and(|total| end >= total);
    if begin != resume.there || contradicts {
        return Answer::StartOver(format!(
            "the server sent the range `{range}` for what follows {} bytes",
            resume.there
        ));
    }
    // RFC 9110, section 13.1.5: a server may ignore If-Range. The tag tells.
    match text(headers, &ETAG) {
        Some(etag) if etag != resume.etag => {
            Answer::StartOver("the server has another version of the file now".to_owned())
        }
        Some(_) | None => Answer::Rest { total },
    }
}

/// `bytes BEGIN-END/TOTAL`, where the total may be `*`.
fn parse_content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (begin, end) = range.split_once('-')?;
    let (begin, end) = (begin.parse().ok()?, end.parse().ok()?);
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    (begin <= end).then_some((begin, end, total))
}

fn without_file(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Answer {
    let said = format!("the server answered {status}");
    let refused =
        |hint: &str| Answer::Refused(fail(FailureKind::Download, format!("{said}{hint}")));
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            Answer::Later { reason: format!("{said}: it is busy"), wait: retry_after(headers, now) }
        }
        // 408: a connection that the server found too slow to ask. It may be asked again.
        StatusCode::REQUEST_TIMEOUT => Answer::Later { reason: said, wait: None },
        // What the server does not speak it will not learn by being asked again.
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => refused(""),
        _ if status.is_server_error() => Answer::Later { reason: said, wait: None },
        StatusCode::GONE => refused(": the download link has expired; ask for the update again"),
        StatusCode::NOT_FOUND => refused(
            ": the download link is not valid, or the file is gone; ask for the update again",
        ),
        StatusCode::FORBIDDEN => refused(
            ": it does not give this file away at this link, or the link has expired; ask for the update again",
        ),
        // What the client could follow it has followed, or refused by the gate.
        _ if status.is_redirection() && headers.contains_key(LOCATION) => {
            let detail =
                format!("a redirect was refused: {said} and names no http or https address");
            Answer::Refused(fail(FailureKind::UrlRefused, detail))
        }
        _ => refused(""),
    }
}

/// `Retry-After` in seconds or as a date, which is compared with the server's own clock where it says it.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = text(headers, &RETRY_AFTER)?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| DateTimeParser::new().parse_timestamp(text).ok();
    let base = text(headers, &DATE).and_then(date).unwrap_or(now);
    Some(Duration::try_from(date(value)?.duration_since(base)).unwrap_or(Duration::ZERO))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-03-04T05:06:07Z";

    fn answer(status: u16, headers: &[(&str, &str)]) -> Answer {
        let map = headers
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect();
        let resume = Resume { there: 100, etag: "\"one\"".to_owned() };
        let status = StatusCode::from_u16(status).unwrap();
        read(Version::HTTP_11, status, &map, Some(&resume), NOW.parse().unwrap())
    }

    #[test]
    fn a_range_continues_only_what_is_there() {
        let range = |range| answer(206, &[("content-range", range)]);
        assert_eq!(range("bytes 100-199/200"), Answer::Rest { total: Some(200) });
        assert_eq!(range("bytes 100-199/*"), Answer::Rest { total: None });
        for other in [
            "bytes 99-199/200",
            "bytes 101-199/200",
            "bytes 1000-1999/2000",
            "bytes 100-200/200",
            "bytes 100-99/200",
            "bytes 100-/200",
            "items 100-199/200",
            "bytes */200",
            "",
        ] {
            assert!(matches!(range(other), Answer::StartOver(_)), "{other}");
        }
        assert!(matches!(answer(206, &[]), Answer::StartOver(_)));
    }

    #[test]
    fn a_range_of_another_version_continues_nothing() {
        let range = ("content-range", "bytes 100-199/200");
        assert!(matches!(answer(206, &[range, ("etag", "\"two\"")]), Answer::StartOver(_)));
        let rest = Answer::Rest { total: Some(200) };
        assert_eq!(answer(206, &[range, ("etag", "\"one\"")]), rest);
    }

    #[test]
    fn a_range_that_does_not_exist_tells_whether_all_is_there() {
        let range = |range| answer(416, &[("content-range", range)]);
        assert_eq!(range("bytes */100"), Answer::Complete);
        for other in ["bytes */99", "bytes */101", "bytes */", ""] {
            assert!(matches!(range(other), Answer::StartOver(_)), "{other}");
        }
    }

    #[test]
    fn a_busy_server_says_when_to_come_back() {
        let wait = |headers: &[(&str, &str)]| {
            let Answer::Later { wait, .. } = answer(503, headers) else { panic!("{headers:?}") };
            wait.map(|wait| wait.as_secs())
        };
        assert_eq!(wait(&[]), None);
        assert_eq!(wait(&[("retry-after", "120")]), Some(120));
        assert_eq!(wait(&[("retry-after", "soon")]), None);
        assert_eq!(wait(&[("retry-after", "-5")]), None);
        let date = ("retry-after", "Wed, 04 Mar 2026 05:07:07 GMT");
        assert_eq!(wait(&[date]), Some(60));
        // The server's clock is ten years ahead of this PC's: the difference is what counts.
        let ahead = ("retry-after", "Tue, 04 Mar 2036 05:07:07 GMT");
        assert_eq!(wait(&[ahead, ("date", "Tue, 04 Mar 2036 05:06:37 GMT")]), Some(30));
        assert_eq!(wait(&[("retry-after", "Wed, 04 Mar 2026 05:00:00 GMT")]), Some(0));
    }

    #[test]
    fn statuses_are_told_apart_by_whether_asking_again_helps() {
        for status in [408, 429, 500, 502, 503, 504, 599] {
            assert!(matches!(answer(status, &[]), Answer::Later { .. }), "{status}");
        }
        for (status, words) in [
            (410, "expired"),
            (404, "not valid"),
            (403, "expired"),
            (401, ""),
            (400, ""),
            (501, ""),
            (204, ""),
            (304, ""),
        ] {
            let Answer::Refused(failure) = answer(status, &[]) else { panic!("{status}") };
            assert_eq!(failure.kind, FailureKind::Download);
            assert!(failure.detail.contains(&status.to_string()), "{}", failure.detail);
            assert!(failure.detail.contains(words), "{}", failure.detail);
        }
    }

    #[test]
    fn a_redirect_that_nobody_can_follow_is_a_refused_address() {
        let Answer::Refused(failure) = answer(302, &[("location", "file:///etc/passwd")]) else {
            panic!("it was taken")
        };
        assert_eq!(failure.kind, FailureKind::UrlRefused);
    }

    #[test]
    fn a_whole_answer_says_how_its_end_is_known() {
        let whole = |headers: &[(&str, &str)]| {
            let Answer::Whole { total, etag, ends_with_connection } = answer(200, headers) else {
                panic!("{headers:?}")
            };
            (total, etag, ends_with_connection)
        };
        let tag = Some("\"one\"".to_owned());
        assert_eq!(whole(&[("content-length", "7"), ("etag", "\"one\"")]), (Some(7), tag, false));
        assert_eq!(
            whole(&[("transfer-encoding", "chunked"), ("etag", "W/\"one\"")]),
            (None, None, false)
        );
        assert_eq!(whole(&[]), (None, None, true));
    }
}
