//! The binary: one sub-command of `cli/`, and its exit status.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // One provider in the process, chosen before anything asks for it. It is there already if a library was quicker.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    cli::main()
}
