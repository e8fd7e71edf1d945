//! How far one has read: marks, receipts, and what is unread.
//!
//! Rule: a mark only ever goes up, so any device may say so at any time.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Shared;
use super::answers::ForParticipants;
use super::input::{At, By, Input, Reading, Sending};
use super::problem::{Answer, Code, Problem};
use crate::store::{ChatId, Mark, Marked, Receipts, Recounted, UnreadTotals};

/// How far one is. A mark only ever goes up.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NewMarks {
    /// Up to where messages have reached this device.
    #[schema(minimum = 0)]
    delivered_seq: Option<i64>,
    /// Up to where they were read.
    #[schema(minimum = 0)]
    read_seq: Option<i64>,
}

/// Says how far one is.
#[utoipa::path(put, path = "/v1/chats/{chat}/marks", tag = "marks", request_body = NewMarks,
    params(("chat" = uuid::Uuid, Path)), responses(
    (status = 200, description = "How far you are, over all of your devices", body = Marked),
    ForParticipants,
))]
pub(super) async fn mark(
    State(app): State<Shared>,
    By(person, _): By<Reading>,
    At(chat): At<ChatId>,
    Input(marks): Input<NewMarks>,
) -> Answer<Json<Marked>> {
    let actor = person.actor();
    let delivered = marks.delivered_seq.map(Mark::Delivered);
    let read = marks.read_seq.map(Mark::Read);
    let mut marked = None;
    for mark in [delivered, read].into_iter().flatten() {
        let before = marked.is_some_and(|marked: Marked| marked.changed);
        let mut now = app.store.mark(&actor, chat, mark).await?;
        now.changed |= before;
        marked = Some(now);
    }
    marked.map(Json).ok_or_else(|| {
        Problem::new(
            Code::Invalid,
            "expected `delivered_seq`, `read_seq` or both, found neither",
        )
    })
}

/// How far the participants are.
#[utoipa::path(get, path = "/v1/chats/{chat}/receipts", tag = "marks", params(("chat" = uuid::Uuid, Path)), responses(
    (status = 200, description = "Up to where messages have reached and were read by all, and by each of at most 100",
        body = Receipts),
))]
pub(super) async fn receipts(
    State(app): State<Shared>,
    By(person, _): By<Reading>,
    At(chat): At<ChatId>,
) -> Answer<Json<Receipts>> {
    Ok(Json(app.store.receipts(&person.actor(), chat).await?))
}

/// What one has not read, in all chats.
#[utoipa::path(get, path = "/v1/unread", tag = "marks", responses(
    (status = 200, description = "Chats and messages", body = UnreadTotals),
))]
pub(super) async fn unread(
    State(app): State<Shared>,
    By(person, _): By<Reading>,
) -> Answer<Json<UnreadTotals>> {
    Ok(Json(app.store.unread(&person.actor()).await?))
}

/// Counts again what one has not read, and puts right what was wrong, which would be a fault of ours.
#[utoipa::path(post, path = "/v1/unread/recount", tag = "marks", responses(
    (status = 200, description = "What was found", body = Recounted),
))]
pub(super) async fn recount(
    State(app): State<Shared>,
    By(person, _): By<Sending>,
) -> Answer<Json<Recounted>> {
    let recounted = app.store.recount(&person.org, Some(&person.id)).await?;
    app.metrics
        .unread_drift
        .inc_by(u64::try_from(recounted.drift).unwrap_or(0));
    Ok(Json(recounted))
}
