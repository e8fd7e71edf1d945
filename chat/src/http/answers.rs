//! What several routes are shown and answer, said once for the document of all routes.
//!
//! Knows no route. Nothing here is ever made: the document alone reads it.

#![expect(
    dead_code,
    reason = "the document is made of these types, not of values"
)]

use utoipa::{IntoParams, IntoResponses};

use super::problem::ProblemDetails;

/// The session of who asks, if there is one.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct SessionIfAny {
    /// Your session; without one, one is made
    #[param(rename = "tenure-session")]
    session: Option<String>,
}

/// The session of who lets go.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct SessionOrAll {
    /// Your session; without it, all of yours let go
    #[param(rename = "tenure-session")]
    session: Option<String>,
}

/// The session of who asks.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct OwnSession {
    /// Your session
    #[param(rename = "tenure-session")]
    session: String,
}

/// The session is of no use.
#[derive(IntoResponses)]
#[response(
    status = 410,
    description = "`session_over`: make another session",
    content_type = "application/problem+json"
)]
pub(super) struct SessionOver(ProblemDetails);

/// A lock that is kept was not held.
#[derive(IntoResponses)]
#[response(
    status = 410,
    description = "`lock_lost`: stop, it is not yours any more; `session_over`",
    content_type = "application/problem+json"
)]
pub(super) struct NotKept(ProblemDetails);

/// A lock that is given back, or on, was not held.
#[derive(IntoResponses)]
#[response(
    status = 410,
    description = "`lock_lost`: you did not hold it any more; `session_over`",
    content_type = "application/problem+json"
)]
pub(super) struct NotHeld(ProblemDetails);

/// Guests may not.
#[derive(IntoResponses)]
#[response(
    status = 403,
    description = "`forbidden`: it is not for guests",
    content_type = "application/problem+json"
)]
pub(super) struct NotForGuests(ProblemDetails);

/// Who asks may not seize.
#[derive(IntoResponses)]
#[response(
    status = 403,
    description = "`forbidden`: guests take no locks, and members none from others",
    content_type = "application/problem+json"
)]
pub(super) struct NotForMembers(ProblemDetails);

/// Who asks sees the chat, and no more.
#[derive(IntoResponses)]
#[response(
    status = 403,
    description = "`forbidden`: you see the chat, and do not take part in it",
    content_type = "application/problem+json"
)]
pub(super) struct ForParticipants(ProblemDetails);

/// Guests have no colleagues.
#[derive(IntoResponses)]
#[response(
    status = 403,
    description = "`forbidden`: guests do not type internally",
    content_type = "application/problem+json"
)]
pub(super) struct NotInternally(ProblemDetails);

/// The lock server does not let the companion.
#[derive(IntoResponses)]
#[response(
    status = 403,
    description = "`forbidden`: the companion's key for the lock server is not for your organisation",
    content_type = "application/problem+json"
)]
pub(super) struct NotWithThisKey(ProblemDetails);

/// Who asks may not free what others hold.
#[derive(IntoResponses)]
#[response(
    status = 403,
    description = "`forbidden`: admins free locks",
    content_type = "application/problem+json"
)]
pub(super) struct ForAdmins(ProblemDetails);

/// Who asks has not sent the message.
#[derive(IntoResponses)]
#[response(
    status = 403,
    description = "`forbidden`: it is somebody else's",
    content_type = "application/problem+json"
)]
pub(super) struct SomebodyElses(ProblemDetails);

/// A document is held.
#[derive(IntoResponses)]
#[response(
    status = 409,
    description = "`held`: somebody else holds it, see `lock`",
    content_type = "application/problem+json"
)]
pub(super) struct Held(ProblemDetails);

/// A chat is held.
#[derive(IntoResponses)]
#[response(
    status = 423,
    description = "`locked`: somebody else holds it, see `lock`",
    content_type = "application/problem+json"
)]
pub(super) struct Locked(ProblemDetails);
