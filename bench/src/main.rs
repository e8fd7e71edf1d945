//! `tenure-bench`: what a lock server can do and what it costs, told in one command each. Knows the names of the
//! sub-commands and nothing else; each is one file in `cli/`.

mod cli;

use std::io::{Write as _, stderr};
use std::process::ExitCode;

use clap::Parser as _;
use tenure_bench::companions::end_with_this_process;

/// Exit status of a measurement that was not made, as of a command that was mistyped.
const TROUBLE: u8 = 2;

fn main() -> ExitCode {
    let command = cli::Command::parse();
    match end_with_this_process().and_then(|()| command.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Who cannot be told what is wrong is told by the status alone.
            drop(writeln!(stderr(), "tenure-bench: {error:#}"));
            ExitCode::from(TROUBLE)
        }
    }
}
