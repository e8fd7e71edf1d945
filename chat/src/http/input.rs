//! What comes in, read once and refused with words: the body, the query, the path, and who asks.
//!
//! Knows no route. Rule: whatever the framework would refuse by itself is refused as a problem here.

use std::marker::PhantomData;

use axum::Json;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::limits::Kind;
use super::problem::{Answer, Code, Problem};
use super::{App, Shared};
use crate::identity::{Person, Rejected};

/// The header that a browser's session is shown with.
pub(crate) const SESSION: &str = "tenure-session";

/// A body of JSON.
pub(super) struct Input<T>(pub(super) T);

/// A body of JSON that may be left out.
pub(super) struct MaybeInput<T>(pub(super) T);

/// The query.
pub(super) struct Asked<T>(pub(super) T);

/// The path.
pub(super) struct At<T>(pub(super) T);

/// Who asks, counted as one who sends, reads and so on.
pub(super) struct By<K>(pub(super) Person, pub(super) PhantomData<K>);

/// What a request is counted as.
pub(super) trait Counted {
    const KIND: Kind;
    /// Whether guests may ask it at all.
    const FOR_GUESTS: bool;
}

macro_rules! counted {
    ($($(#[$doc:meta])* $name:ident = $kind:ident, $guests:literal;)*) => {$(
        $(#[$doc])*
        pub(super) struct $name;
        impl Counted for $name {
            const KIND: Kind = Kind::$kind;
            const FOR_GUESTS: bool = $guests;
        }
    )*};
}

counted! {
    /// Changes what is stored.
    Sending = Send, true;
    /// Says what somebody does.
    Acting = Typing, true;
    /// Comes and goes.
    Attending = Lock, true;
    /// Takes, keeps and gives back locks.
    Locking = Lock, false;
    /// Looks.
    Reading = Read, true;
    /// Looks at what the organisation has locked.
    Surveying = Read, false;
}

impl<T: DeserializeOwned> FromRequest<Shared> for Input<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Shared) -> Answer<Self> {
        match in_time(app, Json::<T>::from_request(request, app)).await? {
            Ok(Json(input)) => Ok(Self(input)),
            Err(rejection) => Err(refused(&rejection)),
        }
    }
}

impl<T: DeserializeOwned + Default> FromRequest<Shared> for MaybeInput<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Shared) -> Answer<Self> {
        let kind = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        let is_json =
            kind.is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/json"));
        let body = in_time(app, Bytes::from_request(request, app))
            .await?
            .map_err(|rejection| too_large(&rejection))?;
        if body.is_empty() {
            return Ok(Self(T::default()));
        }
        if !is_json {
            let detail = "expected `content-type: application/json`, found another or none";
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
        let Json(input) =
            Json::<Option<T>>::from_bytes(&body).map_err(|rejection| refused(&rejection))?;
        Ok(Self(input.unwrap_or_default()))
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Answer<Self> {
        let query = Query::<T>::from_request_parts(parts, app).await;
        query
            .map(|Query(asked)| Self(asked))
            .map_err(|rejection| Problem::new(Code::BadRequest, rejection.body_text()))
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Answer<Self> {
        // What is no id is the id of nothing.
        let path = Path::<T>::from_request_parts(parts, app).await;
        path.map(|Path(at)| Self(at))
            .map_err(|_| Problem::not_found("thing"))
    }
}

impl<K: Counted> FromRequestParts<Shared> for By<K> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Answer<Self> {
        let person = caller(app, &parts.headers)?;
        app.limits.take(K::KIND, &person)?;
        if !K::FOR_GUESTS && person.role.is_guest() {
            let detail = "expected a member, found a guest";
            return Err(Problem::new(Code::Forbidden, detail));
        }
        Ok(Self(person, PhantomData))
    }
}

/// Who asks, by the token in the header.
pub(super) fn caller(app: &Shared, headers: &HeaderMap) -> Answer<Person> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        let how = "expected a token: `authorization: Bearer TOKEN`";
        return Err(Problem::new(Code::Unauthenticated, how));
    };
    let token = header.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let Some(token) = token else {
        let how = "expected `authorization: Bearer TOKEN`, found something else";
        return Err(Problem::new(Code::Unauthenticated, how));
    };
    whose(app, token)
}

/// Whose token it is.
pub(super) fn whose(app: &Shared, token: &str) -> Answer<Person> {
    app.verifier
        .person(token)
        .map_err(|Rejected { expired, detail }| {
            let code = if expired {
                Code::TokenExpired
            } else {
                Code::Unauthenticated
            };
            Problem::new(code, detail)
        })
}

/// The session that a browser shows, if it does.
pub(super) fn session(headers: &HeaderMap) -> Answer<Option<&str>> {
    let Some(header) = headers.get(SESSION) else {
        return Ok(None);
    };
    let text = header.to_str().ok().filter(|text| !text.is_empty());
    text.map(Some).ok_or_else(|| {
        Problem::new(
            Code::BadRequest,
            "tenure-session: expected what POST /v1/sessions gave, found something else",
        )
    })
}

/// A body as long as one may take to send it.
async fn in_time<T>(app: &App, reading: impl Future<Output = T>) -> Answer<T> {
    let within = app.body_within;
    timeout(within, reading).await.map_err(|_| {
        let detail = format!(
            "expected the body within {} s of the head; nothing was done, send it again",
            within.as_secs()
        );
        Problem::new(Code::TooSlow, detail)
    })
}

fn refused(rejection: &JsonRejection) -> Problem {
    match rejection {
        JsonRejection::MissingJsonContentType(_) => {
            let detail = "expected `content-type: application/json`, found another or none";
            Problem::new(Code::UnsupportedMediaType, detail)
        }
        JsonRejection::JsonDataError(error) => Problem::new(Code::Invalid, error.body_text()),
        JsonRejection::JsonSyntaxError(error) => Problem::new(Code::BadRequest, error.body_text()),
        JsonRejection::BytesRejection(error) => too_large(error),
        _ => Problem::new(Code::BadRequest, rejection.body_text()),
    }
}

fn too_large(rejection: &BytesRejection) -> Problem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let detail = format!("expected a body of at most {} bytes", super::BODY_BYTES_MAX);
        return Problem::new(Code::TooLarge, detail);
    }
    Problem::new(Code::BadRequest, rejection.body_text())
}
