//! Looking for messages, taking them out, and the audit log.
//!
//! Rule: an export is streamed a page at a time and waits for whoever reads it, so that a chat of a million messages costs
//! no more memory than a page.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use bytes::Bytes;
use futures_core::Stream;
use serde::Deserialize;
use tokio::sync::mpsc;
use utoipa::IntoParams;

use super::Shared;
use super::input::{Asked, At, By, Reading};
use super::problem::{Answer, Code, Problem, ProblemDetails};
use crate::identity::Person;
use crate::store::{
    Actor, AuditLine, ChatId, Found, Message, Page, PageRequest, SearchRequest, Store, UnixMs,
};

/// Messages that an export takes at once.
const EXPORT_PAGE: u32 = 500;

/// What an export ends with when it could not be finished: a line that is no message.
const CUT: &str = "{\"error\":\"the export could not be finished: go on after the last `seq`\"}\n";

/// What to look for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Searching {
    /// Words that all have to be there.
    #[param(max_length = 1024)]
    q: String,
    /// In this chat alone.
    chat: Option<uuid::Uuid>,
    /// `next` of the page before.
    #[param(max_length = 512)]
    cursor: Option<String>,
    /// How many at most, 1 to 100.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

/// From where on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Exporting {
    /// The `seq` of the last message that you have.
    #[param(minimum = 0)]
    after: Option<i64>,
}

/// Which part of the audit log.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Auditing {
    /// From then on, in RFC 3339.
    since: Option<String>,
    /// `next` of the page before.
    #[param(max_length = 512)]
    cursor: Option<String>,
    /// How many at most, 1 to 100.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

/// Looks for messages in one's chats, newest first.
#[utoipa::path(get, path = "/v1/search", tag = "messages", params(Searching), responses(
    (status = 200, description = "What was found", body = Found),
    (status = 404, description = "`not_found`: there is no such chat, or it is not yours to see",
        body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(super) async fn search(
    State(app): State<Shared>,
    By(person, _): By<Reading>,
    Asked(searching): Asked<Searching>,
) -> Answer<Json<Found>> {
    let request = SearchRequest {
        text: searching.q,
        chat: searching.chat.map(ChatId),
        page: PageRequest {
            cursor: searching.cursor,
            limit: searching.limit.unwrap_or(20),
        },
    };
    Ok(Json(app.store.search(&person.actor(), request).await?))
}

/// All messages of a chat as NDJSON, oldest first.
#[utoipa::path(get, path = "/v1/chats/{chat}/export", tag = "messages", params(("chat" = uuid::Uuid, Path), Exporting), responses(
    (status = 200, description = "A message on each line; a line with `error` says that it is not all", content_type = "application/x-ndjson", body = String),
))]
pub(super) async fn export(
    State(app): State<Shared>,
    By(person, _): By<Reading>,
    At(chat): At<ChatId>,
    Asked(exporting): Asked<Exporting>,
) -> Answer<Response> {
    let after = exporting.after.unwrap_or(0);
    // The first page is asked for here, so that a stranger is told so with a status.
    let actor = person.actor();
    let first = app.store.export(&actor, chat, after, EXPORT_PAGE).await?;
    Ok(ndjson(|lines| async move {
        export_chat(&app.store, &actor, chat, first, &lines).await
    }))
}

/// All messages of all of one's chats as NDJSON, chat by chat.
#[utoipa::path(get, path = "/v1/export", tag = "messages", responses(
    (status = 200, description = "A message on each line; a line with `error` says that it is not all", content_type = "application/x-ndjson", body = String),
))]
pub(super) async fn export_all(
    State(app): State<Shared>,
    By(person, _): By<Reading>,
) -> Answer<Response> {
    let actor = person.actor();
    let first = app.store.export_chats(&actor, None, EXPORT_PAGE).await?;
    Ok(ndjson(|lines| async move {
        let mut chats = first;
        while let Some(last) = chats.last().copied() {
            for chat in chats {
                let page = app
                    .store
                    .export(&actor, chat, 0, EXPORT_PAGE)
                    .await
                    .map_err(|_| Cut)?;
                export_chat(&app.store, &actor, chat, page, &lines).await?;
            }
            chats = app
                .store
                .export_chats(&actor, Some(last), EXPORT_PAGE)
                .await
                .map_err(|_| Cut)?;
        }
        Ok(())
    }))
}

/// The audit log of the organisation, newest first. Admins may.
#[utoipa::path(get, path = "/v1/audit", tag = "operations", params(Auditing), responses(
    (status = 200, description = "A page of it", body = Page<AuditLine>),
    (status = 403, description = "`forbidden`: admins read it",
        body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(super) async fn audit(
    State(app): State<Shared>,
    By(person, _): By<Reading>,
    Asked(auditing): Asked<Auditing>,
) -> Answer<Json<Page<AuditLine>>> {
    let since = since(auditing.since.as_deref())?;
    let page = PageRequest {
        cursor: auditing.cursor,
        limit: auditing.limit.unwrap_or(50),
    };
    Ok(Json(app.store.audit(&person.actor(), since, page).await?))
}

/// Who one is, as the token says.
#[utoipa::path(get, path = "/v1/me", tag = "operations", responses(
    (status = 200, description = "You", body = Me),
))]
pub(super) async fn me(By(person, _): By<Reading>) -> Json<Me> {
    let Person {
        org,
        id,
        name,
        role,
        expires,
    } = person;
    let millis = i64::try_from(expires.saturating_mul(1000)).unwrap_or(i64::MAX);
    Json(Me {
        org,
        person: id,
        name,
        role,
        token_expires_at: UnixMs(millis),
    })
}

/// Who one is.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub(super) struct Me {
    /// The organisation.
    org: String,
    /// The person.
    person: String,
    /// How others see them.
    name: String,
    /// What they may do.
    role: crate::store::Role,
    /// When the token ends.
    token_expires_at: UnixMs,
}

fn since(text: Option<&str>) -> Answer<UnixMs> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(UnixMs(0));
    };
    let time = humantime::parse_rfc3339_weak(text).map_err(|_| {
        Problem::new(
            Code::BadRequest,
            "since: expected a time such as 2026-11-20T09:30:00Z, found something else",
        )
    })?;
    Ok(crate::locks::at(time))
}

/// It ends before its time: whoever reads is gone, or the database is.
struct Cut;

async fn export_chat(
    store: &Store,
    actor: &Actor,
    chat: ChatId,
    first: Vec<Message>,
    lines: &mpsc::Sender<Bytes>,
) -> Result<(), Cut> {
    let mut page = first;
    while let Some(last) = page.last().map(|message| message.seq) {
        let mut text = Vec::new();
        for message in &page {
            serde_json::to_writer(&mut text, message).map_err(|_| Cut)?;
            text.push(b'\n');
        }
        lines.send(Bytes::from(text)).await.map_err(|_| Cut)?;
        page = store
            .export(actor, chat, last, EXPORT_PAGE)
            .await
            .map_err(|_| Cut)?;
    }
    Ok(())
}

fn ndjson<F>(write: impl FnOnce(mpsc::Sender<Bytes>) -> F) -> Response
where
    F: Future<Output = Result<(), Cut>> + Send + 'static,
{
    let (lines, body) = mpsc::channel(2);
    let writing = write(lines.clone());
    tokio::spawn(async move {
        if writing.await.is_err() {
            // Whoever reads may be gone.
            let _ = lines.send(Bytes::from_static(CUT.as_bytes())).await;
        }
    });
    let mut response = Response::new(Body::from_stream(Lines(body)));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    response
}

struct Lines(mpsc::Receiver<Bytes>);

impl Stream for Lines {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|line| line.map(Ok))
    }
}
