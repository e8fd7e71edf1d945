//! A crowd of Redis: keys that are set if they are not there, with a time to live. Who holds one stands in its value, since
//! there are no sessions; that a time is over is told by a keyspace notification, which has to be asked for.
//!
//! Speaks RESP3, in which answers and notifications come over one connection.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::{BufMut as _, BytesMut};

use super::{Bulk, Crowd, Heard, Shape};
use crate::paths::Path;

/// Where the keys are told whose time is over.
const EXPIRED: &[u8] = b"__keyevent@0__:expired";

/// See the file's header.
pub(super) struct RedisCrowd {
    content: Vec<u8>,
}

impl RedisCrowd {
    pub(super) fn new(shape: Shape) -> Self {
        let bytes = match shape {
            Shape::InTheHold => 52,
            Shape::InTheSession => 80,
        };
        Self {
            content: vec![b'.'; bytes],
        }
    }
}

impl Crowd for RedisCrowd {
    fn open(&mut self, bulk: &mut Bulk) -> Result<()> {
        bulk.ask_all(self, 0..1, |_, _, out| command(&[b"HELLO", b"3"], out))?;
        Ok(())
    }

    fn listen(&mut self, bulk: &mut Bulk) -> Result<()> {
        bulk.ask_all(self, 0..1, |_, _, out| {
            command(&[b"CONFIG", b"SET", b"notify-keyspace-events", b"Ex"], out);
        })?;
        bulk.ask_all(self, 0..1, |_, _, out| {
            command(&[b"SUBSCRIBE", EXPIRED], out);
        })?;
        Ok(())
    }

    fn close(&mut self, _: &mut Bulk) -> Result<()> {
        Ok(())
    }

    fn acquire(&mut self, number: u32, ttl: Duration, out: &mut BytesMut) {
        let path = Path::at(number);
        self.content[..path.as_bytes().len()].copy_from_slice(path.as_bytes());
        let ttl_ms = ttl.as_millis().to_string();
        command(
            &[
                b"SET",
                path.as_bytes(),
                &self.content,
                b"NX",
                b"PX",
                ttl_ms.as_bytes(),
            ],
            out,
        );
    }

    fn release(&mut self, number: u32, out: &mut BytesMut) {
        command(&[b"DEL", Path::at(number).as_bytes()], out);
    }

    /// Every key by itself, without looking whose it is.
    fn renewals(&self, holds: Range<u32>) -> Range<u32> {
        holds
    }

    fn renew(&mut self, number: u32, ttl: Duration, out: &mut BytesMut) {
        let ttl_ms = ttl.as_millis().to_string();
        let path = Path::at(number);
        command(&[b"PEXPIRE", path.as_bytes(), ttl_ms.as_bytes()], out);
    }

    fn beat(&mut self, out: &mut BytesMut) {
        command(&[b"PING"], out);
    }

    fn hear(&mut self, bytes: &[u8], heard: &mut Heard) -> Result<usize> {
        let mut rest = bytes;
        while let Some((value, after)) = parse(rest)? {
            rest = after;
            match value {
                Value::Push(items) => match *items {
                    [
                        Value::Text(b"message"),
                        Value::Text(EXPIRED),
                        Value::Text(key),
                    ] => {
                        heard.expired.extend(Path::number_of(key));
                    }
                    _ => heard.done += 1,
                },
                Value::Error(error) => {
                    bail!("the server answered: {}", String::from_utf8_lossy(error))
                }
                Value::Nothing | Value::Number(0) => heard.refused += 1,
                Value::Text(_) | Value::Number(_) | Value::List => heard.done += 1,
            }
        }
        Ok(bytes.len() - rest.len())
    }
}

/// Appends a command, which is a list of texts.
fn command(words: &[&[u8]], out: &mut BytesMut) {
    let head = |mark: u8, count: usize, out: &mut BytesMut| {
        out.put_u8(mark);
        out.put_slice(count.to_string().as_bytes());
        out.put_slice(b"\r\n");
    };
    head(b'*', words.len(), out);
    for word in words {
        head(b'$', word.len(), out);
        out.put_slice(word);
        out.put_slice(b"\r\n");
    }
}

/// What a server says, as far as a crowd listens.
#[derive(Debug, PartialEq, Eq)]
enum Value<'a> {
    Text(&'a [u8]),
    Error(&'a [u8]),
    Number(i64),
    Nothing,
    /// Nobody asks what is in it.
    List,
    /// What nobody has asked for.
    Push(Vec<Self>),
}

/// The first value and what follows it; `None` when it is not there in full.
fn parse(bytes: &[u8]) -> Result<Option<(Value<'_>, &[u8])>> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let (mark, line, mut rest) = (bytes[0], &bytes[1..end], &bytes[end + 2..]);
    let number = || -> Result<i64> {
        let text = str::from_utf8(line)?;
        text.parse()
            .with_context(|| format!("expected a number, found {text:?}"))
    };
    let value = match mark {
        b'+' => Value::Text(line),
        b'-' => Value::Error(line),
        b':' => Value::Number(number()?),
        b'_' => Value::Nothing,
        b'$' => match usize::try_from(number()?) {
            Err(_) => Value::Nothing,
            Ok(length) if rest.len() < length + 2 => return Ok(None),
            Ok(length) => {
                let text = &rest[..length];
                rest = &rest[length + 2..];
                Value::Text(text)
            }
        },
        b'*' | b'%' | b'>' => {
            let mut items = Vec::new();
            let each = if mark == b'%' { 2 } else { 1 };
            for _ in 0..number()? * each {
                let Some((item, after)) = parse(rest)? else {
                    return Ok(None);
                };
                items.push(item);
                rest = after;
            }
            if mark == b'>' {
                Value::Push(items)
            } else {
                Value::List
            }
        }
        other => bail!("expected a value of RESP3, found the byte {other:#04x}"),
    };
    Ok(Some((value, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(bytes: &[u8]) -> (Heard, usize) {
        let mut heard = Heard::default();
        let used = RedisCrowd::new(Shape::InTheHold)
            .hear(bytes, &mut heard)
            .unwrap();
        (heard, used)
    }

    #[test]
    fn yes_no_and_what_nobody_asked_are_told_apart() {
        let (heard, _) = hear(b"+OK\r\n:1\r\n%1\r\n$5\r\nproto\r\n:3\r\n$-1\r\n_\r\n:0\r\n");
        assert_eq!((heard.done, heard.refused), (3, 3));
        let path = Path::at(7);
        let push = format!(
            ">3\r\n$7\r\nmessage\r\n$22\r\n__keyevent@0__:expired\r\n$24\r\n{}\r\n",
            path.as_str()
        );
        let (heard, _) = hear(push.as_bytes());
        assert_eq!((heard.done, heard.expired), (0, vec![7]));
    }

    #[test]
    fn what_is_cut_off_is_read_later() {
        let whole = b"+OK\r\n>2\r\n$9\r\nsubscribe\r\n:1\r\n$5\r\nhello\r\n";
        for length in 0..whole.len() {
            let (heard, used) = hear(&whole[..length]);
            let (rest, _) = hear(&whole[used..]);
            assert_eq!(heard.done + rest.done, 3, "cut at {length}");
        }
    }

    #[test]
    fn an_error_is_no_answer() {
        let mut heard = Heard::default();
        let error = RedisCrowd::new(Shape::InTheHold)
            .hear(b"-OOM no\r\n", &mut heard)
            .unwrap_err();
        assert_eq!(error.to_string(), "the server answered: OOM no");
    }
}
