//! The locks of chats: taken, kept, given back, looked at.
//!
//! A lock that is granted puts its token into the chat's row before the browser hears of it, so that a message with an older
//! token is refused from then on. Rule: only who may see a chat may lock it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use tenure_client::{Mode, ReleaseScope, Released};
use utoipa::ToSchema;

use super::Shared;
use super::answers::{
    Locked, NotForGuests, NotForMembers, NotHeld, NotKept, NotWithThisKey, OwnSession,
    SessionIfAny, SessionOrAll, SessionOver,
};
use super::input::{At, By, Locking, MaybeInput, Reading, session};
use super::problem::{Answer, Code, Problem};
use super::refusal::{kept_out, locked};
use crate::identity::Person;
use crate::locks::{Granted, LockView, Present, Trouble, Wish, chat_path, millis};
use crate::store::{ChatId, Error, NewAudit, Role, Thing};

/// Longest wait in a queue: proxies give up on an answer that takes longer.
const WAIT_MAX: Duration = Duration::from_secs(55);

/// Shortest and longest life of a lock without a sign of life, in milliseconds; the lock server's.
const TTL_MS: std::ops::RangeInclusive<u64> = 1000..=24 * 60 * 60 * 1000;

/// Bytes of the longest note or reason.
const NOTE_BYTES_MAX: usize = 1024;

/// How a lock is wanted.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct LockTerms {
    /// How long it is held without a feed or a heartbeat, in milliseconds: 1 s to 24 h, within the lock server's policy; 5 min
    /// by default.
    #[serde(default)]
    #[schema(minimum = 1000, maximum = 86_400_000)]
    pub(super) ttl_ms: Option<u64>,
    /// How long to wait in the queue, in milliseconds: 55 s at most; 0, the default, wants an answer at once.
    #[serde(default)]
    #[schema(maximum = 55_000)]
    pub(super) wait_ms: Option<u64>,
    /// "May I have it?", told to whoever holds it.
    #[serde(default)]
    #[schema(max_length = 1024)]
    pub(super) note: Option<String>,
    /// Takes it from whoever holds it, for this reason. Moderators may.
    #[serde(default)]
    #[schema(max_length = 1024)]
    pub(super) seize: Option<String>,
}

/// Which hold of one's own.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(super) struct OwnHold {
    /// Only the hold with this token.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    pub(super) token: Option<u64>,
    /// How long it is held from now on, in milliseconds, if that is longer.
    #[serde(default)]
    #[schema(minimum = 1000, maximum = 86_400_000)]
    pub(super) ttl_ms: Option<u64>,
}

/// A lock that is yours.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OwnLock {
    /// What it is on.
    path: String,
    /// The fencing token: name it with what you write.
    token: u64,
    /// `exclusive` or `shared`.
    mode: String,
    /// How long it is held at least, without a feed or a heartbeat.
    remaining_ms: u64,
    /// Your session. Show it as `tenure-session` from now on.
    session: String,
}

/// How a release went.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Letting {
    /// `ended`; `owner_holds`, if another browser of yours holds on; `already_expired`.
    released: &'static str,
}

impl Letting {
    pub(super) const fn new(released: &'static str) -> Self {
        Self { released }
    }
}

impl OwnLock {
    pub(super) fn new(path: String, granted: &Granted, session: String) -> Self {
        Self {
            path,
            token: granted.token,
            mode: granted.mode.to_owned(),
            remaining_ms: millis(granted.remaining),
            session,
        }
    }
}

impl LockTerms {
    /// As the lock server is asked; an exclusive lock.
    pub(super) fn wish(self, path: String, person: &Person) -> Answer<Wish> {
        for (field, text) in [("note", &self.note), ("seize", &self.seize)] {
            let length = text.as_ref().map_or(1, String::len);
            if !(1..=NOTE_BYTES_MAX).contains(&length) {
                let detail =
                    format!("{field}: expected 1 to {NOTE_BYTES_MAX} bytes, found {length}");
                return Err(Problem::new(Code::Invalid, detail));
            }
        }
        if self.seize.is_some() && person.role < Role::Moderator {
            let detail = "expected a moderator to take a lock from somebody, found a member; ask with `note` and `wait_ms`";
            return Err(Problem::new(Code::Forbidden, detail));
        }
        let wait = Duration::from_millis(self.wait_ms.unwrap_or(0));
        if wait > WAIT_MAX {
            let detail = format!(
                "wait_ms: expected at most {}, found more",
                WAIT_MAX.as_millis()
            );
            return Err(Problem::new(Code::Invalid, detail));
        }
        Ok(Wish {
            path,
            mode: Mode::Exclusive,
            limit: None,
            ttl: ttl(self.ttl_ms)?,
            wait,
            note: self.note,
            seize: self.seize,
        })
    }
}

pub(super) fn ttl(ttl_ms: Option<u64>) -> Answer<Option<Duration>> {
    match ttl_ms {
        Some(ttl) if !TTL_MS.contains(&ttl) => {
            let (min, max) = (TTL_MS.start(), TTL_MS.end());
            Err(Problem::new(
                Code::Invalid,
                format!("ttl_ms: expected {min} to {max}, found {ttl}"),
            ))
        }
        ttl => Ok(ttl.map(Duration::from_millis)),
    }
}

pub(super) const fn release_name(released: Released) -> &'static str {
    match released {
        Released::Ended => "ended",
        Released::AlreadyExpired => "already_expired",
        Released::OwnerHolds | Released::SessionHolds | _ => "owner_holds",
    }
}

/// The session that the request shows, or one that is made for it.
pub(super) async fn present(app: &Shared, person: &Person, headers: &HeaderMap) -> Answer<Present> {
    let present = match session(headers)? {
        Some(ticket) => app.sessions.find(ticket, person).await,
        None => app.sessions.open(person).await,
    };
    present.map_err(Problem::from)
}

/// The session that the request has to show.
pub(super) async fn shown(app: &Shared, person: &Person, headers: &HeaderMap) -> Answer<Present> {
    match session(headers)? {
        Some(ticket) => Ok(app.sessions.find(ticket, person).await?),
        None => {
            let detail =
                "expected the header `tenure-session`, as the lock was given with it, found none";
            Err(Problem::new(Code::BadRequest, detail))
        }
    }
}

/// Whether one may see it; a stranger is told that there is none.
pub(super) async fn is_seen(app: &Shared, person: &Person, chat: ChatId) -> Answer<()> {
    let seen = app.store.may_see(&person.actor(), &[chat]).await?;
    if seen.is_empty() {
        Err(Error::NotFound(Thing::Chat).into())
    } else {
        Ok(())
    }
}

/// Takes the chat's lock. The same person again keeps it, with the same token.
#[utoipa::path(post, path = "/v1/chats/{chat}/lock", tag = "chat locks", request_body = Option<LockTerms>,
    params(("chat" = uuid::Uuid, Path), SessionIfAny),
    responses(
    (status = 200, description = "It is yours", body = OwnLock),
    NotForMembers,
    SessionOver,
    Locked,
))]
pub(super) async fn lock(
    State(app): State<Shared>,
    By(person, _): By<Locking>,
    At(chat): At<ChatId>,
    headers: HeaderMap,
    MaybeInput(terms): MaybeInput<LockTerms>,
) -> Answer<Json<OwnLock>> {
    is_seen(&app, &person, chat).await?;
    let path = chat_path(chat);
    let seized = terms.seize.clone();
    let wish = terms.wish(path.clone(), &person)?;
    let present = present(&app, &person, &headers).await?;
    let granted = present.browser.acquire(wish).await.map_err(locked)?;
    let token = i64::try_from(granted.token).unwrap_or(i64::MAX);
    let actor = person.actor();
    if let Err(why) = app.store.record_lock(&actor, chat, token, &person.id).await {
        // A lock whose token is not known where it is compared is none.
        let _ = present
            .browser
            .release(&path, ReleaseScope::Session, None)
            .await;
        return Err(why.into());
    }
    if let Some(reason) = seized {
        let detail = serde_json::json!({"reason": reason, "token": token});
        let line = NewAudit {
            act: "lock.seized".into(),
            chat: Some(chat),
            detail,
        };
        app.store.audit_add(&actor, line).await?;
    }
    Ok(Json(OwnLock::new(path, &granted, present.ticket)))
}

/// Gives the chat's lock back.
#[utoipa::path(post, path = "/v1/chats/{chat}/unlock", tag = "chat locks", request_body = Option<OwnHold>,
    params(("chat" = uuid::Uuid, Path), SessionOrAll),
    responses(
    (status = 200, description = "How it went", body = Letting),
    NotForGuests,
    NotHeld,
    Locked,
))]
pub(super) async fn unlock(
    State(app): State<Shared>,
    By(person, _): By<Locking>,
    At(chat): At<ChatId>,
    headers: HeaderMap,
    MaybeInput(hold): MaybeInput<OwnHold>,
) -> Answer<Json<Letting>> {
    is_seen(&app, &person, chat).await?;
    let path = chat_path(chat);
    let released = let_go(&app, &person, &headers, &path, hold.token).await;
    match released {
        Ok(released) => Ok(Json(Letting::new(release_name(released)))),
        Err(Trouble::Lost(loss)) => Err(not_held(&app, &person, &path, loss, Code::Locked).await),
        Err(other) => Err(other.into()),
    }
}

/// Lets go with the session that is shown, or, for all of the person's, with one that is made for it.
pub(super) async fn let_go(
    app: &Shared,
    person: &Person,
    headers: &HeaderMap,
    path: &str,
    token: Option<u64>,
) -> Result<Released, Trouble> {
    let ticket = session(headers).map_err(|_| Trouble::SessionOver)?;
    if let Some(ticket) = ticket {
        let present = app.sessions.find(ticket, person).await?;
        return present
            .browser
            .release(path, ReleaseScope::Session, token)
            .await;
    }
    let present = app.sessions.open(person).await?;
    let released = present
        .browser
        .release(path, ReleaseScope::Owner, token)
        .await;
    // It was made for this alone; should it not be closed, it is when it has been idle.
    let _ = app.sessions.close(&present.browser).await;
    released
}

/// Whoever does not hold it learns who does.
pub(super) async fn not_held(
    app: &Shared,
    person: &Person,
    path: &str,
    loss: Option<Box<tenure_client::Loss>>,
    code: Code,
) -> Problem {
    let status = app
        .link
        .ask(app.link.client().status(&person.org, path))
        .await;
    match status.map(|status| LockView::from(&status)) {
        Ok(lock) if lock.keeps_out(&person.id) && loss.is_none() => kept_out(&lock, code),
        _ => Trouble::Lost(loss).into(),
    }
}

/// Keeps the chat's lock.
#[utoipa::path(post, path = "/v1/chats/{chat}/lock/heartbeat", tag = "chat locks", request_body = Option<OwnHold>,
    params(("chat" = uuid::Uuid, Path), OwnSession),
    responses(
    (status = 200, description = "It is yours still", body = OwnLock),
    NotForGuests,
    NotKept,
))]
pub(super) async fn heartbeat(
    State(app): State<Shared>,
    By(person, _): By<Locking>,
    At(chat): At<ChatId>,
    headers: HeaderMap,
    MaybeInput(hold): MaybeInput<OwnHold>,
) -> Answer<Json<OwnLock>> {
    is_seen(&app, &person, chat).await?;
    let path = chat_path(chat);
    let present = shown(&app, &person, &headers).await?;
    let granted = present
        .browser
        .renew(&path, ttl(hold.ttl_ms)?, hold.token)
        .await?;
    Ok(Json(OwnLock::new(path, &granted, present.ticket)))
}

/// Who holds the chat.
#[utoipa::path(get, path = "/v1/chats/{chat}/lock", tag = "chat locks", params(("chat" = uuid::Uuid, Path)), responses(
    (status = 200, description = "Its lock at this moment", body = LockView),
    NotWithThisKey,
))]
pub(super) async fn status(
    State(app): State<Shared>,
    By(person, _): By<Reading>,
    At(chat): At<ChatId>,
) -> Answer<Json<LockView>> {
    is_seen(&app, &person, chat).await?;
    let path = chat_path(chat);
    let status = app
        .link
        .ask(app.link.client().status(&person.org, &path))
        .await?;
    Ok(Json(LockView::from(&status)))
}
