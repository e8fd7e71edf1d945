//! Sessions and feeds of browsers.
//!
//! What is told is in `live/`. Rule: whoever shows a session must be the person it was made for.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tenure_client::Position;
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::answers::{NotWithThisKey, OwnSession, SessionOver};
use super::input::{Asked, Attending, By, caller, session, whose};
use super::limits::Kind;
use super::locks::shown;
use super::problem::{Answer, Code, Problem, ProblemDetails};

/// The header that browsers send by themselves when they come back.
const LAST_EVENT_ID: &str = "last-event-id";

/// A session.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewSession {
    /// Show it as `tenure-session`, to any companion. It is a secret: whoever has it and your token has your locks.
    session: String,
    /// How long its locks outlive its feed, in milliseconds.
    grace_ms: u64,
    /// How long it lives without a feed and without a request, in milliseconds.
    idle_ms: u64,
}

/// How a feed begins. Headers are better, but a browser's `EventSource` can send none.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Feed {
    /// The token, where there is no `authorization`.
    access_token: Option<String>,
    /// Your session, where there is no `tenure-session`.
    session: Option<String>,
    /// The id of the last event that you have, where there is no `last-event-id`.
    since: Option<String>,
}

/// Makes a session: one for each browser tab. It holds locks and is in chats.
#[utoipa::path(post, path = "/v1/sessions", tag = "live", responses(
    (status = 201, description = "It was made", body = NewSession),
    NotWithThisKey,
))]
pub(super) async fn open(
    State(app): State<Shared>,
    By(person, _): By<Attending>,
) -> Answer<Response> {
    let present = app.sessions.open(&person).await?;
    let new = NewSession {
        session: present.ticket,
        grace_ms: crate::locks::millis(app.grace),
        idle_ms: crate::locks::millis(app.idle),
    };
    Ok((StatusCode::CREATED, Json(new)).into_response())
}

/// Ends a session: what it holds is released, and it is nowhere any more.
#[utoipa::path(delete, path = "/v1/sessions", tag = "live",
    params(OwnSession), responses(
    (status = 204, description = "It is over"),
    NotWithThisKey,
    (status = 410, description = "`session_over`: it was over already",
        body = ProblemDetails, content_type = "application/problem+json"),
))]
pub(super) async fn close(
    State(app): State<Shared>,
    By(person, _): By<Attending>,
    headers: HeaderMap,
) -> Answer<StatusCode> {
    let present = shown(&app, &person, &headers).await?;
    app.sessions.close(&present.browser).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What happens in one's chats, as Server-Sent Events. Comes back with `last-event-id` where it was, or says `lost`.
#[utoipa::path(get, path = "/v1/feed", tag = "live",
    params(Feed, ("last-event-id" = Option<String>, Header, description = "The id of the last event that you have"),
        ("tenure-session" = Option<String>, Header, description = "Your session: its locks live as long as this")),
    responses(
    (status = 200, description = "Events, until the token ends: see the page of the feed", content_type = "text/event-stream", body = String),
    NotWithThisKey,
    SessionOver,
))]
pub(super) async fn feed(
    State(app): State<Shared>,
    headers: HeaderMap,
    Asked(feed): Asked<Feed>,
) -> Answer<Response> {
    let person = match &feed.access_token {
        Some(token) => whose(&app, token)?,
        None => caller(&app, &headers)?,
    };
    app.limits.take(Kind::Read, &person)?;
    let last = headers
        .get(LAST_EVENT_ID)
        .and_then(|value| value.to_str().ok());
    let since = match last
        .or(feed.since.as_deref())
        .filter(|text| !text.is_empty())
    {
        Some(text) => Some(
            text.parse::<Position>()
                .map_err(|why| Problem::new(Code::BadRequest, format!("last-event-id: {why}")))?,
        ),
        None => None,
    };
    let ticket = match session(&headers)? {
        Some(ticket) => Some(ticket),
        None => feed.session.as_deref().filter(|text| !text.is_empty()),
    };
    let browser = match ticket {
        Some(ticket) => Some(app.sessions.find(ticket, &person).await?),
        None => None,
    };
    let body = app.live.feed(person, since, browser).await?;
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would keep events to itself until it has a page of them.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}
