//! Exports: all messages of a chat, or of all one's chats, as NDJSON, a line for each, oldest first.
//!
//! Rules: a part is read by a transaction of its own, is bounded in bytes, and waits for whoever reads, so that neither
//! a chat of a million messages nor a slow reader costs memory or a connection to the database; each part is asked for
//! anew on behalf of whoever reads, so that a removal or the end of a token ends it; what is not whole says so.

mod lines;
mod permits;

use std::time::{Duration, SystemTime};

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Shared;
use super::input::{Asked, At, By, Reading};
use super::problem::{Answer, Code, Problem, ProblemDetails};
use crate::identity::Person;
use crate::store::{ChatId, Error, Message, limits};
use lines::{Cut, Lines, lines};
pub(crate) use permits::Exports;
use permits::Permit;

/// Bytes that a part should have, and messages of the first, before it is known how large they are.
const PART: usize = 512 * 1024;
const FIRST: u32 = 100;

/// Chats that are asked for at once.
const CHATS: u32 = 500;

/// Whoever takes nothing for so long is given up.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// From where on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Exporting {
    /// The `seq` of the last message that you have.
    #[param(minimum = 0)]
    after: Option<i64>,
}

/// From where on, in all chats.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportingAll {
    /// The `chat` of the last message that you have.
    chat: Option<uuid::Uuid>,
    /// Its `seq`.
    #[param(minimum = 0)]
    after: Option<i64>,
}

/// All messages of a chat as NDJSON, oldest first.
///
/// To go on where an export ended, give the `seq` of its last line as `after`.
#[utoipa::path(get, path = "/v1/chats/{chat}/export", tag = "messages", params(("chat" = uuid::Uuid, Path), Exporting), responses(
    (status = 200, description = "A message on each line; a last line with `error` says that it is not all", content_type = "application/x-ndjson", body = String),
    (status = 404, description = "`not_found`: there is no such chat, or it is not yours to see",
        body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(super) async fn export(
    State(app): State<Shared>,
    By(person, _): By<Reading>,
    At(chat): At<ChatId>,
    Asked(exporting): Asked<Exporting>,
) -> Answer<Response> {
    let permit = app.exports.begin(&person)?;
    let after = exporting.after.unwrap_or(0);
    // Looked at here, so that a stranger is told so with a status.
    app.store.chat(&person.actor(), chat).await?;
    Ok(stream(app, person, permit, What::Chat(chat, after)))
}

/// All messages of all of one's chats as NDJSON, chat by chat.
///
/// To go on where an export ended, give `chat` and `seq` of its last line as `chat` and `after`.
#[utoipa::path(get, path = "/v1/export", tag = "messages", params(ExportingAll), responses(
    (status = 200, description = "A message on each line; a last line with `error` says that it is not all", content_type = "application/x-ndjson", body = String),
))]
pub(super) async fn export_all(
    State(app): State<Shared>,
    By(person, _): By<Reading>,
    Asked(exporting): Asked<ExportingAll>,
) -> Answer<Response> {
    if exporting.after.is_some() && exporting.chat.is_none() {
        let detail = "after: expected `chat` beside it, since numbers are a chat's own, found none";
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let permit = app.exports.begin(&person)?;
    let from = exporting
        .chat
        .map(|chat| (ChatId(chat), exporting.after.unwrap_or(0)));
    Ok(stream(app, person, permit, What::All(from)))
}

/// What is exported.
#[derive(Debug, Clone, Copy)]
enum What {
    /// One chat, after a number.
    Chat(ChatId, i64),
    /// All, from a number of a chat on.
    All(Option<(ChatId, i64)>),
}

/// An export that runs.
struct Export {
    app: Shared,
    person: Person,
    lines: Lines,
    /// Messages of the next part.
    limit: u32,
}

impl Export {
    async fn run(&mut self, what: What) -> Result<(), Cut> {
        let from = match what {
            What::Chat(chat, after) => {
                self.chat(chat, after).await?;
                return self.lines.flush().await;
            }
            What::All(from) => from,
        };
        if let Some((chat, after)) = from {
            self.one_of(chat, after).await?;
        }
        let mut last = from.map(|(chat, _)| chat);
        loop {
            let actor = self.person.actor();
            let chats = self.app.store.export_chats(&actor, last, CHATS).await?;
            if chats.is_empty() {
                return self.lines.flush().await;
            }
            for chat in chats {
                self.one_of(chat, 0).await?;
                last = Some(chat);
            }
        }
    }

    /// One of all chats; it may be another's by now.
    async fn one_of(&mut self, chat: ChatId, after: i64) -> Result<(), Cut> {
        match self.chat(chat, after).await {
            Err(Cut::Store(Error::NotFound(_))) => Ok(()),
            done => done,
        }
    }

    async fn chat(&mut self, chat: ChatId, after: i64) -> Result<(), Cut> {
        let mut after = after;
        loop {
            self.may_go_on()?;
            let (actor, limit) = (self.person.actor(), self.limit);
            let part = self.app.store.export(&actor, chat, after, limit).await?;
            let is_last = u32::try_from(part.len()).is_ok_and(|found| found < limit);
            let Some(last) = part.last() else {
                return Ok(());
            };
            after = last.seq;
            let bytes = self.write(&part).await?;
            self.limit = next_limit(bytes, part.len());
            if is_last {
                return Ok(());
            }
        }
    }

    /// Bytes written.
    async fn write(&mut self, part: &[Message]) -> Result<usize, Cut> {
        let mut bytes = 0;
        for message in part {
            bytes += self.lines.write(message).await?;
        }
        let written = u64::try_from(part.len()).unwrap_or(0);
        self.app.metrics.exported_messages.inc_by(written);
        Ok(bytes)
    }

    fn may_go_on(&self) -> Result<(), Cut> {
        if self.app.shutdown.is_cancelled() {
            return Err(Cut::Stopping);
        }
        let elapsed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = elapsed.map_or(0, |elapsed| elapsed.as_secs());
        if now >= self.person.expires {
            return Err(Cut::Expired);
        }
        Ok(())
    }
}

/// As many messages as make a part, if the next are as large as these.
fn next_limit(bytes: usize, messages: usize) -> u32 {
    let of_one = (bytes / messages.max(1)).max(1);
    let fits = u32::try_from(PART / of_one).unwrap_or(limits::EXPORT_MAX);
    fits.clamp(1, limits::EXPORT_MAX)
}

/// Writes beside the response that it makes.
fn stream(app: Shared, person: Person, permit: Permit, what: What) -> Response {
    let (lines, body) = lines(STALLED_AFTER);
    tokio::spawn(async move {
        let mut export = Export {
            app,
            person,
            lines,
            limit: FIRST,
        };
        if let Err(cut) = export.run(what).await {
            tracing::debug!(?cut, "an export has ended before its time");
            export.lines.end(&cut).await;
        }
        drop(permit);
    });
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_bounded_in_bytes() {
        assert_eq!(next_limit(100 * 400, 100), limits::EXPORT_MAX);
        assert_eq!(next_limit(100 * 60_000, 100), 8);
        assert_eq!(next_limit(1 << 30, 1), 1);
        assert_eq!(next_limit(0, 0), limits::EXPORT_MAX);
    }
}
