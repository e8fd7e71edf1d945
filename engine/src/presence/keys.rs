//! How the rooms of presence name things to each other. None of these leaves the machine. A key says where something lies,
//! orders nothing and is given out again; a number orders by age, and never is.

use crate::keys::keys;

keys!(
    /// An org.
    OrgKey,
    /// A path with viewers.
    GatheringKey,
    /// An owner at a path.
    ViewerKey,
    /// A session at a path.
    SittingKey
);

/// Numbers what comes, by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Number(pub(super) u64);
