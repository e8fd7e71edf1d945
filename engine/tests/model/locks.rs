//! What sessions and operators ask of locks (rules 12 to 33). Each settles what it touches first.
//!
//! It decides the answers; granting and ending are done in `settle.rs`.

use tenure_engine::limits::{ACQUIRE_ALL_MAX, PAGE_MAX, SCAN_MAX};
use tenure_engine::{
    Acquire, AcquireAll, Cause, Convert, EndedHold, ForceRelease, Grant, GrantKind, Held, Millis,
    Mode, NotHeld, Notice, Refusal, RefusalReason, RefusedItem, Rejection, Release, ReleaseScope,
    Released, Renew, Reply, Role, Seize, SessionId, SessionRef, Target, Token, WaitEnd, WaitId,
    What,
};

use super::Model;
use super::settle::{Queue, Request, Verdict};
use super::state::{Hold, Lock, Note, Session, Wait, Wanted};

impl Model {
    pub(super) fn acquire(&mut self, acquire: &Acquire<'_>) -> Reply {
        let session = match self.member(acquire.by) {
            Ok(session) => session,
            Err(rejection) => return Reply::Rejected(rejection),
        };
        if acquire.limit == Some(0) {
            return Reply::Rejected(Rejection::BadLimit);
        }
        let at_once = acquire.wait == Millis::ZERO;
        if acquire.seize.is_some() && !(acquire.mode == Mode::Exclusive && at_once) {
            return Reply::Rejected(Rejection::BadSeize);
        }
        let lock = Lock::new(&session.org, acquire.path);
        self.settle(&lock);
        let request = Request {
            session: session.id,
            owner: session.owner.clone(),
            mode: acquire.mode,
            limit: acquire.limit,
            ttl: self.lock_policy(&lock).ttl(acquire.ttl).0,
            metadata: acquire.metadata.to_vec(),
            waited: None,
        };
        match acquire.seize {
            Some(seize) => self.seize(&session, &lock, &request, seize),
            None => self.ask(&session, &lock, &request, acquire.wait, acquire.note),
        }
    }

    /// Rule 12.
    fn member(&self, by: SessionRef) -> Result<Session, Rejection> {
        let session = self.current(by)?;
        if session.role < Role::Member {
            return Err(Rejection::RoleTooLow);
        }
        Ok(session)
    }

    /// Rules 13, 14, 15, 18 and 20.
    fn ask(
        &mut self,
        session: &Session,
        lock: &Lock,
        request: &Request,
        wait: Millis,
        note: Option<&str>,
    ) -> Reply {
        let same = self.queue(lock, self.now).into_iter().find(|other| {
            other.session == session.id
                && other.mode() == request.mode
                && other.items[0].limit == request.limit
        });
        let same = same.map(|wait| wait.id);
        let queue = match same {
            Some(same) if wait == Millis::ZERO => Queue::CountsBut(same),
            Some(_) | None => Queue::Counts,
        };
        let reason = match self.verdict(lock, request, queue, None) {
            Verdict::No(reason) => reason,
            verdict @ (Verdict::Join | Verdict::Upgrade | Verdict::Fresh) => {
                return self.grant_now(lock, request, verdict, 0);
            }
        };
        let never = matches!(
            reason,
            RefusalReason::LimitDiffers | RefusalReason::UpgradePending
        );
        if never || wait == Millis::ZERO {
            return self.refused(lock, reason);
        }
        if let Some(same) = same {
            self.ask_again(same, &[request.ttl], &request.metadata, wait);
            self.leave_note(lock, same, note);
            let same = self.wait(same);
            return Reply::Queued {
                wait: WaitId(same.id),
                place: self.place(same, self.now),
            };
        }
        if self.queue_full(lock) {
            return self.refused(lock, RefusalReason::QueueFull);
        }
        if let Some(rejection) = self.too_many_waits(session) {
            return Reply::Rejected(rejection);
        }
        let wanted = Wanted {
            path: lock.path.clone(),
            mode: request.mode,
            limit: request.limit,
        };
        let ttls = vec![request.ttl];
        let id = self.enqueue(session, vec![wanted], false, ttls, &request.metadata, wait);
        self.leave_note(lock, id, note);
        Reply::Queued {
            wait: WaitId(id),
            place: self.place(self.wait(id), self.now),
        }
    }

    fn grant_now(
        &mut self,
        lock: &Lock,
        request: &Request,
        verdict: Verdict,
        freed: usize,
    ) -> Reply {
        if let Some(rejection) = self.limit_in_the_way(lock, request, verdict, freed) {
            return Reply::Rejected(rejection);
        }
        let kind = self.grant(lock, request, verdict).kind;
        self.after_grant(lock, request, verdict);
        let hold = self
            .hold_of(lock, &request.owner, self.now)
            .expect("it has been granted");
        let grant = self.grant_of(hold, kind, self.now);
        self.settle(lock);
        Reply::Granted(grant)
    }

    fn refused(&self, lock: &Lock, reason: RefusalReason) -> Reply {
        Reply::Refused(Box::new(self.refusal(lock, reason)))
    }

    fn refusal(&self, lock: &Lock, reason: RefusalReason) -> Refusal {
        Refusal {
            reason,
            truth: self.truth(lock, self.now),
        }
    }

    fn queue_full(&self, lock: &Lock) -> bool {
        self.waits_on(lock, self.now).len() >= self.lock_policy(lock).queue_max as usize
    }

    fn too_many_waits(&self, session: &Session) -> Option<Rejection> {
        let most = self.org_policy(&session.org).session_waits_max as usize;
        let waits = self
            .waits
            .iter()
            .filter(|wait| wait.session == session.id)
            .count();
        (waits >= most).then_some(Rejection::TooManySessionWaits)
    }

    fn enqueue(
        &mut self,
        session: &Session,
        items: Vec<Wanted>,
        all: bool,
        ttls: Vec<u64>,
        metadata: &[u8],
        wait: Millis,
    ) -> u64 {
        let id = self.next_wait;
        self.next_wait += 1;
        let paths = items.iter().map(|item| item.path.as_str().into()).collect();
        self.waits.push(Wait {
            id,
            session: session.id,
            org: session.org.clone(),
            owner: session.owner.clone(),
            items,
            all,
            ttls,
            deadline: self.now.saturating_add(wait.0),
            since: self.now,
            note: None,
            metadata: metadata.to_vec(),
        });
        self.happen(
            &session.org,
            What::Queued {
                paths,
                who: session.who(),
                wait: WaitId(id),
            },
        );
        id
    }

    /// Rule 18: the wait and its place are kept.
    fn ask_again(&mut self, id: u64, ttls: &[u64], metadata: &[u8], wait: Millis) {
        let until = self.now.saturating_add(wait.0);
        let same = self.wait_mut(id);
        same.deadline = same.deadline.max(until);
        for (ttl, again) in same.ttls.iter_mut().zip(ttls) {
            *ttl = (*ttl).max(*again);
        }
        if !metadata.is_empty() {
            same.metadata = metadata.to_vec();
        }
    }

    /// Rules 18 and 22: a note is told to the attached sessions of all holders.
    fn leave_note(&mut self, lock: &Lock, id: u64, note: Option<&str>) {
        let Some(text) = note else { return };
        let wait = self.wait(id).clone();
        if wait
            .note
            .as_ref()
            .is_some_and(|old| old.text == text && !old.declined)
        {
            return;
        }
        self.wait_mut(id).note = Some(Note {
            text: text.to_owned(),
            declined: false,
        });
        let who = self.session(wait.session).expect("it waits").who();
        let holds: Vec<Hold> = self.holds_on(lock, self.now).into_iter().cloned().collect();
        let others = holds
            .iter()
            .filter(|hold| hold.owner != who.owner.to_string());
        for member in others.flat_map(|hold| &hold.members) {
            let (path, note) = (lock.path.as_str().into(), text.into());
            let asked = Notice::Asked {
                path,
                wait: WaitId(id),
                who: who.clone(),
                note,
            };
            self.tell(member.session, asked);
        }
    }

    /// Rule 21.
    fn seize(
        &mut self,
        session: &Session,
        lock: &Lock,
        request: &Request,
        seize: Seize<'_>,
    ) -> Reply {
        let holds = self.holds_on(lock, self.now).into_iter().cloned();
        let others: Vec<Hold> = holds.filter(|hold| hold.owner != session.owner).collect();
        let roles = others.iter().flat_map(|hold| self.members(hold, self.now));
        let highest = roles
            .map(|member| member.role)
            .max()
            .unwrap_or(Role::Observer);
        if session.role < Role::Moderator.max(highest) {
            return self.refused(lock, RefusalReason::RoleTooLow);
        }
        let own = self.hold_of(lock, &session.owner, self.now);
        let verdict = match own.map(|hold| hold.mode) {
            Some(Mode::Exclusive) => Verdict::Join,
            Some(Mode::Shared) => Verdict::Upgrade,
            None => Verdict::Fresh,
        };
        let seized = others.len();
        if let Some(rejection) = self.limit_in_the_way(lock, request, verdict, seized) {
            return Reply::Rejected(rejection);
        }
        if verdict == Verdict::Fresh && self.next_token > Token::MAX.0 {
            return Reply::Rejected(Rejection::TokensExhausted);
        }
        let cause = Cause::Seized {
            by: session.who(),
            reason: seize.reason.into(),
        };
        for hold in others {
            self.end_hold(hold.age, &cause, None);
        }
        self.grant_now(lock, request, verdict, 0)
    }

    /// Rules 23 and 25.
    pub(super) fn acquire_all(&mut self, acquire: &AcquireAll<'_>) -> Reply {
        let session = match self.member(acquire.by) {
            Ok(session) => session,
            Err(rejection) => return Reply::Rejected(rejection),
        };
        let items = acquire.items.iter();
        let items = items.map(|item| Wanted {
            path: item.path.to_owned(),
            mode: item.mode,
            limit: item.limit,
        });
        let items: Vec<Wanted> = items.collect();
        let mut paths: Vec<&str> = items.iter().map(|item| item.path.as_str()).collect();
        paths.sort_unstable();
        paths.dedup();
        if items.is_empty() || items.len() > ACQUIRE_ALL_MAX || paths.len() != items.len() {
            return Reply::Rejected(Rejection::BadItems);
        }
        if items.iter().any(|item| item.limit == Some(0)) {
            return Reply::Rejected(Rejection::BadLimit);
        }
        let locks = items.iter().map(|item| Lock::new(&session.org, &item.path));
        let locks: Vec<Lock> = locks.collect();
        self.settle_all(locks.clone());
        let mut requests = Vec::new();
        for (item, lock) in items.iter().zip(locks) {
            let request = Request {
                session: session.id,
                owner: session.owner.clone(),
                mode: item.mode,
                limit: item.limit,
                ttl: self.lock_policy(&lock).ttl(acquire.ttl).0,
                metadata: acquire.metadata.to_vec(),
                waited: None,
            };
            let verdict = self.verdict(&lock, &request, Queue::Counts, None);
            requests.push((lock, request, verdict));
        }
        if requests
            .iter()
            .all(|(_, _, verdict)| !matches!(verdict, Verdict::No(_)))
        {
            return self.grant_all_now(&requests);
        }
        self.refuse_or_wait_for_all(&session, items, &requests, acquire.wait)
    }

    fn grant_all_now(&mut self, requests: &[(Lock, Request, Verdict)]) -> Reply {
        if let Some(rejection) = self.limit_in_the_way_of_all(requests) {
            return Reply::Rejected(rejection);
        }
        let grants = self.grant_all(requests);
        for (lock, request, verdict) in requests {
            self.after_grant(lock, request, *verdict);
        }
        self.settle_all(requests.iter().map(|(lock, _, _)| lock.clone()).collect());
        Reply::GrantedAll(grants)
    }

    fn refuse_or_wait_for_all(
        &mut self,
        session: &Session,
        items: Vec<Wanted>,
        requests: &[(Lock, Request, Verdict)],
        wait: Millis,
    ) -> Reply {
        let same = self
            .waits
            .iter()
            .find(|other| other.all && other.session == session.id && other.items == items);
        let same = same.map(|wait| wait.id);
        let reasons = requests.iter().map(|(_, _, verdict)| match verdict {
            Verdict::No(reason) => Some(*reason),
            Verdict::Join | Verdict::Upgrade | Verdict::Fresh => None,
        });
        let reasons: Vec<Option<RefusalReason>> = reasons.collect();
        if wait == Millis::ZERO || reasons.contains(&Some(RefusalReason::LimitDiffers)) {
            return self.refused_all(requests, &reasons);
        }
        let full = requests.iter().map(|(lock, _, _)| {
            let full = same.is_none() && self.queue_full(lock);
            full.then_some(RefusalReason::QueueFull)
        });
        let full: Vec<Option<RefusalReason>> = full.collect();
        if full.iter().any(Option::is_some) {
            return self.refused_all(requests, &full);
        }
        let ttls: Vec<u64> = requests.iter().map(|(_, request, _)| request.ttl).collect();
        let metadata = &requests[0].1.metadata;
        if let Some(same) = same {
            self.ask_again(same, &ttls, metadata, wait);
            return Reply::Queued {
                wait: WaitId(same),
                place: 0,
            };
        }
        if let Some(rejection) = self.too_many_waits(session) {
            return Reply::Rejected(rejection);
        }
        let id = self.enqueue(session, items, true, ttls, metadata, wait);
        Reply::Queued {
            wait: WaitId(id),
            place: 0,
        }
    }

    fn refused_all(
        &self,
        requests: &[(Lock, Request, Verdict)],
        reasons: &[Option<RefusalReason>],
    ) -> Reply {
        let mut refused = Vec::new();
        for (item, ((lock, _, _), reason)) in (0..).zip(requests.iter().zip(reasons)) {
            if let Some(reason) = reason {
                refused.push(RefusedItem {
                    item,
                    refusal: self.refusal(lock, *reason),
                });
            }
        }
        Reply::RefusedAll(refused)
    }

    /// Rule 26.
    pub(super) fn renew(&mut self, renew: &Renew<'_>) -> Reply {
        let (session, lock) = match self.touch(renew.by, renew.path) {
            Ok(touched) => touched,
            Err(rejection) => return Reply::Rejected(rejection),
        };
        let Some(age) = self.own_hold(&session, &lock, renew.token) else {
            return self.not_held(&session, &lock);
        };
        let policy = self.lock_policy(&lock);
        let now = self.now;
        let hold = self.hold_mut(age);
        let ttl = renew.ttl.map_or(hold.ttl, |ttl| policy.ttl(Some(ttl)).0);
        hold.ttl = hold.ttl.max(ttl);
        hold.deadline = hold.deadline.max(now.saturating_add(hold.ttl));
        Reply::Granted(self.grant_of(self.hold(age), GrantKind::Joined, now))
    }

    /// The session, and the lock, settled.
    fn touch(&mut self, by: SessionRef, path: &str) -> Result<(Session, Lock), Rejection> {
        let session = self.current(by)?;
        let lock = Lock::new(&session.org, path);
        self.settle(&lock);
        Ok((session, lock))
    }

    /// The hold of the session's owner, if it has the token.
    fn own_hold(&self, session: &Session, lock: &Lock, token: Option<Token>) -> Option<u64> {
        let hold = self.hold_of(lock, &session.owner, self.now)?;
        token
            .is_none_or(|token| token.0 == hold.token)
            .then_some(hold.age)
    }

    /// Rule 28.
    fn not_held(&self, session: &Session, lock: &Lock) -> Reply {
        let lost = self.remembered_loss(session.id, &lock.path);
        Reply::NotHeld(Box::new(NotHeld {
            lost,
            truth: self.truth(lock, self.now),
        }))
    }

    /// Rules 27 and 28.
    pub(super) fn release(&mut self, release: &Release<'_>) -> Reply {
        let (session, lock) = match self.touch(release.by, release.path) {
            Ok(touched) => touched,
            Err(rejection) => return Reply::Rejected(rejection),
        };
        let own = self.own_hold(&session, &lock, release.token);
        let own = own.filter(|age| match release.scope {
            ReleaseScope::Session => self.hold(*age).has(session.id),
            ReleaseScope::Owner => true,
        });
        let Some(age) = own else {
            let lost = self.remembered_loss(session.id, &lock.path);
            let held = self.hold_of(&lock, &session.owner, self.now).is_some();
            if !held && lost.is_some_and(|lost| lost.cause == Cause::Expired) {
                return Reply::Released(Released::AlreadyExpired);
            }
            return self.not_held(&session, &lock);
        };
        match release.scope {
            ReleaseScope::Session => self.take_out(age, session.id, &Cause::Released),
            ReleaseScope::Owner => self.end_hold(age, &Cause::Released, Some(session.id)),
        }
        let left = self.holds.iter().any(|hold| hold.age == age);
        self.settle(&lock);
        Reply::Released(if left {
            Released::Left
        } else {
            Released::Ended
        })
    }

    /// Rule 29.
    pub(super) fn convert(&mut self, convert: &Convert<'_>) -> Reply {
        if let Err(rejection) = self.member(convert.by) {
            return Reply::Rejected(rejection);
        }
        if convert.limit == Some(0) {
            return Reply::Rejected(Rejection::BadLimit);
        }
        let (session, lock) = match self.touch(convert.by, convert.path) {
            Ok(touched) => touched,
            Err(rejection) => return Reply::Rejected(rejection),
        };
        let Some(age) = self.own_hold(&session, &lock, None) else {
            return self.not_held(&session, &lock);
        };
        let hold = self.hold(age).clone();
        if hold.mode == convert.mode {
            return Reply::Granted(self.grant_of(&hold, GrantKind::Joined, self.now));
        }
        if convert.mode == Mode::Exclusive {
            let request = Request {
                session: session.id,
                owner: session.owner.clone(),
                mode: Mode::Exclusive,
                limit: None,
                ttl: hold.ttl,
                metadata: Vec::new(),
                waited: None,
            };
            return self.ask(&session, &lock, &request, convert.wait, None);
        }
        let hold = self.hold_mut(age);
        hold.mode = Mode::Shared;
        hold.limit = convert.limit;
        self.converted(age, session.id);
        let grant = self.grant_of(self.hold(age), GrantKind::Converted, self.now);
        self.settle(&lock);
        Reply::Granted(grant)
    }

    /// Rule 30.
    pub(super) fn hand_over(&mut self, by: SessionRef, path: &str, to: Option<WaitId>) -> Reply {
        let (session, lock) = match self.touch(by, path) {
            Ok(touched) => touched,
            Err(rejection) => return Reply::Rejected(rejection),
        };
        let Some(age) = self.own_hold(&session, &lock, None) else {
            return self.not_held(&session, &lock);
        };
        let mut queue = self.queue(&lock, self.now).into_iter();
        let wait = match to {
            Some(to) => queue.find(|wait| wait.id == to.0),
            None => queue.find(|wait| {
                self.eligible(wait, self.now) && wait.note.as_ref().is_some_and(|n| !n.declined)
            }),
        };
        let Some(wait) = wait.cloned() else {
            return Reply::Rejected(Rejection::UnknownWait);
        };
        let request = Request::of_wait(&wait, 0);
        let verdict = self.verdict(&lock, &request, Queue::Aside, Some(age));
        let limit = self.limit_in_the_way(&lock, &request, verdict, 1);
        let alone = self.holds_on(&lock, self.now).len() == 1;
        let takes_token = alone || verdict == Verdict::Upgrade;
        let no_token = takes_token && self.next_token > Token::MAX.0;
        let grantable = !matches!(verdict, Verdict::No(_)) && limit.is_none() && !no_token;
        if !self.eligible(&wait, self.now) || !grantable {
            return Reply::Rejected(Rejection::NotGrantable);
        }
        let waiter = self.session(wait.session).expect("it waits").who();
        let cause = Cause::HandedTo { to: waiter.clone() };
        self.end_hold(age, &cause, Some(session.id));
        let grant = self.grant_handed(&lock, &wait, verdict);
        self.settle(&lock);
        Reply::HandedOver {
            token: grant.token,
            owner: waiter.owner,
        }
    }

    fn grant_handed(&mut self, lock: &Lock, wait: &Wait, verdict: Verdict) -> Grant {
        self.grant_wait(lock, wait, verdict);
        let hold = self
            .hold_of(lock, &wait.owner, self.now)
            .expect("it has been handed over");
        self.grant_of(hold, GrantKind::Fresh, self.now)
    }

    /// Rule 31.
    pub(super) fn decline(&mut self, by: SessionRef, path: &str, to: WaitId) -> Reply {
        let (session, lock) = match self.touch(by, path) {
            Ok(touched) => touched,
            Err(rejection) => return Reply::Rejected(rejection),
        };
        if self.own_hold(&session, &lock, None).is_none() {
            return self.not_held(&session, &lock);
        }
        let mut queue = self.queue(&lock, self.now).into_iter();
        let wait = queue.find(|wait| wait.id == to.0 && wait.note.is_some());
        let Some((id, waiter)) = wait.map(|wait| (wait.id, wait.session)) else {
            return Reply::Rejected(Rejection::UnknownWait);
        };
        let note = self.wait_mut(id).note.as_mut().expect("it was looked for");
        if !note.declined {
            note.declined = true;
            let path = lock.path.as_str().into();
            self.tell(
                waiter,
                Notice::Declined {
                    wait: to,
                    path,
                    who: session.who(),
                },
            );
        }
        Reply::Done
    }

    /// Rule 32.
    pub(super) fn cancel(&mut self, by: SessionRef, wait: WaitId) -> Reply {
        let session = match self.current(by) {
            Ok(session) => session,
            Err(rejection) => return Reply::Rejected(rejection),
        };
        let own = |model: &Self| {
            let mut waits = model.waits.iter();
            waits
                .find(|other| other.id == wait.0 && other.session == session.id)
                .cloned()
        };
        if let Some(there) = own(self) {
            self.settle_all(there.locks());
            if own(self).is_some() {
                self.end_wait(wait.0, WaitEnd::Cancelled);
                self.settle_all(there.locks());
                return Reply::Cancelled;
            }
        }
        let granted = self
            .holds
            .iter()
            .filter(|hold| hold.is_by(session.id, wait));
        let granted = granted.map(|hold| hold.lock.clone()).collect();
        self.settle_all(granted);
        let held = self.session_holds(session.id, self.now).into_iter();
        let held = held.filter(|hold| hold.is_by(session.id, wait));
        let held = held.map(|hold| self.held(hold, GrantKind::Joined, self.now));
        let held: Vec<Held> = held.collect();
        if held.is_empty() {
            return Reply::Rejected(Rejection::UnknownWait);
        }
        Reply::GrantedBefore(held)
    }

    /// Rule 33.
    pub(super) fn force_release(&mut self, force: &ForceRelease<'_>) -> Reply {
        let cause = Cause::Forced {
            by: force.principal.into(),
            reason: force.reason.into(),
        };
        let mut after = force.after.map(str::to_owned);
        let mut ended = Vec::new();
        let mut looked = 0;
        while let Some(lock) = self.next_lock(force.org, &force.target, after.as_deref()) {
            if ended.len() >= PAGE_MAX || looked >= SCAN_MAX {
                return Reply::Forced {
                    ended,
                    next: after.map(|path| path.as_str().into()),
                };
            }
            looked += 1;
            after = Some(lock.path.clone());
            let mut touched = Vec::new();
            self.settle_one(&lock, &mut touched);
            let holds = self.holds_on(&lock, self.now).into_iter().cloned();
            let holds: Vec<Hold> = holds
                .filter(|hold| self.is_target(hold, &force.target, self.now))
                .collect();
            for hold in &holds {
                let who = self.holder(hold);
                ended.push(EndedHold {
                    path: lock.path.as_str().into(),
                    owner: who.owner,
                    name: who.name,
                    token: Token(hold.token),
                });
            }
            for hold in holds {
                self.end_hold(hold.age, &cause, None);
            }
            touched.push(lock);
            self.settle_all(touched);
        }
        Reply::Forced { ended, next: None }
    }

    /// The first lock of the target, in path order, that is held or awaited.
    pub(super) fn next_lock(
        &self,
        org: &str,
        target: &Target<'_>,
        after: Option<&str>,
    ) -> Option<Lock> {
        let held = self.holds.iter().map(|hold| hold.lock.clone());
        let locks = held.chain(self.waits.iter().flat_map(Wait::locks));
        let locks = locks.filter(|lock| lock.org == org);
        let locks = locks.filter(|lock| after.is_none_or(|after| lock.path.as_str() > after));
        let locks = locks.filter(|lock| match target {
            Target::Path(path) => lock.path == *path,
            Target::Prefix(prefix) => lock.path.starts_with(prefix),
            Target::Owner(_) | Target::Session(_) | Target::All => true,
        });
        locks.min()
    }

    pub(super) fn is_target(&self, hold: &Hold, target: &Target<'_>, at: u64) -> bool {
        match target {
            Target::Path(path) => hold.lock.path == *path,
            Target::Prefix(prefix) => hold.lock.path.starts_with(prefix),
            Target::Owner(owner) => hold.owner == *owner,
            Target::Session(session) => {
                let mut members = self.members(hold, at).into_iter();
                members.any(|member| member.id == *session)
            }
            Target::All => true,
        }
    }

    fn wait(&self, id: u64) -> &Wait {
        self.waits
            .iter()
            .find(|wait| wait.id == id)
            .expect("it waits")
    }

    fn wait_mut(&mut self, id: u64) -> &mut Wait {
        self.waits
            .iter_mut()
            .find(|wait| wait.id == id)
            .expect("it waits")
    }
}

impl Hold {
    /// Whether the session has come by the hold through that wait.
    fn is_by(&self, session: SessionId, wait: WaitId) -> bool {
        let mut members = self.members.iter();
        members.any(|member| member.session == session && member.by_wait == Some(wait.0))
    }
}
