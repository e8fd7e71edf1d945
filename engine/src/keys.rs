//! How the rooms of the engine name things to each other. None of these leaves the engine, and none is in a snapshot but
//! the age of a hold.

/// Where an org lies. Never leaves the engine, orders nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OrgKey(pub(crate) usize);

/// Where a lock lies. Never leaves the engine, orders nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LockKey(pub(crate) usize);

/// Numbers holds by age. Stays inside the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HoldId(pub(crate) u64);
