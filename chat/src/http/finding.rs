//! Looking for messages, the audit log, and who one is.
//!
//! Rule: what is looked for is words, never a query.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Shared;
use super::input::{Asked, By, Reading};
use super::problem::{Answer, Code, Problem, ProblemDetails};
use crate::identity::Person;
use crate::store::{AuditLine, ChatId, Found, Page, PageRequest, SearchRequest, UnixMs};

/// What to look for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Searching {
    /// Words that all have to be there, at most 16.
    #[param(min_length = 1, max_length = 1024)]
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
