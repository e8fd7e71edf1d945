//! Lines on their way to whoever reads an export: in chunks, of which a few may wait, and no further.
//!
//! Knows neither chats nor the database. Rule: what is not all is never taken for all: it ends with a line that says so, or
//! if nobody takes that by breaking off.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::store::{Error, Message};

/// Bytes of what is sent at once.
const CHUNK: usize = 64 * 1024;

/// Chunks that wait for whoever reads.
const WAITING: usize = 4;

/// Why an export ends before its time.
#[derive(Debug)]
pub(super) enum Cut {
    /// It could not be read.
    Store(Error),
    /// The token is over.
    Expired,
    /// The service is.
    Stopping,
    /// Whoever reads is gone, or takes nothing.
    Unread,
}

impl From<Error> for Cut {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl Cut {
    /// What the last line says, if anybody reads it.
    fn told(&self) -> Option<&'static str> {
        match self {
            Self::Store(Error::NotFound(_)) => Some("the chat is not yours to see any more"),
            Self::Store(_) => Some("the database is away"),
            Self::Expired => Some("the token is over"),
            Self::Stopping => Some("the service is shutting down"),
            Self::Unread => None,
        }
    }
}

/// Both ends. Whoever takes nothing for longer than the patience is given up.
pub(super) fn lines(patience: Duration) -> (Lines, Reader) {
    let (chunks, body) = mpsc::channel(WAITING);
    let is_cut = Arc::new(AtomicBool::new(false));
    let lines = Lines {
        chunks,
        chunk: Vec::new(),
        is_cut: Arc::clone(&is_cut),
        patience,
    };
    let reader = Reader {
        chunks: body,
        is_cut,
    };
    (lines, reader)
}

/// Lines on their way to whoever reads.
pub(super) struct Lines {
    chunks: mpsc::Sender<Bytes>,
    chunk: Vec<u8>,
    /// Tells the reader that what it has got is not all.
    is_cut: Arc<AtomicBool>,
    patience: Duration,
}

impl Lines {
    /// Writes a line; its bytes.
    pub(super) async fn write(&mut self, message: &Message) -> Result<usize, Cut> {
        let before = self.chunk.len();
        // A vector takes everything, and a message is text and numbers.
        serde_json::to_writer(&mut self.chunk, message)
            .map_err(|why| Cut::Store(Error::Unusable(why.to_string())))?;
        self.chunk.push(b'\n');
        let bytes = self.chunk.len() - before;
        if self.chunk.len() >= CHUNK {
            self.flush().await?;
        }
        Ok(bytes)
    }

    /// Sends what is written.
    pub(super) async fn flush(&mut self) -> Result<(), Cut> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = Bytes::from(std::mem::take(&mut self.chunk));
        match timeout(self.patience, self.chunks.send(chunk)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Cut::Unread),
        }
    }

    /// Says that it is not all: by a last line, or if nobody takes it by breaking off.
    pub(super) async fn end(&mut self, cut: &Cut) {
        if let Some(told) = cut.told() {
            let line =
                json!({"error": format!("{told}: this is not all, go on after the last `seq`")});
            self.chunk.extend(line.to_string().bytes());
            self.chunk.push(b'\n');
            if self.flush().await.is_ok() {
                return;
            }
        }
        self.is_cut.store(true, Ordering::Relaxed);
    }
}

/// What whoever reads takes from.
pub(super) struct Reader {
    chunks: mpsc::Receiver<Bytes>,
    is_cut: Arc<AtomicBool>,
}

impl Stream for Reader {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks.poll_recv(context).map(|chunk| match chunk {
            Some(chunk) => Some(Ok(chunk)),
            // A connection that breaks off is not taken for one that has ended.
            None if self.is_cut.swap(false, Ordering::Relaxed) => Some(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "nobody has read the export",
            ))),
            None => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ChatId, MessageId, UnixMs};

    fn message(body: &str) -> Message {
        Message {
            id: MessageId(uuid::Uuid::nil()),
            chat: ChatId(uuid::Uuid::nil()),
            seq: 1,
            rev: 1,
            sender: "ada".to_owned(),
            sender_name: "Ada".to_owned(),
            client_msg_id: "m".to_owned(),
            body: body.to_owned(),
            attachments: Vec::new(),
            created_at: UnixMs(0),
            edited_at: None,
            deleted_at: None,
            unguarded: false,
        }
    }

    async fn read(mut reader: Reader) -> (String, bool) {
        let mut text = String::new();
        loop {
            match std::future::poll_fn(|context| Pin::new(&mut reader).poll_next(context)).await {
                None => return (text, true),
                Some(Err(_)) => return (text, false),
                Some(Ok(chunk)) => text.push_str(std::str::from_utf8(&chunk).expect("text")),
            }
        }
    }

    #[tokio::test]
    async fn whoever_takes_nothing_is_given_up_and_is_not_told_that_it_is_all() {
        let (mut lines, reader) = lines(Duration::from_millis(20));
        let large = message(&"x".repeat(CHUNK));
        let mut written = 0;
        let cut = loop {
            match lines.write(&large).await {
                Ok(_) => written += 1,
                Err(cut) => break cut,
            }
        };
        assert_eq!(written, WAITING, "no more than that waits");
        lines.end(&cut).await;
        drop(lines);
        let (text, is_whole) = read(reader).await;
        assert_eq!((text.lines().count(), is_whole), (WAITING, false));
    }

    #[tokio::test]
    async fn one_that_is_cut_says_so_in_its_last_line() {
        let (mut lines, reader) = lines(Duration::from_secs(5));
        lines.write(&message("a")).await.expect("there is room");
        lines.end(&Cut::Expired).await;
        drop(lines);
        let (text, is_whole) = read(reader).await;
        assert!(is_whole);
        let last: serde_json::Value =
            serde_json::from_str(text.lines().last().unwrap_or("")).expect("every line is JSON");
        assert!(
            last["error"]
                .as_str()
                .is_some_and(|told| told.contains("token")),
            "{text}"
        );
    }
}
