//! Reading, as of a moment. Over things are left out; nothing is settled.
//! Shares no code with the engine; walks everything it has for every question.

use tenure_engine::{Answer, Counts, List, ListedHold, LogTime, Place, Query, Token, WaitId};

use super::state::{Hold, Lock, Wait};
use super::{Layered, Model};

impl Model {
    pub(crate) fn query(&self, query: &Query<'_>, at: LogTime) -> Answer {
        let at = at.0.max(self.now);
        match *query {
            Query::Status { org, path } => Answer::Status(self.truth(&Lock::new(org, path), at)),
            Query::Check { org, path, token } => {
                let holds = self.holds_on(&Lock::new(org, path), at);
                let current = holds.first().map(|hold| Token(hold.token));
                Answer::Checked {
                    current: current == Some(token),
                    token: current,
                }
            }
            Query::List(list) => Answer::Page {
                holds: self.list(&list, at),
                next: None,
            },
            Query::Places { org, path } => Answer::Places(self.places(&Lock::new(org, path), at)),
            Query::Policy { org, kind: None } => Answer::Policy {
                policy: self.org_policy(org),
                layer: self.layer(&Layered::Org(org.to_owned())),
            },
            Query::Policy {
                org,
                kind: Some(kind),
            } => Answer::Policy {
                policy: self.kind_policy(org, kind),
                layer: self.layer(&Layered::Kind(org.to_owned(), kind.to_owned())),
            },
            Query::Counts => Answer::Counts(self.counts()),
        }
    }

    /// All that the pages of a list have together.
    fn list(&self, list: &List<'_>, at: u64) -> Vec<ListedHold> {
        let mut holds: Vec<&Hold> = self.holds.iter().collect();
        holds.retain(|hold| {
            hold.lock.org == list.org
                && !self.hold_over(hold, at)
                && self.is_target(hold, &list.target, at)
                && list.mode.is_none_or(|mode| hold.mode == mode)
                && at - hold.since >= list.held_min.0
                && list
                    .after
                    .is_none_or(|after| hold.lock.path.as_str() > after)
        });
        holds.sort_by_key(|hold| (hold.lock.path.clone(), hold.age));
        let listed = holds.into_iter().map(|hold| ListedHold {
            path: hold.lock.path.as_str().into(),
            mode: hold.mode,
            token: Token(hold.token),
            holder: self.holder_seen(hold, at),
            waiters: self.waits_on(&hold.lock, at).len() as u32,
        });
        listed.collect()
    }

    fn places(&self, lock: &Lock, at: u64) -> Vec<Place> {
        let mut places = Vec::new();
        for (ahead, wait) in self.queue(lock, at).into_iter().enumerate() {
            let session = self
                .session(wait.session)
                .expect("a waiting session is remembered");
            if !session.attached {
                continue;
            }
            let (to, place) = (session.current(), ahead as u32 + 1);
            places.push(Place {
                to,
                wait: WaitId(wait.id),
                place,
            });
        }
        places
    }

    /// Counts what no sweep has come by yet.
    fn counts(&self) -> Counts {
        let sessions = self
            .sessions
            .iter()
            .filter(|session| session.ended.is_none());
        let mut orgs: Vec<&str> = self.sessions.iter().map(|s| s.org.as_str()).collect();
        orgs.extend(self.holds.iter().map(|hold| hold.lock.org.as_str()));
        for (scope, _) in &self.layers {
            match scope {
                Layered::Server => {}
                Layered::Org(org) | Layered::Kind(org, _) => orgs.push(org),
            }
        }
        orgs.sort_unstable();
        orgs.dedup();
        let mut locks: Vec<Lock> = self.holds.iter().map(|hold| hold.lock.clone()).collect();
        locks.extend(self.waits.iter().flat_map(Wait::locks));
        locks.sort();
        locks.dedup();
        Counts {
            orgs: orgs.len() as u64,
            sessions: sessions.clone().count() as u64,
            sessions_detached: sessions.filter(|session| !session.attached).count() as u64,
            locks: locks.len() as u64,
            holds: self.holds.len() as u64,
            holds_orphaned: self
                .holds
                .iter()
                .filter(|hold| self.left_alone(hold))
                .count() as u64,
            waits: self.waits.len() as u64,
        }
    }
}
