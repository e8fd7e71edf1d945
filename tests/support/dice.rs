//! Choices that look random and follow from a seed, so that a test that fails can be lived again.
//! The generator is xorshift64*: no two tests need better chance than that.

/// See the file's header.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn of(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// From 0, below `count`.
    pub(crate) const fn below(&mut self, count: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % count
    }

    pub(crate) const fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// So many seeds: from the one in `PROPTEST_RNG_SEED` on, or such as no other run had.
pub(crate) fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let first = std::env::var("PROPTEST_RNG_SEED").map_or_else(
        |_| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.unwrap().as_micros() as u64 % 1_000_000_000
        },
        |seed| seed.parse().unwrap(),
    );
    first..first + count
}
