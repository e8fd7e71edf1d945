//! A gate that does not depend on the weather: how many instructions a command costs in engine and codec, held against
//! the figures in `figures.txt`.
//!
//! ```text
//!  main -- callgrind -- valgrind -- this program again: `run` -- cases -- engine, codec
//!   |         one count for each case
//!  figures, comparison: expected, found, what to do
//! ```
//!
//! Whoever makes something dearer has to say so, and whoever makes it cheaper as well: figures that are not true would
//! hide the next change.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    reason = "what a program that is run by hand and by the gate says"
)]

mod callgrind;
mod cases;
mod codec;
mod comparison;
mod engine;
mod figures;

use std::env;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use comparison::Comparison;
use figures::Figures;

/// Writes the figures that were found instead of holding them against those that are expected.
const UPDATE: &str = "UPDATE_INSTRUCTIONS";

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => hold_against_what_is_expected(),
        ["run"] => {
            cases::ALL.iter().for_each(cases::run);
            Ok(ExitCode::SUCCESS)
        }
        ["run", name] => {
            let case = cases::ALL.iter().find(|case| case.name == name);
            cases::run(case.with_context(|| format!("expected a case, found {name:?}"))?);
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("expected nothing, or `run` and perhaps a case; found {arguments:?}"),
    }
}

fn hold_against_what_is_expected() -> Result<ExitCode> {
    let found = Figures::of(&callgrind::count(&cases::ALL)?);
    if env::var_os(UPDATE).is_some() {
        found.write()?;
        println!("{found}written to {}", figures::FILE);
        return Ok(ExitCode::SUCCESS);
    }
    let comparison = Comparison::of(&Figures::read()?, &found);
    println!("{comparison}");
    Ok(if comparison.is_as_expected() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
