//! A trace from the history of a git checkout: each file that a commit has touched is an edit of its author's.
//!
//! Merges are left out, since what they bring was edited before.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use super::trace::Trace;

/// What the line of a commit begins with; no name of a file does, since git quotes such names.
const COMMIT: char = '\u{1}';

impl Trace {
    /// Asks git for the history of this checkout.
    ///
    /// # Errors
    /// There is no git or no history, or git says what nobody expects.
    pub fn of_git(checkout: &Path) -> Result<Self> {
        let output = Command::new("git")
            .arg("-C")
            .arg(checkout)
            .args(["-c", "core.quotePath=false", "log", "--no-merges"])
            .args(["--no-renames", "--name-only", "--format=%x01%ct %ae"])
            .stdin(Stdio::null())
            .output()
            .context("cannot start git")?;
        let name = checkout.display();
        ensure!(
            output.status.success(),
            "git tells no history of {name}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let listed = String::from_utf8_lossy(&output.stdout);
        Self::of_git_list(&listed).with_context(|| format!("cannot replay the history of {name}"))
    }

    /// From what git lists, the last commit first.
    fn of_git_list(listed: &str) -> Result<Self> {
        let mut edits = Vec::new();
        let mut commit = None;
        for (number, line) in (1..).zip(listed.lines()) {
            if let Some(rest) = line.strip_prefix(COMMIT) {
                let parts = rest.split_once(' ');
                let parsed = parts.and_then(|(at, author)| Some((at.parse::<u64>().ok()?, author)));
                let expected =
                    || format!("line {number}: expected time and author, found {rest:?}");
                commit = Some(parsed.with_context(expected)?);
            } else if !line.is_empty() {
                let Some((at, author)) = commit else {
                    bail!("line {number}: expected a commit before its files, found {line:?}");
                };
                edits.push((at, author, line));
            }
        }
        ensure!(!edits.is_empty(), "expected edits, found none");
        edits.reverse();
        // Clocks of authors differ, and branches lie beside one another.
        edits.sort_by_key(|(at, _, _)| *at);
        let mut trace = Self::default();
        for (at, author, path) in edits {
            trace.add(at, author, path);
        }
        Ok(trace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_of_each_commit_is_an_edit() {
        let listed = "\u{1}30 ben@x\n\na\nb c\n\u{1}10 ada@x\n\na\n\u{1}20 ada@x\n";
        let trace = Trace::of_git_list(listed).unwrap();
        let times: Vec<_> = trace.edits().iter().map(|edit| edit.at).collect();
        assert_eq!(times, [10, 30, 30]);
        assert_eq!((trace.owner_count(), trace.path_count()), (2, 2));
    }

    #[test]
    fn what_git_never_says_is_named_with_its_line() {
        for (listed, expected) in [
            (
                "a\n",
                "line 1: expected a commit before its files, found \"a\"",
            ),
            (
                "\u{1}now ada\n",
                "line 1: expected time and author, found \"now ada\"",
            ),
            ("\u{1}10 ada\n", "expected edits, found none"),
        ] {
            let error = Trace::of_git_list(listed).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
