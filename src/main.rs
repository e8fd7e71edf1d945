//! The binary: one sub-command of `cli/`, and its exit status.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    tenure::tls::install_provider();
    cli::main()
}
