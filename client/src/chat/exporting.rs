//! Taking messages out: all of a chat, or of all chats, as a stream that goes on where its connection ended.
//!
//! Rule: a line is taken when it is whole, and what is asked for next is what comes after it, so that nothing is left out or
//! given twice; an export that ends before its time is never taken for all.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio::time::{Instant, timeout, timeout_at};

use super::client::Shared;
use super::error::{Error, ErrorKind, Result};
use super::link::{Ask, is_passing};
use super::pages::{Cursor, Pages};
use super::types::{ChatId, Message};

/// Bytes of the longest line: a message as large as may be is less than a megabyte.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What to take out. Made by [`ChatClient::export`](super::ChatClient::export) and
/// [`export_all`](super::ChatClient::export_all).
#[must_use = "nothing is asked for before `stream`"]
pub struct Export {
    shared: Arc<Shared>,
    chat: Option<ChatId>,
    after: Option<(ChatId, i64)>,
}

impl Export {
    pub(super) const fn new(shared: Arc<Shared>, chat: Option<ChatId>) -> Self {
        Self {
            shared,
            chat,
            after: None,
        }
    }

    /// From this message on, which is not given itself: the last that an earlier export has given. Of one chat it has to be
    /// a message of that chat.
    pub const fn after(mut self, chat: ChatId, seq: i64) -> Self {
        self.after = Some((chat, seq));
        self
    }

    /// Takes them out, oldest first, chat by chat, deleted messages included. What is read is what the companion has at that
    /// moment: nothing of it comes from memory.
    ///
    /// A connection that ends on the way is made anew, and what comes next is asked for, as long as
    /// [`patience`](super::ChatOptions::patience) lasts. Reads no further ahead than one piece of what the network gives, so
    /// it may be read as slowly as one likes.
    pub fn stream(self) -> Pages<Message> {
        let reader = Reader {
            shared: self.shared,
            chat: self.chat,
            after: self.after,
            body: None,
            unread: BytesMut::new(),
            cut: None,
        };
        // Whoever polls it again after a failure finds it where it was.
        let reader = Arc::new(tokio::sync::Mutex::new(reader));
        Pages::new(Cursor::Named(None), move |cursor| {
            let reader = Arc::clone(&reader);
            Box::pin(async move {
                let read = reader.lock().await.read().await?;
                let next = (!read.is_empty()).then_some(cursor);
                Ok((read, next))
            })
        })
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export")
            .field("chat", &self.chat)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}

/// Where an export is.
struct Reader {
    shared: Arc<Shared>,
    chat: Option<ChatId>,
    after: Option<(ChatId, i64)>,
    body: Option<Incoming>,
    /// The beginning of a line.
    unread: BytesMut,
    /// Why it has ended before its time, which is told after what came before.
    cut: Option<Error>,
}

/// A line.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Message(Box<Message>),
    /// The last of an export that is not all.
    Cut {
        error: String,
    },
}

impl Reader {
    /// The next messages; none at the end.
    async fn read(&mut self) -> Result<VecDeque<Message>> {
        let link = &Arc::clone(&self.shared).link;
        let deadline = Instant::now() + link.patience();
        let mut back_off = link.new_back_off();
        loop {
            let closed = || Error::new(ErrorKind::Closed, "");
            let tried = tokio::select! {
                tried = self.try_to_read() => tried,
                () = link.shutdown.cancelled() => return Err(closed()),
            };
            let error = match tried {
                Ok(read) => return Ok(read),
                Err(error) => error,
            };
            self.body = None;
            self.unread.clear();
            if !is_passing(&error) {
                return Err(error);
            }
            tracing::debug!(%error, "an export goes on");
            let pause = back_off.next(fastrand::f64(), error.retry_after());
            let waited = timeout_at(deadline, link.pause(pause)).await;
            if waited.is_err() || Instant::now() >= deadline {
                return Err(error);
            }
        }
    }

    async fn try_to_read(&mut self) -> Result<VecDeque<Message>> {
        if let Some(cut) = self.cut.take() {
            return Err(cut);
        }
        let link = &self.shared.link;
        let body = match &mut self.body {
            Some(body) => body,
            none => {
                link.reads.wait().await;
                let ask = Ask::get(path(self.chat, self.after));
                let (body, _) = link.open(&ask, None).await?;
                none.insert(body)
            }
        };
        loop {
            let broken = |why: &'static str| Error::new(ErrorKind::Unreachable, why);
            let frame = timeout(link.request_timeout(), body.frame()).await;
            let piece: Bytes = match frame.map_err(|_| broken("it has stopped on the way"))? {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(why)) => return Err(broken("it broke off").with_source(why)),
                None if self.unread.is_empty() => return Ok(VecDeque::new()),
                None => return Err(broken("it ended within a line")),
            };
            self.unread.extend_from_slice(&piece);
            let read = take_lines(&mut self.unread, &mut self.cut)?;
            if let Some(last) = read.back() {
                self.after = Some((last.chat, last.seq));
                return Ok(read);
            }
            if let Some(cut) = self.cut.take() {
                return Err(cut);
            }
            if self.unread.len() > LINE_BYTES_MAX {
                let why = format!("expected lines of at most {LINE_BYTES_MAX} bytes, found more");
                return Err(Error::new(ErrorKind::Protocol, why));
            }
        }
    }
}

/// What to ask for.
fn path(chat: Option<ChatId>, after: Option<(ChatId, i64)>) -> String {
    match (chat, after) {
        (Some(chat), None) => format!("/v1/chats/{chat}/export"),
        (Some(chat), Some((_, seq))) => format!("/v1/chats/{chat}/export?after={seq}"),
        (None, None) => "/v1/export".to_owned(),
        (None, Some((last, seq))) => format!("/v1/export?chat={last}&after={seq}"),
    }
}

/// Takes the lines that are whole, up to one that says that it is not all.
fn take_lines(unread: &mut BytesMut, cut: &mut Option<Error>) -> Result<VecDeque<Message>> {
    let mut read = VecDeque::new();
    while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
        let line = unread.split_to(end);
        unread.advance(1);
        match serde_json::from_slice(&line) {
            Ok(Line::Message(message)) => read.push_back(*message),
            Ok(Line::Cut { error }) => {
                *cut = Some(Error::new(ErrorKind::Unavailable, error));
                break;
            }
            Err(why) => {
                let error = Error::new(ErrorKind::Protocol, "a line cannot be read");
                return Err(error.with_source(why));
            }
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = r#"{"id":"01a1fa84-22ec-763e-84b7-b8756a777d05","chat":"01a1fa84-1eda-7922-8201-5644031292c5",
        "seq":7,"rev":7,"sender":"ada","sender_name":"Ada","client_msg_id":"m","body":"x","attachments":[],
        "created_at":"2026-11-20T19:52:06.176Z","edited_at":null,"deleted_at":null,"unguarded":false}"#;

    #[test]
    fn lines_are_taken_when_they_are_whole() {
        let message = MESSAGE.replace('\n', "");
        let text = format!("{message}\n{message}\n{{\"error\":\"not all\"}}\n");
        let mut expected = 0;
        for length in 0..=text.len() {
            let mut unread = BytesMut::from(&text.as_bytes()[..length]);
            let mut cut = None;
            let read = take_lines(&mut unread, &mut cut).expect("lines are lines");
            expected = expected.max(read.len());
            assert_eq!(read.len(), text[..length].matches("}\n").count().min(2));
            assert_eq!(cut.is_some(), length == text.len());
        }
        assert_eq!(expected, 2);
        let mut wrong = BytesMut::from("no line\n");
        let error = take_lines(&mut wrong, &mut None).expect_err("it is none");
        assert_eq!(error.kind(), ErrorKind::Protocol);
    }
}
