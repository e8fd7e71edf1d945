//! Several locks at once, all or nothing. Rules 23 to 25.
//!
//! Must hold: a waiting one is known to each of its locks and stands in no queue, so it reserves nothing, nobody waits for
//! it, and no circle of waits can pass through it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::acquire::{Needs, Want, metadata, nobody_may_share};
use crate::command::{AcquireAll, Item, Mode};
use crate::deadlines::Due;
use crate::engine::Engine;
use crate::event::{Notice, WaitEnd, What};
use crate::ids::WaitId;
use crate::keys::{LockKey, OrgKey, OwnerKey, SessionKey};
use crate::limits::ACQUIRE_ALL_MAX;
use crate::reply::{Grant, Held, Refusal, RefusalReason, RefusedItem, Rejection, Reply, Waiting};
use crate::step::Step;
use crate::time::{LogTime, Millis};

/// A wait for several locks.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) session: SessionKey,
    pub(crate) owner: OwnerKey,
    pub(crate) items: Vec<GroupItem>,
    pub(crate) metadata: Option<Arc<[u8]>>,
    pub(crate) since: LogTime,
    pub(crate) deadline: LogTime,
    /// When its timer comes up.
    pub(crate) armed: LogTime,
}

/// One lock of a group, which exists as long as the group waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupItem {
    pub(crate) lock: LockKey,
    pub(crate) mode: Mode,
    pub(crate) limit: Option<u32>,
    pub(crate) ttl: Millis,
}

impl Group {
    pub(crate) fn locks(&self) -> Vec<LockKey> {
        self.items.iter().map(|item| item.lock).collect()
    }

    fn want(&self, item: &GroupItem, from: Option<WaitId>) -> Want {
        Want {
            session: self.session,
            owner: self.owner,
            mode: item.mode,
            limit: item.limit,
            ttl: item.ttl,
            metadata: self.metadata.clone(),
            from,
            since: self.since,
        }
    }
}

impl Step<'_> {
    pub(crate) fn acquire_all(&mut self, acquire: &AcquireAll<'_>) -> Reply {
        let session = match self.locking_session(acquire.by) {
            Ok(session) => session,
            Err(rejection) => return Reply::Rejected(rejection),
        };
        if !are_sound(acquire.items) {
            return Reply::Rejected(Rejection::BadItems);
        }
        if acquire
            .items
            .iter()
            .any(|item| nobody_may_share(item.limit))
        {
            return Reply::Rejected(Rejection::BadLimit);
        }
        let (org, session, owner) = (session.org, session.key, session.owner);
        for item in acquire.items {
            self.settled(&self.engine.address(org, item.path));
        }
        let refused = self.items_refused(org, owner, acquire.items);
        let may_wait = acquire.wait > Millis::ZERO
            && refused
                .iter()
                .all(|item| item.refusal.reason != RefusalReason::LimitDiffers);
        if !refused.is_empty() && !may_wait {
            return Reply::RefusedAll(refused);
        }
        let group = Group {
            session,
            owner,
            items: self.group_items(org, acquire),
            metadata: metadata(acquire.metadata),
            since: self.now,
            deadline: self.now + acquire.wait,
            armed: self.now + acquire.wait,
        };
        let locks = group.locks();
        let reply = if refused.is_empty() {
            self.give_all_now(&group)
        } else {
            self.wait_for_all(group)
        };
        for lock in locks {
            self.drop_if_unused(lock);
        }
        reply
    }

    fn items_refused(&self, org: OrgKey, owner: OwnerKey, items: &[Item<'_>]) -> Vec<RefusedItem> {
        let refused = (0..).zip(items).filter_map(|(place, item)| {
            let lock = self.engine.lock_at(&self.engine.address(org, item.path));
            let reason = self
                .engine
                .room(lock, owner, item.mode, item.limit, self.now)
                .err()?;
            Some(self.refused_item(place, lock, reason))
        });
        refused.collect()
    }

    fn refused_item(&self, item: u32, lock: Option<LockKey>, reason: RefusalReason) -> RefusedItem {
        let truth = lock.map(|lock| self.engine.truth(self.engine.lock(lock), self.now));
        RefusedItem {
            item,
            refusal: Refusal {
                reason,
                truth: truth.unwrap_or_default(),
            },
        }
    }

    fn group_items(&mut self, org: OrgKey, acquire: &AcquireAll<'_>) -> Vec<GroupItem> {
        let items = acquire.items.iter().map(|item| GroupItem {
            lock: self.lock_at(&self.engine.address(org, item.path)),
            mode: item.mode,
            limit: item.limit,
            ttl: self.engine.org(org).ttl_for(item.path, acquire.ttl),
        });
        items.collect()
    }

    fn give_all_now(&mut self, group: &Group) -> Reply {
        match self.give_all(group, None) {
            Ok(grants) => Reply::GrantedAll(grants),
            Err(rejection) => Reply::Rejected(rejection),
        }
    }

    /// Gives all of a group, for which there is room, or, if a limit stands in the way, none.
    fn give_all(&mut self, group: &Group, from: Option<WaitId>) -> Result<Vec<Grant>, Rejection> {
        self.group_within_limits(group)?;
        let mut grants = Vec::new();
        for item in &group.items {
            let kind = self.give(item.lock, &group.want(item, from))?;
            self.serve_owner(item.lock, group.owner, kind);
            let index = self
                .engine
                .lock(item.lock)
                .hold_of(group.owner)
                .expect("it was given");
            grants.push(self.grant(item.lock, index, kind));
        }
        // What the owner has, it may have been waiting for with others.
        self.to_try.extend(group.locks());
        for item in &group.items {
            self.serve(item.lock);
        }
        Ok(grants)
    }

    fn group_within_limits(&self, group: &Group) -> Result<(), Rejection> {
        let mut needs = Needs::default();
        for item in &group.items {
            let lock = self.engine.lock(item.lock);
            let room = lock.room_for(group.owner, item.mode, item.limit);
            needs.count(lock, lock.is_held(), group.session, room);
        }
        self.satisfies(self.engine.session(group.session).org, group.session, needs)
    }

    // Waiting.

    fn wait_for_all(&mut self, group: Group) -> Reply {
        if let Some(id) = self.group_waiting_already(&group) {
            self.ask_for_all_again(id, &group);
            return Reply::Queued { wait: id, place: 0 };
        }
        let full = (0..).zip(&group.items).filter_map(|(place, item)| {
            let refused = self.queue_is_full(item.lock);
            refused.then(|| self.refused_item(place, Some(item.lock), RefusalReason::QueueFull))
        });
        let full: Vec<_> = full.collect();
        if !full.is_empty() {
            return Reply::RefusedAll(full);
        }
        if let Err(rejection) = self.waits_left(group.session) {
            return Reply::Rejected(rejection);
        }
        Reply::Queued {
            wait: self.begin_group(group),
            place: 0,
        }
    }

    fn group_waiting_already(&self, group: &Group) -> Option<WaitId> {
        let same = |waiting: &Group| {
            let key = |item: &GroupItem| (item.lock, item.mode, item.limit);
            waiting
                .items
                .iter()
                .map(key)
                .eq(group.items.iter().map(key))
        };
        let waits = &self.engine.session(group.session).waits;
        let groups = waits
            .iter()
            .filter(|(_, lock)| lock.is_none())
            .map(|(wait, _)| *wait);
        groups
            .into_iter()
            .find(|wait| same(&self.engine.groups[wait]))
    }

    fn ask_for_all_again(&mut self, id: WaitId, again: &Group) {
        let waiting = self
            .engine
            .groups
            .get_mut(&id)
            .expect("it was found in this step");
        let mut changed = waiting.deadline < again.deadline;
        waiting.deadline = waiting.deadline.max(again.deadline);
        for (item, again) in waiting.items.iter_mut().zip(&again.items) {
            changed |= item.ttl < again.ttl;
            item.ttl = item.ttl.max(again.ttl);
        }
        if again.metadata.is_some() && waiting.metadata != again.metadata {
            waiting.metadata.clone_from(&again.metadata);
            changed = true;
        }
        if changed {
            self.touch();
        }
    }

    fn begin_group(&mut self, group: Group) -> WaitId {
        let id = self.next_wait();
        for item in &group.items {
            self.engine.lock_mut(item.lock).groups_mut().push(id);
        }
        self.engine.deadlines.arm(group.deadline, Due::Group(id));
        self.session_mut(group.session).waits.insert(id, None);
        self.engine.tally.waits += 1;
        self.engine.groups.insert(id, group);
        self.touch();
        self.event(|engine| {
            let group = &engine.groups[&id];
            let items = group.items.iter();
            let session = engine.session(group.session);
            let what = What::Queued {
                paths: items.map(|item| &*engine.lock(item.lock).path).collect(),
                who: session.who(),
                wait: id,
            };
            (session.org, what)
        });
        id
    }

    fn take_group(&mut self, id: WaitId) -> Group {
        let group = self
            .engine
            .groups
            .remove(&id)
            .expect("the wait was found in this step");
        self.engine.deadlines.disarm(group.armed, Due::Group(id));
        self.engine.tally.waits -= 1;
        self.session_mut(group.session).waits.remove(&id);
        for item in &group.items {
            self.engine
                .lock_mut(item.lock)
                .groups_mut()
                .retain(|waiting| *waiting != id);
        }
        self.touch();
        group
    }

    /// Ends a wait for several locks without a grant. Its locks are kept until the step has tried the others.
    pub(crate) fn end_group(&mut self, id: WaitId, why: WaitEnd) {
        let group = self.take_group(id);
        self.group_ended(id, &group, why);
    }

    fn group_ended(&mut self, id: WaitId, group: &Group, why: WaitEnd) {
        self.to_try.extend(group.locks());
        self.wait_ended(group.session, id, &group.locks(), why);
    }

    // Being tried.

    /// Tries the groups of every lock that asks for it, and of those that this stirs.
    pub(crate) fn try_groups(&mut self) {
        while let Some(lock) = self.to_try.pop_front() {
            if !self.engine.locks.contains(lock) {
                continue;
            }
            self.settle_queue(lock);
            // A grant may make an older one of the same owner grantable, by joining: begin anew with the oldest.
            while self.grant_first_group(lock) {}
            self.drop_if_unused(lock);
        }
    }

    /// Tries the groups that wait for a lock, oldest first, until one is granted; tells whether one was.
    fn grant_first_group(&mut self, lock: LockKey) -> bool {
        let groups = self.engine.lock(lock).groups().to_vec();
        groups.into_iter().any(|id| self.try_group(id, lock))
    }

    fn try_group(&mut self, id: WaitId, tried: LockKey) -> bool {
        let is_eligible = |step: &Self| {
            let group = step.engine.groups.get(&id);
            group.is_some_and(|group| step.is_eligible(group.session))
        };
        if !is_eligible(self) {
            return false;
        }
        let locks = self.engine.groups[&id].locks();
        for &lock in locks.iter().filter(|lock| **lock != tried) {
            if self.changes(|step| step.settle_queue(lock)) {
                self.to_try.push_back(lock);
            }
        }
        if !is_eligible(self) || !self.engine.has_room_for_all(id, self.now) {
            return false;
        }
        self.grant_group(id);
        true
    }

    fn grant_group(&mut self, id: WaitId) {
        let group = self.take_group(id);
        match self.give_all(&group, Some(id)) {
            Ok(grants) => {
                let paths = self.engine.paths_of(&group);
                let holds = paths
                    .into_iter()
                    .zip(grants)
                    .map(|(path, grant)| Held { path, grant })
                    .collect();
                self.notice(group.session, Notice::Granted { wait: id, holds });
            }
            Err(_) => self.group_ended(id, &group, WaitEnd::TooManyHolds),
        }
    }
}

impl Engine {
    /// Whether a group that waits could be granted.
    pub(crate) fn has_room_for_all(&self, id: WaitId, now: LogTime) -> bool {
        let group = &self.groups[&id];
        self.is_eligible(group.session, now)
            && group.items.iter().all(|item| {
                self.room(Some(item.lock), group.owner, item.mode, item.limit, now)
                    .is_ok()
            })
    }

    fn paths_of(&self, group: &Group) -> Vec<Arc<str>> {
        group
            .items
            .iter()
            .map(|item| self.path(item.lock))
            .collect()
    }

    /// A wait for several locks as its session sees it.
    pub(crate) fn waiting_for_all(&self, wait: WaitId, now: LogTime) -> Waiting {
        let group = &self.groups[&wait];
        Waiting {
            wait,
            paths: self.paths_of(group),
            place: 0,
            remaining: now.until(group.deadline),
        }
    }
}

/// Some, not too many, and no path twice.
fn are_sound(items: &[Item<'_>]) -> bool {
    let is_repeated = |(index, item): (usize, &Item<'_>)| {
        items[..index].iter().any(|before| before.path == item.path)
    };
    !items.is_empty()
        && items.len() <= ACQUIRE_ALL_MAX
        && !items.iter().enumerate().any(is_repeated)
}
