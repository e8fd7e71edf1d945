//! What presence sees of the locks: who speaks through an attachment, and who holds a path.
//! It changes nothing there. The only file of presence that knows the engine.

use super::reply::Rejection;
use crate::command::Role;
use crate::engine::Engine;
use crate::event::Who;
use crate::ids::SessionRef;
use crate::time::{LogTime, Millis};

/// See the file's header. [`Engine`] has it; tests have smaller ones.
pub trait Sight {
    /// The session that this attachment speaks for, if it does so at this instant.
    ///
    /// # Errors
    /// [`Rejection::UnknownSession`] or [`Rejection::NotAttached`].
    fn session(&self, by: SessionRef, now: LogTime) -> Result<Seen<'_>, Rejection>;

    /// Who holds the path at this instant, whoever has held it longest first.
    fn holders(&self, org: &str, path: &str, now: LogTime) -> impl Iterator<Item = Who<&str>>;
}

/// A session, as presence sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen<'a> {
    /// The tenant.
    pub org: &'a str,
    /// On whose behalf it acts.
    pub who: Who<&'a str>,
    /// How much it may do, and so see.
    pub role: Role,
    /// How long it has had neither hold nor wait nor been renewed; zero if it has any.
    pub idle: Millis,
}

impl Sight for Engine {
    fn session(&self, by: SessionRef, now: LogTime) -> Result<Seen<'_>, Rejection> {
        let session = self.sessions.find(by.session);
        let session = session.filter(|session| !session.is_over(now));
        let session = session.ok_or(Rejection::UnknownSession)?;
        if session.attached() != Some(by) {
            return Err(Rejection::NotAttached);
        }
        let is_bare = session.locks.is_empty() && session.waits.is_empty();
        Ok(Seen {
            org: &self.org(session.org).name,
            who: session.who(),
            role: session.role,
            idle: if is_bare {
                session.idle_since.until(now)
            } else {
                Millis::ZERO
            },
        })
    }

    fn holders(&self, org: &str, path: &str, now: LogTime) -> impl Iterator<Item = Who<&str>> {
        let lock = self.find(org, path).map(|lock| self.lock(lock));
        let holds = lock.into_iter();
        let holds = holds.flat_map(move |lock| self.live_holds(lock, now));
        holds.map(|hold| self.who_holds(hold))
    }
}
