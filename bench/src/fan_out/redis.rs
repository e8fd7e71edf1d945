//! Channels of Redis. All messages are alike, so they are told apart by their length.
//! Rule: what is neither a message nor a number, which is the answer to a publish, is an error.

use anyhow::{Result, bail};

use super::feed::{Feed, Heard, alike};
use crate::dialect::Conversation;

const CHANNEL: &str = "bench";

/// See the file's header.
pub(super) struct RedisFeed {
    /// How every message begins, before its payload.
    head: Vec<u8>,
    message_bytes: usize,
}

impl RedisFeed {
    pub(super) fn new(payload_bytes: usize) -> Self {
        let (length, channel) = (CHANNEL.len(), CHANNEL);
        let head = format!("*3\r\n$7\r\nmessage\r\n${length}\r\n{channel}\r\n${payload_bytes}\r\n");
        Self {
            message_bytes: head.len() + payload_bytes + 2,
            head: head.into_bytes(),
        }
    }
}

impl Feed for RedisFeed {
    fn open(&mut self, _: &mut Conversation) -> Result<()> {
        Ok(())
    }

    fn subscribe(&mut self, conversation: &mut Conversation) -> Result<()> {
        let request = format!("SUBSCRIBE {CHANNEL}\r\n");
        conversation.exchange(request.as_bytes(), |bytes| {
            if bytes.starts_with(b"-") {
                bail!("the server answered: {}", String::from_utf8_lossy(bytes));
            }
            // A list of three: the word, the channel, and the number of channels.
            Ok(bytes.ends_with(b":1\r\n").then_some(((), bytes.len())))
        })
    }

    fn publish(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        let (length, channel, payload_bytes) = (CHANNEL.len(), CHANNEL, payload.len());
        let head = format!("*3\r\n$7\r\nPUBLISH\r\n${length}\r\n{channel}\r\n${payload_bytes}\r\n");
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(payload);
        out.extend_from_slice(b"\r\n");
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<Heard> {
        let messages = alike(bytes, &self.head, self.message_bytes);
        let mut used = messages as usize * self.message_bytes;
        // Who publishes is told how many were listening.
        while let [b':', rest @ ..] = &bytes[used..] {
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                break;
            };
            used += end + 2;
        }
        if bytes[used..].starts_with(b"-") {
            bail!(
                "the server answered: {}",
                String::from_utf8_lossy(&bytes[used..])
            );
        }
        Ok(Heard {
            messages,
            bytes: used,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_answers_are_told_apart() {
        let mut feed = RedisFeed::new(3);
        let message = b"*3\r\n$7\r\nmessage\r\n$5\r\nbench\r\n$3\r\nabc\r\n";
        let two_and_a_bit = [&message[..], message, b"*3\r\n$7"].concat();
        let heard = feed.hear(&two_and_a_bit).unwrap();
        assert_eq!((heard.messages, heard.bytes), (2, 2 * message.len()));
        let heard = feed.hear(b":17\r\n:17\r\n:1").unwrap();
        assert_eq!((heard.messages, heard.bytes), (0, 10));
        assert!(feed.hear(b"-ERR no\r\n").is_err());
    }
}
