//! Chats: made, listed, looked at, and who takes part.
//!
//! The state of locks comes from what is followed anyway for a list, and from the lock server itself for one chat. Rule: a list
//! of chats costs one query and no question to the lock server, however long it is.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::answers::NotForGuests;
use super::input::{Asked, At, By, Input, Reading, Sending};
use super::problem::{Answer, Code, Problem, ProblemDetails};
use crate::identity::fault_of_id;
use crate::live::ChatLock;
use crate::locks::{LockView, ViewersView, chat_path};
use crate::store::{ChatId, ChatView, NewChat, NewParticipant, Page, PageRequest, Stored};

/// Participants that may be changed at once.
const CHANGED_MAX: usize = 256;

/// Chats on a page, if nothing else is asked for.
const PAGE: u32 = 50;

/// Which page of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// `next` of the page before.
    #[param(max_length = 512)]
    cursor: Option<String>,
    /// How many at most, 1 to 100.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<u32>,
}

impl From<Paging> for PageRequest {
    fn from(paging: Paging) -> Self {
        Self {
            cursor: paging.cursor,
            limit: paging.limit.unwrap_or(PAGE),
        }
    }
}

/// A chat in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListedChat {
    #[serde(flatten)]
    chat: ChatView,
    /// Who holds it; null if nobody does, or nobody knows.
    lock: Option<ChatLock>,
    /// Who is in it; null if nobody knows.
    viewers: Option<ViewersView>,
}

/// A page of chats.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ListedChats {
    /// The one with the newest message first.
    items: Vec<ListedChat>,
    /// What to ask for the next page; null if this is the last.
    next: Option<String>,
    /// Whether `lock` and `viewers` are known; false while the lock server is away.
    locks_known: bool,
}

/// One chat.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShownChat {
    #[serde(flatten)]
    chat: ChatView,
    /// Its lock; null if nobody knows.
    lock: Option<LockView>,
    /// Who is in it; null if nobody knows.
    viewers: Option<ViewersView>,
    /// Whether `lock` and `viewers` are known; false while the lock server is away.
    locks_known: bool,
}

/// Who comes and goes.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct ParticipantsChange {
    /// They take part from now on.
    #[serde(default)]
    #[schema(max_items = 256)]
    add: Vec<NewParticipant>,
    /// They take part no more.
    #[serde(default)]
    #[schema(max_items = 256)]
    remove: Vec<String>,
}

/// Makes a chat. Whoever makes it takes part.
#[utoipa::path(post, path = "/v1/chats", tag = "chats", request_body = NewChat, responses(
    NotForGuests,
    (status = 201, description = "It was made", body = ChatView),
    (status = 200, description = "It was made by an earlier request with the same `client_chat_id`", body = ChatView),
))]
pub(super) async fn create(
    State(app): State<Shared>,
    By(person, _): By<Sending>,
    Input(new): Input<NewChat>,
) -> Answer<Response> {
    new.participants
        .iter()
        .try_for_each(|participant| is_person(&participant.person))?;
    let stored = app.store.create_chat(&person.actor(), new).await?;
    let status = if stored.is_replay() {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let (Stored::New(chat) | Stored::Replayed(chat)) = stored;
    Ok((status, Json(chat)).into_response())
}

/// Lists one's chats, the one with the newest message first: with the last message, what is unread, who holds each, and who
/// is in it.
#[utoipa::path(get, path = "/v1/chats", tag = "chats", params(Paging), responses(
    (status = 200, description = "A page of chats", body = ListedChats),
))]
pub(super) async fn list(
    State(app): State<Shared>,
    By(person, _): By<Reading>,
    Asked(paging): Asked<Paging>,
) -> Answer<Json<ListedChats>> {
    let Page { items, next } = app.store.chats(&person.actor(), paging.into()).await?;
    let ids: Vec<ChatId> = items.iter().map(|chat| chat.id).collect();
    let states = app.live.look_at(&person.org, &ids).await;
    let locks_known = states.is_some();
    let mut states = states.into_iter().flatten();
    let listed = items.into_iter().map(|chat| {
        let (lock, viewers) = states.next().map_or((None, None), |(lock, viewers)| {
            (lock, Some(viewers.shown_to(person.role)))
        });
        ListedChat {
            chat,
            lock,
            viewers,
        }
    });
    Ok(Json(ListedChats {
        items: listed.collect(),
        next,
        locks_known,
    }))
}

/// One chat, with all who take part, its lock, and who is in it.
#[utoipa::path(get, path = "/v1/chats/{chat}", tag = "chats", params(("chat" = uuid::Uuid, Path)), responses(
    (status = 200, description = "The chat", body = ShownChat),
))]
pub(super) async fn show(
    State(app): State<Shared>,
    By(person, _): By<Reading>,
    At(id): At<ChatId>,
) -> Answer<Json<ShownChat>> {
    let chat = app.store.chat(&person.actor(), id).await?;
    let path = chat_path(id);
    let client = app.link.client();
    let (status, viewers) = tokio::join!(
        app.link.ask(client.status(&person.org, &path)),
        app.link
            .ask(client.viewers(person.org.as_str(), path.as_str()).all()),
    );
    let locks_known = status.is_ok() && viewers.is_ok();
    let lock = status.ok().map(|status| LockView::from(&status));
    let viewers = viewers
        .ok()
        .map(|paths| paths.first().map(ViewersView::from).unwrap_or_default())
        .map(|viewers| viewers.shown_to(person.role));
    Ok(Json(ShownChat {
        chat,
        lock,
        viewers,
        locks_known,
    }))
}

/// Adds and removes participants.
#[utoipa::path(post, path = "/v1/chats/{chat}/participants", tag = "chats", params(("chat" = uuid::Uuid, Path)),
    request_body = ParticipantsChange, responses(
    (status = 200, description = "The chat from now on", body = ChatView),
    (status = 204, description = "You have left it, and it is not yours to see any more"),
    (status = 403, description = "`forbidden`: others are removed by whoever made the chat, or by a moderator",
        body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(super) async fn set_participants(
    State(app): State<Shared>,
    By(person, _): By<Sending>,
    At(id): At<ChatId>,
    Input(change): Input<ParticipantsChange>,
) -> Answer<Response> {
    if change.add.len() > CHANGED_MAX || change.remove.len() > CHANGED_MAX {
        let detail = format!("expected at most {CHANGED_MAX} who come, and as many who go");
        return Err(Problem::new(Code::Invalid, detail));
    }
    change
        .add
        .iter()
        .try_for_each(|participant| is_person(&participant.person))?;
    let actor = person.actor();
    let changed = app
        .store
        .set_participants(&actor, id, &change.add, &change.remove)
        .await;
    app.live.audience_changed(&person.org, id);
    let chat = changed?;
    // Whoever leaves a chat that was not open is a stranger to it.
    if app.store.may_see(&actor, &[id]).await?.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(Json(chat).into_response())
}

/// An id under which the lock server can tell somebody something.
fn is_person(id: &str) -> Answer<()> {
    fault_of_id(id).map_or(Ok(()), |fault| {
        Err(Problem::new(
            Code::Invalid,
            format!("person: expected the id of a person, found {fault}"),
        ))
    })
}
