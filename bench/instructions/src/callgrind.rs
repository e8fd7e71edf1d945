//! Counting: this program runs again under valgrind, whose callgrind adds up instructions while one function runs, and
//! writes the sum down each time that another, around it, is left.
//!
//! Knows no case but by its place: the first sum is the first case's.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::cases::Case;

/// The function in which instructions are counted, as the symbol table names it.
pub(crate) const COUNTED: &str = "*cases::counted*";
/// The one after which they are summed up. Callgrind wants it to be another.
pub(crate) const CASE: &str = "*cases::run*";

/// How many instructions each case took, in order.
///
/// # Errors
/// Valgrind is not here, or a case fails under it.
pub(crate) fn count(cases: &[Case]) -> Result<Vec<u64>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--combine-dumps=yes"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--dump-after={CASE}"))
        .arg("--callgrind-out-file=/dev/stdout")
        .arg(env::current_exe()?)
        .arg("run")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start valgrind, which counts instructions: install it")?;
    let status = output.status;
    ensure!(
        status.success(),
        "the cases failed under valgrind: {status}"
    );
    let mut counts = totals(&String::from_utf8(output.stdout)?)?;
    // What comes after the last case is written down when the program ends.
    counts.truncate(cases.len());
    ensure!(
        counts.len() == cases.len() && !counts.contains(&0),
        "expected a count for each of {} cases, found {counts:?}",
        cases.len()
    );
    Ok(counts)
}

/// The sums in callgrind's file, each on a line of its own: `totals: 1234`.
fn totals(text: &str) -> Result<Vec<u64>> {
    let totals = text.lines().filter_map(|line| line.strip_prefix("totals:"));
    let read = |total: &str| total.trim().parse().context("a total is one number");
    totals.map(read).collect()
}
