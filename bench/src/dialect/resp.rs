//! The dialect of Redis and Valkey: `SET NX PX` to acquire, and the usual owner-checking scripts to renew and to release,
//! or the command that Valkey has for the latter. Rule: answers come in the order of the requests.

use std::collections::VecDeque;
use std::str;

use anyhow::{Context as _, Result};

use super::{Answer, Ask, Conversation, Dialect, Outcome, System};
use crate::paths::{PATH_BYTES, Path};
use crate::template::Template;

/// Holds that outlive every run.
const TTL_MS: &[u8] = b"300000";

/// Bytes of the value of every key: who holds it.
const OWNER_BYTES: usize = 52;

/// Databases that a server has unless it is told otherwise; one stands for one org.
const DATABASES: u32 = 16;

const RELEASE: &[u8] = b"if redis.call('get', KEYS[1]) == ARGV[1] then \
    return redis.call('del', KEYS[1]) else return 0 end";

const RENEW: &[u8] = b"if redis.call('get', KEYS[1]) == ARGV[1] then \
    return redis.call('pexpire', KEYS[1], ARGV[2]) else return 0 end";

/// What stands in a template where a request has its path.
const ANY_PATH: &[u8; PATH_BYTES] = b"????????????????????????";

/// A Redis or Valkey server under load.
#[derive(Debug, Clone, Copy)]
pub struct Resp {
    /// How many databases the connections are spread over: at most 16.
    pub orgs: u32,
}

impl System for Resp {
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
        Box::new(RespConnection {
            owner: format!("{:x<OWNER_BYTES$}", format!("owner-{connection}-")).into_bytes(),
            database: connection % self.orgs.clamp(1, DATABASES),
            requests: None,
            asked: VecDeque::new(),
        })
    }
}

/// One connection, which is one owner.
#[derive(Debug)]
struct RespConnection {
    owner: Vec<u8>,
    database: u32,
    requests: Option<Requests>,
    /// The slots in the order in which they are answered.
    asked: VecDeque<u32>,
}

/// What a connection asks, which depends on what its server has.
#[derive(Debug)]
struct Requests {
    acquire: Template<1>,
    release: Template<1>,
    renew: Template<1>,
}

impl Dialect for RespConnection {
    fn open(&mut self, conversation: &mut Conversation) -> Result<()> {
        let database = self.database.to_string();
        expect_simple(conversation, &[b"SELECT", database.as_bytes()])?;
        let renew = load_script(conversation, RENEW)?;
        let key = ANY_PATH.as_slice();
        let owner = self.owner.as_slice();
        let release = if has_delifeq(conversation, owner)? {
            template(&[b"DELIFEQ", key, owner])?
        } else {
            let release = load_script(conversation, RELEASE)?;
            template(&[b"EVALSHA", &release, b"1", key, owner])?
        };
        self.requests = Some(Requests {
            acquire: template(&[b"SET", key, owner, b"NX", b"PX", TTL_MS])?,
            renew: template(&[b"EVALSHA", &renew, b"1", key, owner, TTL_MS])?,
            release,
        });
        Ok(())
    }

    fn ask(&mut self, slot: u32, ask: Ask, path: &Path, out: &mut Vec<u8>) {
        let requests = self.requests.as_ref();
        let requests = requests.expect("a connection is opened before it is asked");
        let template = match ask {
            Ask::Acquire => &requests.acquire,
            Ask::Release => &requests.release,
            Ask::Renew => &requests.renew,
            Ask::Wait => unreachable!("it does not support that"),
        };
        template.write([path.as_bytes()], out);
        self.asked.push_back(slot);
    }

    fn answers(&mut self, bytes: &[u8], answers: &mut Vec<Answer>) -> Result<usize> {
        let mut consumed = 0;
        while let Some((line, length)) = line(&bytes[consumed..]) {
            let outcome = outcome(line)?;
            consumed += length;
            let slot = self.asked.pop_front();
            let slot = slot.context("the server has answered what nobody asked")?;
            answers.push(Answer { slot, outcome });
        }
        Ok(consumed)
    }
}

/// `OK` and nil answer a `SET NX`, 1 and 0 the rest.
fn outcome(line: &[u8]) -> Result<Outcome> {
    match line {
        b"+OK" | b":1" => Ok(Outcome::Done),
        b"$-1" | b":0" => Ok(Outcome::Refused),
        other => Err(unexpected(other)),
    }
}

fn unexpected(line: &[u8]) -> anyhow::Error {
    anyhow::anyhow!("the server answered: {}", String::from_utf8_lossy(line))
}

/// The line at the front, without its end, and its length with it.
fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = bytes.windows(2).position(|window| window == b"\r\n")?;
    Some((&bytes[..end], end + 2))
}

fn expect_simple(conversation: &mut Conversation, words: &[&[u8]]) -> Result<()> {
    let answer = ask_line(conversation, words)?;
    if answer != b"+OK" {
        return Err(unexpected(&answer));
    }
    Ok(())
}

/// Whether a lock can be released by a command instead of a script. Nobody holds the key that is tried.
fn has_delifeq(conversation: &mut Conversation, owner: &[u8]) -> Result<bool> {
    let answer = ask_line(conversation, &[b"DELIFEQ", b"tenure-bench", owner])?;
    Ok(answer == b":0")
}

/// Gives the digest that a script is called by.
fn load_script(conversation: &mut Conversation, script: &[u8]) -> Result<Vec<u8>> {
    let mut request = Vec::new();
    write(&[b"SCRIPT", b"LOAD", script], &mut request);
    conversation.exchange(&request, |bytes| {
        let Some((head, head_length)) = line(bytes) else {
            return Ok(None);
        };
        let Some(size) = head.strip_prefix(b"$") else {
            return Err(unexpected(head));
        };
        let size: usize = str::from_utf8(size)?.parse()?;
        let body = &bytes[head_length..];
        if body.len() < size + 2 {
            return Ok(None);
        }
        Ok(Some((body[..size].to_vec(), head_length + size + 2)))
    })
}

/// Asks for what is answered in one line.
fn ask_line(conversation: &mut Conversation, words: &[&[u8]]) -> Result<Vec<u8>> {
    let mut request = Vec::new();
    write(words, &mut request);
    conversation.exchange(&request, |bytes| {
        Ok(line(bytes).map(|(line, length)| (line.to_vec(), length)))
    })
}

/// Appends a request: an array of strings.
fn write(words: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// A request with a path.
fn template(words: &[&[u8]]) -> Result<Template<1>> {
    let mut bytes = Vec::new();
    write(words, &mut bytes);
    Template::of(bytes, [ANY_PATH])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_an_array_of_strings() {
        let template = template(&[b"DELIFEQ", ANY_PATH, b"me"]).unwrap();
        let (path, mut out) = (Path::at(7), Vec::new());
        template.write([path.as_bytes()], &mut out);
        let expected = format!(
            "*3\r\n$7\r\nDELIFEQ\r\n$24\r\n{}\r\n$2\r\nme\r\n",
            path.as_str()
        );
        assert_eq!(str::from_utf8(&out).unwrap(), expected);
    }

    #[test]
    fn answers_belong_to_the_slots_in_order() {
        let mut connection = RespConnection {
            owner: Vec::new(),
            database: 0,
            requests: None,
            asked: VecDeque::from([3, 1, 2, 0]),
        };
        let mut answers = Vec::new();
        let bytes = b"+OK\r\n$-1\r\n:1\r\n:0";
        assert_eq!(
            connection.answers(bytes, &mut answers).unwrap(),
            bytes.len() - 2
        );
        let expected = [
            (3, Outcome::Done),
            (1, Outcome::Refused),
            (2, Outcome::Done),
        ];
        assert_eq!(
            answers,
            expected.map(|(slot, outcome)| Answer { slot, outcome })
        );
        let failed = connection
            .answers(b"-NOSCRIPT no\r\n", &mut answers)
            .unwrap_err();
        assert_eq!(failed.to_string(), "the server answered: -NOSCRIPT no");
    }

    #[test]
    fn an_owner_has_its_length() {
        assert_eq!(
            format!("{:x<OWNER_BYTES$}", "owner-9999-").len(),
            OWNER_BYTES
        );
    }
}
