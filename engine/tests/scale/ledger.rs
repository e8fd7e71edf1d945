//! What is held as it follows from answers, notices and events alone: by whom, under which token, until when.
//!
//! Knows nothing of the engine. Must hold after each step: a lock is held by one owner or shared, its tokens only rise,
//! and nobody's time is over before it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tenure_engine::{Cause, Grant, Mode, Notice, Reply, SessionId, Token, WaitId, What};

use crate::history::{Effect, Owned, Recorded};

/// Org and path.
pub(crate) type Lock = (Arc<str>, Arc<str>);

#[derive(Debug, Clone)]
pub(crate) struct Hold {
    pub(crate) owner: Arc<str>,
    pub(crate) mode: Mode,
    pub(crate) token: Token,
    pub(crate) members: BTreeSet<SessionId>,
    pub(crate) until: u64,
    ttl: u64,
}

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) org: Arc<str>,
    pub(crate) owner: Arc<str>,
    pub(crate) holds: BTreeSet<Arc<str>>,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Oldest first.
    pub(crate) holds: BTreeMap<Lock, Vec<Hold>>,
    /// Those that have not ended.
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(crate) waits: BTreeSet<WaitId>,
    last_tokens: BTreeMap<Lock, Token>,
}

impl Ledger {
    pub(crate) fn learn(&mut self, at: u64, command: &Owned, reply: &Reply, recorded: &Recorded) {
        for effect in &recorded.0 {
            match effect {
                Effect::Event(event) => self.hear(at, &event.org, &event.what),
                Effect::Notice(to, Notice::Granted { wait, holds }) => {
                    self.waits.remove(wait);
                    for held in holds {
                        self.granted(at, to.session, &held.path, &held.grant);
                    }
                }
                // What has changed is an event too; and whoever is told is in the hold already.
                Effect::Notice(..) => {}
            }
        }
        self.answered(at, command, reply);
    }

    fn answered(&mut self, at: u64, command: &Owned, reply: &Reply) {
        match (command, reply) {
            (
                Owned::Acquire { by, path, .. }
                | Owned::Convert { by, path, .. }
                | Owned::Renew { by, path, .. },
                Reply::Granted(grant),
            ) => {
                let path: &str = path;
                self.granted(at, by.session, path, grant);
            }
            (Owned::AcquireAll { by, items, .. }, Reply::GrantedAll(grants)) => {
                for (item, grant) in items.iter().zip(grants) {
                    self.granted(at, by.session, &item.path, grant);
                }
            }
            (Owned::RenewSession(by), Reply::SessionRenewed { holds }) => {
                let renewed = self.renewed(at, by.session);
                assert_eq!(renewed, *holds as usize, "{by:?} renews what it holds");
            }
            (Owned::Release { by, path, .. }, Reply::Released(tenure_engine::Released::Left)) => {
                self.left(by.session, path);
            }
            _ => {}
        }
    }

    /// A session is in a hold, as it is told.
    fn granted(&mut self, at: u64, id: SessionId, path: &str, grant: &Grant) {
        let session = self.sessions.get_mut(&id).expect("who is granted is there");
        let lock = (session.org.clone(), Arc::from(path));
        let of_owner = |hold: &&mut Hold| hold.owner == session.owner;
        let mut holds = self.holds.get_mut(&lock).into_iter().flatten();
        let Some(hold) = holds.find(of_owner) else {
            panic!("{id:?} was granted {lock:?}, of which nobody was told");
        };
        assert_eq!(
            (hold.mode, hold.token),
            (grant.mode, grant.token),
            "{lock:?}"
        );
        let until = at + grant.remaining.0;
        assert!(
            hold.until <= until,
            "{lock:?} is held until {}, not {until}",
            hold.until
        );
        (hold.until, hold.ttl) = (until, grant.ttl.0);
        hold.members.insert(id);
        session.holds.insert(lock.1);
    }

    fn renewed(&mut self, at: u64, id: SessionId) -> usize {
        let session = &self.sessions[&id];
        for path in &session.holds {
            let holds = self.holds.get_mut(&(session.org.clone(), path.clone()));
            let holds = holds.into_iter().flatten();
            for hold in holds.filter(|hold| hold.members.contains(&id)) {
                hold.until = hold.until.max(at + hold.ttl);
            }
        }
        session.holds.len()
    }

    fn left(&mut self, id: SessionId, path: &str) {
        let session = self.sessions.get_mut(&id).expect("who leaves is there");
        session.holds.remove(path);
        let holds = self.holds.get_mut(&(session.org.clone(), Arc::from(path)));
        for hold in holds.into_iter().flatten() {
            hold.members.remove(&id);
        }
    }

    fn hear(&mut self, at: u64, org: &Arc<str>, what: &What) {
        match what {
            What::Granted {
                path,
                who,
                mode,
                token,
                ..
            } => {
                self.begun(
                    &(org.clone(), path.clone()),
                    at,
                    &who.owner,
                    (*mode, *token),
                );
            }
            What::Converted {
                path,
                who,
                mode,
                token,
            } => {
                let holds = self.holds.get_mut(&(org.clone(), path.clone()));
                let holds = holds.expect("who converts holds");
                assert!(
                    *mode == Mode::Shared || holds.len() == 1,
                    "{path} is had alone"
                );
                let hold = holds.iter_mut().find(|hold| hold.owner == who.owner);
                let hold = hold.expect("who converts holds");
                assert!(
                    *mode == Mode::Shared || *token > hold.token,
                    "{path}: tokens rise"
                );
                (hold.mode, hold.token) = (*mode, *token);
                self.last_tokens.insert((org.clone(), path.clone()), *token);
            }
            What::Ended {
                path, who, cause, ..
            } => {
                self.ended(&(org.clone(), path.clone()), at, &who.owner, cause);
            }
            What::SessionOpened { session, who } => {
                let session_of = Session {
                    org: org.clone(),
                    owner: who.owner.clone(),
                    holds: BTreeSet::new(),
                };
                self.sessions.insert(*session, session_of);
            }
            What::SessionEnded { session, .. } => {
                let gone = self.sessions.remove(session).expect("who ends was there");
                for path in gone.holds {
                    let holds = self.holds.get_mut(&(org.clone(), path));
                    let holds = holds.expect("it held that").iter_mut();
                    holds.for_each(|hold| _ = hold.members.remove(session));
                }
            }
            What::Queued { wait, .. } => _ = self.waits.insert(*wait),
            What::WaitEnded { wait, .. } => _ = self.waits.remove(wait),
            What::Orphaned { .. }
            | What::Adopted { .. }
            | What::SessionDetached { .. }
            | What::SessionResumed { .. } => {}
        }
    }

    fn begun(&mut self, lock: &Lock, at: u64, owner: &Arc<str>, (mode, token): (Mode, Token)) {
        let holds = self.holds.entry(lock.clone()).or_default();
        let shares = |hold: &Hold| {
            (hold.mode, mode, hold.token) == (Mode::Shared, Mode::Shared, token)
                && hold.owner != *owner
        };
        assert!(
            holds.iter().all(shares),
            "{owner} got {lock:?} beside {holds:?}"
        );
        let last = self.last_tokens.insert(lock.clone(), token);
        let rises = last.is_none_or(|last| last < token);
        assert!(
            rises || !holds.is_empty(),
            "{lock:?}: {token:?} after {last:?}"
        );
        holds.push(Hold {
            owner: owner.clone(),
            mode,
            token,
            members: BTreeSet::new(),
            until: at,
            ttl: 0,
        });
    }

    fn ended(&mut self, lock: &Lock, at: u64, owner: &Arc<str>, cause: &Cause) {
        let holds = self.holds.get_mut(lock).expect("what ends was held");
        let index = holds.iter().position(|hold| hold.owner == *owner);
        let hold = holds.remove(index.expect("whose hold ends had one"));
        if holds.is_empty() {
            self.holds.remove(lock);
        }
        assert!(
            *cause != Cause::Expired || hold.until <= at,
            "{lock:?} is over at {}",
            hold.until
        );
        for member in hold.members {
            let session = self.sessions.get_mut(&member);
            session.expect("a member is there").holds.remove(&lock.1);
        }
    }

    pub(crate) fn hold_count(&self) -> usize {
        self.holds.values().map(Vec::len).sum()
    }
}
