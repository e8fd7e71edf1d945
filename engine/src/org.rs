//! One tenant: its paths, its owners, its policies. The unit of isolation: nothing in here names another org.
//!
//! Must hold: a path stands in both indexes or in none; an owner stands here while it has a session.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::ops::Bound;

use hashbrown::HashMap;

use crate::keys::LockKey;
use crate::policy::{Policy, PolicyLayer};

/// A tenant.
#[derive(Debug, Clone)]
pub(crate) struct Org {
    pub(crate) name: Arc<str>,
    pub(crate) layer: PolicyLayer,
    pub(crate) kinds: BTreeMap<Arc<str>, PolicyLayer>,
    /// The built-in policy under the server's layer and the org's.
    pub(crate) policy: Policy,
    pub(crate) paths: Paths,
    /// One name for all sessions and holds of an owner, with the number of its sessions.
    pub(crate) owners: HashMap<Arc<str>, u32>,
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
            owners: HashMap::new(),
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

    /// Counts a session of the owner; gives the one name that all its sessions and holds share.
    pub(crate) fn owner_joins(&mut self, owner: &str) -> Arc<str> {
        self.sessions += 1;
        let (name, sessions) = match self.owners.get_key_value(owner) {
            Some((name, sessions)) => (name.clone(), *sessions),
            None => (Arc::from(owner), 0),
        };
        self.owners.insert(name.clone(), sessions + 1);
        name
    }

    /// Counts a session of the owner off; `sessions` was counted down when the session ended.
    pub(crate) fn owner_leaves(&mut self, owner: &str) {
        if let Some(sessions) = self.owners.get_mut(owner) {
            *sessions -= 1;
            if *sessions == 0 {
                self.owners.remove(owner);
            }
        }
    }
}

/// The locks of an org by path: at once, and in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paths {
    by_path: HashMap<Arc<str>, LockKey>,
    in_order: BTreeMap<Arc<str>, LockKey>,
}

impl Paths {
    pub(crate) fn get(&self, path: &str) -> Option<LockKey> {
        self.by_path.get(path).copied()
    }

    pub(crate) fn insert(&mut self, path: Arc<str>, lock: LockKey) {
        self.by_path.insert(path.clone(), lock);
        self.in_order.insert(path, lock);
    }

    pub(crate) fn remove(&mut self, path: &str) {
        self.by_path.remove(path);
        self.in_order.remove(path);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_path.len()
    }

    /// The locks in path order, from the first that begins with `prefix` and lies beyond `after`.
    pub(crate) fn from<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Arc<str>, LockKey)> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.in_order
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(move |(path, _)| path.starts_with(prefix))
            .map(|(path, lock)| (path, *lock))
    }
}
