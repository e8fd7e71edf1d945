//! The dialect of etcd: JSON over HTTP, a transaction for each request. A connection has one lease, and its keys belong to it:
//! the lock of a path is held by who has created its key. A renewal is of the lease, and so of all that the connection holds.
//!
//! Rule: a connection is answered one request after the other, so more than one in flight gains nothing.

use std::str;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Ask, Conversation, Dialect, Outcome, System};
use crate::paths::{PATH_BYTES, Path};
use crate::template::Template;

/// Seconds of a lease that outlives every run.
const TERM: u32 = 300;

/// Bytes of a path in base 64, without padding: its length is divisible by three.
const KEY_BYTES: usize = PATH_BYTES / 3 * 4;

/// What stands in a template where a request has its key: as what is compared, and as what is changed.
const KEY_COMPARED: [u8; KEY_BYTES] = [b'/'; KEY_BYTES];
const KEY_CHANGED: [u8; KEY_BYTES] = [b'+'; KEY_BYTES];

/// The end of the head of an HTTP message.
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// What ends a chunk and, being the only one, the message.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// An etcd server under load.
#[derive(Debug, Clone, Copy)]
pub struct Etcd {
    /// How many namespaces the connections are spread over.
    pub orgs: u32,
}

impl System for Etcd {
    fn orgs(&self) -> u32 {
        self.orgs.max(1)
    }

    fn supports(&self, ask: Ask) -> bool {
        match ask {
            Ask::Acquire | Ask::Release | Ask::Renew => true,
            Ask::Wait => false,
        }
    }

    fn depth_max(&self) -> Option<u32> {
        Some(1)
    }

    fn dialect(&self, connection: u32) -> Box<dyn Dialect> {
        Box::new(EtcdConnection {
            namespace: namespace(connection % self.orgs.max(1)),
            requests: None,
            slot: None,
        })
    }
}

/// What comes before a path, in base 64. Three bytes, so that the path's own begins where this ends.
fn namespace(org: u32) -> Vec<u8> {
    let [.., high, low] = org.to_be_bytes();
    base64::<3, 4>(&[b'o', high, low]).to_vec()
}

/// One connection with one lease.
#[derive(Debug)]
struct EtcdConnection {
    namespace: Vec<u8>,
    requests: Option<Requests>,
    /// Who has asked.
    slot: Option<u32>,
}

/// What a connection asks, all of it about its lease.
#[derive(Debug)]
struct Requests {
    acquire: Template<2>,
    release: Template<2>,
    renew: Vec<u8>,
}

/// What is read of any answer.
#[derive(Debug, Deserialize)]
struct Body {
    #[serde(rename = "ID")]
    lease: Option<String>,
    #[serde(default)]
    succeeded: bool,
    result: Option<Renewed>,
    error: Option<Value>,
}

/// One part of the answer to a renewal, which comes as a stream of one.
#[derive(Debug, Deserialize)]
struct Renewed {
    /// Absent when there is no such lease.
    #[serde(rename = "TTL")]
    term: Option<String>,
}

impl Dialect for EtcdConnection {
    fn open(&mut self, conversation: &mut Conversation) -> Result<()> {
        let grant = post("/v3/lease/grant", &json!({ "TTL": TERM.to_string() }));
        let granted = conversation.exchange(&grant, read)?;
        let lease = granted.lease.context("the server has granted no lease")?;
        let compared = self.key(&KEY_COMPARED);
        let changed = self.key(&KEY_CHANGED);
        let acquire = json!({
            "compare": [{ "target": "CREATE", "key": compared, "create_revision": "0" }],
            "success": [{ "request_put": { "key": changed, "lease": lease } }],
        });
        let release = json!({
            "compare": [{ "target": "LEASE", "key": compared, "lease": lease }],
            "success": [{ "request_delete_range": { "key": changed } }],
        });
        let transaction = |body: &Value| {
            let marks: [&[u8]; 2] = [&KEY_COMPARED, &KEY_CHANGED];
            Template::of(post("/v3/kv/txn", body), marks)
        };
        self.requests = Some(Requests {
            acquire: transaction(&acquire)?,
            release: transaction(&release)?,
            renew: post("/v3/lease/keepalive", &json!({ "ID": lease })),
        });
        Ok(())
    }

    fn ask(&mut self, slot: u32, ask: Ask, path: &Path, out: &mut Vec<u8>) {
        let requests = self.requests.as_ref();
        let requests = requests.expect("a connection is opened before it is asked");
        let key: [u8; KEY_BYTES] = base64(path.as_bytes());
        match ask {
            Ask::Acquire => requests.acquire.write([&key, &key], out),
            Ask::Release => requests.release.write([&key, &key], out),
            Ask::Renew => out.extend_from_slice(&requests.renew),
            Ask::Wait => unreachable!("it does not support that"),
        }
        self.slot = Some(slot);
    }

    fn answers(&mut self, bytes: &[u8], answers: &mut Vec<Answer>) -> Result<usize> {
        let Some((body, length)) = read(bytes)? else {
            return Ok(0);
        };
        let is_renewed = body.result.is_some_and(|renewed| renewed.term.is_some());
        let outcome = if body.succeeded || is_renewed {
            Outcome::Done
        } else {
            Outcome::Refused
        };
        let slot = self.slot.take();
        let slot = slot.context("the server has answered what nobody asked")?;
        answers.push(Answer { slot, outcome });
        Ok(length)
    }
}

impl EtcdConnection {
    /// The whole key of a path, the path being in base 64 already.
    fn key(&self, path: &[u8]) -> String {
        String::from_utf8_lossy(&[&self.namespace, path].concat()).into_owned()
    }
}

/// A request.
fn post(address: &str, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let head = format!(
        "POST {address} HTTP/1.1\r\nHost: tenure-bench\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    (head + &body).into_bytes()
}

/// The answer at the front and its length, if it is there as a whole.
fn read(bytes: &[u8]) -> Result<Option<(Body, usize)>> {
    let mut windows = bytes.windows(END_OF_HEAD.len());
    let Some(head_length) = windows.position(|window| window == END_OF_HEAD) else {
        return Ok(None);
    };
    let head = str::from_utf8(&bytes[..head_length])?;
    let rest = &bytes[head_length + END_OF_HEAD.len()..];
    let Some((content, content_length)) = content(head, rest)? else {
        return Ok(None);
    };
    if !head.starts_with("HTTP/1.1 200 ") {
        bail!("the server answered: {}", String::from_utf8_lossy(content));
    }
    let body: Body = serde_json::from_slice(content)?;
    if let Some(error) = body.error {
        bail!("the server answered: {error}");
    }
    let length = head_length + END_OF_HEAD.len() + content_length;
    Ok(Some((body, length)))
}

/// What follows a head, and how many bytes that takes: as long as the head says, or one chunk and the empty one at the end.
fn content<'a>(head: &str, rest: &'a [u8]) -> Result<Option<(&'a [u8], usize)>> {
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    if let Some(length) = length {
        let length = length.parse()?;
        return Ok(rest.get(..length).map(|content| (content, length)));
    }
    let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else {
        return Ok(None);
    };
    let chunk_length = usize::from_str_radix(str::from_utf8(&rest[..end])?, 16)?;
    let chunk = &rest[end + 2..];
    let last = chunk.get(chunk_length..chunk_length + LAST_CHUNK.len());
    match last {
        None => Ok(None),
        Some(LAST_CHUNK) => {
            let length = end + 2 + chunk_length + LAST_CHUNK.len();
            Ok(Some((&chunk[..chunk_length], length)))
        }
        Some(_) => bail!("expected an answer of one chunk, found more"),
    }
}

/// The text of bytes whose number is divisible by three.
fn base64<const BYTES: usize, const TEXT: usize>(bytes: &[u8; BYTES]) -> [u8; TEXT] {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = [0; TEXT];
    let (threes, _) = bytes.as_chunks::<3>();
    for (digits, [a, b, c]) in text.chunks_exact_mut(4).zip(threes) {
        let bits = u32::from_be_bytes([0, *a, *b, *c]);
        for (place, digit) in digits.iter_mut().enumerate() {
            *digit = DIGITS[(bits >> (18 - 6 * place) & 0x3f) as usize];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_base_64() {
        assert_eq!(&base64::<6, 8>(b"Tenure"), b"VGVudXJl");
        assert_eq!(&base64::<3, 4>(&[0xff, 0xff, 0xfe]), b"///+");
    }

    #[test]
    fn an_answer_is_read_as_a_whole_or_not_at_all() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{\"succeeded\":true}";
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).unwrap().is_none());
        }
        let (body, length) = read(whole).unwrap().unwrap();
        assert!(body.succeeded);
        assert_eq!(length, whole.len());
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            16\r\n{\"result\":{\"TTL\":\"9\"}}\r\n0\r\n\r\nHTTP";
        for length in 0..chunked.len() - 4 {
            assert!(read(&chunked[..length]).unwrap().is_none());
        }
        let (body, length) = read(chunked).unwrap().unwrap();
        assert!(body.result.unwrap().term.is_some());
        assert_eq!(length, chunked.len() - 4);
    }

    #[test]
    fn what_is_no_answer_ends_the_run() {
        let failed = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
        assert_eq!(
            read(failed).unwrap_err().to_string(),
            "the server answered: no"
        );
    }
}
