//! All sessions: by number for callers, by place for the other rooms of the engine.
//!
//! Every command names its session by number, so that is looked up each time. Numbers follow each other: nearly all
//! differ in their last bits, and a table by these answers with one look. Whoever is not in it is in a table by hash.
//!
//! Knows no rule. Must hold: a session stands in the slab and under its number, or in neither.

use alloc::vec::Vec;
use core::hash::BuildHasher as _;
use core::ops::{Index, IndexMut};

use hashbrown::{DefaultHashBuilder, HashTable};
use slab::Slab;

use crate::ids::SessionId;
use crate::keys::SessionKey;
use crate::session::Session;

/// The table has no fewer places. Few where mistakes are looked for.
const LEAST: usize = if cfg!(debug_assertions) { 2 } else { 64 };

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions {
    by_number: HashTable<SessionKey>,
    hashing: DefaultHashBuilder,
    /// By the last bits of the number: whoever came last of those that have them in common, and may be gone. As many
    /// places as a power of two.
    by_last_bits: Vec<Option<SessionKey>>,
    all: Slab<Session>,
}

impl Sessions {
    /// Takes in a session, whose number nobody else has, and tells it where it is.
    pub(crate) fn insert(&mut self, session: impl FnOnce(SessionKey) -> Session) -> SessionKey {
        let vacant = self.all.vacant_entry();
        let key = SessionKey::at(vacant.key());
        let session = vacant.insert(session(key));
        let number = session.id;
        let (all, hashing) = (&self.all, &self.hashing);
        let hash_of = |key: &SessionKey| hashing.hash_one(all[key.place()].id);
        self.by_number
            .insert_unique(hashing.hash_one(number), key, hash_of);
        if self.all.len() > self.by_last_bits.len() {
            self.lay_out();
        }
        let place = self.place_of(number);
        self.by_last_bits[place] = Some(key);
        key
    }

    pub(crate) fn remove(&mut self, key: SessionKey) -> Session {
        let gone = self.all.remove(key.place());
        let hash = self.hashing.hash_one(gone.id);
        if let Ok(entry) = self.by_number.find_entry(hash, |known| *known == key) {
            entry.remove();
        }
        if 4 * self.all.len() < self.by_last_bits.len() && self.by_last_bits.len() > LEAST {
            self.lay_out();
        }
        gone
    }

    pub(crate) fn find(&self, number: SessionId) -> Option<&Session> {
        let near = self.by_last_bits.get(self.place_of(number)).copied();
        let near = near.flatten().and_then(|key| self.get(key));
        match near.filter(|session| session.id == number) {
            Some(session) => Some(session),
            None => self.look_up(number),
        }
    }

    pub(crate) fn key_of(&self, number: SessionId) -> Option<SessionKey> {
        self.find(number).map(|session| session.key)
    }

    fn look_up(&self, number: SessionId) -> Option<&Session> {
        let is_it = |key: &SessionKey| self[*key].id == number;
        let key = self.by_number.find(self.hashing.hash_one(number), is_it)?;
        Some(&self[*key])
    }

    const fn place_of(&self, number: SessionId) -> usize {
        number.0 as usize & self.by_last_bits.len().wrapping_sub(1)
    }

    /// Makes the table of last bits anew, with room for as many as there are.
    fn lay_out(&mut self) {
        let places = self.all.len().next_power_of_two().max(LEAST);
        self.by_last_bits = Vec::new();
        self.by_last_bits.resize(places, None);
        for (_, session) in &self.all {
            let place = self.place_of(session.id);
            self.by_last_bits[place] = Some(session.key);
        }
    }

    pub(crate) fn get(&self, key: SessionKey) -> Option<&Session> {
        self.all.get(key.place())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session> + Clone {
        self.all.iter().map(|(_, session)| session)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
}

impl Index<SessionKey> for Sessions {
    type Output = Session;

    fn index(&self, key: SessionKey) -> &Session {
        &self.all[key.place()]
    }
}

impl IndexMut<SessionKey> for Sessions {
    fn index_mut(&mut self, key: SessionKey) -> &mut Session {
        &mut self.all[key.place()]
    }
}
