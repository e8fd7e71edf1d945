//! What the passing of time asks for: renewals, and the end of holds that were not renewed.
//!
//! A session whose holds are all wanted is renewed whole, many sessions in one message. A session with a hold that is
//! not wanted at the moment, since its guard is renewed only while somebody is active, must not be: its other holds are
//! renewed one by one. Rule: time is an argument here; the clock is elsewhere.

use std::sync::Arc;
use std::time::Duration;

use tenure_protocol::reply::SessionRenewal;
use tenure_protocol::{Reply, Request, reply, request};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::calls::Then;
use super::errands::Errand;
use super::sessions::{SessionEntry, SessionKey};
use super::{Ledger, Link, RETRY_AFTER, mismatch};
use crate::convert;
use crate::error::{ErrorKind, Result};
use crate::standing::{Activity, HoldCell};
use crate::types::SessionEnd;

/// A hold is renewed when this part of its TTL has passed: twice it may fail.
pub(crate) const RENEWALS_PER_TTL: u32 = 3;

/// A session without a hold is renewed this often: the server closes one that is idle for an hour.
pub(crate) const IDLE_RENEWAL: Duration = Duration::from_secs(20 * 60);

impl Ledger {
    /// Does what is due, and says when something will be due next.
    pub(crate) fn tick(&mut self, now: Instant) -> Instant {
        self.wake_at = None;
        self.run_out(now);
        if matches!(self.link, Link::Up) {
            self.renew_due(now);
        }
        let due = |(at, _): &mut (Instant, Errand)| *at <= now;
        let again: Vec<_> = self.later.extract_if(.., due).collect();
        self.errands
            .extend(again.into_iter().map(|(_, errand)| errand));
        if let Some(next) = self.later.iter().map(|(at, _)| *at).min() {
            self.wake_by(next);
        }
        let wake_at = self.wake_at.unwrap_or(now + IDLE_RENEWAL);
        self.wake_at = Some(wake_at);
        wake_at
    }

    /// Ends, on this side, the holds whose deadline has passed. What the server may still have of them is let go.
    fn run_out(&mut self, now: Instant) {
        let mut next = None;
        let mut spent = Vec::new();
        for (key, entry) in &mut self.sessions {
            for slot in entry.slots.values_mut() {
                let Some(hold) = slot.hold.as_ref().filter(|hold| hold.matters()) else {
                    continue;
                };
                let Some(lease) = hold.cell.lease() else {
                    continue;
                };
                let deadline = if self.lose_in_doubt {
                    lease.reliable_until()
                } else {
                    lease.deadline
                };
                if deadline > now {
                    next = Some(next.map_or(deadline, |next: Instant| next.min(deadline)));
                    continue;
                }
                let path = Arc::clone(&hold.cell.path);
                tracing::warn!(session = entry.number, %path, "hold has run out without a renewal");
                slot.run_out();
                spent.push((*key, path));
            }
        }
        for (session, path) in spent {
            self.settle_soon(session, &path);
        }
        if let Some(next) = next {
            self.wake_by(next);
        }
    }

    /// Renews every session that is due, and with it those that soon will be: so that one message does for many.
    fn renew_due(&mut self, now: Instant) {
        let due = |entry: &SessionEntry| entry.attached && entry.renew_at <= now;
        if self.sessions.values().any(due) {
            let mut whole = Vec::new();
            for (key, entry) in &mut self.sessions {
                if !entry.attached {
                    continue;
                }
                let period = entry.renewal_period(now);
                if entry.renew_at > now + period / 2 {
                    continue;
                }
                entry.renew_at = now + period;
                let unwanted: Vec<_> = entry.unwanted_now(now).collect();
                if unwanted.is_empty() {
                    whole.push(*key);
                    continue;
                }
                let wanted = entry.wanted_now(now);
                let errand = |cell| Errand::RenewHold(*key, cell, None);
                self.errands.extend(wanted.map(errand));
            }
            self.line_up_renewals(whole);
        }
        let next = self.sessions.values().filter(|entry| entry.attached);
        if let Some(next) = next.map(|entry| entry.renew_at).min() {
            self.wake_by(next);
        }
    }

    fn line_up_renewals(&mut self, mut sessions: Vec<SessionKey>) {
        sessions.sort_unstable();
        for batch in sessions.chunks(self.renewal_batch) {
            self.errands
                .push_front(Errand::RenewSessions(batch.to_vec()));
        }
    }

    /// Renews the session at the next opportunity.
    pub(crate) fn renew_soon(&mut self, now: Instant, session: SessionKey) {
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.renew_at = now;
            self.wake_by(now);
        }
    }

    pub(crate) fn renew_sessions(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        mut sessions: Vec<SessionKey>,
    ) {
        let attached = |session: &SessionKey| {
            let entry = self.sessions.get(session);
            entry.is_some_and(|entry| entry.attached)
        };
        sessions.retain(attached);
        if sessions.is_empty() {
            return;
        }
        let numbers = sessions.iter().filter_map(|session| {
            let entry = self.sessions.get(session)?;
            Some(entry.number)
        });
        let request = Request::SessionRenew(request::RenewSessions {
            sessions: numbers.collect(),
        });
        let then = Then::RenewSessions(sessions);
        self.calls.send(now, Some(permit), &request, then);
    }

    /// The answer to a renewal of sessions.
    pub(crate) fn sessions_renewed(
        &mut self,
        now: Instant,
        sent: Instant,
        sessions: &[SessionKey],
        reply: Result<Reply<'_>>,
    ) {
        let Ok(Reply::SessionRenew(reply::SessionsRenewed { results })) = reply else {
            for session in sessions {
                if let Some(entry) = self.sessions.get_mut(session) {
                    entry.renew_at = entry.renew_at.min(now + RETRY_AFTER);
                }
            }
            self.wake_by(now + RETRY_AFTER);
            return;
        };
        for (session, result) in sessions.iter().zip(results) {
            match result {
                SessionRenewal::Renewed { holds } => self.renewed(*session, sent, holds),
                SessionRenewal::UnknownSession => {
                    self.end_session(*session, SessionEnd::Unknown);
                }
                SessionRenewal::NotAttached => self.end_session(*session, SessionEnd::Moved),
            }
        }
    }

    /// The server has renewed so many holds of the session. When this side knew of more, one of them is gone without a
    /// word: then each is renewed by itself, and the answers tell which.
    fn renewed(&mut self, session: SessionKey, sent: Instant, count: u32) {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        let known = |hold: &&super::holds::Hold| hold.since <= sent;
        let holds: Vec<_> = entry.holds().filter(known).map(|hold| &hold.cell).collect();
        if holds.len() <= count as usize {
            for cell in holds {
                cell.update(|lease| lease.deadline = lease.deadline.max(sent + lease.ttl));
            }
            return;
        }
        tracing::debug!(
            session = entry.number,
            known = holds.len(),
            count,
            "holds are missing"
        );
        let cells = holds.into_iter().map(Arc::clone);
        let errand = |cell| Errand::RenewHold(session, cell, None);
        self.errands.extend(cells.map(errand));
    }

    pub(crate) fn renew_hold(
        &mut self,
        now: Instant,
        permit: OwnedSemaphorePermit,
        session: SessionKey,
        cell: &Arc<HoldCell>,
        wait: Option<u64>,
    ) {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        let held = cell
            .lease()
            .filter(|_| entry.slot(&cell.path).hold_of(cell).is_some());
        let (Some(lease), true) = (held, entry.attached) else {
            entry.tidy(&cell.path);
            if let Some(wait) = wait {
                self.confirmed(now, session, wait);
            }
            return;
        };
        let request = Request::LockRenew(request::Renew {
            session: entry.number,
            path: &cell.path,
            ttl_ms: None,
            token: Some(lease.token),
        });
        let then = Then::RenewHold(session, Arc::clone(cell), lease.token, wait);
        self.calls.send(now, Some(permit), &request, then);
    }

    /// A caller has renewed a path by itself: what this side knows of the hold lives as long.
    pub(crate) fn renewed_by_hand(
        &mut self,
        session: SessionKey,
        path: &str,
        sent: Instant,
        grant: &tenure_protocol::Grant,
    ) {
        let entry = self.sessions.get(&session);
        let hold = entry.and_then(|entry| entry.slots.get(path)?.hold.as_ref());
        if let Some(hold) = hold.filter(|hold| hold.token() == grant.token) {
            let deadline = sent + convert::span(grant.remaining_ms);
            hold.cell.update(|lease| {
                lease.ttl = convert::span(grant.ttl_ms);
                lease.deadline = lease.deadline.max(deadline);
            });
        }
    }

    /// A guard of the hold counts from here on by its activity. Gives it; `None` when the hold is over.
    pub(crate) fn renew_while_active(
        &mut self,
        now: Instant,
        session: SessionKey,
        cell: &Arc<HoldCell>,
        before: Option<&Arc<Activity>>,
        idle_after: Duration,
    ) -> Option<Arc<Activity>> {
        let entry = self.sessions.get_mut(&session)?;
        let hold = entry.slots.get_mut(&cell.path)?.hold_of(cell)?;
        let activity = Activity::new(idle_after, now);
        let is_before =
            |other: &Arc<Activity>| before.is_some_and(|before| Arc::ptr_eq(other, before));
        hold.activities.retain(|other| !is_before(other));
        hold.activities.push(Arc::clone(&activity));
        Some(activity)
    }

    /// The answer to the renewal of one hold.
    pub(crate) fn hold_renewed(
        &mut self,
        now: Instant,
        sent: Instant,
        (session, cell, token, wait): (SessionKey, Arc<HoldCell>, u64, Option<u64>),
        reply: Result<Reply<'_>>,
    ) {
        match renewed_hold(&cell.path, reply) {
            Ok(grant) => {
                let deadline = sent + convert::span(grant.remaining_ms);
                cell.update(|lease| {
                    lease.ttl = convert::span(grant.ttl_ms);
                    lease.deadline = lease.deadline.max(deadline);
                });
            }
            // By another token it may be held all the same: an upgrade was answered before this.
            Err(error) if error.kind() == ErrorKind::NotHeld && has_token(&cell, token) => {
                self.lost_by_answer(session, &cell, &error);
            }
            Err(error) if error.kind() == ErrorKind::SessionEnded => {
                self.end_session(session, SessionEnd::Unknown);
                return;
            }
            Err(_) => {
                self.later(now, Errand::RenewHold(session, cell, wait));
                return;
            }
        }
        if let Some(wait) = wait {
            self.confirmed(now, session, wait);
        }
    }
}

impl SessionEntry {
    fn holds(&self) -> impl Iterator<Item = &super::holds::Hold> {
        self.slots.values().filter_map(|slot| slot.hold.as_ref())
    }

    /// Cells of the holds that are to be renewed.
    fn wanted_now(&self, now: Instant) -> impl Iterator<Item = Arc<HoldCell>> {
        let wanted = self.holds().filter(move |hold| hold.wants_renewal(now));
        wanted.map(|hold| Arc::clone(&hold.cell))
    }

    /// Holds that are left to run out for the time being.
    fn unwanted_now(&self, now: Instant) -> impl Iterator<Item = &super::holds::Hold> {
        self.holds()
            .filter(move |hold| hold.matters() && !hold.wants_renewal(now))
    }

    /// How often it is renewed, for the shortest of its TTLs.
    fn renewal_period(&self, now: Instant) -> Duration {
        let wanted = self.holds().filter(|hold| hold.wants_renewal(now));
        let shortest = wanted
            .filter_map(|hold| hold.cell.lease())
            .map(|lease| lease.ttl / RENEWALS_PER_TTL)
            .min();
        shortest.map_or(IDLE_RENEWAL, |period| period.min(IDLE_RENEWAL))
    }
}

fn has_token(cell: &HoldCell, token: u64) -> bool {
    cell.lease().is_none_or(|lease| lease.token == token)
}

fn renewed_hold(path: &str, reply: Result<Reply<'_>>) -> Result<tenure_protocol::Grant> {
    let Reply::LockRenew(reply) = reply? else {
        return Err(mismatch());
    };
    match reply {
        reply::Renew::Granted { grant } => Ok(grant),
        reply::Renew::NotHeld { lost, .. } => Err(convert::not_held(path, lost)),
    }
}
