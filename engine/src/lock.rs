//! One lock: its holds, its queue, and what may happen to it. Knows no session, no time but the one it is told, no effects.
//!
//! ```text
//!            grant exclusive             grant shared
//!      +-------------------- free --------------------+
//!      v                      ^ ^                     v
//!  exclusive -- last end -----+ +---- last end --- shared <-+ grant, while the limit leaves room
//!      |                                              | |  |
//!      |  <-------------- upgrade (sole holder) ------+ +--+
//!      +----------------- downgrade (keeps its token) ->
//! ```
//!
//! Must hold: exclusive means one hold; shared means at most `limit` holds; one hold per owner; the queue ascends by wait
//! number; mode, limit and token are those of the phase, and mean nothing while nobody holds.
//!
//! Millions of them are held by one session each, and awaited by nobody. So whatever such a lock does not need lies apart,
//! in a box that it does not have.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU64;
use core::{iter, mem, slice};

use compact_str::CompactString;

use crate::command::Mode;
use crate::crowd::{self, Crowd};
use crate::ids::{Token, WaitId};
use crate::keys::{HoldId, OrgKey, OwnerKey, SessionKey};
use crate::limits::SHARED_MAX;
use crate::narrow::{Marks, Narrow, Numbers};
use crate::nursery::Stage;
use crate::time::{LogTime, Millis, WallTime};

/// A path that somebody holds or awaits. Laid out for [`Lock::glance`].
#[derive(Debug, Clone)]
#[repr(C)]
pub(crate) struct Lock {
    pub(crate) org: OrgKey,
    marks: Marks,
    /// In place, up to 24 bytes.
    pub(crate) path: CompactString,
    /// Oldest first. What is rare of the lock is with them.
    pub(crate) holds: Holds,
}

/// What a lock without waiters and limit does not have.
#[derive(Debug, Clone, Default)]
pub(crate) struct LockRest {
    limit: Option<u32>,
    queue: VecDeque<Wait>,
    groups: Vec<WaitId>,
    /// Those in the queue who wait for more than their owners hold already. Nearly always none.
    upgrades: Vec<WaitId>,
    crowd: Option<Box<Crowd>>,
    /// Where it stands among the unserved, if it does.
    unserved: Option<NonZeroU64>,
}

static NO_QUEUE: VecDeque<Wait> = VecDeque::new();

/// A granted lock of one owner.
#[derive(Debug, Clone)]
pub(crate) struct Hold {
    /// Unless they are not small enough.
    narrow: Narrow,
    rest: Option<Box<HoldRest>>,
    /// The session that has been in it longest.
    pub(crate) first: SessionKey,
    pub(crate) owner: OwnerKey,
}

/// What a hold of one session, that was had at once, says nothing and is not of another age, does not have.
#[derive(Debug, Clone, Default)]
struct HoldRest {
    /// The sessions that came later, in order.
    others: Vec<SessionKey>,
    /// The wait that brought a session in, for a cancel that comes too late.
    from: Vec<(SessionKey, WaitId)>,
    metadata: Option<Arc<[u8]>>,
    /// Its numbers, if they could not be narrowed.
    wide: Option<Box<Numbers>>,
    /// What is rare of its lock, if it is the only hold.
    lock: Option<Box<LockRest>>,
}

/// The holds of a lock: nearly always one, which lies in the lock itself, and in its box what is rare of the lock.
#[derive(Debug, Clone)]
pub(crate) enum Holds {
    One(Hold),
    Many(Vec<Hold>, Option<Box<LockRest>>),
}

/// An acquire that was promised an answer later.
#[derive(Debug, Clone)]
pub(crate) struct Wait {
    pub(crate) id: WaitId,
    pub(crate) session: SessionKey,
    pub(crate) owner: OwnerKey,
    pub(crate) mode: Mode,
    pub(crate) limit: Option<u32>,
    pub(crate) ttl: Millis,
    pub(crate) since: LogTime,
    pub(crate) deadline: LogTime,
    pub(crate) note: Option<Note>,
    pub(crate) metadata: Option<Arc<[u8]>>,
    /// When its timer comes up.
    pub(crate) armed: LogTime,
}

/// "May I have it?"
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) text: Arc<str>,
    pub(crate) declined: bool,
}

/// What stands between an owner and a grant, the queue aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// The owner's hold is as strong as asked, or stronger.
    Joins(usize),
    /// The owner's shared hold is the only one.
    Upgrades(usize),
    /// The owner holds it shared, beside others.
    UpgradeBlocked,
    /// Nobody is in the way.
    Free,
    /// Others hold it.
    Held,
    /// The shared phase has another limit.
    LimitDiffers,
}

impl Lock {
    pub(crate) fn new(org: OrgKey, path: &str, stage: Stage) -> Self {
        Self {
            path: CompactString::new(path),
            holds: Holds::default(),
            marks: Marks::new(stage),
            org,
        }
    }

    /// Looks at its beginning and its end, which are in all the lines of memory that it lies in; see `ahead.rs`.
    pub(crate) fn glance(&self) -> u64 {
        let hold = self.holds.first();
        let end = hold.map_or(0, |hold| hold.first.place());
        (self.org.place() ^ end) as u64
    }

    /// Takes leave of all but its path.
    pub(crate) fn leave(&mut self) {
        if !self.holds.are_none() {
            self.holds = Holds::default();
        }
        self.marks.set_gone();
    }

    /// Whether nothing is here but a path.
    pub(crate) const fn is_gone(&self) -> bool {
        self.marks.is_gone()
    }

    /// Whether nothing is left that makes it worth keeping.
    pub(crate) fn is_unused(&self) -> bool {
        self.holds.is_empty() && !self.is_awaited()
    }

    /// Whether somebody waits for it, alone or with others.
    pub(crate) fn is_awaited(&self) -> bool {
        let rest = self.holds.lock_rest();
        rest.is_some_and(|rest| !rest.queue.is_empty() || !rest.groups.is_empty())
    }

    /// Whether there may be somebody to be served.
    pub(crate) fn wants_serving(&self) -> bool {
        let rest = self.holds.lock_rest();
        rest.is_some_and(|rest| {
            !rest.queue.is_empty() || !rest.groups.is_empty() || rest.unserved.is_some()
        })
    }

    pub(crate) fn is_held(&self) -> bool {
        !self.holds.is_empty()
    }

    /// That of the phase.
    pub(crate) const fn token(&self) -> Token {
        self.marks.token()
    }

    /// That of the phase.
    pub(crate) const fn mode(&self) -> Mode {
        self.marks.mode()
    }

    pub(crate) fn stage(&self) -> Stage {
        self.marks.stage()
    }

    pub(crate) fn set_stage(&mut self, stage: Stage) {
        self.marks.set_stage(stage);
    }

    /// How many may share it, as the first holder has fixed it.
    pub(crate) fn limit(&self) -> Option<u32> {
        self.holds.lock_rest().and_then(|rest| rest.limit)
    }

    /// Opens a phase, of the hold that there is, if there is one.
    pub(crate) fn begin_phase(&mut self, token: Token, mode: Mode, limit: Option<u32>) {
        self.marks.set_phase(token, mode);
        if limit != self.limit() {
            self.holds.lock_rest_mut().limit = limit;
        }
        if let Some(owner) = self.holds.first().map(|hold| hold.owner)
            && self.holds.lock_rest().is_some()
        {
            self.find_upgrades_of(owner);
        }
    }

    /// By number; upgrades are looked for first, wherever they stand.
    pub(crate) fn queue(&self) -> &VecDeque<Wait> {
        self.holds.lock_rest().map_or(&NO_QUEUE, |rest| &rest.queue)
    }

    /// The wait that stands there in the queue. Neither its owner nor its mode may change.
    pub(crate) fn wait_mut(&mut self, index: usize) -> &mut Wait {
        &mut self.holds.lock_rest_mut().queue[index]
    }

    /// Puts a wait at the end of the queue; tells where that is.
    pub(crate) fn push_wait(&mut self, wait: Wait) -> usize {
        let is_upgrade = wait.mode == Mode::Exclusive
            && self.mode() == Mode::Shared
            && self.hold_of(wait.owner).is_some();
        let rest = self.holds.lock_rest_mut();
        if is_upgrade {
            rest.upgrades.push(wait.id);
        }
        rest.queue.push_back(wait);
        if rest.crowd.is_some() || crowd::are_many(rest.queue.len()) {
            let all = rest.queue.iter().map(|wait| (wait.owner, wait.id));
            rest.crowd.get_or_insert_default().add_waiter(all);
        }
        rest.queue.len() - 1
    }

    /// Takes the wait out that stands there.
    pub(crate) fn take_wait(&mut self, index: usize) -> Wait {
        let rest = self.holds.lock_rest_mut();
        let wait = rest.queue.remove(index);
        let wait = wait.expect("the wait was found in this step");
        if let Ok(at) = rest.upgrades.binary_search(&wait.id) {
            rest.upgrades.remove(at);
        }
        if let Some(crowd) = &mut rest.crowd {
            crowd.remove_waiter(wait.owner, wait.id);
            rest.forget_crowd_if_empty();
        }
        wait
    }

    /// The waits for several locks that this one is among, by number.
    pub(crate) fn groups(&self) -> &[WaitId] {
        self.holds.lock_rest().map_or(&[], |rest| &rest.groups)
    }

    pub(crate) fn groups_mut(&mut self) -> &mut Vec<WaitId> {
        &mut self.holds.lock_rest_mut().groups
    }

    /// A hold of an owner who has none.
    pub(crate) fn push_hold(&mut self, hold: Hold) {
        if self.holds.are_none() {
            self.holds = Holds::One(hold);
            return;
        }
        let owner = hold.owner;
        self.holds.push(hold);
        if self.holds.lock_rest().is_none() && !crowd::are_many(self.holds.len()) {
            return;
        }
        let has_crowd = self.crowd().is_some();
        if let Holds::Many(all, rest) = &mut self.holds
            && (has_crowd || crowd::are_many(all.len()))
        {
            let all = all.iter().map(|hold| (hold.owner, hold.id()));
            let rest = rest.get_or_insert_default();
            rest.crowd.get_or_insert_default().add_holder(all);
        }
        self.find_upgrades_of(owner);
    }

    /// Takes the hold out that stands there.
    pub(crate) fn take_hold(&mut self, index: usize) -> Hold {
        let hold = self.holds.remove(index);
        if self.holds.lock_rest().is_some() {
            self.hold_is_taken(&hold);
        }
        hold
    }

    /// Takes those holds out, whose ages are in order: with one look at all of them.
    pub(crate) fn take_holds(&mut self, taken: &[HoldId]) -> Vec<Hold> {
        let taken = self.holds.remove_all(taken);
        if self.holds.lock_rest().is_some() {
            taken.iter().for_each(|hold| self.hold_is_taken(hold));
        }
        taken
    }

    fn hold_is_taken(&mut self, hold: &Hold) {
        let rest = self.holds.lock_rest_mut();
        if let Some(crowd) = &mut rest.crowd {
            crowd.remove_holder(hold.owner);
            rest.forget_crowd_if_empty();
        }
        self.find_upgrades_of(hold.owner);
    }

    /// Where the hold of that age stands.
    pub(crate) fn hold_index(&self, hold: HoldId) -> Option<usize> {
        match &self.holds {
            Holds::One(only) => (only.id() == hold).then_some(0),
            Holds::Many(holds, _) => holds.binary_search_by_key(&hold, Hold::id).ok(),
        }
    }

    /// Where the owner's hold stands.
    #[inline]
    pub(crate) fn hold_of(&self, owner: OwnerKey) -> Option<usize> {
        match &self.holds {
            Holds::One(only) => (only.owner == owner).then_some(0),
            Holds::Many(holds, _) if holds.is_empty() => None,
            Holds::Many(holds, _) => self.hold_among(holds, owner),
        }
    }

    fn hold_among(&self, holds: &[Hold], owner: OwnerKey) -> Option<usize> {
        let crowd = self.crowd();
        match crowd.and_then(|crowd| crowd.hold_of(owner)) {
            Some(known) => self.hold_index(known?),
            None => holds.iter().position(|hold| hold.owner == owner),
        }
    }

    /// Where the hold stands that a session of the owner is in.
    pub(crate) fn hold_with(&self, owner: OwnerKey, session: SessionKey) -> Option<usize> {
        if let Holds::One(only) = &self.holds {
            return only.has_member(session).then_some(0);
        }
        let index = self.hold_of(owner)?;
        self.holds[index].has_member(session).then_some(index)
    }

    /// The owner's waits in the queue, by number.
    pub(crate) fn waits_of(&self, owner: OwnerKey) -> Vec<WaitId> {
        let crowd = self.crowd();
        let known = crowd.and_then(|crowd| crowd.waits_of(owner));
        known.unwrap_or_else(|| {
            let waits = self.queue().iter().filter(|wait| wait.owner == owner);
            waits.map(|wait| wait.id).collect()
        })
    }

    /// Where it stands among those whose queues are to be served further.
    pub(crate) fn unserved(&self) -> Option<NonZeroU64> {
        self.holds.lock_rest()?.unserved
    }

    pub(crate) fn set_unserved(&mut self, place: Option<NonZeroU64>) {
        self.holds.lock_rest_mut().unserved = place;
    }

    pub(crate) fn crowd(&self) -> Option<&Crowd> {
        self.holds.lock_rest()?.crowd.as_deref()
    }

    /// Rules 13, 14 and 15, the queue aside.
    pub(crate) fn room_for(&self, owner: OwnerKey, mode: Mode, limit: Option<u32>) -> Room {
        self.room_among(self.holds.len(), self.hold_of(owner), mode, limit)
    }

    /// The same, as if only some of the holds were there.
    pub(crate) fn room_beside(
        &self,
        is_there: impl Fn(&Hold) -> bool,
        owner: OwnerKey,
        mode: Mode,
        limit: Option<u32>,
    ) -> Room {
        let count = self.holds.iter().filter(|hold| is_there(hold)).count();
        let own = self.hold_of(owner);
        let own = own.filter(|own| is_there(&self.holds[*own]));
        self.room_among(count, own, mode, limit)
    }

    /// The same, among so many holds, of which the owner's stands there, if there is one.
    fn room_among(&self, count: usize, own: Option<usize>, mode: Mode, limit: Option<u32>) -> Room {
        if count == 0 {
            return Room::Free;
        }
        if let Some(own) = own {
            return if self.mode() >= mode {
                Room::Joins(own)
            } else if count == 1 {
                Room::Upgrades(own)
            } else {
                Room::UpgradeBlocked
            };
        }
        match (self.mode(), mode) {
            (Mode::Exclusive, _) | (_, Mode::Exclusive) => Room::Held,
            (Mode::Shared, Mode::Shared) if self.limit() != limit => Room::LimitDiffers,
            (Mode::Shared, Mode::Shared) => {
                let most = limit.map_or(SHARED_MAX, |limit| SHARED_MAX.min(limit as usize));
                if count >= most {
                    Room::Held
                } else {
                    Room::Free
                }
            }
        }
    }

    /// Where a wait stands in the queue.
    pub(crate) fn wait_index(&self, wait: WaitId) -> Option<usize> {
        self.queue()
            .binary_search_by_key(&wait, |queued| queued.id)
            .ok()
    }

    /// Those in the queue who wait for more than their owners hold already, by number.
    pub(crate) fn upgrades(&self) -> &[WaitId] {
        self.holds.lock_rest().map_or(&[], |rest| &rest.upgrades)
    }

    /// Looks which of the owner's waits are upgrades, after what the owner holds has changed.
    fn find_upgrades_of(&mut self, owner: OwnerKey) {
        if self.queue().is_empty() {
            return;
        }
        let holds = self.mode() == Mode::Shared && self.hold_of(owner).is_some();
        if !holds && self.upgrades().is_empty() {
            return;
        }
        for wait in self.waits_of(owner) {
            let index = self.wait_index(wait).expect("an owner's waits are queued");
            let is_upgrade = holds && self.queue()[index].mode == Mode::Exclusive;
            let upgrades = &mut self.holds.lock_rest_mut().upgrades;
            match upgrades.binary_search(&wait) {
                Ok(at) if !is_upgrade => {
                    upgrades.remove(at);
                }
                Err(at) if is_upgrade => upgrades.insert(at, wait),
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Places of the queue in the order in which they are served: upgrades first, then by number.
    pub(crate) fn serving_order(&self) -> impl Iterator<Item = usize> + '_ {
        let (queue, upgrades) = (self.queue(), self.upgrades());
        let place = |wait: &WaitId| self.wait_index(*wait).expect("an upgrade is queued");
        let is_other = |index: &usize| upgrades.binary_search(&queue[*index].id).is_err();
        let others = (0..queue.len()).filter(move |index| upgrades.is_empty() || is_other(index));
        upgrades.iter().map(place).chain(others)
    }

    /// How many are served before the wait that stands there.
    pub(crate) fn ahead_of(&self, index: usize) -> usize {
        let upgrades = self.upgrades();
        match upgrades.binary_search(&self.queue()[index].id) {
            Ok(at) => at,
            Err(before) => index + upgrades.len() - before,
        }
    }
}

impl LockRest {
    fn forget_crowd_if_empty(&mut self) {
        if self.crowd.as_ref().is_some_and(|crowd| crowd.is_empty()) {
            self.crowd = None;
        }
    }
}

impl Hold {
    /// A hold of one session, at its beginning.
    pub(crate) fn new(
        id: HoldId,
        owner: OwnerKey,
        first: SessionKey,
        ttl: Millis,
        (since, since_wall): (LogTime, WallTime),
    ) -> Self {
        let numbers = Numbers {
            id,
            deadline: since + ttl,
            ttl,
            since,
            since_wall,
        };
        let narrow = Narrow::of(&numbers);
        let mut hold = Self {
            narrow: narrow.unwrap_or_default(),
            rest: None,
            first,
            owner,
        };
        if narrow.is_none() {
            hold.rest_mut().wide = Some(Box::new(numbers));
        }
        hold
    }

    // Its numbers.

    fn wide(&self) -> Option<&Numbers> {
        self.rest.as_ref()?.wide.as_deref()
    }

    fn numbers(&self) -> Numbers {
        self.wide()
            .map_or_else(|| self.narrow.numbers(), |wide| *wide)
    }

    fn set(&mut self, numbers: Numbers) {
        let narrow = Narrow::of(&numbers);
        self.narrow = narrow.unwrap_or_default();
        if narrow.is_none() || self.wide().is_some() {
            self.rest_mut().wide = narrow.is_none().then(|| Box::new(numbers));
        }
    }

    pub(crate) fn id(&self) -> HoldId {
        self.wide().map_or_else(|| self.narrow.id(), |wide| wide.id)
    }

    /// Not to be read alone: a renewal of a member's session moves it too. See `Engine::hold_deadline`.
    pub(crate) fn deadline(&self) -> LogTime {
        self.wide()
            .map_or_else(|| self.narrow.deadline(), |wide| wide.deadline)
    }

    pub(crate) fn ttl(&self) -> Millis {
        self.wide()
            .map_or_else(|| self.narrow.ttl(), |wide| wide.ttl)
    }

    pub(crate) fn since(&self) -> LogTime {
        self.numbers().since
    }

    pub(crate) fn since_wall(&self) -> WallTime {
        self.numbers().since_wall
    }

    pub(crate) fn renew(&mut self, deadline: LogTime, ttl: Millis) {
        if self.wide().is_none() && self.narrow.renew(deadline, ttl) {
            return;
        }
        self.set(Numbers {
            deadline,
            ttl,
            ..self.numbers()
        });
    }

    // Who is in it, and what it says.

    /// The sessions in it, longest first. Never none.
    pub(crate) fn members(&self) -> impl Iterator<Item = SessionKey> + '_ {
        let others = self.rest.as_ref().map_or(&[][..], |rest| &rest.others);
        iter::once(self.first).chain(others.iter().copied())
    }

    pub(crate) fn member_count(&self) -> usize {
        1 + self.rest.as_ref().map_or(0, |rest| rest.others.len())
    }

    pub(crate) fn has_member(&self, session: SessionKey) -> bool {
        self.members().any(|member| member == session)
    }

    pub(crate) fn add_member(&mut self, session: SessionKey) {
        self.rest_mut().others.push(session);
    }

    /// Takes a session out that is not the only one.
    pub(crate) fn remove_member(&mut self, session: SessionKey) {
        let rest = self.rest_mut();
        rest.from.retain(|(from, _)| *from != session);
        match rest.others.iter().position(|other| *other == session) {
            Some(index) => {
                rest.others.remove(index);
            }
            None => self.first = rest.others.remove(0),
        }
    }

    /// The wait that brought a session in, if one did.
    pub(crate) fn from(&self, session: SessionKey) -> Option<WaitId> {
        let from = self.rest.as_ref()?.from.iter();
        let (_, wait) = from.rev().find(|(member, _)| *member == session)?;
        Some(*wait)
    }

    pub(crate) fn set_from(&mut self, session: SessionKey, wait: WaitId) {
        let from = &mut self.rest_mut().from;
        from.retain(|(member, _)| *member != session);
        from.push((session, wait));
    }

    pub(crate) fn metadata(&self) -> Option<&Arc<[u8]>> {
        self.rest.as_ref()?.metadata.as_ref()
    }

    pub(crate) fn set_metadata(&mut self, metadata: Option<Arc<[u8]>>) {
        if metadata.is_some() || self.rest.is_some() {
            self.rest_mut().metadata = metadata;
        }
    }

    fn rest_mut(&mut self) -> &mut HoldRest {
        self.rest.get_or_insert_default()
    }
}

impl Holds {
    /// Whether there is nothing at all in here, as it is of a new lock and of one that goes.
    const fn are_none(&self) -> bool {
        matches!(self, Self::Many(holds, None) if holds.capacity() == 0)
    }

    fn push(&mut self, mut hold: Hold) {
        match self {
            Self::Many(holds, rest) if holds.is_empty() => {
                if let Some(rest) = rest.take() {
                    hold.rest_mut().lock = Some(rest);
                }
                *self = Self::One(hold);
            }
            Self::Many(holds, _) => holds.push(hold),
            Self::One(_) => {
                let rest = self.take_lock_rest();
                if let Self::One(first) = mem::take(self) {
                    *self = Self::Many(Vec::from([first, hold]), rest);
                }
            }
        }
    }

    fn remove(&mut self, index: usize) -> Hold {
        // Nearly always there is no more than this.
        if matches!(self, Self::One(only) if only.rest.is_none())
            && let Self::One(only) = mem::take(self)
        {
            return only;
        }
        let rest = self.take_lock_rest();
        match mem::replace(self, Self::Many(Vec::new(), rest)) {
            Self::One(hold) => hold,
            Self::Many(mut holds, _) => {
                let removed = holds.remove(index);
                if let Self::Many(left, _) = self {
                    *left = holds;
                }
                removed
            }
        }
    }

    fn remove_all(&mut self, removed: &[HoldId]) -> Vec<Hold> {
        match self {
            Self::One(_) if removed.is_empty() => Vec::new(),
            Self::One(_) => Vec::from([self.remove(0)]),
            Self::Many(holds, _) => {
                let is_removed = |hold: &mut Hold| removed.binary_search(&hold.id()).is_ok();
                holds.extract_if(.., is_removed).collect()
            }
        }
    }

    fn lock_rest(&self) -> Option<&LockRest> {
        match self {
            Self::One(hold) => hold.rest.as_ref()?.lock.as_deref(),
            Self::Many(_, rest) => rest.as_deref(),
        }
    }

    fn lock_rest_mut(&mut self) -> &mut LockRest {
        match self {
            Self::One(hold) => hold.rest_mut().lock.get_or_insert_default(),
            Self::Many(_, rest) => rest.get_or_insert_default(),
        }
    }

    fn take_lock_rest(&mut self) -> Option<Box<LockRest>> {
        match self {
            Self::One(hold) => hold.rest.as_mut()?.lock.take(),
            Self::Many(_, rest) => rest.take(),
        }
    }
}

impl Default for Holds {
    fn default() -> Self {
        Self::Many(Vec::new(), None)
    }
}

impl core::ops::Deref for Holds {
    type Target = [Hold];

    fn deref(&self) -> &[Hold] {
        match self {
            Self::One(hold) => slice::from_ref(hold),
            Self::Many(holds, _) => holds,
        }
    }
}

impl core::ops::DerefMut for Holds {
    fn deref_mut(&mut self) -> &mut [Hold] {
        match self {
            Self::One(hold) => slice::from_mut(hold),
            Self::Many(holds, _) => holds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a lock costs wherever it lies: see `docs/adr/0015-what-is-over-goes-together.md`.
    #[test]
    fn a_lock_takes_80_bytes() {
        assert_eq!(size_of::<Hold>(), 40);
        assert_eq!(size_of::<Lock>(), 80);
    }
}
