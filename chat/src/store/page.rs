//! Pages of lists: each names the next by what it ended with, so that nothing is met twice or passed over while rows
//! come and go. Nothing is skipped by counting.
//!
//! A cursor is opaque to whoever carries it. One that was made up finds another page of what the asker may see anyway,
//! or is refused.

use std::fmt;

use uuid::Uuid;

use super::error::Result;
use super::limits;
use super::types::{Page, UnixMs};

impl<T> Page<T> {
    /// A page of at most `limit` of what was found; one more than that says that there is another page.
    pub(super) fn cut(mut items: Vec<T>, limit: i64, cursor: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| has_more).map(cursor);
        Self { items, next }
    }
}

/// Where a list by activity goes on: after this time, and among equals after this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recent {
    pub(super) at: UnixMs,
    pub(super) id: Uuid,
}

impl Recent {
    const BEGINNING: Self = Self {
        at: UnixMs(i64::MAX),
        id: Uuid::max(),
    };

    /// The beginning, if there is none.
    pub(super) fn parse(cursor: Option<&str>) -> Result<Self> {
        let Some(cursor) = cursor else {
            return Ok(Self::BEGINNING);
        };
        let parsed = cursor.split_once('-').and_then(|(at, id)| {
            let at = i64::from_str_radix(at, 36).ok()?;
            let id = Uuid::try_parse(id).ok()?;
            Some(Self { at: UnixMs(at), id })
        });
        parsed.map_or_else(made_up, Ok)
    }
}

impl fmt::Display for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", Base36(self.at.0), self.id.simple())
    }
}

/// Where a list by number, highest first, goes on: below this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Below(pub(super) i64);

impl Below {
    /// The highest, if there is none.
    pub(super) fn parse(cursor: Option<&str>) -> Result<Self> {
        let Some(cursor) = cursor else {
            return Ok(Self(i64::MAX));
        };
        i64::from_str_radix(cursor, 36).map_or_else(|_| made_up(), |number| Ok(Self(number)))
    }
}

impl fmt::Display for Below {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Base36(self.0).fmt(f)
    }
}

fn made_up<T>() -> Result<T> {
    limits::invalid("cursor", "one that the page before has named", "another")
}

/// A number in few characters that need no quoting in a URL.
struct Base36(i64);

impl fmt::Display for Base36 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.unsigned_abs();
        let mut digits = Vec::with_capacity(13);
        while rest > 0 || digits.is_empty() {
            let digit = u32::try_from(rest % 36).unwrap_or_default();
            digits.push(char::from_digit(digit, 36).unwrap_or('0'));
            rest /= 36;
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        digits
            .iter()
            .rev()
            .try_for_each(|digit| write!(f, "{digit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_as_they_went() {
        for at in [0, 1, 35, 36, 1_795_000_000_123, i64::MAX] {
            let recent = Recent {
                at: UnixMs(at),
                id: Uuid::from_u128(7),
            };
            let text = recent.to_string();
            assert_eq!(Recent::parse(Some(&text)).expect("ours"), recent);
            let below = Below(at).to_string();
            assert_eq!(Below::parse(Some(&below)).expect("ours"), Below(at));
        }
    }

    #[test]
    fn what_was_made_up_is_refused() {
        for text in ["", "-", "x", "1-", "1-zz", "ä", "99999999999999999999-0"] {
            assert!(Recent::parse(Some(text)).is_err(), "{text:?}");
        }
        assert!(Below::parse(Some("not one!")).is_err());
    }
}
