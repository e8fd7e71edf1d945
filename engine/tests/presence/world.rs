//! What surrounds presence: sessions and holders, as plain lists; and what a test asks for, resolved into commands.
//! Stands in for the lock engine: it implements [`Sight`], and says what the edge would say when something happens.

use tenure_engine::presence::{Activity, Audience, Command, Enter, Rejection, Seen, Sight, Update};
use tenure_engine::{Attach, LogTime, Millis, Role, SessionId, SessionRef, Who};

pub(crate) const ORGS: [&str; 2] = ["acme", "beta"];
pub(crate) const PATHS: [&str; 5] = ["a", "a/b", "a/c", "ab", "z"];

/// A session, as the lock engine would have it.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) org: String,
    pub(crate) owner: String,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) attach: Attach,
    pub(crate) is_attached: bool,
    pub(crate) is_over: bool,
    pub(crate) keeps: bool,
    pub(crate) idle: Millis,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) sessions: Vec<Session>,
    /// Org, path, owner.
    holders: Vec<(String, String, String)>,
}

/// What a test asks for. Numbers pick one of what there is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    Tick,
    Open {
        org: u8,
        owner: u8,
        role: Role,
        keeps: bool,
    },
    /// Whoever holds it lets go; else it is held.
    Hold {
        org: u8,
        path: u8,
        owner: u8,
    },
    /// Something about a session.
    Of(u8, Deed),
}

/// What a session does, or what becomes of it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deed {
    Enter(u8, Activity, Audience, u8),
    Update(u8, Activity, Audience),
    Leave(u8),
    EndTyping(u8),
    Detach,
    Resume(Role),
    End,
    /// How long it has been without hold and wait.
    Idle(Millis),
}

/// A command with texts of its own.
#[derive(Debug, Clone)]
pub(crate) enum Owned {
    Tick,
    Enter(SessionRef, String, Activity, Audience, Vec<u8>),
    Update(SessionRef, String, Activity, Audience),
    Leave(SessionRef, String),
    EndTyping(SessionId, String),
    LockChanged(String, String),
    Resumed(SessionRef),
    Detached(SessionId, bool),
    Ended(SessionId),
}

impl Owned {
    pub(crate) fn lend(&self) -> Command<'_> {
        match self {
            Self::Tick => Command::Tick,
            Self::Enter(by, path, activity, typing_for, metadata) => Command::Enter(Enter {
                by: *by,
                path,
                activity: *activity,
                typing_for: *typing_for,
                metadata,
            }),
            Self::Update(by, path, activity, typing_for) => Command::Update(Update {
                by: *by,
                path,
                activity: *activity,
                typing_for: *typing_for,
            }),
            Self::Leave(by, path) => Command::Leave { by: *by, path },
            Self::EndTyping(session, path) => Command::EndTyping {
                session: *session,
                path,
            },
            Self::LockChanged(org, path) => Command::LockChanged { org, path },
            Self::Resumed(by) => Command::SessionResumed(*by),
            Self::Detached(session, keeps) => Command::SessionDetached {
                session: *session,
                keeps: *keeps,
            },
            Self::Ended(session) => Command::SessionEnded(*session),
        }
    }
}

impl World {
    pub(crate) fn open(&mut self, org: &str, owner: &str, role: Role) -> SessionRef {
        let id = SessionId(self.sessions.len() as u64 + 1);
        self.sessions.push(Session {
            id,
            org: org.to_owned(),
            owner: owner.to_owned(),
            name: format!("{owner} by s{}", id.0),
            role,
            attach: Attach(1),
            is_attached: true,
            is_over: false,
            keeps: false,
            idle: Millis::ZERO,
        });
        by(self.sessions.last().expect("it was pushed"))
    }

    /// The holder of a path, or none.
    pub(crate) fn hold(&mut self, org: &str, path: &str, owner: &str) -> Owned {
        let held = (org.to_owned(), path.to_owned(), owner.to_owned());
        match self.holders.iter().position(|known| *known == held) {
            Some(known) => {
                self.holders.remove(known);
            }
            None => self.holders.push(held),
        }
        Owned::LockChanged(org.to_owned(), path.to_owned())
    }

    pub(crate) fn session_of(&self, id: SessionId) -> Option<&Session> {
        // Their numbers are their places, from 1.
        self.sessions.get((id.0 as usize).checked_sub(1)?)
    }

    /// Does what is asked for, and says what presence has to be told.
    pub(crate) fn resolve(&mut self, op: Op) -> Option<Owned> {
        match op {
            Op::Tick => Some(Owned::Tick),
            Op::Open {
                org,
                owner,
                role,
                keeps,
            } => {
                self.open(org_at(org), &format!("o{owner}"), role);
                self.sessions.last_mut()?.keeps = keeps;
                None
            }
            Op::Hold { org, path, owner } => {
                Some(self.hold(org_at(org), &path_at(path), &format!("o{owner}")))
            }
            Op::Of(who, deed) => {
                let count = self.sessions.len().max(1);
                let session = self.sessions.get_mut(who as usize % count)?;
                session.does(deed)
            }
        }
    }
}

impl Session {
    fn does(&mut self, deed: Deed) -> Option<Owned> {
        match deed {
            Deed::Enter(path, activity, audience, metadata) => {
                let metadata = vec![metadata];
                Some(Owned::Enter(
                    by(self),
                    path_at(path),
                    activity,
                    audience,
                    metadata,
                ))
            }
            Deed::Update(path, activity, audience) => {
                Some(Owned::Update(by(self), path_at(path), activity, audience))
            }
            Deed::Leave(path) => Some(Owned::Leave(by(self), path_at(path))),
            Deed::EndTyping(path) => Some(Owned::EndTyping(self.id, path_at(path))),
            Deed::Idle(idle) => {
                self.idle = idle;
                None
            }
            Deed::Detach if self.is_attached && !self.is_over => {
                self.is_attached = false;
                Some(Owned::Detached(self.id, self.keeps))
            }
            Deed::Resume(role) if !self.is_over => {
                self.is_attached = true;
                self.attach.0 += 1;
                self.role = self.role.min(role);
                Some(Owned::Resumed(by(self)))
            }
            Deed::End if !self.is_over => {
                self.is_over = true;
                Some(Owned::Ended(self.id))
            }
            Deed::Detach | Deed::Resume(_) | Deed::End => None,
        }
    }
}

fn org_at(org: u8) -> &'static str {
    ORGS[org as usize % ORGS.len()]
}

fn path_at(path: u8) -> String {
    PATHS[path as usize % PATHS.len()].to_owned()
}

fn by(session: &Session) -> SessionRef {
    SessionRef {
        session: session.id,
        attach: session.attach,
    }
}

impl Sight for World {
    fn session(&self, by: SessionRef, _: LogTime) -> Result<Seen<'_>, Rejection> {
        let session = self.session_of(by.session);
        let session = session.filter(|session| !session.is_over);
        let session = session.ok_or(Rejection::UnknownSession)?;
        if !session.is_attached || session.attach != by.attach {
            return Err(Rejection::NotAttached);
        }
        Ok(Seen {
            org: &session.org,
            who: Who {
                owner: &session.owner,
                name: &session.name,
            },
            role: session.role,
            idle: session.idle,
        })
    }

    fn holders(&self, org: &str, path: &str, _: LogTime) -> impl Iterator<Item = Who<&str>> {
        let held = self
            .holders
            .iter()
            .filter(move |(of, at, _)| of == org && at == path);
        held.map(|(_, _, owner)| Who {
            owner: owner.as_str(),
            name: "the holder",
        })
    }
}
