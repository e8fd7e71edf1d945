//! What happens at scale: very much of the same, then something else.
//! Knows which commands there are and nothing of what they lead to.

use std::sync::Arc;

use tenure_engine::{
    Disconnect, Millis, Mode, PolicyLayer, ReleaseScope, Reply, Role, SessionId, SessionRef,
};

use crate::history::Owned;
use crate::history::owned::{OwnedItem, OwnedTarget, Scoped};
use crate::ledger::Lock;
use crate::life::{Known, Life};
use crate::{MUCH, ORGS};

/// In which order paths are come upon.
#[derive(Debug, Clone, Copy)]
enum Order {
    Up,
    Down,
    Any,
}

impl Order {
    fn index(self, life: &mut Life, step: usize, count: usize) -> usize {
        match self {
            Self::Up => step % count,
            Self::Down => count - 1 - step % count,
            Self::Any => life.chance.below(count),
        }
    }
}

/// Longer than a path that lies in place, and beginning alike for longer than any head.
const LONG: &str = "doc/of-a-customer-with-a-rather-long-name/";

fn path(style: usize, number: usize) -> String {
    match style {
        0 => format!("doc/{number:07}"),
        1 => format!("{LONG}{number}"),
        2 => format!("{}/{number:x}", ["chat", "db", "doc", "ticket"][number % 4]),
        _ => format!("chat/{}{number}", "a".repeat(number % 9)),
    }
}

const TTLS: [u64; 6] = [1_000, 5_000, 5_003, 60_000, 61_000, 600_000];

impl Life {
    /// As many of everything as there is memory for.
    pub(crate) fn allow_much(&mut self) {
        let layer = PolicyLayer {
            session_holds_max: Some(10_000_000),
            session_waits_max: Some(10_000_000),
            ..PolicyLayer::default()
        };
        self.take(Owned::Configure(Scoped::Server, layer));
    }

    pub(crate) fn open(&mut self, count: usize) {
        for _ in 0..count {
            let number = self.sessions.len();
            // Some owners have several.
            let owner =
                number - usize::from(self.chance.once_in(4)) * self.chance.below(number.min(9) + 1);
            let lost = match self.chance.below(4) {
                0 => Disconnect::Keep,
                1 => Disconnect::Release(Some(Millis(120_000))),
                _ => Disconnect::ByPolicy,
            };
            let org = ORGS[usize::from(self.chance.once_in(5))];
            let reply = self.take(Owned::Open {
                org: org.to_owned(),
                owner: format!("owner {owner}"),
                name: String::new(),
                metadata: Vec::new(),
                role: Role::Admin,
                key: 7,
                lost,
            });
            let Reply::Opened {
                session, attach, ..
            } = reply
            else {
                panic!("{reply:?}");
            };
            let by = SessionRef { session, attach };
            self.sessions.push(Known {
                by,
                is_attached: true,
            });
        }
    }

    fn ask(&mut self, by: SessionRef, path: String, mode: Mode, ttl: u64, wait: u64) -> Reply {
        self.take(Owned::Acquire {
            by,
            path,
            mode,
            limit: None,
            ttl: Some(Millis(ttl)),
            wait: Millis(wait),
            note: None,
            seize: None,
            metadata: Vec::new(),
        })
    }

    /// Very many locks, by few sessions or by many.
    pub(crate) fn fill(&mut self, count: usize) {
        let few = 1 + self.chance.below(4);
        let few: Vec<_> = (0..few).filter_map(|_| self.anybody()).collect();
        let (are_few, style) = (self.chance.once_in(2), self.chance.below(4));
        let order = self.chance.pick(&[Order::Up, Order::Down, Order::Any]);
        let (from, ttl) = (self.chance.below(MUCH), self.chance.pick(&TTLS));
        for step in 0..count {
            let number = from + order.index(self, step, count);
            let by = match are_few && !few.is_empty() {
                true => Some(self.chance.pick(&few)),
                false => self.anybody(),
            };
            let Some(by) = by else { return };
            let mode = [Mode::Exclusive, Mode::Shared][usize::from(self.chance.once_in(8))];
            let ttl = if self.chance.once_in(10) {
                self.chance.pick(&TTLS)
            } else {
                ttl
            };
            self.ask(by, path(style, number), mode, ttl, 0);
            if self.chance.once_in(50) {
                self.at += 1;
            }
        }
    }

    /// Somebody who may speak and is in the hold.
    fn somebody_in(&self, lock: &Lock) -> Option<SessionRef> {
        let members = self
            .ledger
            .holds
            .get(lock)?
            .iter()
            .flat_map(|hold| &hold.members);
        let known = members.filter_map(|id| self.known(*id));
        known
            .filter(|known| known.is_attached)
            .map(|known| known.by)
            .next()
    }

    fn release(&mut self, lock: &Lock, scope: ReleaseScope) {
        if let Some(by) = self.somebody_in(lock) {
            let path = lock.1.to_string();
            self.take(Owned::Release {
                by,
                path,
                scope,
                token: None,
            });
        }
    }

    /// Locks that follow each other in path order, from anywhere.
    fn some(&mut self, count: usize) -> Vec<Lock> {
        let from = self.chance.below(self.ledger.holds.len());
        let some = self.ledger.holds.keys().skip(from).take(count);
        some.cloned().collect()
    }

    pub(crate) fn let_go(&mut self, count: usize) {
        let some = self.some(count);
        let order = self.chance.pick(&[Order::Up, Order::Down, Order::Any]);
        let scope = self
            .chance
            .pick(&[ReleaseScope::Session, ReleaseScope::Owner]);
        for step in 0..some.len() {
            let index = order.index(self, step, some.len());
            self.release(&some[index], scope);
        }
    }

    /// Locks that come and go, a few at a time, among those that stay.
    pub(crate) fn come_and_go(&mut self, count: usize) {
        let style = self.chance.below(4);
        let mut held: std::collections::VecDeque<Lock> = std::collections::VecDeque::new();
        let at_once = self.chance.size(64);
        for _ in 0..count {
            let Some(by) = self.anybody() else { return };
            let path = path(style, self.chance.below(MUCH));
            let org = self.ledger.sessions[&by.session].org.clone();
            held.push_back((org, Arc::from(path.as_str())));
            self.ask(by, path, Mode::Exclusive, 5_000, 0);
            if held.len() > at_once {
                let gone = held.pop_front().expect("there are some");
                self.release(&gone, ReleaseScope::Session);
            }
        }
    }

    /// Very many wait for one lock, and are served, or not.
    pub(crate) fn queue(&mut self, count: usize) {
        let path = path(0, self.chance.below(MUCH));
        let alone = 1 + self.chance.below(300);
        for _ in 0..count {
            let Some(by) = self.anybody() else { return };
            let mode = [Mode::Shared, Mode::Exclusive][usize::from(self.chance.once_in(alone))];
            let wait = self.chance.pick(&[3_000, 60_000, 600_000]);
            self.ask(by, path.clone(), mode, 60_000, wait);
        }
        let rounds = self.chance.below(count) / 4;
        for org in ORGS {
            let lock = (Arc::from(org), Arc::from(path.as_str()));
            for _ in 0..rounds {
                self.release(&lock, ReleaseScope::Owner);
                if self.chance.once_in(3) {
                    self.catch_up();
                }
            }
        }
    }

    /// Several locks at once, again and again.
    pub(crate) fn ask_for_all(&mut self, count: usize) {
        let style = self.chance.below(4);
        for _ in 0..count {
            let Some(by) = self.anybody() else { return };
            let from = self.chance.below(MUCH);
            let items = (0..1 + self.chance.below(16)).map(|item| OwnedItem {
                path: path(style, from + item),
                mode: Mode::Exclusive,
                limit: None,
            });
            let (items, wait) = (items.collect(), Millis(self.chance.pick(&[0, 4_000])));
            let ttl = Some(Millis(5_000));
            self.take(Owned::AcquireAll {
                by,
                items,
                ttl,
                wait,
            });
        }
    }

    pub(crate) fn renew(&mut self, count: usize) {
        for _ in 0..count {
            let Some(by) = self.anybody() else { return };
            self.take(Owned::RenewSession(by));
        }
    }

    pub(crate) fn close(&mut self, count: usize) {
        for _ in 0..count {
            let Some(by) = self.anybody() else { return };
            self.take(Owned::Close(by));
        }
    }

    pub(crate) fn detach(&mut self, count: usize) {
        for _ in 0..count {
            let Some(by) = self.anybody() else { return };
            self.take(Owned::Detach(by));
            self.set_attached(by.session, None);
        }
    }

    pub(crate) fn resume(&mut self, count: usize) {
        for _ in 0..count {
            let index = self.chance.below(self.sessions.len());
            let Some(Known {
                by,
                is_attached: false,
            }) = self.sessions.get(index).copied()
            else {
                continue;
            };
            let session = by.session;
            let Some(org) = self
                .ledger
                .sessions
                .get(&session)
                .map(|known| known.org.to_string())
            else {
                continue;
            };
            let (key, role) = (7, Role::Admin);
            let reply = self.take(Owned::Resume {
                org,
                session,
                key,
                role,
            });
            if let Reply::Resumed(resumed) = reply {
                let attach = resumed.attach;
                self.set_attached(session, Some(SessionRef { session, attach }));
                self.resumed(session, &resumed);
            }
        }
    }

    /// The server begins anew.
    pub(crate) fn start(&mut self) {
        self.take(Owned::Started);
        for known in &mut self.sessions {
            known.is_attached = false;
        }
    }

    /// Frees what an operator names, step by step.
    pub(crate) fn force(&mut self) {
        let org = self.chance.pick(&ORGS).to_owned();
        let target = match self.chance.below(4) {
            0 => OwnedTarget::All,
            1 => OwnedTarget::Prefix("doc/".to_owned()),
            2 => OwnedTarget::Prefix(LONG.to_owned()),
            _ => OwnedTarget::Session(SessionId(1 + self.chance.below(self.sessions.len()) as u64)),
        };
        self.force_all(&org, &target);
    }

    fn force_all(&mut self, org: &str, target: &OwnedTarget) {
        let mut after = None;
        loop {
            let reply = self.take(Owned::Force {
                org: org.to_owned(),
                target: target.clone(),
                after,
                reason: "cleaning".to_owned(),
            });
            let Reply::Forced {
                next: Some(next), ..
            } = reply
            else {
                return;
            };
            after = Some(next.to_string());
        }
    }

    /// Nothing is left of an org, and whoever comes next begins it.
    pub(crate) fn empty(&mut self) {
        let org = self.chance.pick(&ORGS);
        if self.chance.once_in(2) {
            self.force_all(org, &OwnedTarget::All);
        }
        for Known { by, .. } in self.sessions.clone() {
            let session = self.ledger.sessions.get(&by.session);
            if session.is_some_and(|session| *session.org == *org) {
                self.take(Owned::Close(by));
            }
        }
        self.catch_up();
    }
}
