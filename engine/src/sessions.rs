//! All sessions: by number for callers, by place for the other rooms of the engine.
//! Knows no rule. Must hold: a session stands in the slab and under its number, or in neither.

use core::ops::{Index, IndexMut};

use hashbrown::HashMap;
use slab::Slab;

use crate::ids::SessionId;
use crate::keys::SessionKey;
use crate::session::Session;

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sessions {
    by_number: HashMap<SessionId, SessionKey>,
    all: Slab<Session>,
}

impl Sessions {
    /// Takes in a session, whose number nobody else has, and tells it where it is.
    pub(crate) fn insert(&mut self, session: impl FnOnce(SessionKey) -> Session) -> SessionKey {
        let vacant = self.all.vacant_entry();
        let key = SessionKey::at(vacant.key());
        let session = vacant.insert(session(key));
        self.by_number.insert(session.id, key);
        key
    }

    pub(crate) fn remove(&mut self, key: SessionKey) -> Session {
        let gone = self.all.remove(key.place());
        self.by_number.remove(&gone.id);
        gone
    }

    pub(crate) fn find(&self, number: SessionId) -> Option<&Session> {
        self.key_of(number).map(|key| &self[key])
    }

    pub(crate) fn key_of(&self, number: SessionId) -> Option<SessionKey> {
        self.by_number.get(&number).copied()
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
