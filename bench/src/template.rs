//! Messages that are encoded once: what differs is put in for each, at its place and at its length. So neither the generator
//! nor the floor spends its time on encoding.

use anyhow::{Context as _, Result};

/// A message with `PARTS` parts that differ.
#[derive(Debug, Clone)]
pub(crate) struct Template<const PARTS: usize> {
    bytes: Vec<u8>,
    places: [usize; PARTS],
}

impl<const PARTS: usize> Template<PARTS> {
    /// A message in which marks stand where parts are put in: each once, and as long as they.
    pub(crate) fn of(bytes: Vec<u8>, marks: [&[u8]; PARTS]) -> Result<Self> {
        let mut places = [0; PARTS];
        for (place, mark) in places.iter_mut().zip(marks) {
            let mut windows = bytes.windows(mark.len());
            let found = windows.position(|window| window == mark);
            *place = found.context("the message lacks a part")?;
        }
        Ok(Self { bytes, places })
    }

    /// Appends the message with its parts.
    #[inline]
    pub(crate) fn write(&self, parts: [&[u8]; PARTS], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let written = &mut out[start..];
        for (place, part) in self.places.into_iter().zip(parts) {
            written[place..][..part.len()].copy_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_put_in_their_places() {
        let template = Template::of(b"dear ??, bye !".to_vec(), [b"!", b"??"]).unwrap();
        let mut out = b"> ".to_vec();
        template.write([b".", b"al"], &mut out);
        assert_eq!(out, b"> dear al, bye .");
        assert!(Template::of(b"dear".to_vec(), [b"??"]).is_err());
    }
}
