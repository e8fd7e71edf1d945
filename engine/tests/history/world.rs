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

/// Further away than this, a jump to what is due next is a leap.
const SOON: u64 = 30_000;

/// No leap is longer, whatever is due then.
const LEAP_MAX: u64 = 2 * 24 * 3_600_000;

/// Time of an operation, seen from the one before.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    /// So much later.
    Plus(u64),
    /// When the next thing is over, or so much later, if that is soon.
    Due(u64),
    /// When the next thing is over, if it is not very far.
    Leap,
    /// One before the next thing is over.
    NotQuiteDue,
    /// A clock that has gone back.
    Minus(u64),
}

/// Which session speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Who {
    /// One that is attached.
    Attached(u8),
    /// One that is attached and whose owner holds something.
    Holder(u8),
    /// One that is detached, if there is one.
    Detached(u8),
    /// One that is or was there.
    Ever(u8),
    /// One that is there, through an attachment that is not its current one.
    Elsewhere(u8, i8),
}

/// Which lock.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lock {
    /// One of all.
    Any(u8),
    /// One that the owner of the session that speaks holds, if there is one.
    Own(u8),
    /// One that somebody awaits, and then the holder speaks.
    Awaited(u8),
}

/// Which wait.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which {
    /// One that waits for the lock at hand, if there is one.
    There(u8),
    /// One of the last that were handed out, ended or not.
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
        path: Lock,
        ttl: Option<u64>,
        token: Tok,
    },
    Release {
        who: Who,
        path: Lock,
        owner: bool,
        token: Tok,
    },
    Cancel {
        who: Who,
        wait: Which,
    },
    Convert {
        who: Who,
        path: Lock,
        mode: Mode,
        limit: Option<u32>,
        wait: u64,
    },
    HandOver {
        who: Who,
        path: Lock,
        to: Option<Which>,
    },
    Decline {
        who: Who,
        path: Lock,
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
    owner: String,
    attach: Attach,
    attached: bool,
    ended: bool,
}

/// A wait that has been handed out.
#[derive(Debug, Clone)]
struct Waiting {
    id: WaitId,
    by: SessionId,
    paths: Vec<String>,
    ended: bool,
}

/// What has been handed out so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    at: u64,
    sessions: Vec<Known>,
    waits: Vec<Waiting>,
    tokens: Vec<Token>,
    /// Org, path and owner of every hold.
    holds: Vec<(String, String, String)>,
}

impl World {
    /// Makes the operation a step, given when the next thing is over.
    pub(crate) fn resolve(&mut self, op: &Op, due: Option<u64>) -> Step {
        let due = due.map_or(self.at, |due| due.max(self.at));
        let soon = if due - self.at <= SOON { due } else { self.at };
        self.at = match op.when {
            When::Plus(more) => self.at + more,
            When::Due(more) => soon + more,
            When::Leap => due.min(self.at + LEAP_MAX),
            When::NotQuiteDue => soon.saturating_sub(1).max(self.at),
            When::Minus(less) => {
                let at = self.at.saturating_sub(less);
                return Step {
                    at,
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
            Owned::Open { org, owner, .. },
            Reply::Opened {
                session, attach, ..
            },
        ) = (command, reply)
        {
            let (id, org, owner) = (*session, org.clone(), owner.clone());
            let attach = *attach;
            self.sessions.push(Known {
                id,
                org,
                owner,
                attach,
                attached: true,
                ended: false,
            });
        }
        if let (Owned::Resume { session, .. }, Reply::Resumed(resumed)) = (command, reply) {
            for known in self
                .sessions
                .iter_mut()
                .filter(|known| known.id == *session)
            {
                (known.attach, known.attached) = (resumed.attach, true);
            }
        }
        if *command == Owned::Started {
            for known in &mut self.sessions {
                known.attached = false;
            }
        }
        if let Reply::Granted(grant) = reply {
            self.tokens.push(grant.token);
        }
        for (_, notice) in recorded.notices() {
            if let Notice::Granted { wait, holds } = notice {
                self.tokens
                    .extend(holds.iter().map(|held| held.grant.token));
                self.waits
                    .iter_mut()
                    .filter(|w| w.id == *wait)
                    .for_each(|w| w.ended = true);
            }
        }
        for event in recorded.events() {
            self.hear(&event.org, &event.what, command.by());
        }
    }

    fn hear(&mut self, org: &str, what: &What, by: Option<SessionRef>) {
        match what {
            What::Granted { path, who, .. } => {
                self.holds
                    .push((org.to_owned(), path.to_string(), who.owner.to_string()));
            }
            What::Ended { path, who, .. } => {
                self.holds.retain(|(of, at, owner)| {
                    (of.as_str(), at.as_str(), owner.as_str()) != (org, &**path, &*who.owner)
                });
            }
            What::Queued { paths, wait, .. } => {
                let by = by.expect("somebody asked").session;
                let paths = paths.iter().map(ToString::to_string).collect();
                self.waits.push(Waiting {
                    id: *wait,
                    by,
                    paths,
                    ended: false,
                });
            }
            What::WaitEnded { wait, .. } => {
                self.waits
                    .iter_mut()
                    .filter(|w| w.id == *wait)
                    .for_each(|w| w.ended = true);
            }
            What::SessionDetached { session, .. } => {
                let known = self
                    .sessions
                    .iter_mut()
                    .filter(|known| known.id == *session);
                known.for_each(|known| known.attached = false);
            }
            What::SessionEnded { session, .. } => {
                let known = self
                    .sessions
                    .iter_mut()
                    .filter(|known| known.id == *session);
                known.for_each(|known| (known.attached, known.ended) = (false, true));
            }
            What::Converted { .. }
            | What::Orphaned { .. }
            | What::Adopted { .. }
            | What::SessionOpened { .. }
            | What::SessionResumed { .. } => {}
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
                let known = self.known(session);
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
                let items = items.iter().map(|(path, mode, limit)| {
                    let path = name(&PATHS, *path);
                    OwnedItem {
                        path,
                        mode: *mode,
                        limit: *limit,
                    }
                });
                let (by, items) = (self.who(*who), items.collect());
                Owned::AcquireAll {
                    by,
                    items,
                    ttl: ttl.map(Millis),
                    wait: Millis(*wait),
                }
            }
            Act::Renew {
                who,
                path,
                ttl,
                token,
            } => {
                let (by, path) = self.who_and_path(*who, *path);
                Owned::Renew {
                    by,
                    path,
                    ttl: ttl.map(Millis),
                    token: self.token(*token),
                }
            }
            Act::Release {
                who,
                path,
                owner,
                token,
            } => {
                let (by, path) = self.who_and_path(*who, *path);
                let scope = if *owner {
                    ReleaseScope::Owner
                } else {
                    ReleaseScope::Session
                };
                Owned::Release {
                    by,
                    path,
                    scope,
                    token: self.token(*token),
                }
            }
            Act::Cancel { who, wait } => {
                let by = self.who(*who);
                Owned::Cancel {
                    by,
                    wait: self.wait(*wait, by.session, None),
                }
            }
            Act::Convert {
                who,
                path,
                mode,
                limit,
                wait,
            } => {
                let (by, path) = self.who_and_path(*who, *path);
                Owned::Convert {
                    by,
                    path,
                    mode: *mode,
                    limit: *limit,
                    wait: Millis(*wait),
                }
            }
            Act::HandOver { who, path, to } => {
                let (by, path) = self.who_and_path(*who, *path);
                let to = to.map(|to| self.wait(to, by.session, Some(&path)));
                Owned::HandOver { by, path, to }
            }
            Act::Decline { who, path, to } => {
                let (by, path) = self.who_and_path(*who, *path);
                let to = self.wait(*to, by.session, Some(&path));
                Owned::Decline { by, path, to }
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
            return Owned::RenewSession(self.who(Who::Attached(owner)));
        }
        let next = self.sessions.len() as u64 + 1;
        let owner = name(&OWNERS, owner);
        let name_of_session = format!("{owner} {next}");
        Owned::Open {
            org: name(&ORGS, org),
            owner,
            name: name_of_session,
            metadata: vec![b's'; self.sessions.len() % 2],
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

    fn known(&self, session: SessionId) -> Option<&Known> {
        self.sessions.iter().find(|known| known.id == session)
    }

    fn who(&self, who: Who) -> SessionRef {
        let (pick, shift) = match who {
            Who::Attached(pick) | Who::Holder(pick) | Who::Detached(pick) | Who::Ever(pick) => {
                (pick, 0)
            }
            Who::Elsewhere(pick, shift) => (pick, shift),
        };
        let fits = |known: &&Known| match who {
            Who::Attached(_) | Who::Elsewhere(..) => known.attached,
            Who::Holder(_) => known.attached && self.paths_of(known).next().is_some(),
            Who::Detached(_) => !known.attached && !known.ended,
            Who::Ever(_) => true,
        };
        let fitting: Vec<&Known> = self.sessions.iter().filter(fits).collect();
        let there = self.sessions.iter().filter(|known| !known.ended);
        let among = if fitting.is_empty() {
            there.collect()
        } else {
            fitting
        };
        let Some(known) = among.get(usize::from(pick) % among.len().max(1)) else {
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

    fn paths_of<'a>(&'a self, known: &'a Known) -> impl Iterator<Item = &'a str> {
        let own = |(org, _, owner): &&(String, String, String)| {
            (org, owner) == (&known.org, &known.owner)
        };
        self.holds
            .iter()
            .filter(own)
            .map(|(_, path, _)| path.as_str())
    }

    fn who_and_path(&self, who: Who, path: Lock) -> (SessionRef, String) {
        let by = self.who(who);
        let own = self
            .known(by.session)
            .into_iter()
            .flat_map(|known| self.paths_of(known));
        let (among, pick) = match path {
            Lock::Any(pick) => return (by, name(&PATHS, pick)),
            Lock::Own(pick) => (own.map(|path| (by, path)).collect(), pick),
            Lock::Awaited(pick) => (self.awaited(), pick),
        };
        let among: Vec<(SessionRef, &str)> = among;
        let picked = among.get(usize::from(pick) % among.len().max(1));
        picked.map_or_else(
            || (by, name(&PATHS, pick)),
            |(by, path)| (*by, (*path).to_owned()),
        )
    }

    /// Attached sessions whose owner holds what somebody queues for.
    fn awaited(&self) -> Vec<(SessionRef, &str)> {
        let mut awaited = Vec::new();
        for wait in self
            .waits
            .iter()
            .filter(|wait| !wait.ended && wait.paths.len() == 1)
        {
            for known in self.sessions.iter().filter(|known| known.attached) {
                let is_here = self
                    .known(wait.by)
                    .is_some_and(|waiter| waiter.org == known.org);
                let mut paths = self.paths_of(known);
                if let Some(path) = paths.find(|path| is_here && **path == wait.paths[0]) {
                    awaited.push((
                        SessionRef {
                            session: known.id,
                            attach: known.attach,
                        },
                        path,
                    ));
                }
            }
        }
        awaited
    }

    fn wait(&self, which: Which, by: SessionId, path: Option<&str>) -> WaitId {
        let recent = self.waits.iter().rev();
        let (among, pick): (Vec<&Waiting>, u8) = match which {
            Which::There(pick) => {
                let is_there = |wait: &&Waiting| {
                    !wait.ended && path.is_none_or(|path| wait.paths.iter().any(|p| p == path))
                };
                (recent.filter(is_there).collect(), pick)
            }
            Which::Recent(pick) => (recent.take(6).collect(), pick),
            Which::Own(pick) => (recent.filter(|wait| wait.by == by).take(3).collect(), pick),
            Which::Bogus => (Vec::new(), 0),
        };
        let wait = among.get(usize::from(pick) % among.len().max(1));
        wait.map_or(WaitId(9999), |wait| wait.id)
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
