//! Locks of documents, for applications that do not speak the lock server's protocol: any path, but for those of chats.
//!
//! Rule: freeing others' locks is for admins, needs a reason, and is in the audit log.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenure_client::{EndedHold, Mode, Target};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::answers::{
    ForAdmins, Held, NotForGuests, NotForMembers, NotHeld, NotKept, OwnSession, SessionIfAny,
    SessionOrAll, SessionOver,
};
use super::input::{Asked, By, Input, Locking, Surveying};
use super::locks::{
    Letting, LockTerms, OwnHold, OwnLock, let_go, not_held, present, release_name, shown, ttl,
};
use super::problem::{Answer, Code, Problem};
use crate::identity::Person;
use crate::locks::{LockView, Trouble, chat_at, is_reserved};
use crate::store::{NewAudit, Role};

/// Bytes of the longest path.
const PATH_BYTES_MAX: usize = 512;

/// Holds that a list gives at most.
const LISTED_MAX: usize = 1000;

/// Holds on a page that the lock server is asked for.
const PAGE: u32 = 256;

/// A lock that is wanted.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Acquiring {
    /// What it is on: `doc/quote-123`.
    #[schema(min_length = 1, max_length = 512, example = "doc/quote-123")]
    path: String,
    /// Beside others, at most so many; alone by default.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 4096)]
    shared: Option<u32>,
    /// How it is wanted.
    #[serde(flatten)]
    terms: LockTerms,
}

/// Which lock of one's own.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct OwnPath {
    /// What it is on.
    #[schema(min_length = 1, max_length = 512, example = "doc/quote-123")]
    path: String,
    /// Which hold, and for how long.
    #[serde(flatten)]
    hold: OwnHold,
}

/// Who is told no.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Declining {
    /// The lock.
    #[schema(min_length = 1, max_length = 512, example = "doc/quote-123")]
    path: String,
    /// The `ask` of the event `lock.asked`.
    ask: u64,
}

/// Which locks are freed, and why.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Forcing {
    /// The lock of this path; it may be a chat's.
    #[schema(min_length = 1, max_length = 512, example = "doc/quote-123")]
    path: String,
    /// Why: whoever loses it is told, and it is in the audit log.
    #[schema(min_length = 1, max_length = 1024)]
    reason: String,
}

/// Which locks are freed, and why.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Clearing {
    /// Those whose paths begin so; all of the organisation, if it is left out.
    #[serde(default)]
    #[schema(max_length = 512, example = "doc/")]
    prefix: Option<String>,
    /// Those of this person alone.
    #[serde(default)]
    #[schema(max_length = 128)]
    person: Option<String>,
    /// Why: whoever loses one is told, and it is in the audit log.
    #[schema(min_length = 1, max_length = 1024)]
    reason: String,
}

/// What was freed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Freed {
    /// Each hold that has ended.
    ended: Vec<FreedHold>,
}

/// A hold that has ended.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FreedHold {
    /// What it was on.
    path: String,
    /// Whose it was.
    person: String,
    /// How they are called.
    name: String,
    /// The token it had.
    token: u64,
}

/// Whom a lock was given to.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Handed {
    /// Who has it.
    person: Option<String>,
}

/// Which lock.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// What it is on.
    #[param(min_length = 1, max_length = 512)]
    path: String,
}

/// Which locks.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Listing {
    /// Those whose paths begin so.
    #[param(max_length = 512)]
    prefix: Option<String>,
    /// Those of this person.
    #[param(max_length = 128)]
    person: Option<String>,
}

/// Locks that are held.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Listed {
    /// By path; one for each holder.
    items: Vec<LockView>,
    /// Whether there are more than are given: ask with a longer prefix.
    truncated: bool,
}

/// Takes the lock of a document.
#[utoipa::path(post, path = "/v1/locks/acquire", tag = "document locks", request_body = Acquiring,
    params(SessionIfAny),
    responses(
    (status = 200, description = "It is yours", body = OwnLock),
    NotForMembers,
    Held,
    SessionOver,
))]
pub(super) async fn acquire(
    State(app): State<Shared>,
    By(person, _): By<Locking>,
    headers: HeaderMap,
    Input(acquiring): Input<Acquiring>,
) -> Answer<Json<OwnLock>> {
    let path = of_document(acquiring.path)?;
    let mut wish = acquiring.terms.wish(path.clone(), &person)?;
    if let Some(limit) = acquiring.shared {
        (wish.mode, wish.limit) = (Mode::Shared, Some(limit));
    }
    let seized = wish.seize.clone();
    let present = present(&app, &person, &headers).await?;
    let granted = present.browser.acquire(wish).await?;
    if let Some(reason) = seized {
        audit(
            &app,
            &person,
            "lock.seized",
            json!({"path": path, "reason": reason}),
        )
        .await?;
    }
    Ok(Json(OwnLock::new(path, &granted, present.ticket)))
}

/// Gives the lock of a document back.
#[utoipa::path(post, path = "/v1/locks/release", tag = "document locks", request_body = OwnPath,
    params(SessionOrAll),
    responses(
    (status = 200, description = "How it went", body = Letting),
    NotForGuests,
    Held,
    NotHeld,
))]
pub(super) async fn release(
    State(app): State<Shared>,
    By(person, _): By<Locking>,
    headers: HeaderMap,
    Input(own): Input<OwnPath>,
) -> Answer<Json<Letting>> {
    let path = of_document(own.path)?;
    match let_go(&app, &person, &headers, &path, own.hold.token).await {
        Ok(released) => Ok(Json(Letting::new(release_name(released)))),
        Err(Trouble::Lost(loss)) => Err(not_held(&app, &person, &path, loss, Code::Held).await),
        Err(other) => Err(other.into()),
    }
}

/// Keeps the lock of a document, for its term or for a longer one.
#[utoipa::path(post, path = "/v1/locks/extend", tag = "document locks", request_body = OwnPath,
    params(OwnSession),
    responses(
    (status = 200, description = "It is yours still", body = OwnLock),
    NotForGuests,
    NotKept,
))]
pub(super) async fn extend(
    State(app): State<Shared>,
    By(person, _): By<Locking>,
    headers: HeaderMap,
    Input(own): Input<OwnPath>,
) -> Answer<Json<OwnLock>> {
    let path = of_document(own.path)?;
    let present = shown(&app, &person, &headers).await?;
    let granted = present
        .browser
        .renew(&path, ttl(own.hold.ttl_ms)?, own.hold.token)
        .await?;
    Ok(Json(OwnLock::new(path, &granted, present.ticket)))
}

/// Gives a lock to the first who has asked for it with a note.
#[utoipa::path(post, path = "/v1/locks/hand-over", tag = "document locks", request_body = OwnPath,
    params(OwnSession),
    responses(
    (status = 200, description = "Who has it from now on", body = Handed),
    NotForGuests,
    NotHeld,
))]
pub(super) async fn hand_over(
    State(app): State<Shared>,
    By(person, _): By<Locking>,
    headers: HeaderMap,
    Input(own): Input<OwnPath>,
) -> Answer<Json<Handed>> {
    let present = shown(&app, &person, &headers).await?;
    let given = present.browser.hand_over(&of_length(own.path)?).await?;
    Ok(Json(Handed { person: given }))
}

/// Tells somebody who has asked for a lock that the answer is no. They may go on waiting.
#[utoipa::path(post, path = "/v1/locks/decline", tag = "document locks", request_body = Declining,
    params(OwnSession),
    responses(
    (status = 204, description = "They were told"),
    NotForGuests,
    NotHeld,
))]
pub(super) async fn decline(
    State(app): State<Shared>,
    By(person, _): By<Locking>,
    headers: HeaderMap,
    Input(declining): Input<Declining>,
) -> Answer<StatusCode> {
    let present = shown(&app, &person, &headers).await?;
    present
        .browser
        .decline(&of_length(declining.path)?, declining.ask)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who holds a document.
#[utoipa::path(get, path = "/v1/locks/status", tag = "document locks", params(Which), responses(
    (status = 200, description = "Its lock at this moment", body = LockView),
    NotForGuests,
))]
pub(super) async fn status(
    State(app): State<Shared>,
    By(person, _): By<Surveying>,
    Asked(which): Asked<Which>,
) -> Answer<Json<LockView>> {
    let path = of_document(which.path)?;
    let status = app
        .link
        .ask(app.link.client().status(&person.org, &path))
        .await?;
    Ok(Json(LockView::from(&status)))
}

/// The documents of the organisation that are locked, by path.
#[utoipa::path(get, path = "/v1/locks", tag = "document locks", params(Listing), responses(
    (status = 200, description = "At most 1,000 of them", body = Listed),
    NotForGuests,
))]
pub(super) async fn list(
    State(app): State<Shared>,
    By(person, _): By<Surveying>,
    Asked(listing): Asked<Listing>,
) -> Answer<Json<Listed>> {
    let target = match (&listing.prefix, &listing.person) {
        (Some(prefix), _) if !prefix.is_empty() => Target::prefix(of_length(prefix.clone())?),
        (_, Some(owner)) if !owner.is_empty() => Target::owner(owner.clone()),
        _ => Target::All,
    };
    let mut pages = app
        .link
        .client()
        .list(person.org.as_str())
        .target(target)
        .page_size(PAGE)
        .pages();
    let mut items = Vec::new();
    while items.len() <= LISTED_MAX {
        let Some(page) = app.link.ask(pages.next_page()).await? else {
            break;
        };
        let is_theirs = |owner: &str| {
            listing
                .person
                .as_deref()
                .is_none_or(|person| person.is_empty() || person == owner)
        };
        let shown = page
            .iter()
            .filter(|hold| !is_reserved(&hold.path) && is_theirs(&hold.holder.owner));
        items.extend(shown.map(LockView::from));
    }
    let truncated = items.len() > LISTED_MAX;
    items.truncate(LISTED_MAX);
    Ok(Json(Listed { items, truncated }))
}

/// Frees one lock, whoever holds it. Admins may.
#[utoipa::path(post, path = "/v1/locks/force-release", tag = "document locks", request_body = Forcing, responses(
    (status = 200, description = "What was freed", body = Freed),
    ForAdmins,
))]
pub(super) async fn force_release(
    State(app): State<Shared>,
    By(person, _): By<Locking>,
    Input(forcing): Input<Forcing>,
) -> Answer<Json<Freed>> {
    let path = of_length(forcing.path)?;
    force(
        &app,
        &person,
        Target::path(path.clone()),
        &path,
        forcing.reason,
    )
    .await
}

/// Frees many locks, whoever holds them. Admins may.
#[utoipa::path(post, path = "/v1/locks/clear", tag = "document locks", request_body = Clearing, responses(
    (status = 200, description = "What was freed", body = Freed),
    ForAdmins,
))]
pub(super) async fn clear(
    State(app): State<Shared>,
    By(person, _): By<Locking>,
    Input(clearing): Input<Clearing>,
) -> Answer<Json<Freed>> {
    let prefix = clearing.prefix.filter(|prefix| !prefix.is_empty());
    let owner = clearing.person.filter(|person| !person.is_empty());
    let (target, what) = match (prefix, owner) {
        (Some(_), Some(_)) => {
            return Err(Problem::new(
                Code::Invalid,
                "expected `prefix` or `person`, found both",
            ));
        }
        (Some(prefix), None) => (Target::prefix(of_length(prefix.clone())?), prefix),
        (None, Some(owner)) => (Target::owner(owner.clone()), owner),
        (None, None) => (Target::All, "**".to_owned()),
    };
    force(&app, &person, target, &what, clearing.reason).await
}

async fn force(
    app: &Shared,
    person: &Person,
    target: Target,
    what: &str,
    reason: String,
) -> Answer<Json<Freed>> {
    if person.role < Role::Admin {
        return Err(Problem::new(
            Code::Forbidden,
            "expected an admin to free locks of others, found somebody else",
        ));
    }
    let said = format!("{reason} (by {})", person.id);
    let forced = app
        .link
        .client()
        .force_release(person.org.as_str(), target, said);
    let ended = app.link.ask(forced.into_future()).await?;
    let detail = json!({"what": what, "reason": reason, "ended": ended.len()});
    let chat = chat_at(what);
    let line = NewAudit {
        act: "lock.force_released".into(),
        chat,
        detail,
    };
    app.store.audit_add(&person.actor(), line).await?;
    Ok(Json(Freed {
        ended: ended.into_iter().map(FreedHold::from).collect(),
    }))
}

async fn audit(app: &Shared, person: &Person, act: &str, detail: serde_json::Value) -> Answer<()> {
    let line = NewAudit {
        act: act.to_owned(),
        chat: None,
        detail,
    };
    app.store.audit_add(&person.actor(), line).await?;
    Ok(())
}

impl From<EndedHold> for FreedHold {
    fn from(hold: EndedHold) -> Self {
        Self {
            path: hold.path,
            person: hold.owner,
            name: hold.name,
            token: hold.token,
        }
    }
}

/// A path that is no chat's: those are locked where it is known who may see them.
fn of_document(path: String) -> Answer<String> {
    if is_reserved(&path) {
        let detail = "path: expected a document, found one that begins with `chat` or `user`; chats have their own routes";
        return Err(Problem::new(Code::Invalid, detail));
    }
    of_length(path)
}

fn of_length(path: String) -> Answer<String> {
    if (1..=PATH_BYTES_MAX).contains(&path.len()) {
        return Ok(path);
    }
    let detail = format!(
        "path: expected 1 to {PATH_BYTES_MAX} bytes, found {}",
        path.len()
    );
    Err(Problem::new(Code::Invalid, detail))
}
