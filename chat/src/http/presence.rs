//! Who is in a chat, and what they do there.
//!
//! Rule: only who may see a chat may be in it, or see who is.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tenure_client::Activity;
use utoipa::ToSchema;

use super::Shared;
use super::answers::{NotInternally, NotWithThisKey, SessionIfAny, SessionOver};
use super::input::{Acting, At, By, Input, MaybeInput, Reading, session};
use super::locks::{is_seen, present};
use super::problem::{Answer, Code, Problem, ProblemDetails};
use crate::identity::Person;
use crate::locks::{Does, ViewersView, chat_path};
use crate::store::ChatId;

/// What somebody does in a chat.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Doing {
    /// Looks at it.
    Viewing,
    /// Has it open and does nothing.
    Idle,
    /// Writes something: ends by itself after some seconds, and with the message.
    Typing,
    /// Changes it.
    Editing,
}

/// What one does there.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct NewPresence {
    /// What.
    activity: Doing,
    /// Whether typing is for members and higher alone: to guests it is viewing.
    #[serde(default)]
    internal: bool,
}

/// For whom one types.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct NewTyping {
    /// Whether for members and higher alone, as a note among colleagues is: to guests it is viewing.
    #[serde(default)]
    internal: bool,
}

/// One is there.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Here {
    /// How near others come: `none`, `viewing`, `typing` or `editing`.
    collision: &'static str,
    /// Your session. Show it as `tenure-session` from now on.
    session: String,
}

impl From<Doing> for Activity {
    fn from(doing: Doing) -> Self {
        match doing {
            Doing::Viewing => Self::Viewing,
            Doing::Idle => Self::Idle,
            Doing::Typing => Self::Typing,
            Doing::Editing => Self::Editing,
        }
    }
}

/// Says that one is in a chat, and what one does there. Goes on as long as the session lives.
#[utoipa::path(put, path = "/v1/chats/{chat}/presence", tag = "presence", request_body = NewPresence,
    params(("chat" = uuid::Uuid, Path), SessionIfAny),
    responses(
    (status = 200, description = "You are there", body = Here),
    NotInternally,
    SessionOver,
))]
pub(super) async fn enter(
    State(app): State<Shared>,
    By(person, _): By<Acting>,
    At(chat): At<ChatId>,
    headers: HeaderMap,
    Input(new): Input<NewPresence>,
) -> Answer<Json<Here>> {
    act(&app, &person, chat, &headers, new).await
}

/// Says that one types: with every key stroke, if you like, though one in three seconds will do.
#[utoipa::path(post, path = "/v1/chats/{chat}/typing", tag = "presence", request_body = Option<NewTyping>,
    params(("chat" = uuid::Uuid, Path), SessionIfAny),
    responses(
    (status = 200, description = "It is told to the others", body = Here),
    NotInternally,
    SessionOver,
))]
pub(super) async fn typing(
    State(app): State<Shared>,
    By(person, _): By<Acting>,
    At(chat): At<ChatId>,
    headers: HeaderMap,
    MaybeInput(NewTyping { internal }): MaybeInput<NewTyping>,
) -> Answer<Json<Here>> {
    let activity = Doing::Typing;
    let new = NewPresence { activity, internal };
    act(&app, &person, chat, &headers, new).await
}

async fn act(
    app: &Shared,
    person: &Person,
    chat: ChatId,
    headers: &HeaderMap,
    new: NewPresence,
) -> Answer<Json<Here>> {
    is_seen(app, person, chat).await?;
    if new.internal && person.role.is_guest() {
        let detail = "internal: expected a member, found a guest";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    let present = present(app, person, headers).await?;
    let doing = if new.internal && matches!(new.activity, Doing::Typing) {
        Does::TypingInternally
    } else {
        Does::Openly(new.activity.into())
    };
    let collision = present.browser.act(&chat_path(chat), doing).await?;
    Ok(Json(Here {
        collision: collision.level.name(),
        session: present.ticket,
    }))
}

/// Leaves a chat. Where one is not, that is as good.
#[utoipa::path(delete, path = "/v1/chats/{chat}/presence", tag = "presence",
    params(("chat" = uuid::Uuid, Path), ("tenure-session" = Option<String>, Header, description = "Your session")),
    responses(
    (status = 204, description = "You are not there"),
    NotWithThisKey,
    (status = 410, description = "`session_over`",
        body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(super) async fn leave(
    State(app): State<Shared>,
    By(person, _): By<Acting>,
    At(chat): At<ChatId>,
    headers: HeaderMap,
) -> Answer<StatusCode> {
    if let Some(ticket) = session(&headers)? {
        let present = app.sessions.find(ticket, &person).await?;
        present.browser.leave(&chat_path(chat));
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Who is in a chat.
#[utoipa::path(get, path = "/v1/chats/{chat}/viewers", tag = "presence", params(("chat" = uuid::Uuid, Path)), responses(
    (status = 200, description = "Who is there at this moment", body = ViewersView),
    NotWithThisKey,
))]
pub(super) async fn viewers(
    State(app): State<Shared>,
    By(person, _): By<Reading>,
    At(chat): At<ChatId>,
) -> Answer<Json<ViewersView>> {
    is_seen(&app, &person, chat).await?;
    let listing = app
        .link
        .client()
        .viewers(person.org.as_str(), chat_path(chat));
    let paths = app.link.ask(listing.all()).await?;
    let viewers = paths.first().map(ViewersView::from).unwrap_or_default();
    Ok(Json(viewers.shown_to(person.role)))
}
