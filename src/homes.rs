//! Which shard is whose: where an org lives, and how a number on the wire tells where its thing does.
//!
//! Must hold: both stay the same as long as the number of shards does, since what is kept of an org lies in its shard.

/// Which shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ShardIndex(pub(crate) usize);

/// All the shards, as far as they are numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Homes {
    count: usize,
}

/// One shard, as far as it is a number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Home {
    pub(crate) index: ShardIndex,
    pub(crate) homes: Homes,
}

impl Homes {
    /// So many shards; at least one.
    pub(crate) fn new(count: usize) -> Self {
        Self {
            count: count.max(1),
        }
    }

    pub(crate) fn all(self) -> impl Iterator<Item = Home> {
        (0..self.count).map(move |index| Home {
            index: ShardIndex(index),
            homes: self,
        })
    }

    /// Where an org lives: by FNV-1a of its name.
    pub(crate) fn of_org(self, org: &str) -> ShardIndex {
        let hash = org.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        ShardIndex((hash % self.count as u64) as usize)
    }

    /// Where the session or wait with this number on the wire lives, and its number there.
    pub(crate) fn of_number(self, number: u64) -> (ShardIndex, u64) {
        let count = self.count as u64;
        (ShardIndex((number % count) as usize), number / count)
    }
}

impl Home {
    /// The number on the wire of a session or wait that lives here.
    pub(crate) fn to_wire(self, number: u64) -> u64 {
        number * self.homes.count as u64 + self.index.0 as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_on_the_wire_names_its_shard() {
        let homes = Homes::new(8);
        for home in homes.all() {
            for number in [0, 1, 2, 1 << 40] {
                let on_the_wire = home.to_wire(number);
                assert_eq!(homes.of_number(on_the_wire), (home.index, number));
            }
        }
    }

    /// An org that changed its shard would not find what is kept of it.
    #[test]
    fn an_org_lives_where_it_always_lived() {
        let homes = Homes::new(8);
        let lives = ["acme", "globex", "initech"].map(|org| homes.of_org(org).0);
        assert_eq!(lives, [7, 6, 1]);
    }
}
