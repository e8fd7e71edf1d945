//! Messages: sent, read, edited, deleted, and what has changed.
//!
//! A send looks who holds the chat, then asks the store, which compares the lock's token in the transaction that stores the
//! message. Rule: 201 is answered after a durable commit, and never twice for one message.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tenure_client::Activity;
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::answers::{ForParticipants, Locked, SomebodyElses};
use super::input::{Asked, At, By, Input, Reading, Sending, session};
use super::problem::{Answer, Code, Problem, ProblemDetails};
use super::refusal::{away, kept_out};
use crate::config::WhenAway;
use crate::identity::Person;
use crate::locks::{Does, LockView, Trouble, chat_path};
use crate::store::{Changes, ChatId, History, HistoryPage, Message, MessageId, NewMessage};

/// Says that the answer is of an earlier request.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Messages on a page, if nothing else is asked for.
const PAGE: u32 = 50;

/// Which part of a history: one of `before`, `after`, `around` and `page`, or none for the newest.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Part {
    /// Those right before this one.
    before: Option<i64>,
    /// Those right after this one.
    after: Option<i64>,
    /// This one, and those on both sides.
    around: Option<i64>,
    /// A numbered page with totals, the newest messages on page 1.
    #[param(minimum = 1)]
    page: Option<u32>,
    /// How many at most, 1 to 200.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

/// From where on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Since {
    /// `next_rev` of the answer before; 0 for everything.
    #[param(minimum = 0)]
    after_rev: Option<i64>,
    /// How many at most, 1 to 500.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// What a message is to say.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Edit {
    /// The words from now on: at most 16,384 bytes.
    #[schema(max_length = 16384)]
    body: String,
}

/// Sends a message, once for each `client_msg_id`, however often it is sent.
#[utoipa::path(post, path = "/v1/chats/{chat}/messages", tag = "messages", request_body = NewMessage,
    params(("chat" = uuid::Uuid, Path), ("tenure-session" = Option<String>, Header, description = "Your session: your typing ends with this")),
    responses(
    (status = 201, description = "It is stored, durably", body = Message),
    (status = 200, description = "It was stored by an earlier request: this is it, as it is by now", body = Message,
        headers(("idempotent-replayed" = String, description = "`true`"))),
    (status = 409, description = "`stale_view`: there are messages that you have not seen; they are in `missed`",
        body = ProblemDetails, content_type = "application/problem+json"),
    (status = 412, description = "`stale_token`: somebody else has had the lock since",
        body = ProblemDetails, content_type = "application/problem+json"),
    ForParticipants,
    Locked,
))]
pub(super) async fn send(
    State(app): State<Shared>,
    By(person, _): By<Sending>,
    At(id): At<ChatId>,
    headers: HeaderMap,
    Input(mut new): Input<NewMessage>,
) -> Answer<Response> {
    let actor = person.actor();
    new.unguarded = false;
    let guard = look_at_lock(&app, &person, id).await;
    if let Err(problem) = guard {
        // A repetition is answered with the original, whoever holds the chat by now; a stranger is told nothing.
        return repeated(&app, &person, id, new, problem).await;
    }
    new.unguarded = matches!(guard, Ok(Guard::Unknown));
    let unguarded = new.unguarded;
    let stored = app.store.send(&actor, id, new).await?;
    let is_replay = stored.is_replay();
    if is_replay {
        app.metrics.messages_replayed.inc();
    } else {
        app.metrics.messages.inc();
        if unguarded {
            app.metrics.messages_unguarded.inc();
        }
        end_typing(&app, &person, id, &headers).await;
    }
    Ok(sent(is_replay, stored.into_inner()))
}

fn sent(is_replay: bool, message: Message) -> Response {
    if !is_replay {
        return (StatusCode::CREATED, Json(message)).into_response();
    }
    let header = [(REPLAYED, HeaderValue::from_static("true"))];
    (StatusCode::OK, header, Json(message)).into_response()
}

/// What is known of the chat's lock.
enum Guard {
    /// Nobody else holds it.
    Open,
    /// The lock server is away, and that is to be no obstacle.
    Unknown,
}

async fn look_at_lock(app: &Shared, person: &Person, chat: ChatId) -> Answer<Guard> {
    // The lock says who of the organisation answers. Guests, who cannot hold it, are heard whoever does.
    if person.role.is_guest() {
        return Ok(Guard::Open);
    }
    let path = chat_path(chat);
    match app
        .link
        .ask(app.link.client().status(&person.org, &path))
        .await
    {
        Ok(status) => {
            let lock = LockView::from(&status);
            if lock.keeps_out(&person.id) {
                Err(kept_out(&lock, Code::Locked))
            } else {
                Ok(Guard::Open)
            }
        }
        Err(Trouble::Away { retry_after }) => match app.when_away {
            WhenAway::Accept => Ok(Guard::Unknown),
            WhenAway::Refuse => Err(away(retry_after)),
        },
        Err(other) => Err(other.into()),
    }
}

/// A message that may not be sent may have been sent already. The store answers a repetition before anything else, and a token
/// that is lower than any refuses whatever is new, so that asking it stores nothing.
async fn repeated(
    app: &Shared,
    person: &Person,
    chat: ChatId,
    new: NewMessage,
    problem: Problem,
) -> Answer<Response> {
    use crate::store::Error;
    let asked = NewMessage {
        lock_token: Some(-1),
        ..new
    };
    match app.store.send(&person.actor(), chat, asked).await {
        Ok(stored) if stored.is_replay() => {
            app.metrics.messages_replayed.inc();
            Ok(sent(true, stored.into_inner()))
        }
        Err(Error::NotFound(what)) => Err(Error::NotFound(what).into()),
        Err(Error::Mismatch) => Err(Error::Mismatch.into()),
        Ok(_) | Err(_) => Err(problem),
    }
}

/// Whoever has sent it types no more.
async fn end_typing(app: &Shared, person: &Person, chat: ChatId, headers: &HeaderMap) {
    let Ok(Some(ticket)) = session(headers) else {
        return;
    };
    if let Ok(present) = app.sessions.find(ticket, person).await {
        present
            .browser
            .act_where_it_is(&chat_path(chat), Does::Openly(Activity::Viewing));
    }
}

/// A part of a history, oldest first.
#[utoipa::path(get, path = "/v1/chats/{chat}/messages", tag = "messages",
    params(("chat" = uuid::Uuid, Path), Part), responses(
    (status = 200, description = "The messages", body = History),
))]
pub(super) async fn history(
    State(app): State<Shared>,
    By(person, _): By<Reading>,
    At(id): At<ChatId>,
    Asked(part): Asked<Part>,
) -> Answer<Json<History>> {
    let limit = part.limit.unwrap_or(PAGE);
    let page = match (part.before, part.after, part.around, part.page) {
        (None, None, None, None) => HistoryPage::Newest { limit },
        (Some(seq), None, None, None) => HistoryPage::Before { seq, limit },
        (None, Some(seq), None, None) => HistoryPage::After { seq, limit },
        (None, None, Some(seq), None) => HistoryPage::Around { seq, limit },
        (None, None, None, Some(page)) => HistoryPage::Numbered { page, limit },
        _ => {
            let detail = "expected one of `before`, `after`, `around` and `page`, found several";
            return Err(Problem::new(Code::BadRequest, detail));
        }
    };
    Ok(Json(app.store.history(&person.actor(), id, page).await?))
}

/// What has changed in a chat: messages sent, edited, deleted, and who has read how far. Ask until `has_more` is false.
#[utoipa::path(get, path = "/v1/chats/{chat}/changes", tag = "messages",
    params(("chat" = uuid::Uuid, Path), Since), responses(
    (status = 200, description = "Each row that has changed, as it is", body = Changes),
))]
pub(super) async fn changes(
    State(app): State<Shared>,
    By(person, _): By<Reading>,
    At(id): At<ChatId>,
    Asked(since): Asked<Since>,
) -> Answer<Json<Changes>> {
    let (after, limit) = (since.after_rev.unwrap_or(0), since.limit.unwrap_or(PAGE));
    Ok(Json(
        app.store.changes(&person.actor(), id, after, limit).await?,
    ))
}

/// One message.
#[utoipa::path(get, path = "/v1/chats/{chat}/messages/{message}", tag = "messages",
    params(("chat" = uuid::Uuid, Path), ("message" = uuid::Uuid, Path)), responses(
    (status = 200, description = "The message", body = Message),
))]
pub(super) async fn show(
    State(app): State<Shared>,
    By(person, _): By<Reading>,
    At((chat, message)): At<(ChatId, MessageId)>,
) -> Answer<Json<Message>> {
    Ok(Json(
        app.store.message(&person.actor(), chat, message).await?,
    ))
}

/// Changes what one's own message says.
#[utoipa::path(patch, path = "/v1/chats/{chat}/messages/{message}", tag = "messages", request_body = Edit,
    params(("chat" = uuid::Uuid, Path), ("message" = uuid::Uuid, Path)), responses(
    (status = 200, description = "The message from now on", body = Message),
    SomebodyElses,
))]
pub(super) async fn edit(
    State(app): State<Shared>,
    By(person, _): By<Sending>,
    At((chat, message)): At<(ChatId, MessageId)>,
    Input(edit): Input<Edit>,
) -> Answer<Json<Message>> {
    Ok(Json(
        app.store
            .edit(&person.actor(), chat, message, edit.body)
            .await?,
    ))
}

/// Deletes a message: one's own, or as a moderator. Its place stays, empty.
#[utoipa::path(delete, path = "/v1/chats/{chat}/messages/{message}", tag = "messages",
    params(("chat" = uuid::Uuid, Path), ("message" = uuid::Uuid, Path)), responses(
    (status = 200, description = "What is left of it", body = Message),
    SomebodyElses,
))]
pub(super) async fn delete(
    State(app): State<Shared>,
    By(person, _): By<Sending>,
    At((chat, message)): At<(ChatId, MessageId)>,
) -> Answer<Json<Message>> {
    Ok(Json(
        app.store.delete(&person.actor(), chat, message).await?,
    ))
}
