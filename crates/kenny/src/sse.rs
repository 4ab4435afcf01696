//! Server-Sent Events out of a stream of bytes (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::mem;

/// The longest event that is read, in bytes; one of ours is far smaller.
const MAX_EVENT_BYTES: usize = 8 * 1024 * 1024;

/// The event is longer than any that a server of ours sends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than 8 MiB")]
pub struct TooLong;

/// Puts lines together and lines into events. Only `data` matters here: ours carries id and kind in it.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    after_return: bool,
}

impl Parser {
    /// Takes the next bytes and gives the data of each event that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut events = Vec::new();
        for &byte in bytes {
            let after_return = mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => {
                    let line = mem::take(&mut self.line);
                    events.extend(self.end_line(&line));
                }
                _ => self.line.push(byte),
            }
            if self.line.len() + self.data.len() > MAX_EVENT_BYTES {
                return Err(TooLong);
            }
        }
        Ok(events)
    }

    fn end_line(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        if line.is_empty() {
            let data = mem::take(&mut self.data);
            return mem::take(&mut self.has_data).then_some(data);
        }
        let value = line.strip_prefix(b"data:")?;
        if mem::replace(&mut self.has_data, true) {
            self.data.push(b'\n');
        }
        self.data.extend(value.strip_prefix(b" ").unwrap_or(value));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_however_the_bytes_are_cut() {
        let stream = b": hello\n\nid: 1\nevent: x\ndata: {\"a\":\ndata:1}\n\nretry: 5\r\n\r\ndata: two\r\n\r\ndata: half";
        let expected = [b"{\"a\":\n1}".to_vec(), b"two".to_vec()];
        for size in 1..stream.len() {
            let mut parser = Parser::default();
            let events: Vec<_> =
                stream.chunks(size).flat_map(|piece| parser.push(piece).unwrap()).collect();
            assert_eq!(events, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_stream_without_end_is_not_kept() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 1024 * 1024];
        assert_eq!((0..9).map(|_| parser.push(&piece)).find(Result::is_err), Some(Err(TooLong)));
    }
}
