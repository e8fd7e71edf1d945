//! Numbers for the lives of streams: a position of one life is never taken for one of another.
//! Must hold: no other shard and no other process gives a number again, as far as chance can see to it.

use crate::homes::Home;

/// See the file's header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Epochs {
    next: u64,
    step: u64,
}

impl Epochs {
    /// Those of this process, from a beginning that leaves as many again below what JavaScript can count.
    pub(crate) fn random() -> Self {
        const BEGINNINGS: u64 = 1 << 52;
        let mut random = [0; size_of::<u64>()];
        aws_lc_rs::rand::fill(&mut random).expect("the operating system gives random bytes");
        Self {
            next: 1 + u64::from_ne_bytes(random) % BEGINNINGS,
            step: 1,
        }
    }

    /// Those of one shard.
    pub(crate) fn of(self, home: Home) -> Self {
        Self {
            next: self.next + home.to_wire(0),
            step: home.to_wire(1) - home.to_wire(0),
        }
    }

    pub(super) const fn next(&mut self) -> u64 {
        let next = self.next;
        self.next += self.step;
        next
    }
}
