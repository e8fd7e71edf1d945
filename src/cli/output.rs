//! What is answered on stdout, for people or for programs; and colours, where somebody can see them.
//!
//! Knows nothing of locks. Rules: with `--json` nothing but JSON goes to stdout, one object a line; colours go to a
//! terminal alone, and not where `NO_COLOR` is set.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Stderr, Stdout, Write, stderr, stdout};

use serde::Serialize;

use super::Shared;

/// See the header of this file.
pub(super) struct Output {
    stdout: BufWriter<Stdout>,
    json: bool,
    paint: Paint,
}

/// Whoever reads our stdout has enough, as `head` has.
#[derive(Debug)]
pub(super) struct NobodyReads;

impl fmt::Display for NobodyReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the answer")
    }
}

impl std::error::Error for NobodyReads {}

impl Output {
    pub(super) fn new(shared: &Shared) -> Self {
        Self {
            stdout: BufWriter::new(stdout()),
            json: shared.json,
            paint: Paint::on(&stdout()),
        }
    }

    /// Whether programs read it.
    pub(super) const fn is_json(&self) -> bool {
        self.json
    }

    /// Whether it is a person at a terminal who reads it.
    pub(super) fn is_watched(&self) -> bool {
        !self.json && stdout().is_terminal()
    }

    pub(super) const fn paint(&self) -> Paint {
        self.paint
    }

    /// The answer: an object for programs, or text for people.
    pub(super) fn answer(
        &mut self,
        json: &impl Serialize,
        text: impl FnOnce(Paint) -> String,
    ) -> anyhow::Result<()> {
        if self.json {
            self.object(json)?;
        } else {
            let text = text(self.paint);
            self.line(&text)?;
        }
        self.flush()
    }

    /// One object, for programs. Not flushed.
    pub(super) fn object(&mut self, json: &impl Serialize) -> anyhow::Result<()> {
        let written = serde_json::to_writer(&mut self.stdout, json).map_err(io::Error::from);
        written
            .and_then(|()| self.stdout.write_all(b"\n"))
            .map_err(cannot_write)
    }

    /// One line, for people. Not flushed.
    pub(super) fn line(&mut self, text: &str) -> anyhow::Result<()> {
        writeln!(self.stdout, "{text}").map_err(cannot_write)
    }

    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        self.stdout.flush().map_err(cannot_write)
    }
}

fn cannot_write(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        anyhow::Error::new(NobodyReads)
    } else {
        anyhow::Error::new(error).context("cannot write the answer")
    }
}

/// Colours, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paint(bool);

impl Paint {
    /// Whether this stream shows colours.
    fn on(stream: &impl IsTerminal) -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self(stream.is_terminal() && !is_set("NO_COLOR") && !is_dumb)
    }

    /// The answer is yes.
    pub(super) fn yes(self, text: &str) -> String {
        self.with("32", text)
    }

    /// The answer is no.
    pub(super) fn no(self, text: &str) -> String {
        self.with("33", text)
    }

    /// What stands above a column.
    pub(super) fn heading(self, text: &str) -> String {
        self.with("1", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            String::from(text)
        }
    }
}

/// A line on stderr.
pub(super) fn remark(text: &str) {
    // Who has closed it is not told.
    let _ = writeln!(stderr(), "{text}");
}

/// What is told to a person meanwhile, on stderr: nothing unless that is a terminal.
pub(super) struct Meanwhile {
    stderr: Option<Stderr>,
    /// Whether the last line is to be written over.
    passing: bool,
}

impl Meanwhile {
    pub(super) fn new(shared: &Shared) -> Self {
        Self {
            stderr: Some(stderr()).filter(|stderr| stderr.is_terminal() && !shared.json),
            passing: false,
        }
    }

    /// A line that stays.
    pub(super) fn say(&mut self, text: &str) {
        self.clear();
        self.write(&format!("{text}\n"));
    }

    /// A line that the next one is written over.
    pub(super) fn show(&mut self, text: &str) {
        self.write(&format!("\r{text}\x1b[K"));
        self.passing = true;
    }

    /// Takes away what was only shown.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.passing) {
            self.write("\r\x1b[K");
        }
    }

    fn write(&mut self, text: &str) {
        if let Some(stderr) = &mut self.stderr {
            // Who cannot be told is not told.
            let _ = stderr.write_all(text.as_bytes());
        }
    }
}

impl Drop for Meanwhile {
    fn drop(&mut self) {
        self.clear();
    }
}
