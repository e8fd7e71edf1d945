//! Subjects of NATS, without its streams: who listens hears, nothing is kept, and a publish is not answered.
//! Rule: who has subscribed is certain of it only by the answer to a ping that was sent behind.

use anyhow::{Result, bail};

use super::feed::{Feed, Heard, alike};
use crate::dialect::Conversation;

const SUBJECT: &str = "bench";

/// Is answered by whoever lives.
const PING: &[u8] = b"PING\r\n";

/// See the file's header.
pub(super) struct NatsFeed {
    /// How every message begins, before its payload.
    head: Vec<u8>,
    message_bytes: usize,
}

impl NatsFeed {
    pub(super) fn new(payload_bytes: usize) -> Self {
        let head = format!("MSG {SUBJECT} 1 {payload_bytes}\r\n");
        Self {
            message_bytes: head.len() + payload_bytes + 2,
            head: head.into_bytes(),
        }
    }
}

impl Feed for NatsFeed {
    fn open(&mut self, conversation: &mut Conversation) -> Result<()> {
        answered(
            conversation,
            "CONNECT {\"verbose\":false,\"pedantic\":false,\"echo\":true}\r\nPING\r\n",
        )
    }

    fn subscribe(&mut self, conversation: &mut Conversation) -> Result<()> {
        answered(conversation, &format!("SUB {SUBJECT} 1\r\nPING\r\n"))
    }

    fn publish(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        let head = format!("PUB {SUBJECT} {}\r\n", payload.len());
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(payload);
        out.extend_from_slice(b"\r\n");
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<Heard> {
        let (mut messages, mut used) = (0, 0);
        loop {
            let alike = alike(&bytes[used..], &self.head, self.message_bytes);
            messages += alike;
            used += alike as usize * self.message_bytes;
            // It asks for a sign of life after two seconds and then every two minutes, and forgives the first times that there
            // is none. What comes behind it may be the last that comes for long.
            if !bytes[used..].starts_with(PING) {
                break;
            }
            used += PING.len();
        }
        if bytes[used..].starts_with(b"-ERR") {
            bail!(
                "the server said: {}",
                String::from_utf8_lossy(&bytes[used..])
            );
        }
        Ok(Heard {
            messages,
            bytes: used,
        })
    }
}

/// Sends what ends with a ping, and waits for its answer.
fn answered(conversation: &mut Conversation, request: &str) -> Result<()> {
    conversation.exchange(request.as_bytes(), |bytes| {
        let end = bytes.windows(6).position(|window| window == b"PONG\r\n");
        match end {
            None if bytes.windows(4).any(|window| window == b"-ERR") => {
                bail!("the server said: {}", String::from_utf8_lossy(bytes))
            }
            found => Ok(found.map(|start| ((), start + 6))),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_behind_a_ping_is_heard() {
        let mut feed = NatsFeed::new(3);
        let message = b"MSG bench 1 3\r\nabc\r\n";
        let said = [&message[..], message, PING, message, b"MSG ben"].concat();
        let Ok(heard) = feed.hear(&said) else {
            panic!("expected nothing but messages and a ping");
        };
        let whole = said.len() - b"MSG ben".len();
        assert_eq!((heard.messages, heard.bytes), (3, whole));
    }
}
