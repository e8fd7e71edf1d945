//! The sessions that a connection speaks for, by their numbers on the wire: which shard knows each, and by which attachment.
//! Knows no request. Must hold: what is looked up is what was attached last, and nothing once that is gone.

use std::cell::Cell;

use hashbrown::HashMap;
use tenure_engine::{Attach, SessionId, SessionRef};

use crate::homes::{Homes, ShardIndex};

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Attached {
    homes: Homes,
    by_number: HashMap<u64, Attach>,
    /// Whoever was looked up last. Most connections speak for one, and others for one after the other.
    last: Cell<Option<(u64, (ShardIndex, SessionRef))>>,
}

impl Attached {
    pub(crate) fn new(homes: Homes) -> Self {
        Self {
            homes,
            by_number: HashMap::new(),
            last: Cell::new(None),
        }
    }

    pub(crate) fn insert(&mut self, number: u64, attach: Attach) {
        self.by_number.insert(number, attach);
        self.last.set(None);
    }

    pub(crate) fn remove(&mut self, number: u64) {
        self.by_number.remove(&number);
        self.last.set(None);
    }

    #[inline]
    pub(crate) fn get(&self, number: u64) -> Option<(ShardIndex, SessionRef)> {
        match self.last.get() {
            Some((last, found)) if last == number => Some(found),
            _ => self.look_up(number),
        }
    }

    fn look_up(&self, number: u64) -> Option<(ShardIndex, SessionRef)> {
        let found = resolve(self.homes, number, *self.by_number.get(&number)?);
        self.last.set(Some((number, found)));
        Some(found)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Takes all of them out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (ShardIndex, SessionRef)> + '_ {
        self.last.set(None);
        let homes = self.homes;
        let all = self.by_number.drain();
        all.map(move |(number, attach)| resolve(homes, number, attach))
    }
}

fn resolve(homes: Homes, number: u64, attach: Attach) -> (ShardIndex, SessionRef) {
    let (shard, session) = homes.of_number(number);
    let session = SessionId(session);
    (shard, SessionRef { session, attach })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_looked_up_is_forgotten_with_its_attachment() {
        let mut attached = Attached::new(Homes::new(8));
        let attach = |found: Option<(ShardIndex, SessionRef)>| found.map(|(_, by)| by.attach.0);
        attached.insert(17, Attach(1));
        attached.insert(25, Attach(4));
        assert_eq!(attach(attached.get(17)), Some(1));
        attached.insert(17, Attach(2));
        assert_eq!(attach(attached.get(17)), Some(2));
        assert_eq!(attach(attached.get(25)), Some(4));
        attached.remove(25);
        assert_eq!(attach(attached.get(25)), None);
        assert_eq!(attached.drain().count(), 1);
        assert_eq!(attach(attached.get(17)), None);
    }
}
