//! The dialect of NATS: a stream that keeps the last message of each subject, as its key-value buckets do. A lock is held by
//! whoever has published the first message on its subject, and released by deleting just that message.
//!
//! Rule: each answer comes to a subject of its own, which ends with the slot that it is for.

use std::collections::HashMap;
use std::io::Write as _;
use std::str;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Ask, Conversation, Dialect, Outcome, System};
use crate::paths::{PATH_BYTES, Path};

/// Bytes of the value of every key: who holds it.
const OWNER_BYTES: usize = 52;

/// Nanoseconds after which a message is dropped, which outlive every run.
const TERM_NS: u64 = 300_000_000_000;

/// The number of a message that there never is, for who holds nothing.
const NO_MESSAGE: u64 = i64::MAX as u64;

/// The server's word for a message that was not the last on its subject.
const WRONG_LAST_SEQUENCE: u32 = 10071;

/// The server's word for a message that is not there.
const NO_SUCH_SEQUENCE: u32 = 10043;

/// A NATS server with streams under load.
#[derive(Debug, Clone, Copy)]
pub struct Nats {
    /// How many prefixes of subjects the connections are spread over.
    pub orgs: u32,
}

impl System for Nats {
    fn orgs(&self) -> u32 {
        self.orgs.max(1)
    }

    fn supports(&self, ask: Ask) -> bool {
        match ask {
            Ask::Acquire | Ask::Release | Ask::Renew => true,
            Ask::Wait => false,
        }
    }

    fn dialect(&self, connection: u32) -> Box<dyn Dialect> {
        Box::new(NatsConnection {
            inbox: format!("_INBOX.bench-{connection}."),
            org: connection % self.orgs.max(1),
            owner: format!("{:x<OWNER_BYTES$}", format!("owner-{connection}-")).into_bytes(),
            asked: Vec::new(),
            held: HashMap::new(),
            owes_pong: false,
        })
    }
}

/// One connection, which is one owner.
#[derive(Debug)]
struct NatsConnection {
    /// Its own subjects for answers, before the slot.
    inbox: String,
    org: u32,
    owner: Vec<u8>,
    /// What each slot has asked last.
    asked: Vec<Option<(Ask, Path)>>,
    /// The message by which each path is held.
    held: HashMap<[u8; PATH_BYTES], u64>,
    /// The server has asked for a sign of life, which goes out with the next request.
    owes_pong: bool,
}

/// What is read of any answer.
#[derive(Debug, Deserialize)]
struct Body {
    #[serde(default, rename = "seq")]
    sequence: u64,
    error: Option<Failure>,
}

#[derive(Debug, Deserialize)]
struct Failure {
    #[serde(default, rename = "err_code")]
    code: u32,
    #[serde(default)]
    description: String,
}

/// What a server says.
enum Said<'a> {
    /// An answer, and the subject that it came to.
    Message(&'a str, &'a [u8]),
    Ping,
    /// What says nothing about a lock.
    Other,
}

impl Dialect for NatsConnection {
    fn open(&mut self, conversation: &mut Conversation) -> Result<()> {
        let connect = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true,
            "lang": "rust", "version": env!("CARGO_PKG_VERSION"),
        });
        // It is the same stream for all, and created once.
        let stream = json!({
            "name": "locks", "subjects": ["locks.>"], "storage": "memory", "num_replicas": 1,
            "max_msgs_per_subject": 1, "max_age": TERM_NS, "duplicate_window": TERM_NS,
        });
        let mut out = Vec::new();
        write!(out, "CONNECT {connect}\r\nSUB {}* 1\r\n", self.inbox)?;
        self.publish("$JS.API.STREAM.CREATE.locks", 0, &stream, &mut out);
        conversation.exchange(&out, |bytes| {
            let mut consumed = 0;
            while let Some((said, length)) = said(&bytes[consumed..])? {
                consumed += length;
                if let Said::Message(_, payload) = said {
                    let body: Body = serde_json::from_slice(payload)?;
                    if let Some(failure) = body.error {
                        bail!("the server answered: {}", failure.description);
                    }
                    return Ok(Some(((), consumed)));
                }
            }
            Ok(None)
        })
    }

    fn ask(&mut self, slot: u32, ask: Ask, path: &Path, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.owes_pong) {
            out.extend_from_slice(b"PONG\r\n");
        }
        let held = self.held.get(path.as_bytes());
        let held = held.copied().unwrap_or(NO_MESSAGE);
        match ask {
            Ask::Acquire => self.put(slot, path, 0, out),
            Ask::Renew => self.put(slot, path, held, out),
            Ask::Release => {
                let message = json!({ "seq": held, "no_erase": true });
                self.publish("$JS.API.STREAM.MSG.DELETE.locks", slot, &message, out);
            }
            Ask::Wait => unreachable!("it does not support that"),
        }
        let slot = slot as usize;
        if self.asked.len() <= slot {
            self.asked.resize(slot + 1, None);
        }
        self.asked[slot] = Some((ask, *path));
    }

    fn answers(&mut self, bytes: &[u8], answers: &mut Vec<Answer>) -> Result<usize> {
        let mut consumed = 0;
        while let Some((said, length)) = said(&bytes[consumed..])? {
            consumed += length;
            match said {
                Said::Message(subject, payload) => answers.push(self.answer(subject, payload)?),
                Said::Ping => self.owes_pong = true,
                Said::Other => {}
            }
        }
        Ok(consumed)
    }
}

impl NatsConnection {
    /// Publishes, if `last` is the last message on the subject; 0 is that there is none.
    fn put(&self, slot: u32, path: &Path, last: u64, out: &mut Vec<u8>) {
        let head = format!("NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: {last}\r\n\r\n");
        let (org, path, inbox, head_length) = (self.org, path.as_str(), &self.inbox, head.len());
        let length = head_length + self.owner.len();
        let line = format!("HPUB locks.{org}.{path} {inbox}{slot} {head_length} {length}\r\n");
        for part in [line.as_bytes(), head.as_bytes(), &self.owner, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }

    /// Appends a message whose answer is for a slot.
    fn publish(&self, subject: &str, slot: u32, payload: &Value, out: &mut Vec<u8>) {
        let payload = payload.to_string();
        let (inbox, length) = (&self.inbox, payload.len());
        let message = format!("PUB {subject} {inbox}{slot} {length}\r\n{payload}\r\n");
        out.extend_from_slice(message.as_bytes());
    }

    fn answer(&mut self, subject: &str, payload: &[u8]) -> Result<Answer> {
        let slot = subject
            .strip_prefix(self.inbox.as_str())
            .and_then(|slot| slot.parse().ok());
        let slot: u32 = slot.with_context(|| format!("expected a slot, found {subject}"))?;
        let asked = self.asked.get_mut(slot as usize).and_then(Option::take);
        let (ask, path) = asked.context("the server has answered what nobody asked")?;
        let body: Body = serde_json::from_slice(payload)?;
        let outcome = match body.error {
            None => Outcome::Done,
            Some(failure) if [WRONG_LAST_SEQUENCE, NO_SUCH_SEQUENCE].contains(&failure.code) => {
                Outcome::Refused
            }
            Some(failure) => bail!("the server answered: {}", failure.description),
        };
        match (ask, outcome) {
            (Ask::Acquire | Ask::Renew, Outcome::Done) => {
                self.held.insert(*path.as_bytes(), body.sequence);
            }
            (Ask::Release, _) | (Ask::Renew, Outcome::Refused) => {
                self.held.remove(path.as_bytes());
            }
            (Ask::Acquire | Ask::Wait, _) | (Ask::Renew, Outcome::Queued) => {}
        }
        Ok(Answer { slot, outcome })
    }
}

/// What stands at the front and its length, if it is there as a whole.
fn said(bytes: &[u8]) -> Result<Option<(Said<'_>, usize)>> {
    let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") else {
        return Ok(None);
    };
    let line = str::from_utf8(&bytes[..end])?;
    let after = end + 2;
    let mut words = line.split(' ');
    match words.next() {
        Some("MSG") => {
            let subject = words.next().context("a message without a subject")?;
            let length = words.next_back().context("a message without a length")?;
            let length: usize = length.parse()?;
            let whole = bytes.get(after..after + length + 2);
            let message = |whole: &'_ [u8]| (whole.len(), &bytes[after..after + length]);
            Ok(whole.map(message).map(|(whole_length, payload)| {
                (Said::Message(subject, payload), after + whole_length)
            }))
        }
        Some("PING") => Ok(Some((Said::Ping, after))),
        Some("INFO" | "PONG" | "+OK") => Ok(Some((Said::Other, after))),
        _ => bail!("the server said: {line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> NatsConnection {
        NatsConnection {
            inbox: String::from("_INBOX.bench."),
            org: 2,
            owner: b"me".to_vec(),
            asked: Vec::new(),
            held: HashMap::new(),
            owes_pong: false,
        }
    }

    #[test]
    fn a_lock_is_the_first_message_on_its_subject() {
        let (mut connection, mut out, mut answers) = (connection(), Vec::new(), Vec::new());
        let path = Path::at(1);
        connection.ask(5, Ask::Acquire, &path, &mut out);
        let expected = format!(
            "HPUB locks.2.{} _INBOX.bench.5 52 54\r\nNATS/1.0\r\n\
            Nats-Expected-Last-Subject-Sequence: 0\r\n\r\nme\r\n",
            path.as_str()
        );
        assert_eq!(str::from_utf8(&out).unwrap(), expected);

        let answer =
            b"MSG _INBOX.bench.5 1 28\r\n{\"stream\":\"locks\", \"seq\":17}\r\nPING\r\nMSG _IN";
        let read = connection.answers(answer, &mut answers).unwrap();
        assert_eq!(read, answer.len() - "MSG _IN".len());
        let done = |slot| Answer {
            slot,
            outcome: Outcome::Done,
        };
        assert_eq!(answers, [done(5)]);

        out.clear();
        connection.ask(5, Ask::Release, &path, &mut out);
        let expected = "PONG\r\nPUB $JS.API.STREAM.MSG.DELETE.locks _INBOX.bench.5 26\r\n\
            {\"no_erase\":true,\"seq\":17}\r\n";
        assert_eq!(str::from_utf8(&out).unwrap(), expected);
    }

    #[test]
    fn who_comes_second_is_refused() {
        let (mut connection, mut out, mut answers) = (connection(), Vec::new(), Vec::new());
        connection.ask(0, Ask::Acquire, &Path::at(1), &mut out);
        let body = r#"{"error":{"code":400,"err_code":10071,"description":"wrong"},"seq":0}"#;
        let answer = format!("MSG _INBOX.bench.0 1 {}\r\n{body}\r\n", body.len());
        connection.answers(answer.as_bytes(), &mut answers).unwrap();
        let outcome = Outcome::Refused;
        assert_eq!(answers, [Answer { slot: 0, outcome }]);
        assert!(connection.answers(b"-ERR 'no'\r\n", &mut answers).is_err());
    }
}
