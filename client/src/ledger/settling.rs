//! Bringing what this side knows of a session in line with what the server says of it when it is resumed.
//!
//! What was written and not answered is settled here. Rule: afterwards both sides agree on every path of the session, and
//! whatever nobody here wants is being let go.

use std::collections::HashMap;
use std::sync::Arc;

use tenure_protocol::{self as wire, Missed, reply};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Ledger;
use super::asking::{Aim, Attempt};
use super::calls::Then;
use super::errands::Errand;
use super::holds::Slot;
use super::sessions::{SessionEntry, SessionKey};
use crate::convert;
use crate::error::{Error, ErrorKind, Result};
use crate::events::SessionEvent;
use crate::guard::HandedOver;
use crate::standing::{HoldCell, SessionStanding};
use crate::types::{Loss, LossCause, Released, WaitProgress};

impl Ledger {
    /// Brings what this side knows of the session in line with what the server says.
    pub(crate) fn settle_session(
        &mut self,
        now: Instant,
        sent: Instant,
        session: SessionKey,
        resumed: &reply::Resumed<'_>,
    ) {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        entry.grace = convert::grace(resumed.on_disconnect);
        entry.attached = true;
        entry.renew_at = now;
        entry.cell.set(SessionStanding::Attached);

        let before = entry.cells();
        let missed = MissedByPath::new(&resumed.missed);
        let held: HashMap<&str, &wire::Grant> = resumed
            .holds
            .iter()
            .map(|held| (held.path, &held.grant))
            .collect();
        entry.note_hand_overs(&held, &missed);
        for (path, slot) in &mut entry.slots {
            if !held.contains_key(&**path) {
                slot.gone(&missed);
            }
        }
        for (path, grant) in &held {
            let path: Arc<str> = (*path).into();
            entry.slot(&path).granted(&path, grant, Some(sent), now);
        }
        let (kept, lost) = Self::compare(entry, before);

        self.settle_waits(now, session, resumed, &held, &missed);
        let undecided = self.settle_unanswered(now, session, &held, &missed);
        self.adopt_waits(session, &resumed.waits, undecided);
        self.let_go_of_unwanted(session);
        self.sit_again(now, session);
        if let Some(resuming) = &mut self.resuming {
            resuming.report.sessions += 1;
            resuming.report.kept += kept.len();
            resuming.report.lost.extend(lost.iter().cloned());
        }
        if let Some(entry) = self.sessions.get(&session) {
            entry.cell.tell(SessionEvent::Resumed { kept, lost });
        }
    }

    /// Which of the holds that somebody had go on, and which were lost.
    fn compare(entry: &SessionEntry, before: Vec<Arc<HoldCell>>) -> (Vec<String>, Vec<Loss>) {
        let mut kept = Vec::new();
        let mut lost = Vec::new();
        for cell in before {
            match cell.loss() {
                Some(loss) => lost.push(loss),
                None => kept.push(cell.path.to_string()),
            }
        }
        for slot in entry.slots.values() {
            if let Some(hold) = &slot.hold {
                hold.cell.update(|lease| lease.doubt = None);
            }
        }
        (kept, lost)
    }

    /// Waits that this side knows of go on, have become holds, or are over.
    fn settle_waits(
        &mut self,
        now: Instant,
        session: SessionKey,
        resumed: &reply::Resumed<'_>,
        held: &HashMap<&str, &wire::Grant>,
        missed: &MissedByPath<'_>,
    ) {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        let goes_on = |number: u64| resumed.waits.iter().any(|wait| wait.wait == number);
        let over: Vec<u64> = entry
            .waits
            .keys()
            .copied()
            .filter(|number| !goes_on(*number))
            .collect();
        for number in over {
            let entry = self.sessions.get_mut(&session);
            let Some(wait) = entry.and_then(|entry| entry.waits.remove(&number)) else {
                continue;
            };
            // What it claimed while it was being confirmed is confirmed by what the server holds now, or was lost.
            self.unclaim(session, &wait.granted);
            let lost = wait.granted.iter().find_map(|cell| cell.loss());
            for attempt in wait.attempts {
                if attempt.is_met(held) {
                    self.deliver(now, session, attempt);
                } else if let Some(lost) = &lost {
                    attempt.fail(Error::not_held(Some(lost.clone())));
                } else if let Some(why) = missed.wait_end(number) {
                    attempt.end(why);
                } else {
                    attempt.fail(not_done());
                }
            }
        }
    }

    /// Requests that were written and never answered: their outcome shows in what the server says, or they are done
    /// again where that does no harm. Gives the attempts that have got nothing: they wait, or were not carried out.
    fn settle_unanswered(
        &mut self,
        now: Instant,
        session: SessionKey,
        held: &HashMap<&str, &wire::Grant>,
        missed: &MissedByPath<'_>,
    ) -> Vec<Attempt> {
        let mut undecided = Vec::new();
        let entry = self.sessions.get_mut(&session);
        let unsettled = entry.map(|entry| std::mem::take(&mut entry.unsettled));
        for call in unsettled.into_iter().flatten() {
            match call.then {
                Then::Ask(_, attempt) => {
                    self.no_longer_asking(session, &attempt);
                    if attempt.is_met(held) {
                        self.deliver(now, session, attempt);
                    } else {
                        undecided.push(attempt);
                    }
                }
                Then::Release(_, path, lease, done) => {
                    let lost = missed.loss_of(&path, lease.token);
                    self.settle_release(session, &path, (lease.token, lost), done);
                }
                Then::ReleasePath(_, path, done) => {
                    let held = held.contains_key(&*path);
                    let result = if held {
                        Err(not_done())
                    } else {
                        Ok(Released::Ended)
                    };
                    let _ = done.send(result);
                }
                Then::HandOver(_, cell, done) => {
                    let _ = done.send(handed_over(&cell));
                }
                Then::Close(_, done) => self.errands.push_back(Errand::Close(session, done)),
                Then::Forget
                | Then::Answer(..)
                | Then::Open(_)
                | Then::Reopen(_)
                | Then::Resume(_)
                | Then::RenewSessions(_)
                | Then::RenewHold(..)
                | Then::Cancel(_)
                | Then::Enter(..)
                | Then::Update(..)
                | Then::Leave(..)
                | Then::Subscribe(_)
                | Then::Resubscribe(_) => {}
            }
        }
        undecided
    }

    /// A release that was not answered. What is still held is let go once more, as a hold that nobody wants, and
    /// whoever waits for the release gets that answer.
    fn settle_release(
        &mut self,
        session: SessionKey,
        path: &Arc<str>,
        (token, lost): (u64, Option<Loss>),
        done: Option<oneshot::Sender<Result<Released>>>,
    ) {
        let Some(entry) = self.sessions.get_mut(&session) else {
            return;
        };
        let slot = entry.slot(path);
        slot.letting_go = slot.letting_go.saturating_sub(1);
        let Some(done) = done else {
            return;
        };
        let held = slot.hold.as_mut().filter(|hold| hold.token() == token);
        let released = match (held, lost) {
            (Some(hold), _) if !hold.matters() => {
                hold.on_release = Some(done);
                return;
            }
            (Some(_), _) => Ok(Released::SessionHolds),
            (None, Some(loss)) if loss.cause == LossCause::Expired => Ok(Released::AlreadyExpired),
            (None, Some(loss)) => Err(Error::not_held(Some(loss))),
            (None, None) => Ok(Released::Ended),
        };
        // Whoever let it go may have gone.
        let _ = done.send(released);
    }

    /// Waits that the server has: those that nobody here knows of are taken by attempts that ask for the same paths;
    /// those that nobody wants are cancelled.
    pub(crate) fn adopt_waits(
        &mut self,
        session: SessionKey,
        waits: &[wire::Waiting<'_>],
        mut undecided: Vec<Attempt>,
    ) {
        for waiting in waits {
            let Some(entry) = self.sessions.get_mut(&session) else {
                return;
            };
            let wait = entry.waits.entry(waiting.wait).or_default();
            // The server does not say for which mode a wait is. What is known of it here decides; of one that nobody
            // here knows, the grant will show it.
            let matches = |attempt: &Attempt| {
                attempt.asks_for(&waiting.paths)
                    && wait.attempts.iter().all(|other| other.equals(attempt))
            };
            let (matching, others) = undecided.into_iter().partition(matches);
            undecided = others;
            let matching: Vec<Attempt> = matching;
            wait.attempts.extend(matching);
            wait.tell(&WaitProgress::Place(waiting.place));
            let errand = Errand::SettleWait(session, waiting.wait);
            self.errands.push_back(errand);
        }
        for attempt in undecided {
            self.settle_paths(session, &attempt);
            attempt.fail(not_done());
        }
    }

    fn let_go_of_unwanted(&mut self, session: SessionKey) {
        let Some(entry) = self.sessions.get(&session) else {
            return;
        };
        if entry.abandoned {
            self.errands.push_back(Errand::Close(session, None));
            return;
        }
        let paths: Vec<_> = entry.slots.keys().cloned().collect();
        for path in paths {
            self.settle_soon(session, &path);
        }
    }
}

impl SessionEntry {
    /// Holds that were to be handed over, and are gone without a loss that was told, have gone to the waiter.
    fn note_hand_overs(&mut self, held: &HashMap<&str, &wire::Grant>, missed: &MissedByPath<'_>) {
        for call in &self.unsettled {
            let Then::HandOver(_, cell, _) = &call.then else {
                continue;
            };
            let Some(token) = cell.lease().map(|lease| lease.token) else {
                continue;
            };
            let gone = held
                .get(&*cell.path)
                .is_none_or(|grant| grant.token != token);
            if gone
                && missed.loss(&cell.path, token).is_none()
                && let Some(slot) = self.slots.get_mut(&cell.path)
                && slot.hold_of(cell).is_some()
            {
                slot.lose(LossCause::HandedOver);
            }
        }
    }

    /// The holds that somebody has.
    fn cells(&self) -> Vec<Arc<HoldCell>> {
        let holds = self.slots.values().filter_map(|slot| slot.hold.as_ref());
        let known = holds.filter(|hold| hold.matters());
        known.map(|hold| Arc::clone(&hold.cell)).collect()
    }
}

impl Slot {
    /// The server does not have the hold.
    fn gone(&mut self, missed: &MissedByPath<'_>) {
        let Some(hold) = &self.hold else {
            return;
        };
        let loss = missed
            .loss(&hold.cell.path, hold.token())
            .unwrap_or_else(|| {
                convert::bare_loss(&hold.cell.path, hold.token(), LossCause::Unknown)
            });
        self.end(loss);
    }
}

impl Attempt {
    /// Whether all that it asks for is held, in a mode at least as strong.
    fn is_met(&self, held: &HashMap<&str, &wire::Grant>) -> bool {
        self.items.iter().all(|item| {
            held.get(&*item.path).is_some_and(|grant| {
                let mode = convert::mode(grant.mode);
                match self.aim {
                    Aim::Guards(_) => mode >= item.mode,
                    Aim::Conversion(_) => mode == item.mode,
                }
            })
        })
    }

    fn equals(&self, other: &Self) -> bool {
        let items = |attempt: &Self| {
            let mut items = attempt.items.clone();
            items.sort_unstable();
            items
        };
        items(self) == items(other)
    }

    fn asks_for(&self, paths: &[&str]) -> bool {
        let asked = |path: &&str| self.items.iter().any(|item| *item.path == **path);
        self.items.len() == paths.len() && paths.iter().all(asked)
    }
}

/// What a session was to be told and may not have heard.
struct MissedByPath<'a> {
    missed: &'a [Missed<'a>],
}

impl<'a> MissedByPath<'a> {
    const fn new(missed: &'a [Missed<'a>]) -> Self {
        Self { missed }
    }

    fn loss(&self, path: &str, token: u64) -> Option<Loss> {
        self.missed.iter().rev().find_map(|missed| match missed {
            Missed::Lost {
                path: lost,
                token: had,
                cause,
            } if *lost == path && *had >= token => Some(convert::loss(lost, *had, *cause)),
            Missed::Lost { .. } | Missed::WaitEnded { .. } => None,
        })
    }

    /// How exactly this hold was lost.
    fn loss_of(&self, path: &str, token: u64) -> Option<Loss> {
        self.loss(path, token).filter(|loss| loss.token == token)
    }

    fn wait_end(&self, number: u64) -> Option<wire::WaitEnd> {
        self.missed.iter().rev().find_map(|missed| match missed {
            Missed::WaitEnded { wait, why } if *wait == number => Some(*why),
            Missed::Lost { .. } | Missed::WaitEnded { .. } => None,
        })
    }
}

/// The losses among what was missed.
pub(crate) fn losses(missed: &[Missed<'_>]) -> Vec<Loss> {
    let loss = |missed: &Missed<'_>| match missed {
        Missed::Lost { path, token, cause } => Some(convert::loss(path, *token, *cause)),
        Missed::WaitEnded { .. } => None,
    };
    missed.iter().filter_map(loss).collect()
}

/// How a hand-over went whose answer never came, by what has become of the hold.
fn handed_over(cell: &HoldCell) -> Result<HandedOver> {
    let is_handed = |loss: &Loss| loss.cause == LossCause::HandedOver;
    match (cell.lease(), cell.loss()) {
        (Some(_), _) => Err(not_done()),
        (None, Some(loss)) if is_handed(&loss) => Ok(HandedOver::default()),
        (None, loss) => Err(Error::not_held(loss)),
    }
}

/// What was asked for shows nowhere in what the server has.
pub(crate) fn not_done() -> Error {
    Error::new(
        ErrorKind::Disconnected,
        "the connection ended before it was carried out",
    )
}
