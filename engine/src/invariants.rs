//! What must hold after every entry, whatever the history. Asserted in tests, simulation and fuzzing, and of a restored state.
//! Decides nothing and repairs nothing. What is over and waits for a sweep is left aside, as the rules allow.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::command::Mode;
use crate::crowd::are_many;
use crate::deadlines::Due;
use crate::engine::{Engine, Tally};
use crate::ids::{Token, WaitId};
use crate::keys::{HoldId, LockKey};
use crate::lock::{Hold, Lock, Wait};
use crate::nursery::Stage;
use crate::org::Org;
use crate::session::{Link, Session};
use crate::time::LogTime;

/// A broken invariant, by name.
type Broken = &'static str;

macro_rules! hold_that {
    ($condition:expr, $what:literal) => {
        if !$condition {
            return Err($what);
        }
    };
}

impl Engine {
    /// Asserts every invariant of the state. Costs time proportional to it, squared for long queues: for tests.
    ///
    /// # Panics
    ///
    /// When one is broken, which is a bug of the engine.
    pub fn check(&self) {
        assert_eq!(self.verify(), Ok(()), "the engine's state is broken");
    }

    /// The first invariant that is broken.
    pub(crate) fn verify(&self) -> Result<(), Broken> {
        for (key, lock) in self.locks.iter() {
            self.verify_beside(key, lock)?;
            self.verify_lock(key, lock)?;
        }
        for session in self.sessions.iter() {
            self.verify_session(session)?;
        }
        let holds = self.locks.iter().flat_map(|(_, lock)| lock.holds.iter());
        let mut ages: Vec<_> = holds.map(|hold| hold.id()).collect();
        ages.sort_unstable();
        hold_that!(
            ages.is_sorted_by(|a, b| a < b),
            "no two holds are of the same age"
        );
        // What a session names and is in was found among the locks: if there is as much of it as of these, nothing is missing.
        let holds = self.locks.iter().flat_map(|(_, lock)| lock.holds.iter());
        let members: usize = holds.map(Hold::member_count).sum();
        let known = self.sessions.iter().map(|session| session.locks.len());
        hold_that!(
            members == known.sum(),
            "a session knows the locks that it holds"
        );
        for id in self.groups.keys() {
            self.verify_group(*id)?;
        }
        for (_, org) in &self.orgs {
            self.verify_org(org)?;
        }
        hold_that!(
            self.org_names.len() == self.orgs.len(),
            "every org has one name"
        );
        hold_that!(
            self.tally == self.counted(),
            "what is counted is what there is"
        );
        hold_that!(
            self.deadlines.len() == self.timers() && self.deadlines.knows_the_first(),
            "everything with a deadline has one timer, and it is known which comes up first"
        );
        hold_that!(
            self.locks_in_lists() == self.timers().1,
            "a lock is named in the list that it remembers"
        );
        let unserved = self
            .locks
            .iter()
            .filter(|(_, lock)| lock.unserved().is_some());
        hold_that!(
            unserved.count() == self.unserved.len(),
            "a lock that stands in line knows that it is unserved"
        );
        hold_that!(
            self.next.token <= Token::MAX.0 + 1,
            "tokens can be read by JavaScript"
        );
        Ok(())
    }

    fn verify_lock(&self, key: LockKey, lock: &Lock) -> Result<(), Broken> {
        hold_that!(
            !lock.is_unused(),
            "a lock that nobody holds or awaits is forgotten"
        );
        self.orgs
            .get(lock.org.place())
            .ok_or("a lock belongs to an org")?;
        hold_that!(
            self.lock_at(&self.address(lock.org, &lock.path)) == Some(key),
            "a lock is found by its path"
        );
        hold_that!(
            lock.mode() == Mode::Shared || lock.holds.len() <= 1,
            "an exclusive lock has one holder"
        );
        let limit = lock.limit().map_or(usize::MAX, |limit| limit as usize);
        hold_that!(
            lock.holds.len() <= limit,
            "a shared lock has holders up to its limit"
        );
        hold_that!(
            !lock.is_held() || lock.token().0 < self.next.token,
            "a token has come from the counter"
        );
        hold_that!(
            lock.holds.is_sorted_by(|a, b| a.id() < b.id()),
            "holds stand by age"
        );
        hold_that!(
            lock.queue().iter().is_sorted_by(|a, b| a.id < b.id),
            "the queue stands by number"
        );
        hold_that!(
            lock.groups().is_sorted_by(|a, b| a < b),
            "the groups stand by number"
        );
        for (index, hold) in lock.holds.iter().enumerate() {
            hold_that!(
                lock.hold_of(hold.owner) == Some(index),
                "an owner has one hold"
            );
            self.verify_hold(hold)?;
        }
        for wait in lock.queue() {
            let session = self
                .sessions
                .get(wait.session)
                .ok_or("a wait has a session")?;
            hold_that!(
                session.waits.get(&wait.id) == Some(&Some(key)),
                "a session knows its waits"
            );
            hold_that!(
                session.owner == wait.owner,
                "a wait is its session's owner's"
            );
            hold_that!(wait.armed <= wait.deadline, "a timer is never late");
            hold_that!(
                self.deadlines.is_armed(wait.armed, Due::Wait(wait.id, key)),
                "a wait has a timer"
            );
            hold_that!(
                wait.id.0 < self.next.wait,
                "a wait's number has come from the counter"
            );
        }
        self.verify_stage(key, lock)?;
        self.verify_served(key, lock)
    }

    /// What is known of a lock beside its holds and its queue.
    fn verify_beside(&self, key: LockKey, lock: &Lock) -> Result<(), Broken> {
        verify_derived(lock)?;
        let Some(place) = lock.unserved() else {
            return Ok(());
        };
        hold_that!(
            self.unserved.at(place) == Some(key),
            "a lock that is unserved stands in line"
        );
        hold_that!(
            !lock.queue().is_empty(),
            "somebody waits for a lock that is unserved"
        );
        Ok(())
    }

    /// A young lock is in the nursery, a grown one in path order; whatever it holds is looked at in time.
    fn verify_stage(&self, key: LockKey, lock: &Lock) -> Result<(), Broken> {
        let looked_at = match lock.stage() {
            Stage::Young(number) => {
                hold_that!(
                    self.nursery.has(key, number),
                    "a young lock is in the nursery"
                );
                self.nursery.due()
            }
            Stage::Grown(slot) => {
                let armed = slot.map(|slot| self.deadlines.far_armed(slot));
                hold_that!(
                    armed != Some(None) && (armed.is_none() || lock.is_held()),
                    "a lock that is held remembers a list of timers"
                );
                armed.flatten().unwrap_or(LogTime::NEVER)
            }
        };
        let is_in_time = lock.holds.iter().all(|hold| {
            let deadline = self.hold_deadline(hold);
            looked_at <= deadline || self.deadlines.is_begun_by(deadline, hold.id(), key)
        });
        hold_that!(is_in_time, "a hold has a timer, which is never late");
        Ok(())
    }

    fn verify_hold(&self, hold: &Hold) -> Result<(), Broken> {
        for member in hold.members() {
            let session = self.sessions.get(member).ok_or("a member is a session")?;
            hold_that!(
                session.owner == hold.owner,
                "a hold is shared by sessions of one owner"
            );
            let same = hold.members().filter(|other| *other == member);
            hold_that!(same.count() == 1, "a session is in a hold once");
        }
        hold_that!(
            hold.id().0 < self.next.hold,
            "a hold's age has come from the counter"
        );
        hold_that!(hold.since() <= self.now, "a hold has begun");
        Ok(())
    }

    /// Promise 3: a grantable lock never has an eligible waiter (things that are over and not yet swept aside).
    fn verify_served(&self, key: LockKey, lock: &Lock) -> Result<(), Broken> {
        let is_waiting_for_a_sweep = lock.holds.len() != self.live_holds(lock, self.now).count()
            || lock.queue().iter().any(|wait| {
                wait.deadline <= self.now || self.session(wait.session).is_over(self.now)
            });
        if is_waiting_for_a_sweep {
            return Ok(());
        }
        hold_that!(
            lock.unserved().is_some() || self.next_turn(key, self.now).is_none(),
            "nobody waits for what is to be had, unless the lock is unserved"
        );
        Ok(())
    }

    fn verify_session(&self, session: &Session) -> Result<(), Broken> {
        let (id, key) = (session.id, session.key);
        let found = self.sessions.find(id).map(|found| found.key);
        hold_that!(found == Some(key), "a session is found by its number");
        hold_that!(
            id.0 < self.next.session,
            "a session's number has come from the counter"
        );
        hold_that!(
            session.ended.is_some() == self.ending.contains_key(&id),
            "an ended session waits for its sweep"
        );
        hold_that!(
            session.idle_since.max(session.renewed_at) <= self.now,
            "what a session has done is done"
        );
        let is_bare = session.locks.is_empty() && session.waits.is_empty();
        hold_that!(
            session.ended.is_none() || !is_bare,
            "an ended session without a hold is forgotten"
        );
        hold_that!(
            !(session.ends_with_last_hold() && session.ended.is_none() && session.locks.is_empty()),
            "a detached session that keeps has a hold"
        );
        hold_that!(
            session.locks.is_lean(),
            "a session names hardly more locks than it holds"
        );
        hold_that!(
            session.locks.len() == self.holds_by_age(key).len(),
            "what a session holds is counted"
        );
        let mut holds = self.holds_by_age(key).into_iter().map(|(hold, lock)| {
            let lock = self.lock(lock);
            &lock.holds[lock.hold_index(hold).expect("it was found by its age")]
        });
        hold_that!(
            holds.all(|hold| hold.ttl() >= session.locks.ttl_least()),
            "no hold of a session lives for less than it knows"
        );
        let left = self.ending.get(&id);
        let is_left = |hold: &(HoldId, LockKey)| left.is_some_and(|left| left.contains(hold));
        hold_that!(
            session.ended.is_none() || self.holds_by_age(key).iter().all(is_left),
            "what an ended session holds is to be swept"
        );
        let is_waiting = |(wait, lock): (&WaitId, &Option<LockKey>)| match lock {
            Some(lock) => self
                .locks
                .get(*lock)
                .is_some_and(|lock| lock.wait_index(*wait).is_some()),
            None => self.groups.contains_key(wait),
        };
        hold_that!(
            session.waits.iter().all(is_waiting),
            "a session waits where it knows"
        );
        self.verify_session_timer(session)
    }

    fn verify_session_timer(&self, session: &Session) -> Result<(), Broken> {
        match (session.ended, session.deadline(), session.armed) {
            (Some(_), _, armed) => hold_that!(armed.is_none(), "an ended session has no timer"),
            (None, Some(deadline), Some(armed)) => {
                hold_that!(armed <= deadline, "a timer is never late");
            }
            (None, Some(_), None) => return Err("a session with a deadline has a timer"),
            (None, None, _) => {}
        }
        let has_timer = session
            .armed
            .is_none_or(|armed| self.deadlines.is_armed(armed, Due::Session(session.id)));
        hold_that!(has_timer, "a session's timer is armed");
        Ok(())
    }

    fn verify_group(&self, id: WaitId) -> Result<(), Broken> {
        let group = &self.groups[&id];
        let session = self
            .sessions
            .get(group.session)
            .ok_or("a wait has a session")?;
        hold_that!(
            session.waits.get(&id) == Some(&None),
            "a session knows its waits"
        );
        let is_known = |lock: LockKey| {
            self.locks
                .get(lock)
                .is_some_and(|lock| lock.groups().binary_search(&id).is_ok())
        };
        hold_that!(
            group.locks().into_iter().all(is_known),
            "a lock knows the groups that wait for it"
        );
        hold_that!(
            self.deadlines.is_armed(group.armed, Due::Group(id)),
            "a wait has a timer"
        );
        hold_that!(group.armed <= group.deadline, "a timer is never late");
        hold_that!(
            id.0 < self.next.wait,
            "a wait's number has come from the counter"
        );
        let is_waiting_for_a_sweep = group.deadline <= self.now
            || group.locks().iter().any(|lock| {
                let lock = self.lock(*lock);
                lock.holds.len() != self.live_holds(lock, self.now).count()
            });
        hold_that!(
            is_waiting_for_a_sweep || !self.has_room_for_all(id, self.now),
            "nobody waits for several locks that are all to be had"
        );
        Ok(())
    }

    fn verify_org(&self, org: &Org) -> Result<(), Broken> {
        hold_that!(!org.is_unused(), "an org that has nothing is forgotten");
        let key = self
            .org_named(&org.name)
            .ok_or("an org is found by its name")?;
        let of_org = |session: &&Session| session.org == key;
        let sessions = self.sessions.iter().filter(of_org);
        let live = sessions
            .clone()
            .filter(|session| session.ended.is_none())
            .count();
        hold_that!(
            live == org.sessions as usize,
            "an org's sessions are counted"
        );
        let owners: u32 = org.owners.iter().map(|owner| owner.sessions).sum();
        hold_that!(
            owners as usize == sessions.count(),
            "an owner's sessions are counted"
        );
        let locks = self.locks.iter().filter(|(_, lock)| lock.org == key);
        let holds: usize = locks.clone().map(|(_, lock)| lock.holds.len()).sum();
        hold_that!(holds == org.holds as usize, "an org's holds are counted");
        hold_that!(
            org.paths.len() == locks.clone().count(),
            "an org's paths are its locks'"
        );
        let grown = locks.filter(|(_, lock)| matches!(lock.stage(), Stage::Grown(_)));
        hold_that!(
            org.paths.in_order.len() == grown.count(),
            "an org's grown locks stand in path order"
        );
        let paths: Vec<_> = self
            .locks_from(key, "", None)
            .map(|lock| &self.lock(lock).path)
            .collect();
        hold_that!(
            paths.len() == org.paths.len() && paths.is_sorted_by(|a, b| a < b),
            "all locks of an org are found in path order"
        );
        Ok(())
    }

    fn counted(&self) -> Tally {
        let holds = || self.locks.iter().flat_map(|(_, lock)| lock.holds.iter());
        let queued = self.locks.iter().map(|(_, lock)| lock.queue().len());
        let queued: usize = queued.sum();
        let detached = self
            .sessions
            .iter()
            .filter(|session| session.link != Link::Attached && session.ended.is_none());
        Tally {
            holds: holds().count() as u64,
            holds_orphaned: holds().filter(|hold| self.is_orphaned(hold)).count() as u64,
            waits: (queued + self.groups.len()) as u64,
            sessions_detached: detached.count() as u64,
        }
    }

    /// How many locks are named in the lists that they remember.
    fn locks_in_lists(&self) -> usize {
        let remembers = |lock: &LockKey, slot| {
            let lock = self.locks.get(*lock);
            lock.is_some_and(|lock| lock.stage() == Stage::Grown(Some(slot)))
        };
        let lists = self.deadlines.lists();
        let named =
            lists.map(|(slot, locks)| locks.iter().filter(|lock| remembers(lock, slot)).count());
        named.sum()
    }

    /// How many timers there should be, of waits and sessions, and of locks in lists.
    fn timers(&self) -> (usize, usize) {
        let armed = |session: &&Session| session.armed.is_some();
        let sessions = self.sessions.iter().filter(armed).count();
        let mut timers = (sessions + self.groups.len(), 0);
        for (_, lock) in self.locks.iter() {
            timers.0 += lock.queue().len();
            timers.1 += usize::from(matches!(lock.stage(), Stage::Grown(Some(_))));
        }
        timers
    }
}

/// What a lock knows of its holds and its queue beside these.
fn verify_derived(lock: &Lock) -> Result<(), Broken> {
    let is_upgrade = |wait: &&Wait| {
        let holds = lock.holds.iter().any(|hold| hold.owner == wait.owner);
        holds && wait.mode == Mode::Exclusive && lock.mode() == Mode::Shared
    };
    let upgrades = lock.queue().iter().filter(is_upgrade);
    hold_that!(
        upgrades
            .map(|wait| wait.id)
            .eq(lock.upgrades().iter().copied()),
        "an upgrade that waits is known as one"
    );
    let (holders, waiters) = match lock.crowd() {
        Some(crowd) => (crowd.holders(), crowd.waiters()),
        None => (&BTreeMap::new(), &BTreeSet::new()),
    };
    let holds = lock.holds.iter();
    hold_that!(
        if holders.is_empty() {
            !are_many(holds.len())
        } else {
            holders.len() == holds.len() && { holds }
                .all(|hold| holders.get(&hold.owner) == Some(&hold.id()))
        },
        "the many who hold are known by owner"
    );
    let waits = lock.queue().iter();
    hold_that!(
        if waiters.is_empty() {
            !are_many(waits.len())
        } else {
            waiters.len() == waits.len() && { waits }
                .all(|wait| waiters.contains(&(wait.owner, wait.id)))
        },
        "the many who wait are known by owner"
    );
    hold_that!(
        lock.crowd().is_none_or(|crowd| !crowd.is_empty()),
        "nothing is kept of few"
    );
    Ok(())
}
