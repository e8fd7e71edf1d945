//! `tenure-bench`: what a lock server can do and what it costs, told in one command each. Knows the names of the
//! sub-commands and nothing else; each is one file in `cli/`.

mod cli;

use anyhow::Result;
use clap::Parser as _;

fn main() -> Result<()> {
    tenure_bench::companions::end_with_this_process()?;
    cli::Command::parse().run()
}
