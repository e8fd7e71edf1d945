//! Answering what is asked, and changing nothing by it. What is over is left out, whether or not a sweep has come by.
//! Must hold: the same question at the same instant has the same answer, in path order, and costs a bounded page.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::Bound;

use crate::command::Target;
use crate::engine::Engine;
use crate::ids::Token;
use crate::keys::{LockKey, OrgKey, SessionKey};
use crate::limits::{PAGE_MAX, SCAN_MAX, TRUTH_HOLDERS_MAX};
use crate::lock::{Hold, Lock};
use crate::query::{Answer, Counts, List, ListedHold};
use crate::reply::{Holder, Truth};
use crate::session::Session;
use crate::time::LogTime;

impl Engine {
    pub(crate) fn status(&self, org: &str, path: &str, now: LogTime) -> Truth {
        self.find(org, path)
            .map(|lock| self.truth(self.lock(lock), now))
            .unwrap_or_default()
    }

    pub(crate) fn check_token(&self, org: &str, path: &str, token: Token, now: LogTime) -> Answer {
        let lock = self.find(org, path).map(|lock| self.lock(lock));
        let held = lock.filter(|lock| self.live_holds(lock, now).next().is_some());
        let current = held.map(|lock| lock.token());
        Answer::Checked {
            current: current == Some(token),
            token: current,
        }
    }

    /// What one round trip must tell about a path.
    pub(crate) fn truth(&self, lock: &Lock, now: LogTime) -> Truth {
        if self.nothing_is_over(now) {
            return self.truth_settled(lock, now);
        }
        let holders = self.live_holds(lock, now);
        let holder_count = self.live_holds(lock, now).count();
        self.truth_of(lock, now, (holders, holder_count), self.waiters(lock, now))
    }

    /// The same of a lock where nothing is over: who holds and who waits need not be looked at one by one.
    pub(crate) fn truth_settled(&self, lock: &Lock, now: LogTime) -> Truth {
        debug_assert_eq!(lock.holds.len(), self.live_holds(lock, now).count());
        debug_assert_eq!(Self::waiters_settled(lock), self.waiters_live(lock, now));
        let holders = (lock.holds.iter(), lock.holds.len());
        self.truth_of(lock, now, holders, Self::waiters_settled(lock))
    }

    fn truth_of<'a>(
        &self,
        lock: &Lock,
        now: LogTime,
        (holders, holder_count): (impl Iterator<Item = &'a Hold>, usize),
        waiters: u32,
    ) -> Truth {
        if holder_count == 0 {
            return Truth {
                waiters,
                ..Truth::default()
            };
        }
        let named = holders.take(TRUTH_HOLDERS_MAX);
        Truth {
            mode: Some(lock.mode()),
            limit: lock.limit(),
            token: Some(lock.token()),
            holders: named.map(|hold| self.holder(hold, now)).collect(),
            holder_count: u32::try_from(holder_count).unwrap_or(u32::MAX),
            waiters,
        }
    }

    /// How many wait. Counted off, unless something is over somewhere.
    fn waiters(&self, lock: &Lock, now: LogTime) -> u32 {
        if self.nothing_is_over(now) {
            Self::waiters_settled(lock)
        } else {
            self.waiters_live(lock, now)
        }
    }

    fn waiters_settled(lock: &Lock) -> u32 {
        u32::try_from(lock.queue().len() + lock.groups().len()).unwrap_or(u32::MAX)
    }

    /// Looks at each of them.
    fn waiters_live(&self, lock: &Lock, now: LogTime) -> u32 {
        let is_live = |session: SessionKey, deadline: LogTime| {
            deadline > now && !self.session(session).is_over(now)
        };
        let queued = lock
            .queue()
            .iter()
            .filter(|wait| is_live(wait.session, wait.deadline));
        let groups = lock.groups().iter().map(|group| &self.groups[group]);
        let grouped = groups.filter(|group| is_live(group.session, group.deadline));
        u32::try_from(queued.count() + grouped.count()).unwrap_or(u32::MAX)
    }

    pub(crate) fn live_holds<'a>(
        &'a self,
        lock: &'a Lock,
        now: LogTime,
    ) -> impl Iterator<Item = &'a Hold> {
        lock.holds.iter().filter(move |hold| {
            self.hold_deadline(hold) > now && self.live_members(hold, now).next().is_some()
        })
    }

    pub(crate) fn live_members<'a>(
        &'a self,
        hold: &'a Hold,
        now: LogTime,
    ) -> impl Iterator<Item = &'a Session> {
        let sessions = hold.members().map(|member| self.session(member));
        sessions.filter(move |session| !session.is_over(now))
    }

    /// A holder as others see it.
    fn holder(&self, hold: &Hold, now: LogTime) -> Holder {
        let first = self.live_members(hold, now).next();
        let attached = self
            .live_members(hold, now)
            .any(|session| session.attached().is_some());
        let longest = self.session(hold.first);
        let owner = longest.owner_name.clone();
        let own = hold.metadata().cloned();
        Holder {
            name: first.map_or_else(|| owner.clone(), |session| session.name.clone()),
            owner,
            sessions: u32::try_from(self.live_members(hold, now).count()).unwrap_or(u32::MAX),
            orphaned: !attached,
            since: hold.since_wall(),
            held: hold.since().until(now),
            remaining: now.until(self.hold_deadline(hold)),
            metadata: own
                .or_else(|| first.map(|session| session.metadata.clone()))
                .unwrap_or_default(),
        }
    }

    /// The org's locks in path order, from the first that begins with `prefix` and lies beyond `after`.
    pub(crate) fn locks_from<'a>(
        &'a self,
        org: OrgKey,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = LockKey> + 'a {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let path = |lock: LockKey| self.lock(lock).path.as_str();
        let is_wanted = |lock: &LockKey| {
            self.lock(*lock).org == org
                && path(*lock).starts_with(prefix)
                && after.is_none_or(|after| path(*lock) > after)
        };
        let young = self.nursery.iter().filter(is_wanted);
        let mut young: BinaryHeap<_> = young.map(|lock| Reverse((path(lock), lock))).collect();
        let mut grown = self
            .org(org)
            .paths
            .in_order
            .from(&self.locks, start)
            .peekable();
        core::iter::from_fn(move || {
            let next_grown = grown.peek().map(|lock| path(*lock));
            match young.peek() {
                Some(Reverse((next_young, _)))
                    if next_grown.is_none_or(|grown| *next_young < grown) =>
                {
                    young.pop().map(|Reverse((_, lock))| lock)
                }
                _ => grown.next(),
            }
        })
        .take_while(move |lock| path(*lock).starts_with(prefix))
    }

    pub(crate) fn list(&self, list: &List<'_>, now: LogTime) -> Answer {
        let none = Answer::Page {
            holds: Vec::new(),
            next: None,
        };
        let Some(org) = self.org_named(list.org) else {
            return none;
        };
        let (prefix, most) = match list.target {
            Target::Path(path) => (path, 1),
            Target::Prefix(prefix) => (prefix, SCAN_MAX),
            Target::Owner(_) | Target::Session(_) | Target::All => ("", SCAN_MAX),
        };
        let page = (list.page as usize).clamp(1, PAGE_MAX);
        let mut holds = Vec::new();
        let mut last = None;
        let mut locks = self.locks_from(org, prefix, list.after);
        for lock in locks.by_ref().take(most) {
            self.list_lock(lock, list, now, &mut holds);
            last = Some(lock);
            if holds.len() >= page {
                break;
            }
        }
        let is_path = matches!(list.target, Target::Path(_));
        let next = if is_path || locks.next().is_none() {
            None
        } else {
            last.map(|lock| self.path(lock))
        };
        Answer::Page { holds, next }
    }

    fn list_lock(&self, key: LockKey, list: &List<'_>, now: LogTime, holds: &mut Vec<ListedHold>) {
        let lock = self.lock(key);
        if list.mode.is_some_and(|mode| mode != lock.mode()) {
            return;
        }
        let listed = self.live_holds(lock, now).filter(|hold| {
            hold.since().until(now) >= list.held_min
                && self.is_targeted(lock, hold, &list.target, now)
        });
        let mut listed = listed.take(PAGE_MAX).peekable();
        if listed.peek().is_none() {
            return;
        }
        // Once for all holds: it looks at each that waits.
        let (path, waiters) = (self.path(key), self.waiters(lock, now));
        holds.extend(listed.map(|hold| ListedHold {
            path: path.clone(),
            mode: lock.mode(),
            token: lock.token(),
            holder: self.holder(hold, now),
            waiters,
        }));
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            orgs: self.orgs.len() as u64,
            sessions: (self.sessions.len() - self.ending.len()) as u64,
            sessions_detached: self.tally.sessions_detached,
            locks: self.locks.len() as u64,
            holds: self.tally.holds,
            holds_orphaned: self.tally.holds_orphaned,
            waits: self.tally.waits,
        }
    }
}
