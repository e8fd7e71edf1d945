//! As time passes: sittings without a sign of life are swept, typing ends, and what has been gathered is told.
//! Must hold: a step takes a bounded number of these, in the order in which they are due.

use super::keys::SittingKey;
use super::machine::Due;
use super::reply::Reply;
use super::sight::Sight;
use super::step::Step;
use crate::limits::SWEEP_MAX;

impl<S: Sight> Step<'_, S> {
    pub(super) fn tick(&mut self) -> Reply {
        for _ in 0..SWEEP_MAX {
            match self.presence.timers.first() {
                Some(&(due, what)) if due <= self.now => self.take(what),
                _ => break,
            }
        }
        Reply::Done
    }

    fn take(&mut self, due: Due) {
        match due {
            Due::Sitting(_, sitting) => self.take_sitting(sitting),
            Due::Telling(_, gathering) => self.tell(gathering),
        }
    }

    fn take_sitting(&mut self, key: SittingKey) {
        let presence = &*self.presence;
        let sitting = presence.sitting(key);
        if sitting.swept(presence.bounds.stale) > self.now {
            self.end_typing(key);
            return;
        }
        if presence.audience_of(key).is_some() {
            let path = &presence.gathering(presence.gathering_of(key)).path;
            self.effects.ended(sitting.session, path);
        }
        self.go(key);
    }
}
