//! One tenant: its paths, its owners, its policies. The unit of isolation: nothing in here names another org.
//!
//! Must hold: every lock of the org stands in its table, and if it is grown in its order; an owner stands here while it has
//! a session.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};
use slab::Slab;

use crate::keys::{LockKey, OrgKey, OwnerKey};
use crate::locks::Locks;
use crate::path_order::PathOrder;
use crate::path_table::PathTable;
use crate::policy::{Policy, PolicyLayer};
use crate::time::Millis;

/// A tenant.
#[derive(Debug, Clone)]
pub(crate) struct Org {
    pub(crate) name: Arc<str>,
    pub(crate) layer: PolicyLayer,
    pub(crate) kinds: BTreeMap<Arc<str>, PolicyLayer>,
    /// The built-in policy under the server's layer and the org's.
    pub(crate) policy: Policy,
    pub(crate) paths: Paths,
    pub(crate) owners: Owners,
    pub(crate) sessions: u32,
    pub(crate) holds: u32,
}

impl Org {
    pub(crate) fn new(name: Arc<str>, server: &PolicyLayer) -> Self {
        Self {
            name,
            layer: PolicyLayer::default(),
            kinds: BTreeMap::new(),
            policy: Policy::BUILT_IN.under(server),
            paths: Paths::default(),
            owners: Owners::default(),
            sessions: 0,
            holds: 0,
        }
    }

    /// Whether nothing is left that makes it worth keeping.
    pub(crate) fn is_unused(&self) -> bool {
        self.sessions == 0
            && self.owners.is_empty()
            && self.paths.is_empty()
            && self.kinds.is_empty()
            && self.layer.is_empty()
    }

    /// The policy for the locks of a kind.
    pub(crate) fn policy_of_kind(&self, kind: &str) -> Policy {
        self.kinds
            .get(kind)
            .map_or(self.policy, |layer| self.policy.under_kind(layer))
    }

    /// The policy for one lock: its kind is the first segment of its path.
    pub(crate) fn policy_for(&self, path: &str) -> Policy {
        if self.kinds.is_empty() {
            return self.policy;
        }
        self.policy_of_kind(path.split('/').next().unwrap_or(path))
    }

    /// The TTL of a hold of the path, if so much is asked for.
    pub(crate) fn ttl_for(&self, path: &str, asked: Option<Millis>) -> Millis {
        self.policy_for(path).ttl(asked)
    }
}

/// Those who have sessions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Owners {
    by_name: HashTable<OwnerKey>,
    hashing: DefaultHashBuilder,
    all: Slab<Owner>,
}

/// On whose behalf sessions act.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    pub(crate) name: Arc<str>,
    /// How many it has, ended ones included.
    pub(crate) sessions: u32,
}

impl Owners {
    /// Counts a session of the owner.
    pub(crate) fn join(&mut self, name: &str) -> OwnerKey {
        let Self {
            by_name,
            hashing,
            all,
        } = self;
        let hash = hashing.hash_one(name);
        if let Some(&owner) = by_name.find(hash, |owner| *all[owner.place()].name == *name) {
            all[owner.place()].sessions += 1;
            return owner;
        }
        let key = OwnerKey::at(all.insert(Owner {
            name: Arc::from(name),
            sessions: 1,
        }));
        by_name.insert_unique(hash, key, |owner| {
            hashing.hash_one(&*all[owner.place()].name)
        });
        key
    }

    /// Counts a session of the owner off.
    pub(crate) fn leave(&mut self, key: OwnerKey) {
        let owner = &mut self.all[key.place()];
        owner.sessions -= 1;
        if owner.sessions == 0 {
            let gone = self.all.remove(key.place());
            let hash = self.hashing.hash_one(&*gone.name);
            if let Ok(entry) = self.by_name.find_entry(hash, |known| *known == key) {
                entry.remove();
            }
        }
    }

    pub(crate) fn get(&self, key: OwnerKey) -> &Owner {
        &self.all[key.place()]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Owner> {
        self.all.iter().map(|(_, owner)| owner)
    }
}

/// Where a lock is looked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address<'p> {
    pub(crate) org: OrgKey,
    pub(crate) path: &'p str,
    /// Of the path, for the table of the org.
    pub(crate) hash: u32,
}

/// The locks of an org by path: at once, and, those that are grown, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paths {
    by_path: PathTable,
    pub(crate) in_order: PathOrder,
}

impl<'p> Address<'p> {
    pub(crate) fn new(hashing: &DefaultHashBuilder, org: OrgKey, path: &'p str) -> Self {
        Self {
            org,
            path,
            hash: hash_of(hashing, path),
        }
    }
}

/// What the table of an org goes by.
pub(crate) fn hash_of(hashing: &DefaultHashBuilder, path: &str) -> u32 {
    (hashing.hash_one(path) >> 32) as u32
}

impl Paths {
    pub(crate) fn get(&self, locks: &Locks, at: &Address<'_>) -> Option<LockKey> {
        // Not one that is retired.
        let is_there = |lock: LockKey| locks.get(lock).is_some_and(|lock| lock.path == at.path);
        self.by_path.find(at.hash, is_there)
    }

    /// Takes in a lock whose path is not in here.
    pub(crate) fn insert(&mut self, locks: &mut Locks, at: &Address<'_>, lock: LockKey) {
        self.by_path.insert(locks, at.hash, lock);
    }

    /// Takes out a young lock, whose path has this hash.
    pub(crate) fn remove(&mut self, locks: &mut Locks, hash: u32, lock: LockKey) {
        locks.remove(lock);
        self.by_path.remove(locks, hash, lock);
    }

    /// Takes out a grown one, whose place is kept until neither the table nor the order names it.
    pub(crate) fn retire(&mut self, locks: &mut Locks, lock: LockKey) {
        locks.retire(lock);
        self.by_path.pass(locks);
        self.in_order.pass(locks);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.by_path.len()
    }
}
