//! What is answered on stdout, for people or for programs, and what is said besides on stderr.
//!
//! Rules: with `--json` nothing but JSON goes to stdout, one object a line; whoever stops reading, as `head` does, is
//! no trouble; progress is shown to a terminal alone.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _, stderr, stdout};

use clap::Args;
use serde::Serialize;

/// For whom the answer is.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Output {
    /// Answer with JSON, one object a line
    #[arg(long)]
    json: bool,
}

/// Whoever reads our stdout has enough.
#[derive(Debug)]
pub(super) struct NobodyReads;

impl fmt::Display for NobodyReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the answer")
    }
}

impl std::error::Error for NobodyReads {}

impl Output {
    /// Whether programs read it.
    pub(super) const fn is_json(self) -> bool {
        self.json
    }

    /// The answer: an object for programs, or text for people.
    pub(super) fn answer(self, json: &impl Serialize, text: &str) -> anyhow::Result<()> {
        if self.json {
            line(&serde_json::to_string(json)?)
        } else {
            line(text)
        }
    }

    /// Rows under headings, or an object for each. Columns are as wide as their widest cell; the last is not padded.
    pub(super) fn table<const N: usize>(
        self,
        headings: Option<[&str; N]>,
        rows: &[[String; N]],
        json: &[impl Serialize],
    ) -> anyhow::Result<()> {
        if self.json {
            return json
                .iter()
                .try_for_each(|object| line(&serde_json::to_string(object)?));
        }
        let headings = headings.map(|headings| headings.map(str::to_owned));
        let all: Vec<_> = headings.iter().chain(rows).collect();
        let width = |column: usize| {
            let widths = all.iter().filter_map(|row| row.get(column));
            widths.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..N).map(width).collect();
        for row in all {
            let cells = row.iter().zip(&widths);
            let text: String = cells
                .map(|(cell, width)| format!("{cell:width$}  "))
                .collect();
            line(text.trim_end())?;
        }
        Ok(())
    }
}

/// A line on stdout.
fn line(text: &str) -> anyhow::Result<()> {
    writeln!(stdout(), "{text}").map_err(|error| {
        if error.kind() == io::ErrorKind::BrokenPipe {
            anyhow::Error::new(NobodyReads)
        } else {
            anyhow::Error::new(error).context("cannot write the answer")
        }
    })
}

/// A line on stderr.
pub(super) fn remark(text: &str) {
    // Who has closed it is not told.
    let _ = writeln!(stderr(), "{text}");
}

/// Whether a person watches.
pub(super) fn is_watched() -> bool {
    stderr().is_terminal()
}
