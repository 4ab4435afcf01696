//! What one request gets: decided here, sent elsewhere.

use std::fmt::Write as _;
use std::ops::Range;

use super::{Fault, PATH, Request};

/// An answer to be sent.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// What is sent after the head.
    pub body: Body,
    /// How fast; as fast as it goes when absent.
    pub bytes_per_second: Option<usize>,
    /// True where the connection stays open after the body.
    pub stalls: bool,
    headers: Vec<(&'static str, String)>,
}

/// What is sent after the head.
#[derive(Debug, Clone)]
pub enum Body {
    /// A part of the file.
    Part(Range<usize>),
    /// Words.
    Text(&'static str),
    /// Bytes without end.
    Endless,
}

impl Answer {
    fn without_file(status: u16, header: Option<(&'static str, String)>) -> Self {
        let words = "no file\n";
        let mut headers = vec![("Content-Length", words.len().to_string())];
        headers.extend(header);
        let body = Body::Text(words);
        Self { status, body, bytes_per_second: None, stalls: false, headers }
    }

    /// Status line and headers, with the empty line.
    pub fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} Answer\r\nConnection: close\r\n", self.status);
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").expect("a string takes everything");
        }
        head.push_str("\r\n");
        head
    }
}

/// The faults in a form that can be asked.
#[derive(Debug, Default)]
struct Wrongs<'a> {
    cut_after: Option<usize>,
    stall_after: Option<usize>,
    hangs_up: bool,
    bytes_per_second: Option<usize>,
    status: Option<(u16, Option<&'a str>)>,
    redirect: Option<&'a str>,
    endless: bool,
    too_long: usize,
    too_short: usize,
    no_length: bool,
    truncated: Option<usize>,
    etag: Etag,
    range: RangeSense,
    ignores_if_range: bool,
    encoding: Option<&'static str>,
}

#[derive(Debug, Default, Clone, Copy)]
enum Etag {
    #[default]
    Strong,
    Changing,
    Weak,
    None,
}

#[derive(Debug, Default, Clone, Copy)]
enum RangeSense {
    #[default]
    Right,
    Ignores,
    Refuses,
    Earlier(usize),
}

impl<'a> Wrongs<'a> {
    /// What goes wrong with the request of this number, the first being 0.
    fn of(faults: &'a [Fault], number: usize) -> Self {
        let mut wrongs = Self::default();
        for fault in faults {
            match fault {
                Fault::CutEvery(bytes) => wrongs.cut_after = Some(*bytes),
                Fault::CutAfter(list) => wrongs.cut_after = list.get(number).copied(),
                Fault::HangUp(times) => wrongs.hangs_up = number < *times,
                Fault::Trickle { bytes_per_second } => {
                    wrongs.bytes_per_second = Some(*bytes_per_second);
                }
                Fault::Status { code, times, retry_after } => {
                    if number < *times {
                        wrongs.status = Some((*code, retry_after.as_deref()));
                    }
                }
                Fault::Redirect(to) => wrongs.redirect = Some(to),
                Fault::RedirectLoop => wrongs.redirect = Some(PATH),
                Fault::Endless => wrongs.endless = true,
                Fault::LengthTooLong(bytes) => wrongs.too_long = *bytes,
                Fault::LengthTooShort(bytes) => wrongs.too_short = *bytes,
                Fault::NoLength => wrongs.no_length = true,
                Fault::Truncated(bytes) => wrongs.truncated = Some(*bytes),
                Fault::StallAfter(bytes) => wrongs.stall_after = Some(*bytes),
                Fault::ChangingEtag => wrongs.etag = Etag::Changing,
                Fault::WeakEtag => wrongs.etag = Etag::Weak,
                Fault::NoEtag => wrongs.etag = Etag::None,
                Fault::IgnoresRange => wrongs.range = RangeSense::Ignores,
                Fault::IgnoresIfRange => wrongs.ignores_if_range = true,
                Fault::RefusesRange => wrongs.range = RangeSense::Refuses,
                Fault::EarlierRange(bytes) => wrongs.range = RangeSense::Earlier(*bytes),
                Fault::ContentEncoding(name) => wrongs.encoding = Some(name),
            }
        }
        wrongs
    }
}

/// What the request of this number gets; nothing where the connection just ends.
pub fn plan(request: &Request, number: usize, bytes: &[u8], faults: &[Fault]) -> Option<Answer> {
    let wrongs = Wrongs::of(faults, number);
    if wrongs.hangs_up {
        return None;
    }
    if let Some((code, retry_after)) = wrongs.status {
        let header = retry_after.map(|value| ("Retry-After", value.to_owned()));
        return Some(Answer::without_file(code, header));
    }
    if let Some(to) = wrongs.redirect.filter(|_| request.target == PATH) {
        return Some(Answer::without_file(302, Some(("Location", to.to_owned()))));
    }
    let length = wrongs.truncated.unwrap_or(bytes.len()).min(bytes.len());
    let etag = match wrongs.etag {
        Etag::Strong => Some("\"one\"".to_owned()),
        Etag::Changing => Some(format!("\"{number}\"")),
        Etag::Weak => Some("W/\"one\"".to_owned()),
        Etag::None => None,
    };
    let holds = wrongs.ignores_if_range
        || request.if_range().is_none_or(|asked| {
            Some(asked) == etag.as_deref() && !matches!(wrongs.etag, Etag::Weak)
        });
    let begin = request
        .range()
        .filter(|_| holds)
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let (status, range, content_range) = match (begin, wrongs.range) {
        (None, _) | (_, RangeSense::Ignores) => (200, 0..length, None),
        (Some(_), RangeSense::Refuses) => {
            return Some(Answer::without_file(
                416,
                Some(("Content-Range", format!("bytes */{length}"))),
            ));
        }
        (Some(begin), RangeSense::Right | RangeSense::Earlier(_)) if begin >= length => {
            return Some(Answer::without_file(
                416,
                Some(("Content-Range", format!("bytes */{length}"))),
            ));
        }
        (Some(begin), RangeSense::Right) => partial(begin, length),
        (Some(begin), RangeSense::Earlier(by)) => partial(begin.saturating_sub(by), length),
    };
    let mut headers = Vec::new();
    if !wrongs.no_length && !wrongs.endless {
        let announced = (range.len() + wrongs.too_long).saturating_sub(wrongs.too_short);
        headers.push(("Content-Length", announced.to_string()));
    }
    headers.extend(etag.map(|etag| ("ETag", etag)));
    headers.extend(content_range.map(|range| ("Content-Range", range)));
    headers.extend(wrongs.encoding.map(|name| ("Content-Encoding", name.to_owned())));
    let sent = wrongs.cut_after.into_iter().chain(wrongs.stall_after).fold(range.len(), usize::min);
    Some(Answer {
        status,
        stalls: wrongs.stall_after.is_some_and(|after| after <= sent && sent < range.len()),
        body: if wrongs.endless {
            Body::Endless
        } else {
            Body::Part(range.start..range.start + sent)
        },
        bytes_per_second: wrongs.bytes_per_second,
        headers,
    })
}

fn partial(begin: usize, length: usize) -> (u16, Range<usize>, Option<String>) {
    (206, begin..length, Some(format!("bytes {begin}-{}/{length}", length - 1)))
}
