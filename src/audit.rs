//! The audit trail: privileged acts, who did what to whom, and why; in the log, and kept for whoever asks later.
//!
//! Looks at commands and at what they lead to, and knows no lock rule. What is refused, or changed nothing, leaves no
//! trace. Must hold: the trail follows from history alone, so that a replay leads to the same one.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use tenure_engine::{
    Cause, Command, Effects, Event, Millis, Notice, Outcome, PolicyLayer, Scope, SessionRef, Token,
    WallTime, What,
};

/// Acts that are kept of one org; the oldest go.
const ACTS_MAX: usize = 10_000;

/// Bytes that the acts of all orgs of a shard come to; beyond, the org that has most loses its oldest.
const BYTES_MAX: usize = 16 << 20;

/// Beside its texts.
const ACT_BYTES: usize = size_of::<Act>() + 32;

/// One privileged act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// Above that of every act of its org before.
    pub number: u64,
    /// When, for people to read.
    pub wall: WallTime,
    /// The tenant.
    pub org: Arc<str>,
    /// Who.
    pub principal: Arc<str>,
    /// What.
    pub deed: Deed,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// An operator has ended a hold.
    ForceRelease(Loss),
    /// A moderator has taken it.
    Seize(Loss),
    /// An admin has replaced a layer of policy.
    Policy {
        /// First segment of the paths that it is for; all, if there is none.
        kind: Option<Arc<str>>,
        /// What it overrides from then on.
        layer: PolicyLayer,
    },
}

/// A hold that somebody has lost by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The lock.
    pub path: Arc<str>,
    /// Whose hold it was.
    pub owner: Arc<str>,
    /// The token it had.
    pub token: Token,
    /// What was said.
    pub reason: Arc<str>,
}

/// What a shard keeps of its orgs' acts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trail {
    orgs: HashMap<Arc<str>, Acts>,
    bytes: usize,
    /// Number of the last act.
    last: u64,
}

/// Those of one org, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Acts {
    acts: VecDeque<Act>,
    bytes: usize,
}

impl Trail {
    /// What is kept of an org, oldest first: what is later than the act with the number `after`, and not before `since`.
    pub(crate) fn acts(
        &self,
        org: &str,
        after: u64,
        since: WallTime,
    ) -> impl Iterator<Item = &Act> {
        let acts = self.orgs.get(org).map(|acts| &acts.acts);
        let begin = acts.map_or(0, |acts| acts.partition_point(|act| act.number <= after));
        let acts = acts.into_iter().flat_map(move |acts| acts.range(begin..));
        acts.filter(move |act| act.wall.0 >= since.0)
    }

    /// All acts, in the order in which they were done.
    pub(crate) fn all(&self) -> Vec<&Act> {
        let mut all: Vec<_> = self.orgs.values().flat_map(|acts| &acts.acts).collect();
        all.sort_unstable_by_key(|act| act.number);
        all
    }

    /// Number of the last act there has been.
    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    /// Logs the acts that are later than the one with this number.
    pub(crate) fn log_after(&self, number: u64) {
        if self.last == number {
            return;
        }
        for acts in self.orgs.values() {
            let begin = acts.acts.partition_point(|act| act.number <= number);
            acts.acts.range(begin..).for_each(Act::log);
        }
    }

    /// A trail that was kept: its acts in order, and the number of the last.
    pub(crate) fn of(acts: impl IntoIterator<Item = Act>, last: u64) -> Self {
        let mut trail = Self::default();
        acts.into_iter().for_each(|act| trail.put(act));
        trail.last = trail.last.max(last);
        trail
    }

    fn add(&mut self, org: &str, principal: &str, wall: WallTime, deed: Deed) {
        let org = match self.orgs.get_key_value(org) {
            Some((org, _)) => Arc::clone(org),
            None => Arc::from(org),
        };
        self.put(Act {
            number: self.last + 1,
            wall,
            org,
            principal: Arc::from(principal),
            deed,
        });
    }

    fn put(&mut self, act: Act) {
        self.last = act.number;
        let bytes = act.bytes();
        let acts = self.orgs.entry(Arc::clone(&act.org)).or_default();
        acts.acts.push_back(act);
        acts.bytes += bytes;
        self.bytes += bytes;
        if acts.acts.len() > ACTS_MAX {
            self.bytes -= acts.pop();
        }
        while self.bytes > BYTES_MAX {
            self.forget_one();
        }
    }

    /// Lets go of the oldest act of whichever org has most. Of equals it is the first by name, as in every replay.
    fn forget_one(&mut self) {
        let most = self.orgs.iter_mut().max_by(|(a, one), (b, other)| {
            let by_bytes = one.bytes.cmp(&other.bytes);
            by_bytes.then_with(|| b.cmp(a))
        });
        let Some((org, acts)) = most else {
            return;
        };
        let org = Arc::clone(org);
        self.bytes -= acts.pop();
        if acts.acts.is_empty() {
            self.orgs.remove(&org);
        }
    }
}

impl Acts {
    /// Lets go of the oldest. Gives what it has taken.
    fn pop(&mut self) -> usize {
        let bytes = self.acts.pop_front().map_or(0, |act| act.bytes());
        self.bytes -= bytes;
        bytes
    }
}

/// What the layer says is said as in a configuration file; what it does not say, not at all.
fn log_policy(principal: &str, org: &str, kind: Option<&str>, layer: &PolicyLayer) {
    let ms = |span: Option<Millis>| span.map(|span| span.0);
    tracing::info!(
        target: "audit",
        act = "policy_set",
        principal,
        org,
        kind,
        ttl_default_ms = ms(layer.ttl_default),
        ttl_min_ms = ms(layer.ttl_min),
        ttl_max_ms = ms(layer.ttl_max),
        queue_max = layer.queue_max,
        grace_ms = ms(layer.grace),
        release_on_disconnect = layer.release_on_disconnect,
        sessions_max = layer.sessions_max,
        holds_max = layer.holds_max,
        session_holds_max = layer.session_holds_max,
        session_waits_max = layer.session_waits_max,
    );
}

impl Act {
    fn log(&self) {
        let (principal, org) = (&*self.principal, &*self.org);
        let (act, loss) = match &self.deed {
            Deed::ForceRelease(loss) => ("force_release", loss),
            Deed::Seize(loss) => ("seize", loss),
            Deed::Policy { kind, layer } => {
                log_policy(principal, org, kind.as_deref(), layer);
                return;
            }
        };
        tracing::info!(
            target: "audit",
            act,
            principal,
            org,
            path = &*loss.path,
            owner = &*loss.owner,
            token = loss.token.0,
            reason = &*loss.reason,
        );
    }

    fn bytes(&self) -> usize {
        let deed = match &self.deed {
            Deed::ForceRelease(loss) | Deed::Seize(loss) => {
                loss.path.len() + loss.owner.len() + loss.reason.len()
            }
            Deed::Policy { kind, .. } => kind.as_ref().map_or(0, |kind| kind.len()),
        };
        ACT_BYTES + self.org.len() + self.principal.len() + deed
    }
}

/// Who does it, if a command is privileged; that of the server's own configuration is no org's affair.
fn principal<'a>(command: &Command<'a>) -> Option<&'a str> {
    match command {
        Command::ForceRelease(force) => Some(force.principal),
        Command::Acquire(acquire) => acquire.seize.map(|seize| seize.principal),
        Command::Configure {
            scope: Scope::Org(_) | Scope::Kind { .. },
            principal,
            ..
        } => Some(principal),
        Command::Configure { .. }
        | Command::Started
        | Command::Tick
        | Command::Settle { .. }
        | Command::OpenSession(_)
        | Command::ResumeSession(_)
        | Command::DetachSession(_)
        | Command::RenewSession(_)
        | Command::CloseSession(_)
        | Command::AcquireAll(_)
        | Command::Renew(_)
        | Command::Release(_)
        | Command::Cancel { .. }
        | Command::Convert(_)
        | Command::HandOver { .. }
        | Command::Decline { .. } => None,
    }
}

/// Looks on while a privileged command takes place, and puts what it leads to into the trail.
pub(crate) struct Watch<'w, E> {
    effects: &'w mut E,
    trail: &'w mut Trail,
    principal: &'w str,
}

impl<'w, E: Effects> Watch<'w, E> {
    /// Has `apply` apply a command, and looks on if it is privileged.
    pub(crate) fn over(
        command: &Command<'w>,
        wall: WallTime,
        (effects, trail): (&'w mut E, &'w mut Trail),
        apply: impl FnOnce(&mut Self) -> Outcome,
    ) -> Option<Outcome> {
        let principal = principal(command)?;
        let mut watch = Self {
            effects,
            trail,
            principal,
        };
        let outcome = apply(&mut watch);
        if outcome.changed {
            watch.note_policy(command, wall);
        }
        Some(outcome)
    }

    fn note_policy(&mut self, command: &Command<'_>, wall: WallTime) {
        let Command::Configure { scope, layer, .. } = command else {
            return;
        };
        let (org, kind) = match scope {
            Scope::Server => return,
            Scope::Org(org) => (org, None),
            Scope::Kind { org, kind } => (org, Some(Arc::from(*kind))),
        };
        let layer = *layer;
        let deed = Deed::Policy { kind, layer };
        self.trail.add(org, self.principal, wall, deed);
    }
}

impl<E: Effects> Effects for Watch<'_, E> {
    fn notice(&mut self, to: SessionRef, notice: Notice<&str>) {
        self.effects.notice(to, notice);
    }

    fn event(&mut self, event: &Event<&str>) {
        if let What::Ended {
            path,
            who,
            token,
            cause,
            ..
        } = &event.what
        {
            let loss = |reason: &Arc<str>| Loss {
                path: Arc::from(*path),
                owner: Arc::from(who.owner),
                token: *token,
                reason: Arc::clone(reason),
            };
            let deed = match cause {
                Cause::Forced { reason, .. } => Some(Deed::ForceRelease(loss(reason))),
                Cause::Seized { reason, .. } => Some(Deed::Seize(loss(reason))),
                Cause::Released
                | Cause::Expired
                | Cause::SessionClosed
                | Cause::SessionLost
                | Cause::HandedTo { .. } => None,
            };
            if let Some(deed) = deed {
                self.trail.add(event.org, self.principal, event.wall, deed);
            }
        }
        self.effects.event(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(org: &str, number: u64, reason: &str) -> Act {
        Act {
            number,
            wall: WallTime(number * 10),
            org: Arc::from(org),
            principal: Arc::from("ops"),
            deed: Deed::ForceRelease(Loss {
                path: Arc::from("doc/1"),
                owner: Arc::from("anna"),
                token: Token(number),
                reason: Arc::from(reason),
            }),
        }
    }

    fn numbers(trail: &Trail, org: &str, after: u64, since: u64) -> Vec<u64> {
        let acts = trail.acts(org, after, WallTime(since));
        acts.map(|act| act.number).collect()
    }

    #[test]
    fn acts_are_told_by_org_from_a_place_and_from_a_time_on() {
        let acts = (1..=9).map(|number| act(["acme", "globex"][number as usize % 2], number, ""));
        let trail = Trail::of(acts, 9);
        assert_eq!(numbers(&trail, "acme", 0, 0), [2, 4, 6, 8]);
        assert_eq!(numbers(&trail, "acme", 4, 0), [6, 8]);
        assert_eq!(numbers(&trail, "globex", 1, 70), [7, 9]);
        assert!(numbers(&trail, "initech", 0, 0).is_empty());
        assert_eq!(trail.all().len(), 9);
    }

    #[test]
    fn of_an_org_the_oldest_go_and_no_other_org_s() {
        let mut trail = Trail::of([act("quiet", 1, "")], 1);
        for number in 2..ACTS_MAX as u64 + 5 {
            trail.put(act("busy", number, ""));
        }
        assert_eq!(numbers(&trail, "busy", 0, 0).len(), ACTS_MAX);
        assert_eq!(numbers(&trail, "busy", 0, 0)[0], 5);
        assert_eq!(numbers(&trail, "quiet", 0, 0), [1]);
    }

    #[test]
    fn where_there_is_too_much_whoever_has_most_loses() {
        let long = "x".repeat(4096);
        let mut trail = Trail::of([act("quiet", 1, &long)], 1);
        for number in 2..10_000 {
            trail.put(act("busy", number, &long));
        }
        assert!(trail.bytes <= BYTES_MAX);
        let left = numbers(&trail, "busy", 0, 0).len();
        assert!((3_000..4_000).contains(&left), "{left}");
        assert_eq!(numbers(&trail, "quiet", 0, 0), [1]);
        let counted: usize = trail.all().iter().map(|act| act.bytes()).sum();
        assert_eq!(counted, trail.bytes);
    }
}
