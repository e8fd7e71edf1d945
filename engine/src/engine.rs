//! placeholder of the machine
use alloc::vec::Vec;
use crate::*;

/// What an entry led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The answer to whoever proposed the entry.
    pub reply: Reply,
    /// Whether state, counters or time have moved. If not, the entry need not be kept.
    pub changed: bool,
}

/// The machine.
#[derive(Debug, Clone)]
pub struct Engine {}

impl Engine {
    /// An engine at the beginning of history, whose first token will be `first_token`.
    pub fn new(_first_token: Token) -> Self { unimplemented!() }
    /// Takes one step of history.
    pub fn apply(&mut self, _entry: &Entry<'_>, _effects: &mut impl Effects) -> Outcome { unimplemented!() }
    /// Reads, as of `at`.
    pub fn query(&self, _query: &Query<'_>, _at: LogTime) -> Answer { unimplemented!() }
    /// When a `Tick` is wanted, at the latest; may be early.
    pub fn next_deadline(&mut self) -> Option<LogTime> { unimplemented!() }
    /// Log time of the last entry that changed something.
    pub fn now(&self) -> LogTime { unimplemented!() }
    /// The whole state in one canonical order: equal histories give equal bytes.
    pub fn snapshot(&self, _out: &mut Vec<u8>) { unimplemented!() }
    /// The state that `snapshot` wrote.
    pub fn restore(_bytes: &[u8]) -> Result<Self, SnapshotError> { unimplemented!() }
    /// A number that equal states share.
    pub fn digest(&self) -> u64 { unimplemented!() }
    /// Asserts every invariant; for tests and fuzzing.
    pub fn check(&self) { unimplemented!() }
}
/// Bytes that are no snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotError;
