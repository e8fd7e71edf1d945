//! Operations that name sessions, waits and moments by index, and the world that resolves them.
//!
//! An operation stays meaningful when others before it are taken away, so that a failing history
//! can be shrunk. The world knows what has been handed out so far, from replies and events alone.

use tenure_engine::{
    Attach, Disconnect, Millis, Mode, Notice, PolicyLayer, ReleaseScope, Reply, Role, SessionId,
    SessionRef, Token, WaitId, What,
};

use super::owned::{Owned, OwnedItem, OwnedTarget, Scoped};
use super::{Recorded, Step};

pub(crate) const ORGS: [&str; 2] = ["acme", "beta"];
pub(crate) const OWNERS: [&str; 4] = ["ann", "bob", "cid", "dee"];
pub(crate) const PATHS: [&str; 4] = ["chat/1", "db", "doc/1", "doc/2"];
pub(crate) const KINDS: [&str; 3] = ["chat", "db", "doc"];

/// More sessions than this are not opened: they would only thin out what happens.
const SESSIONS_MAX: usize = 8;

/// One operation of a random history: when, and what.
#[derive(Debug, Clone)]
pub(crate) struct Op {
    pub(crate) when: When,
    pub(crate) act: Act,
}

/// Time of an operation, seen from the one before.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    /// So much later.
    Plus(u64),
    /// When the next thing is over, or so much later.
    Due(u64),
    /// One before the next thing is over.
    NotQuiteDue,
    /// A clock that has gone back.
    Minus(u64),
}

/// Which session speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Who {
    /// One that is there, through its current attachment.
    There(u8),
    /// One that is or was there.
    Ever(u8),
    /// One that is there, through an attachment that is not its current one.
    Elsewhere(u8, i8),
}

/// Which wait.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which {
    /// One of the last that were handed out.
    Recent(u8),
    /// One of the last of the session that speaks.
    Own(u8),
    Bogus,
}

/// Which token.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tok {
    Any,
    Recent(u8),
}

/// What to do; names are indices.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Started,
    Tick,
    Configure {
        scope: u8,
        org: u8,
        kind: u8,
        layer: PolicyLayer,
    },
    Settle {
        org: u8,
        path: u8,
    },
    Open {
        org: u8,
        owner: u8,
        role: Role,
        lost: Disconnect,
    },
    Resume {
        who: Who,
        role: Role,
        key_fits: bool,
        org_fits: bool,
    },
    Detach(Who),
    RenewSession(Who),
    Close(Who),
    Acquire(Ask),
    AcquireAll {
        who: Who,
        items: Vec<(u8, Mode, Option<u32>)>,
        ttl: Option<u64>,
        wait: u64,
    },
    Renew {
        who: Who,
        path: u8,
        ttl: Option<u64>,
        token: Tok,
    },
    Release {
        who: Who,
        path: u8,
        owner: bool,
        token: Tok,
    },
    Cancel {
        who: Who,
        wait: Which,
    },
    Convert {
        who: Who,
        path: u8,
        mode: Mode,
        limit: Option<u32>,
        wait: u64,
    },
    HandOver {
        who: Who,
        path: u8,
        to: Option<Which>,
    },
    Decline {
        who: Who,
        path: u8,
        to: Which,
    },
    Force {
        org: u8,
        target: u8,
        pick: u8,
        after: Option<u8>,
    },
}

/// See [`Act::Acquire`].
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) who: Who,
    pub(crate) path: u8,
    pub(crate) mode: Mode,
    pub(crate) limit: Option<u32>,
    pub(crate) ttl: Option<u64>,
    pub(crate) wait: u64,
    pub(crate) note: Option<u8>,
    pub(crate) seize: bool,
    pub(crate) metadata: u8,
}

/// A session that has been handed out.
#[derive(Debug, Clone)]
struct Known {
    id: SessionId,
    org: String,
    attach: Attach,
    ended: bool,
}

/// What has been handed out so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    at: u64,
    sessions: Vec<Known>,
    waits: Vec<(WaitId, SessionId)>,
    tokens: Vec<Token>,
}

impl World {
    /// Makes the operation a step, given when the next thing is over.
    pub(crate) fn resolve(&mut self, op: &Op, due: Option<u64>) -> Step {
        let due = due.map(|due| due.max(self.at));
        self.at = match op.when {
            When::Plus(more) => self.at + more,
            When::Due(more) => due.unwrap_or(self.at) + more,
            When::NotQuiteDue => due
                .map_or(self.at, |due| due.saturating_sub(1))
                .max(self.at),
            When::Minus(less) => {
                return Step {
                    at: self.at.saturating_sub(less),
                    command: self.command(&op.act),
                };
            }
        };
        Step {
            at: self.at,
            command: self.command(&op.act),
        }
    }

    /// Takes note of what a step has handed out.
    pub(crate) fn learn(&mut self, command: &Owned, reply: &Reply, recorded: &Recorded) {
        if let (
            Owned::Open { org, .. },
            Reply::Opened {
                session, attach, ..
            },
        ) = (command, reply)
        {
            let (id, attach, org) = (*session, *attach, org.clone());
            self.sessions.push(Known {
                id,
                org,
                attach,
                ended: false,
            });
        }
        if let (Owned::Resume { session, .. }, Reply::Resumed(resumed)) = (command, reply) {
            for known in self
                .sessions
                .iter_mut()
                .filter(|known| known.id == *session)
            {
                known.attach = resumed.attach;
            }
        }
        if let (Some(by), Reply::Queued { wait, .. }) = (command.by(), reply)
            && self.waits.iter().all(|(known, _)| known != wait)
        {
            self.waits.push((*wait, by.session));
        }
        if let Reply::Granted(grant) = reply {
            self.tokens.push(grant.token);
        }
        for (_, notice) in recorded.notices() {
            if let Notice::Granted { holds, .. } = notice {
                self.tokens
                    .extend(holds.iter().map(|held| held.grant.token));
            }
        }
        for event in recorded.events() {
            if let What::SessionEnded { session, .. } = event.what {
                for known in self.sessions.iter_mut().filter(|known| known.id == session) {
                    known.ended = true;
                }
            }
        }
    }

    /// One arm for each act: a table of contents.
    fn command(&self, act: &Act) -> Owned {
        match act {
            Act::Started => Owned::Started,
            Act::Tick => Owned::Tick,
            Act::Configure {
                scope,
                org,
                kind,
                layer,
            } => {
                let org = name(&ORGS, *org);
                let scope = match scope % 3 {
                    0 => Scoped::Server,
                    1 => Scoped::Org(org),
                    _ => Scoped::Kind(org, name(&KINDS, *kind)),
                };
                Owned::Configure(scope, *layer)
            }
            Act::Settle { org, path } => Owned::Settle {
                org: name(&ORGS, *org),
                path: name(&PATHS, *path),
            },
            Act::Open {
                org,
                owner,
                role,
                lost,
            } => self.open(*org, *owner, *role, *lost),
            Act::Resume {
                who,
                role,
                key_fits,
                org_fits,
            } => {
                let session = self.who(*who).session;
                let known = self.sessions.iter().find(|known| known.id == session);
                let org = known.map_or(ORGS[0], |known| known.org.as_str());
                let org = if *org_fits { org } else { "elsewhere" }.to_owned();
                let key = if *key_fits { key_of(session) } else { 0 };
                Owned::Resume {
                    org,
                    session,
                    key,
                    role: *role,
                }
            }
            Act::Detach(who) => Owned::Detach(self.who(*who)),
            Act::RenewSession(who) => Owned::RenewSession(self.who(*who)),
            Act::Close(who) => Owned::Close(self.who(*who)),
            Act::Acquire(ask) => self.acquire(ask),
            Act::AcquireAll {
                who,
                items,
                ttl,
                wait,
            } => {
                let items = items.iter().map(|(path, mode, limit)| OwnedItem {
                    path: name(&PATHS, *path),
                    mode: *mode,
                    limit: *limit,
                });
                Owned::AcquireAll {
                    by: self.who(*who),
                    items: items.collect(),
                    ttl: ttl.map(Millis),
                    wait: Millis(*wait),
                }
            }
            Act::Renew {
                who,
                path,
                ttl,
                token,
            } => Owned::Renew {
                by: self.who(*who),
                path: name(&PATHS, *path),
                ttl: ttl.map(Millis),
                token: self.token(*token),
            },
            Act::Release {
                who,
                path,
                owner,
                token,
            } => Owned::Release {
                by: self.who(*who),
                path: name(&PATHS, *path),
                scope: if *owner {
                    ReleaseScope::Owner
                } else {
                    ReleaseScope::Session
                },
                token: self.token(*token),
            },
            Act::Cancel { who, wait } => {
                let by = self.who(*who);
                Owned::Cancel {
                    by,
                    wait: self.wait(*wait, by.session),
                }
            }
            Act::Convert {
                who,
                path,
                mode,
                limit,
                wait,
            } => Owned::Convert {
                by: self.who(*who),
                path: name(&PATHS, *path),
                mode: *mode,
                limit: *limit,
                wait: Millis(*wait),
            },
            Act::HandOver { who, path, to } => {
                let by = self.who(*who);
                let to = to.map(|to| self.wait(to, by.session));
                Owned::HandOver {
                    by,
                    path: name(&PATHS, *path),
                    to,
                }
            }
            Act::Decline { who, path, to } => {
                let by = self.who(*who);
                let to = self.wait(*to, by.session);
                Owned::Decline {
                    by,
                    path: name(&PATHS, *path),
                    to,
                }
            }
            Act::Force {
                org,
                target,
                pick,
                after,
            } => Owned::Force {
                org: name(&ORGS, *org),
                target: self.target(*target, *pick),
                after: after.map(|after| name(&PATHS, after)),
                reason: "cleaning".to_owned(),
            },
        }
    }

    fn open(&self, org: u8, owner: u8, role: Role, lost: Disconnect) -> Owned {
        let there = self.sessions.iter().filter(|known| !known.ended).count();
        if there >= SESSIONS_MAX {
            return Owned::RenewSession(self.who(Who::There(owner)));
        }
        let next = self.sessions.len() as u64 + 1;
        let owner = name(&OWNERS, owner);
        let name_of_session = format!("{owner} {next}");
        Owned::Open {
            org: name(&ORGS, org),
            owner,
            name: name_of_session,
            role,
            key: key_of(SessionId(next)),
            lost,
        }
    }

    fn acquire(&self, ask: &Ask) -> Owned {
        Owned::Acquire {
            by: self.who(ask.who),
            path: name(&PATHS, ask.path),
            mode: ask.mode,
            limit: ask.limit,
            ttl: ask.ttl.map(Millis),
            wait: Millis(ask.wait),
            note: ask.note.map(|note| format!("note {note}")),
            seize: ask.seize.then(|| "urgent".to_owned()),
            metadata: vec![b'm'; usize::from(ask.metadata)],
        }
    }

    fn target(&self, target: u8, pick: u8) -> OwnedTarget {
        match target % 5 {
            0 => OwnedTarget::Path(name(&PATHS, pick)),
            1 => OwnedTarget::Prefix(format!("{}/", name(&KINDS, pick))),
            2 => OwnedTarget::Owner(name(&OWNERS, pick)),
            3 => OwnedTarget::Session(self.who(Who::Ever(pick)).session),
            _ => OwnedTarget::All,
        }
    }

    fn who(&self, who: Who) -> SessionRef {
        let there: Vec<&Known> = self.sessions.iter().filter(|known| !known.ended).collect();
        let ever: Vec<&Known> = self.sessions.iter().collect();
        let (among, at, shift) = match who {
            Who::There(at) => (there, at, 0),
            Who::Ever(at) => (ever, at, 0),
            Who::Elsewhere(at, shift) => (there, at, shift),
        };
        let Some(known) = among.get(usize::from(at) % among.len().max(1)) else {
            return SessionRef {
                session: SessionId(999),
                attach: Attach(1),
            };
        };
        let attach = known.attach.0.saturating_add_signed(i32::from(shift));
        SessionRef {
            session: known.id,
            attach: Attach(attach),
        }
    }

    fn wait(&self, which: Which, by: SessionId) -> WaitId {
        let own = self.waits.iter().filter(|(_, session)| *session == by);
        let (among, back): (Vec<_>, u8) = match which {
            Which::Recent(back) => (self.waits.iter().rev().take(6).collect(), back),
            Which::Own(back) => (own.rev().take(4).collect(), back),
            Which::Bogus => (Vec::new(), 0),
        };
        let wait = among.get(usize::from(back) % among.len().max(1));
        wait.map_or(WaitId(9999), |(wait, _)| *wait)
    }

    fn token(&self, token: Tok) -> Option<Token> {
        let Tok::Recent(back) = token else {
            return None;
        };
        let recent: Vec<&Token> = self.tokens.iter().rev().take(4).collect();
        recent
            .get(usize::from(back) % recent.len().max(1))
            .map(|token| **token)
    }
}

fn key_of(session: SessionId) -> u128 {
    0xFEED_0000 + u128::from(session.0)
}

fn name(names: &[&str], at: u8) -> String {
    names[usize::from(at) % names.len()].to_owned()
}
