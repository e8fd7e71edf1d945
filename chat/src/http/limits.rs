//! How much one person may ask for: a bucket for each kind of request, with word of when to come back.
//!
//! Knows no route but by its kind. Rules: buckets belong to persons, not to addresses or connections; those that are full
//! again are forgotten, so that the table is no larger than who has asked within the last moments.

use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;

use super::problem::{Answer, Code, Problem};
use crate::config::RateSettings;
use crate::identity::Person;

/// How many times its rate a person may ask at once.
const BURST: u32 = 2;

/// How often full buckets are forgotten.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// What is counted by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Messages sent, edited and deleted; chats made.
    Send,
    /// Presence and typing.
    Typing,
    /// Locks.
    Lock,
    /// Everything else.
    Read,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Typing => "typing",
            Self::Lock => "lock",
            Self::Read => "read",
        }
    }
}

/// A person, in their organisation.
type Key = (String, String);

/// The buckets of everybody.
pub(crate) struct Limits {
    send: DefaultKeyedRateLimiter<Key>,
    typing: DefaultKeyedRateLimiter<Key>,
    lock: DefaultKeyedRateLimiter<Key>,
    read: DefaultKeyedRateLimiter<Key>,
}

impl Limits {
    pub(crate) fn new(rates: &RateSettings) -> Self {
        Self {
            send: bucket(rates.rate_send),
            typing: bucket(rates.rate_typing),
            lock: bucket(rates.rate_lock),
            read: bucket(rates.rate_read),
        }
    }

    /// Takes one from the person's bucket.
    pub(crate) fn take(&self, kind: Kind, person: &Person) -> Answer<()> {
        let key = (person.org.clone(), person.id.clone());
        self.of(kind).check_key(&key).map_err(|full| {
            let wait = full.wait_time_from(DefaultClock::default().now());
            let detail = format!(
                "you have sent more `{}` requests than are taken; come back in {:.1} s",
                kind.name(),
                wait.as_secs_f64()
            );
            Problem::new(Code::TooManyRequests, detail).retry_after(wait)
        })
    }

    /// Forgets whoever has not asked for a while.
    pub(crate) fn sweep(&self) {
        for kind in [Kind::Send, Kind::Typing, Kind::Lock, Kind::Read] {
            let buckets = self.of(kind);
            buckets.retain_recent();
            buckets.shrink_to_fit();
        }
    }

    fn of(&self, kind: Kind) -> &DefaultKeyedRateLimiter<Key> {
        match kind {
            Kind::Send => &self.send,
            Kind::Typing => &self.typing,
            Kind::Lock => &self.lock,
            Kind::Read => &self.read,
        }
    }
}

fn bucket(per_second: u32) -> DefaultKeyedRateLimiter<Key> {
    let rate = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
    let burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(BURST - 1));
    RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Role;

    fn person(id: &str) -> Person {
        Person {
            org: "acme".into(),
            id: id.into(),
            name: String::new(),
            role: Role::Member,
            expires: 0,
        }
    }

    #[test]
    fn one_person_does_not_use_up_what_is_anothers() {
        let rates = RateSettings {
            rate_send: 1,
            rate_typing: 1,
            rate_lock: 1,
            rate_read: 1,
        };
        let limits = Limits::new(&rates);
        let (ada, bob) = (person("ada"), person("bob"));
        limits.take(Kind::Send, &ada).unwrap();
        limits.take(Kind::Send, &ada).unwrap();
        let full = limits.take(Kind::Send, &ada).unwrap_err();
        assert_eq!(full.code(), Code::TooManyRequests);
        limits.take(Kind::Typing, &ada).unwrap();
        limits.take(Kind::Send, &bob).unwrap();
        limits.sweep();
        limits.take(Kind::Send, &ada).unwrap_err();
    }
}
