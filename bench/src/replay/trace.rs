//! Who edited what and when: CSV of `unix_time,owner,path`, in order of time. Owners and paths become numbers, since names
//! are nobody's business here.
//!
//! Rule: a line that is not as it should be is an error that names it; nothing is guessed or left out.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use flate2::bufread::MultiGzDecoder;

/// The first line.
const HEAD: &str = "unix_time,owner,path";

/// What a file that is compressed begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Somebody has saved what he has edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edit {
    /// Seconds since 1970.
    pub at: u64,
    /// Who.
    pub owner: u32,
    /// What.
    pub path: u32,
}

/// See the file's header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    pub(super) edits: Vec<Edit>,
    owners: HashMap<String, u32>,
    paths: HashMap<String, u32>,
}

impl Trace {
    /// Reads a file, which may be compressed with gzip.
    ///
    /// # Errors
    /// It cannot be read, or a line is not as it should be.
    pub fn read(file: &Path) -> Result<Self> {
        let name = file.display();
        let read = || -> Result<Self> {
            let mut whole = BufReader::new(File::open(file)?);
            let head = whole.fill_buf()?;
            if head.starts_with(&GZIP) {
                Self::parse(BufReader::new(MultiGzDecoder::new(whole)))
            } else {
                Self::parse(whole)
            }
        };
        read().with_context(|| format!("cannot replay {name}"))
    }

    /// Reads lines.
    ///
    /// # Errors
    /// One of them is not as it should be.
    pub fn parse(lines: impl BufRead) -> Result<Self> {
        let mut trace = Self::default();
        let mut is_headed = false;
        for (number, line) in (1..).zip(lines.lines()) {
            let line = line.with_context(|| format!("line {number} cannot be read"))?;
            let taken = if is_headed {
                trace.take(&line)
            } else {
                is_headed = true;
                expect_head(&line)
            };
            taken.map_err(|error| anyhow!("line {number}: {error}"))?;
        }
        ensure!(!trace.edits.is_empty(), "expected edits, found none");
        Ok(trace)
    }

    /// All edits, in order.
    #[must_use]
    pub fn edits(&self) -> &[Edit] {
        &self.edits
    }

    /// How many owners there are: they are numbered from 0.
    #[must_use]
    pub fn owner_count(&self) -> u32 {
        self.owners.len() as u32
    }

    /// How many paths there are: they are numbered from 0.
    #[must_use]
    pub fn path_count(&self) -> u32 {
        self.paths.len() as u32
    }

    /// Adds an edit, which is not before those that are there.
    pub(super) fn add(&mut self, at: u64, owner: &str, path: &str) {
        let edit = Edit {
            at,
            owner: number(&mut self.owners, owner),
            path: number(&mut self.paths, path),
        };
        self.edits.push(edit);
    }

    fn take(&mut self, line: &str) -> Result<()> {
        let mut fields = line.splitn(3, ',');
        let (Some(at), Some(owner), Some(path)) = (fields.next(), fields.next(), fields.next())
        else {
            bail!("expected {HEAD}, found {line:?}");
        };
        let seconds = at.parse();
        let seconds: u64 =
            seconds.map_err(|_| anyhow!("expected seconds since 1970, found {at:?}"))?;
        let before = self.edits.last().map_or(0, |edit| edit.at);
        ensure!(
            seconds >= before,
            "expected a time of {before} or later, found {seconds}"
        );
        ensure!(!owner.is_empty(), "expected an owner, found none");
        ensure!(!path.is_empty(), "expected a path, found none");
        self.add(seconds, owner, path);
        Ok(())
    }
}

fn expect_head(line: &str) -> Result<()> {
    ensure!(line == HEAD, "expected {HEAD}, found {line:?}");
    Ok(())
}

fn number(numbers: &mut HashMap<String, u32>, name: &str) -> u32 {
    if let Some(number) = numbers.get(name) {
        return *number;
    }
    let next = numbers.len() as u32;
    numbers.insert(name.to_owned(), next);
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_numbers_and_a_path_may_have_commas() {
        let text = "unix_time,owner,path\n10,ada,a,b\n10,ben,c\n20,ada,c\n";
        let trace = Trace::parse(text.as_bytes()).unwrap();
        let edit = |at, owner, path| Edit { at, owner, path };
        assert_eq!(
            trace.edits(),
            [edit(10, 0, 0), edit(10, 1, 1), edit(20, 0, 1)]
        );
        assert_eq!((trace.owner_count(), trace.path_count()), (2, 2));
    }

    #[test]
    fn a_bad_line_is_named_with_what_was_expected() {
        for (lines, expected) in [
            (
                "time,who,what",
                "line 1: expected unix_time,owner,path, found \"time,who,what\"",
            ),
            (
                "unix_time,owner,path\n1,ada,a\n2,ada",
                "line 3: expected unix_time,owner,path, found \"2,ada\"",
            ),
            (
                "unix_time,owner,path\nnoon,ada,a",
                "line 2: expected seconds since 1970, found \"noon\"",
            ),
            (
                "unix_time,owner,path\n5,ada,a\n4,ada,a",
                "line 3: expected a time of 5 or later, found 4",
            ),
            (
                "unix_time,owner,path\n5,,a",
                "line 2: expected an owner, found none",
            ),
            (
                "unix_time,owner,path\n5,ada,",
                "line 2: expected a path, found none",
            ),
            ("unix_time,owner,path\n", "expected edits, found none"),
            ("", "expected edits, found none"),
        ] {
            let error = Trace::parse(lines.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error_with_their_line() {
        let error = Trace::parse(&b"unix_time,owner,path\n1,a,\xff\n"[..]).unwrap_err();
        assert_eq!(error.to_string(), "line 2 cannot be read");
    }
}
