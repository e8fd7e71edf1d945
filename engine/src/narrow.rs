//! The numbers of a lock and of a hold in as few bytes as they nearly always need. Knows no rule.
//!
//! Millions of holds have five numbers of eight bytes each, of which only the low ones ever differ from nought: a history of
//! less than 34 years, a TTL of less than 49 days, a date before 2052. Must hold: what comes out is what was put in;
//! numbers that are larger are not narrowed.

use crate::command::Mode;
use crate::ids::Token;
use crate::keys::{HoldId, SlotKey};
use crate::nursery::Stage;
use crate::time::{LogTime, Millis, WallTime};

/// The numbers of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) id: HoldId,
    pub(crate) deadline: LogTime,
    pub(crate) ttl: Millis,
    pub(crate) since: LogTime,
    pub(crate) since_wall: WallTime,
}

/// The same in 24 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Narrow {
    /// From its beginning.
    deadline: u32,
    ttl: u32,
    id: [u8; 6],
    since: [u8; 5],
    /// From [`WALL_BASE`].
    since_wall: [u8; 5],
}

/// In the year 2017.
const WALL_BASE: u64 = 1_500_000_000_000;

impl Narrow {
    /// The numbers narrowed, if each is small enough.
    pub(crate) fn of(numbers: &Numbers) -> Option<Self> {
        Some(Self {
            deadline: (numbers.deadline.0.checked_sub(numbers.since.0)?)
                .try_into()
                .ok()?,
            ttl: numbers.ttl.0.try_into().ok()?,
            id: low_bytes(numbers.id.0)?,
            since: low_bytes(numbers.since.0)?,
            since_wall: low_bytes(numbers.since_wall.0.checked_sub(WALL_BASE)?)?,
        })
    }

    pub(crate) fn numbers(&self) -> Numbers {
        Numbers {
            id: self.id(),
            deadline: self.deadline(),
            ttl: self.ttl(),
            since: self.since(),
            since_wall: WallTime(WALL_BASE + number(self.since_wall)),
        }
    }

    /// Takes other numbers in, if they are small enough; tells whether they are.
    pub(crate) fn renew(&mut self, deadline: LogTime, ttl: Millis) -> bool {
        let held = deadline.0.wrapping_sub(self.since().0);
        let are_small = held <= u32::MAX.into() && ttl.0 <= u32::MAX.into();
        if are_small {
            (self.deadline, self.ttl) = (held as u32, ttl.0 as u32);
        }
        are_small
    }

    pub(crate) fn id(&self) -> HoldId {
        HoldId(number(self.id))
    }

    pub(crate) fn deadline(&self) -> LogTime {
        self.since() + Millis(self.deadline.into())
    }

    pub(crate) fn ttl(&self) -> Millis {
        Millis(self.ttl.into())
    }

    fn since(&self) -> LogTime {
        LogTime(number(self.since))
    }
}

fn low_bytes<const N: usize>(number: u64) -> Option<[u8; N]> {
    let mut low = [0; N];
    low.copy_from_slice(&number.to_le_bytes()[..N]);
    (number >> (8 * N) == 0).then_some(low)
}

fn number<const N: usize>(bytes: [u8; N]) -> u64 {
    let mut all = [0; 8];
    all[..N].copy_from_slice(&bytes);
    u64::from_le_bytes(all)
}

/// The token and the mode of a phase, and how far a lock has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Marks {
    /// The token, above the bits of the mode and of the stage. Two halves, so that nothing is left empty after them.
    token: [u32; 2],
    /// A young lock's number in the nursery, or the list that a grown one is in.
    place: u32,
}

const TOKEN_SHIFT: u32 = 8;
const IS_EXCLUSIVE: u64 = 1;
const IS_GROWN: u64 = 2;
const IS_LISTED: u64 = 4;
const IS_GONE: u64 = 8;

impl Marks {
    pub(crate) fn new(stage: Stage) -> Self {
        let mut marks = Self {
            token: [0; 2],
            place: 0,
        };
        marks.set_stage(stage);
        marks
    }

    const fn bits(self) -> u64 {
        (self.token[1] as u64) << 32 | self.token[0] as u64
    }

    const fn set_bits(&mut self, bits: u64) {
        self.token = [bits as u32, (bits >> 32) as u32];
    }

    pub(crate) const fn token(self) -> Token {
        Token(self.bits() >> TOKEN_SHIFT)
    }

    pub(crate) const fn mode(self) -> Mode {
        if self.bits() & IS_EXCLUSIVE == 0 {
            Mode::Shared
        } else {
            Mode::Exclusive
        }
    }

    /// The token is one that there can be: see [`Token::MAX`].
    pub(crate) fn set_phase(&mut self, token: Token, mode: Mode) {
        let stage = self.bits() & (IS_GROWN | IS_LISTED);
        let mode = match mode {
            Mode::Exclusive => IS_EXCLUSIVE,
            Mode::Shared => 0,
        };
        self.set_bits(token.0 << TOKEN_SHIFT | stage | mode);
    }

    /// Whether the lock is there no more.
    pub(crate) const fn is_gone(self) -> bool {
        self.token[0] & IS_GONE as u32 != 0
    }

    pub(crate) const fn set_gone(&mut self) {
        self.set_bits(self.bits() | IS_GONE);
    }

    pub(crate) fn stage(self) -> Stage {
        match self.bits() & (IS_GROWN | IS_LISTED) {
            0 => Stage::Young(self.place),
            IS_GROWN => Stage::Grown(None),
            _ => Stage::Grown(Some(SlotKey::at(self.place as usize))),
        }
    }

    pub(crate) fn set_stage(&mut self, stage: Stage) {
        let (bits, place) = match stage {
            Stage::Young(number) => (0, number),
            Stage::Grown(None) => (IS_GROWN, 0),
            Stage::Grown(Some(slot)) => (IS_GROWN | IS_LISTED, slot.place() as u32),
        };
        self.set_bits(self.bits() & !(IS_GROWN | IS_LISTED) | bits);
        self.place = place;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_narrowed_comes_out_as_it_was(
            id in 0_u64..1 << 49,
            since in 0_u64..1 << 41,
            held in 0_u64..1 << 33,
            ttl in prop_oneof![0_u64..1 << 33, Just(u64::MAX)],
            wall in prop_oneof![Just(0), 1_500_000_000_000_u64..2_700_000_000_000],
        ) {
            let numbers = Numbers {
                id: HoldId(id),
                deadline: LogTime(since + held),
                ttl: Millis(ttl),
                since: LogTime(since),
                since_wall: WallTime(wall),
            };
            let is_small = id < 1 << 48
                && since < 1 << 40
                && held < 1 << 32
                && ttl < 1 << 32
                && (WALL_BASE..WALL_BASE + (1 << 40)).contains(&wall);
            let narrow = Narrow::of(&numbers);
            prop_assert_eq!(narrow.is_some(), is_small);
            prop_assert!(narrow.is_none_or(|narrow| narrow.numbers() == numbers));
        }

        #[test]
        fn marks_do_not_touch_each_other(
            steps in prop::collection::vec((0_u64..=Token::MAX.0, any::<bool>(), any::<u32>(), 0..3_u8), 1..9),
        ) {
            let mut marks = Marks::new(Stage::Young(0));
            let mut expected = (Token(0), Mode::Shared, Stage::Young(0));
            for (token, is_exclusive, place, stage) in steps {
                if is_exclusive || stage == 0 {
                    let mode = if is_exclusive { Mode::Exclusive } else { Mode::Shared };
                    marks.set_phase(Token(token), mode);
                    (expected.0, expected.1) = (Token(token), mode);
                } else {
                    expected.2 = match stage {
                        1 => Stage::Young(place),
                        _ if place % 2 == 0 => Stage::Grown(None),
                        _ => Stage::Grown(Some(SlotKey::at(place as usize / 2))),
                    };
                    marks.set_stage(expected.2);
                }
                prop_assert_eq!((marks.token(), marks.mode(), marks.stage()), expected);
                prop_assert!(!marks.is_gone());
            }
            marks.set_gone();
            prop_assert_eq!((marks.token(), marks.mode(), marks.stage()), expected);
            prop_assert!(marks.is_gone());
        }
    }
}
