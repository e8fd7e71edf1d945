//! The names of the locks that are measured with.
//!
//! 24 bytes each, as other lock servers are measured with; neighbours in number are far apart in path order, as ids
//! made elsewhere are. Equal numbers give equal names, in every process.

/// Bytes of every path.
pub const PATH_BYTES: usize = 24;

const KIND: &[u8; 8] = b"tickets/";

/// The text of one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path([u8; PATH_BYTES]);

impl Path {
    /// The path of this number.
    #[must_use]
    pub fn at(number: u32) -> Self {
        let mut text = [0; PATH_BYTES];
        let (kind, digits) = text.split_at_mut(KIND.len());
        kind.copy_from_slice(KIND);
        let mut bits = mixed(number.into());
        for digit in digits.iter_mut().rev() {
            *digit = b"0123456789abcdef"[(bits & 0xf) as usize];
            bits >>= 4;
        }
        Self(text)
    }

    /// The number of a path that was made here; `None` of any other text.
    #[must_use]
    pub fn number_of(text: &[u8]) -> Option<u32> {
        let digits = text
            .strip_prefix(KIND)
            .filter(|_| text.len() == PATH_BYTES)?;
        let mut bits = 0;
        for digit in digits {
            bits = bits << 4 | u64::from(char::from(*digit).to_digit(16)?);
        }
        u32::try_from(unmixed(bits)).ok()
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; PATH_BYTES] {
        &self.0
    }

    /// The same as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a path is made of ASCII")
    }
}

/// Spreads numbers over all 64 bits, each to a place of its own (the finisher of `SplitMix64`).
const fn mixed(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The way back. The factors are the inverses of those above, modulo 2^64.
const fn unmixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 31) ^ (bits >> 62)).wrapping_mul(0x3196_42b2_d24d_8ec3);
    bits = (bits ^ (bits >> 27) ^ (bits >> 54)).wrapping_mul(0x96de_1b17_3f11_9089);
    bits = bits ^ (bits >> 30) ^ (bits >> 60);
    bits.wrapping_sub(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_different_paths() {
        let paths: std::collections::HashSet<_> = (0..10_000)
            .map(|number| Path::at(number).as_str().to_owned())
            .collect();
        assert_eq!(paths.len(), 10_000);
        assert_eq!(Path::at(7), Path::at(7));
        assert!(Path::at(0).as_str().starts_with("tickets/"));
    }
    #[test]
    fn a_path_tells_its_number() {
        for number in (0..10_000).chain([u32::MAX]) {
            assert_eq!(Path::number_of(Path::at(number).as_bytes()), Some(number));
        }
        for other in [
            "",
            "tickets/",
            "tickets/000000000000000g",
            "tickets/0000000000000000",
        ] {
            assert_eq!(Path::number_of(other.as_bytes()), None, "{other}");
        }
    }
}
