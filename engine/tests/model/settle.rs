//! Settling a lock, serving its queue, granting, and ending things (rules 6, 10, 16, 17, 19, 24).
//!
//! Every change to a path is followed by settling it. Whoever loses is told before anyone is
//! granted: things end first, and the queue is served after.

use std::collections::VecDeque;

use tenure_engine::limits::SHARED_MAX;
use tenure_engine::{
    Cause, Grant, GrantKind, Millis, Mode, Notice, RefusalReason, Rejection, SessionEnd, SessionId,
    Token, WaitEnd, WaitId, What,
};

use super::Model;
use super::state::{Hold, Lock, Member, Session, Wait};

/// What 13, 14 and 15 say about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// 13: the session joins the hold of its owner.
    Join,
    /// 14: the hold of the owner, who is alone, becomes exclusive.
    Upgrade,
    /// 15: a hold for the owner.
    Fresh,
    /// It cannot be granted.
    No(RefusalReason),
}

/// What a session asks of one lock.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) session: SessionId,
    pub(super) owner: String,
    pub(super) mode: Mode,
    pub(super) limit: Option<u32>,
    pub(super) ttl: u64,
    pub(super) metadata: Vec<u8>,
    /// Since when it has waited, and as which wait.
    pub(super) waited: Option<(u64, u64)>,
}

impl Request {
    /// What a wait asks of its `item`-th lock.
    pub(super) fn of_wait(wait: &Wait, item: usize) -> Self {
        Self {
            session: wait.session,
            owner: wait.owner.clone(),
            mode: wait.items[item].mode,
            limit: wait.items[item].limit,
            ttl: wait.ttls[item],
            metadata: wait.metadata.clone(),
            waited: Some((wait.since, wait.id)),
        }
    }
}

/// Who else stands in the way of a request for what nobody else's hold does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Queue {
    /// Whoever is eligible.
    Counts,
    /// Whoever is eligible, except this wait.
    CountsBut(u64),
    /// Nobody.
    Aside,
}

impl Model {
    /// Rules 10 and 24: settles the lock and tries the `acquire_all`s that wait on it, from the
    /// oldest again after each grant; then every lock that this has changed, in that order.
    pub(super) fn settle(&mut self, lock: &Lock) {
        let mut work = Vec::new();
        self.settle_one(lock, &mut work);
        work.push(lock.clone());
        let mut work = VecDeque::from(work);
        while let Some(lock) = work.pop_front() {
            let mut touched = Vec::new();
            self.settle_one(&lock, &mut touched);
            while self.grant_oldest_all(&lock, &mut touched) {}
            work.extend(touched);
        }
    }

    /// One after the other, each with all that follows from it.
    pub(super) fn settle_all(&mut self, locks: Vec<Lock>) {
        for lock in locks {
            self.settle(&lock);
        }
    }

    /// Rule 10, without 24. The other locks of an `acquire_all` that ends are added to `touched`.
    pub(super) fn settle_one(&mut self, lock: &Lock, touched: &mut Vec<Lock>) {
        let now = self.now;
        let past = |model: &Self| {
            let on = model
                .holds
                .iter()
                .filter(|hold| hold.lock == *lock && hold.deadline <= now);
            on.map(|hold| hold.age).min()
        };
        while let Some(hold) = past(self) {
            self.end_hold(hold, &Cause::Expired, None);
        }
        let past = |model: &Self| {
            let on = model
                .waits
                .iter()
                .filter(|wait| wait.is_on(lock) && wait.deadline <= now);
            on.min_by_key(|wait| (wait.all, wait.id)).cloned()
        };
        while let Some(wait) = past(self) {
            self.end_wait(wait.id, WaitEnd::TimedOut);
            touch(&wait, touched);
        }
        for session in self.sessions_at(lock) {
            let there = self
                .session(session)
                .expect("a session at a lock is remembered");
            if there.ended.is_none() && self.session_over(there, now) {
                self.mark_ended(session, SessionEnd::GraceOver);
            }
        }
        for session in self.sessions_at(lock) {
            let there = self
                .session(session)
                .expect("a session at a lock is remembered");
            if let Some(why) = there.ended {
                self.take_along(session, why, lock, touched);
            }
        }
        self.serve(lock);
    }

    /// The sessions in the holds and waits of the lock, by number.
    fn sessions_at(&self, lock: &Lock) -> Vec<SessionId> {
        let holds = self.holds.iter().filter(|hold| hold.lock == *lock);
        let holding = holds.flat_map(|hold| hold.members.iter().map(|member| member.session));
        let waits = self.waits.iter().filter(|wait| wait.is_on(lock));
        let mut at: Vec<SessionId> = holding.chain(waits.map(|wait| wait.session)).collect();
        at.sort_unstable();
        at.dedup();
        at
    }

    /// Rule 6, of one lock: what an ended session has there goes.
    fn take_along(
        &mut self,
        session: SessionId,
        why: SessionEnd,
        lock: &Lock,
        touched: &mut Vec<Lock>,
    ) {
        let waits = self
            .waits
            .iter()
            .filter(|wait| wait.session == session && wait.is_on(lock));
        let mut waits: Vec<Wait> = waits.cloned().collect();
        waits.sort_by_key(|wait| wait.id);
        for wait in waits {
            self.end_wait(wait.id, WaitEnd::SessionEnded);
            touch(&wait, touched);
        }
        let mut holds = self.holds.iter();
        let hold = holds.find(|hold| hold.lock == *lock && hold.has(session));
        if let Some(age) = hold.map(|hold| hold.age) {
            self.take_out(age, session, &cause_of(why));
        }
    }

    /// Rule 16, as far as one step goes.
    fn serve(&mut self, lock: &Lock) {
        while let Some((wait, verdict)) = self.next_turn(lock) {
            if self.turns_left == 0 {
                if !self.unserved.contains(lock) {
                    self.unserved.push(lock.clone());
                }
                return;
            }
            self.turns_left -= 1;
            match verdict {
                Verdict::No(reason) => self.end_wait(wait.id, WaitEnd::Refused(reason)),
                Verdict::Join | Verdict::Upgrade | Verdict::Fresh => {
                    self.grant_wait(lock, &wait, verdict);
                }
            }
        }
        self.unserved.retain(|unserved| unserved != lock);
    }

    /// Whose turn it is, and what it comes to; nobody's when the round has ended.
    fn next_turn(&self, lock: &Lock) -> Option<(Wait, Verdict)> {
        let mut queue = self.queue(lock, self.now).into_iter();
        let first = queue.find(|wait| self.eligible(wait, self.now))?;
        let request = Request::of_wait(first, 0);
        match self.verdict(lock, &request, Queue::Aside, None) {
            verdict @ (Verdict::No(RefusalReason::LimitDiffers)
            | Verdict::Join
            | Verdict::Upgrade
            | Verdict::Fresh) => Some((first.clone(), verdict)),
            Verdict::No(_) => None,
        }
    }

    /// Grants a wait of the queue, or ends it where a limit stands in the way.
    pub(super) fn grant_wait(&mut self, lock: &Lock, wait: &Wait, verdict: Verdict) {
        let request = Request::of_wait(wait, 0);
        if self.limit_in_the_way(lock, &request, verdict, 0).is_some() {
            self.end_wait(wait.id, WaitEnd::TooManyHolds);
            return;
        }
        self.drop_wait(wait.id);
        let grant = self.grant(lock, &request, verdict);
        let held = tenure_engine::Held {
            path: lock.path.as_str().into(),
            grant,
        };
        self.tell(
            wait.session,
            Notice::Granted {
                wait: WaitId(wait.id),
                holds: vec![held],
            },
        );
        self.after_grant(lock, &request, verdict);
    }

    /// Rule 24: grants the oldest `acquire_all` on the lock that can be, its other locks settled;
    /// whether there was one.
    fn grant_oldest_all(&mut self, lock: &Lock, touched: &mut Vec<Lock>) -> bool {
        let on = self
            .waits
            .iter()
            .filter(|wait| wait.all && wait.is_on(lock));
        let mut waits: Vec<Wait> = on.cloned().collect();
        waits.sort_by_key(|wait| wait.id);
        for wait in waits {
            let waits_still = |model: &Self| model.waits.iter().any(|other| other.id == wait.id);
            if !waits_still(self) || !self.eligible(&wait, self.now) {
                continue;
            }
            for other in wait.locks().into_iter().filter(|other| other != lock) {
                let before = self.clone();
                self.settle_one(&other, touched);
                if *self != before {
                    touched.push(other);
                }
            }
            if waits_still(self) && self.try_all(&wait) {
                touched.extend(wait.locks());
                return true;
            }
        }
        false
    }

    fn try_all(&mut self, wait: &Wait) -> bool {
        let mut requests = Vec::new();
        for (item, lock) in wait.locks().into_iter().enumerate() {
            let request = Request::of_wait(wait, item);
            let verdict = self.verdict(&lock, &request, Queue::Counts, None);
            if matches!(verdict, Verdict::No(_)) {
                return false;
            }
            requests.push((lock, request, verdict));
        }
        if self.limit_in_the_way_of_all(&requests).is_some() {
            self.end_wait(wait.id, WaitEnd::TooManyHolds);
            return true;
        }
        self.drop_wait(wait.id);
        let grants = self.grant_all(&requests);
        let holds = requests
            .iter()
            .zip(grants)
            .map(|((lock, _, _), grant)| tenure_engine::Held {
                path: lock.path.as_str().into(),
                grant,
            });
        let holds = holds.collect();
        self.tell(
            wait.session,
            Notice::Granted {
                wait: WaitId(wait.id),
                holds,
            },
        );
        for (lock, request, verdict) in &requests {
            self.after_grant(lock, request, *verdict);
        }
        true
    }

    pub(super) fn grant_all(&mut self, requests: &[(Lock, Request, Verdict)]) -> Vec<Grant> {
        requests
            .iter()
            .map(|(lock, request, verdict)| self.grant(lock, request, *verdict))
            .collect()
    }

    /// Rules 13, 14 and 15, as if the hold of age `without` were gone.
    pub(super) fn verdict(
        &self,
        lock: &Lock,
        request: &Request,
        queue: Queue,
        without: Option<u64>,
    ) -> Verdict {
        let mut holds = self.holds_on(lock, self.now);
        holds.retain(|hold| Some(hold.age) != without);
        if let Some(own) = holds.iter().find(|hold| hold.owner == request.owner) {
            return if own.mode >= request.mode {
                Verdict::Join
            } else if holds.len() == 1 {
                Verdict::Upgrade
            } else if self.upgrade_pending(lock, &request.owner, self.now) {
                Verdict::No(RefusalReason::UpgradePending)
            } else {
                Verdict::No(RefusalReason::Held)
            };
        }
        let Some(first) = holds.first() else {
            return if self.queue_stands_in_the_way(lock, queue) {
                Verdict::No(RefusalReason::QueuedAhead)
            } else {
                Verdict::Fresh
            };
        };
        if request.mode == Mode::Exclusive || first.mode == Mode::Exclusive {
            return Verdict::No(RefusalReason::Held);
        }
        if first.limit != request.limit {
            return Verdict::No(RefusalReason::LimitDiffers);
        }
        let most = first
            .limit
            .map_or(SHARED_MAX, |limit| SHARED_MAX.min(limit as usize));
        if holds.len() >= most {
            return Verdict::No(RefusalReason::Held);
        }
        if self.queue_stands_in_the_way(lock, queue) {
            return Verdict::No(RefusalReason::QueuedAhead);
        }
        Verdict::Fresh
    }

    fn queue_stands_in_the_way(&self, lock: &Lock, queue: Queue) -> bool {
        let but = match queue {
            Queue::Aside => return false,
            Queue::Counts => None,
            Queue::CountsBut(wait) => Some(wait),
        };
        let mut waits = self.queue(lock, self.now).into_iter();
        waits.any(|wait| Some(wait.id) != but && self.eligible(wait, self.now))
    }

    /// Rule 20, for one grant; `freed` holds of the org end before it.
    pub(super) fn limit_in_the_way(
        &self,
        lock: &Lock,
        request: &Request,
        verdict: Verdict,
        freed: usize,
    ) -> Option<Rejection> {
        let policy = self.org_policy(&lock.org);
        let holds = self.org_holds(&lock.org) - freed;
        if verdict == Verdict::Fresh && holds >= policy.holds_max as usize {
            return Some(Rejection::TooManyHolds);
        }
        let own: Vec<&Hold> = self
            .holds
            .iter()
            .filter(|hold| hold.has(request.session))
            .collect();
        let is_in = own.iter().any(|hold| hold.lock == *lock);
        if !is_in && own.len() >= policy.session_holds_max as usize {
            return Some(Rejection::TooManySessionHolds);
        }
        if self.takes_token(lock, verdict) && self.next_token > Token::MAX.0 {
            return Some(Rejection::TokensExhausted);
        }
        None
    }

    /// Rule 20, for an `acquire_all`: all its grants together.
    pub(super) fn limit_in_the_way_of_all(
        &self,
        requests: &[(Lock, Request, Verdict)],
    ) -> Option<Rejection> {
        let (first, request, _) = &requests[0];
        let policy = self.org_policy(&first.org);
        let fresh = requests
            .iter()
            .filter(|(_, _, verdict)| *verdict == Verdict::Fresh)
            .count();
        let holds = self.org_holds(&first.org);
        if fresh > 0 && holds + fresh > policy.holds_max as usize {
            return Some(Rejection::TooManyHolds);
        }
        let own: Vec<&Hold> = self
            .holds
            .iter()
            .filter(|hold| hold.has(request.session))
            .collect();
        let more = requests
            .iter()
            .filter(|(lock, _, _)| !own.iter().any(|hold| hold.lock == *lock));
        let more = more.count();
        if more > 0 && own.len() + more > policy.session_holds_max as usize {
            return Some(Rejection::TooManySessionHolds);
        }
        let tokens = requests
            .iter()
            .filter(|(lock, _, verdict)| self.takes_token(lock, *verdict));
        let tokens = tokens.count() as u64;
        if tokens > 0 && self.next_token + tokens - 1 > Token::MAX.0 {
            return Some(Rejection::TokensExhausted);
        }
        None
    }

    /// Rule 19.
    fn takes_token(&self, lock: &Lock, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Upgrade => true,
            Verdict::Fresh => self.holds_on(lock, self.now).is_empty(),
            Verdict::Join | Verdict::No(_) => false,
        }
    }

    /// Makes, joins or upgrades the hold. [`Self::after_grant`] is to follow.
    pub(super) fn grant(&mut self, lock: &Lock, request: &Request, verdict: Verdict) -> Grant {
        let kind = match verdict {
            Verdict::Join => {
                let age = self
                    .hold_of(lock, &request.owner, self.now)
                    .expect("it joins one")
                    .age;
                self.extend(age, request);
                self.admit(age, request);
                GrantKind::Joined
            }
            Verdict::Upgrade => {
                let age = self
                    .hold_of(lock, &request.owner, self.now)
                    .expect("it has one")
                    .age;
                self.extend(age, request);
                self.upgrade(age, request.session);
                self.admit(age, request);
                GrantKind::Converted
            }
            Verdict::Fresh => {
                self.hold_afresh(lock, request);
                GrantKind::Fresh
            }
            Verdict::No(_) => unreachable!("only what can be granted is granted"),
        };
        self.forget_losses(request.session, &lock.path);
        let hold = self
            .hold_of(lock, &request.owner, self.now)
            .expect("it has been granted");
        self.grant_of(hold, kind, self.now)
    }

    /// Rule 13: nothing falls.
    fn extend(&mut self, age: u64, request: &Request) {
        let now = self.now;
        let hold = self.hold_mut(age);
        hold.ttl = hold.ttl.max(request.ttl);
        hold.deadline = hold.deadline.max(now.saturating_add(hold.ttl));
        if !request.metadata.is_empty() {
            hold.metadata = request.metadata.clone();
        }
    }

    /// Puts the session into the hold; a hold that had nobody attached is adopted by it.
    fn admit(&mut self, age: u64, request: &Request) {
        let was_orphaned = self.left_alone(self.hold(age));
        let hold = self.hold_mut(age);
        if !hold.has(request.session) {
            hold.members.push(Member {
                session: request.session,
                by_wait: None,
            });
        }
        let mut members = hold.members.iter_mut();
        let member = members
            .find(|member| member.session == request.session)
            .expect("just put");
        member.by_wait = request.waited.map(|(_, wait)| wait).or(member.by_wait);
        if was_orphaned {
            self.adopted(age);
        }
    }

    /// Rule 14: a new token, which the other sessions in the hold are told.
    fn upgrade(&mut self, age: u64, by: SessionId) {
        let token = self.take_token();
        let hold = self.hold_mut(age);
        hold.mode = Mode::Exclusive;
        hold.limit = None;
        hold.token = token;
        self.converted(age, by);
    }

    /// Tells the event, and the sessions other than `by`.
    pub(super) fn converted(&mut self, age: u64, by: SessionId) {
        let hold = self.hold(age).clone();
        let (path, who) = (hold.lock.path.as_str().into(), self.holder(&hold));
        let token = Token(hold.token);
        self.happen(
            &hold.lock.org,
            What::Converted {
                path,
                who,
                mode: hold.mode,
                token,
            },
        );
        let grant = self.grant_of(&hold, GrantKind::Converted, self.now);
        for member in hold.members.iter().filter(|member| member.session != by) {
            let path = hold.lock.path.as_str().into();
            self.tell(member.session, Notice::Changed { path, grant });
        }
    }

    fn hold_afresh(&mut self, lock: &Lock, request: &Request) {
        let phase = self.holds_on(lock, self.now).first().map(|hold| hold.token);
        let token = phase.unwrap_or_else(|| self.take_token());
        let age = self.next_age;
        self.next_age += 1;
        let by_wait = request.waited.map(|(_, wait)| wait);
        self.holds.push(Hold {
            age,
            lock: lock.clone(),
            owner: request.owner.clone(),
            mode: request.mode,
            limit: request.limit.filter(|_| request.mode == Mode::Shared),
            token,
            ttl: request.ttl,
            deadline: self.now.saturating_add(request.ttl),
            since: self.now,
            since_wall: self.wall,
            metadata: request.metadata.clone(),
            members: vec![Member {
                session: request.session,
                by_wait,
            }],
        });
        let who = self.holder(self.hold(age));
        let waited = Millis(request.waited.map_or(0, |(since, _)| self.now - since));
        let (path, mode, token) = (lock.path.as_str().into(), request.mode, Token(token));
        self.happen(
            &lock.org,
            What::Granted {
                path,
                who,
                mode,
                token,
                waited,
            },
        );
    }

    /// Rule 17.
    pub(super) fn after_grant(&mut self, lock: &Lock, request: &Request, verdict: Verdict) {
        if verdict == Verdict::Join {
            return;
        }
        let now = self.now;
        let own = |model: &Self| {
            let mut own: Vec<Wait> = model.queue(lock, now).into_iter().cloned().collect();
            own.retain(|wait| wait.owner == request.owner);
            own
        };
        for wait in own(self) {
            if wait.mode() <= request.mode && self.eligible(&wait, now) {
                self.grant_wait(lock, &wait, Verdict::Join);
            }
        }
        if request.mode == Mode::Shared && self.upgrade_pending(lock, &request.owner, now) {
            for wait in own(self) {
                if wait.mode() == Mode::Exclusive {
                    self.end_wait(wait.id, WaitEnd::Refused(RefusalReason::UpgradePending));
                }
            }
        }
    }

    fn take_token(&mut self) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        token
    }

    /// Ends a hold for all its sessions, and tells those that are not `by`.
    pub(super) fn end_hold(&mut self, age: u64, cause: &Cause, by: Option<SessionId>) {
        let hold = self.hold(age).clone();
        let (path, who) = (hold.lock.path.as_str().into(), self.holder(&hold));
        let (token, held) = (Token(hold.token), Millis(self.now - hold.since));
        let cause_told = cause.clone();
        let ended = What::Ended {
            path,
            who,
            token,
            cause: cause_told,
            held,
        };
        self.happen(&hold.lock.org, ended);
        for member in hold
            .members
            .iter()
            .filter(|member| Some(member.session) != by)
        {
            self.tell_lost(member.session, &hold.lock.path, hold.token, cause);
        }
        self.holds.retain(|other| other.age != age);
        for member in &hold.members {
            self.left(member.session);
        }
    }

    /// The session has one hold or wait fewer: its idle time begins anew, and if it is detached
    /// and keeps, it ends with the last.
    pub(super) fn left(&mut self, id: SessionId) {
        let now = self.now;
        let has_holds = self.holds.iter().any(|hold| hold.has(id));
        let has_waits = self.waits.iter().any(|wait| wait.session == id);
        let session = self.session_mut(id);
        session.last_active = now;
        let kept = session.ended.is_none() && !session.attached && session.grace().is_none();
        if kept && !has_holds && !has_waits {
            self.mark_ended(id, SessionEnd::LastHoldOver);
        }
    }

    /// Ends a wait without a grant.
    pub(super) fn end_wait(&mut self, id: u64, why: WaitEnd) {
        let wait = self
            .waits
            .iter()
            .find(|wait| wait.id == id)
            .expect("it waits")
            .clone();
        let paths = wait
            .items
            .iter()
            .map(|item| item.path.as_str().into())
            .collect();
        let session = self
            .session(wait.session)
            .expect("a waiting session is remembered");
        let (who, wait_id) = (session.who(), WaitId(id));
        self.happen(
            &wait.org,
            What::WaitEnded {
                paths,
                who,
                wait: wait_id,
                why,
            },
        );
        self.tell_wait_ended(&wait, why);
        self.drop_wait(id);
    }

    fn drop_wait(&mut self, id: u64) {
        let at = self
            .waits
            .iter()
            .position(|wait| wait.id == id)
            .expect("it waits");
        let wait = self.waits.remove(at);
        self.left(wait.session);
    }

    /// Takes a session out of a hold; the hold ends with the last.
    pub(super) fn take_out(&mut self, age: u64, id: SessionId, cause: &Cause) {
        if self.hold(age).members.len() == 1 {
            self.end_hold(age, cause, Some(id));
            return;
        }
        let was_orphaned = self.left_alone(self.hold(age));
        self.hold_mut(age)
            .members
            .retain(|member| member.session != id);
        if !was_orphaned && self.left_alone(self.hold(age)) {
            self.orphan(age);
        }
        self.left(id);
    }

    pub(super) fn orphan(&mut self, age: u64) {
        let hold = self.hold(age).clone();
        let (path, who) = (hold.lock.path.as_str().into(), self.holder(&hold));
        self.happen(
            &hold.lock.org,
            What::Orphaned {
                path,
                who,
                token: Token(hold.token),
            },
        );
    }

    pub(super) fn adopted(&mut self, age: u64) {
        let hold = self.hold(age).clone();
        let (path, who) = (hold.lock.path.as_str().into(), self.holder(&hold));
        self.happen(
            &hold.lock.org,
            What::Adopted {
                path,
                who,
                token: Token(hold.token),
            },
        );
    }

    pub(super) fn hold(&self, age: u64) -> &Hold {
        self.holds
            .iter()
            .find(|hold| hold.age == age)
            .expect("the hold is there")
    }

    pub(super) fn hold_mut(&mut self, age: u64) -> &mut Hold {
        self.holds
            .iter_mut()
            .find(|hold| hold.age == age)
            .expect("the hold is there")
    }

    pub(super) fn session_mut(&mut self, id: SessionId) -> &mut Session {
        self.sessions
            .iter_mut()
            .find(|session| session.id == id)
            .expect("it is there")
    }
}

/// A wait for several locks has changed all of them; one in a queue, the lock alone that is being settled.
fn touch(wait: &Wait, touched: &mut Vec<Lock>) {
    if wait.all {
        touched.extend(wait.locks());
    }
}

/// Rule 6: the cause for holds whose last session has ended so.
pub(super) fn cause_of(why: SessionEnd) -> Cause {
    match why {
        SessionEnd::Closed => Cause::SessionClosed,
        SessionEnd::GraceOver | SessionEnd::LastHoldOver | SessionEnd::Idle => Cause::SessionLost,
    }
}
