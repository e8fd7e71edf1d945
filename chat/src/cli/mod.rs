//! The command line: `tenure-chat`, which serves, and what operators do besides.
//!
//! Answers go to stdout, everything else to stderr. Exit status: 0, or 1 with a sentence that says what to do.

mod archive;
mod audit;
mod database;
mod recount;
mod serve;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chats that persist, with locks over HTTP: the companion of the Tenure lock server.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves HTTP (the default).
    Serve(Box<serve::Serve>),
    /// Makes a token, for development and for trying things out.
    Token(token::Token),
    /// Moves old messages to the archive, and cleans up empty chats.
    Archive(archive::Archive),
    /// Shows the audit log of an organisation.
    Audit(audit::Audit),
    /// Counts again what is unread, and puts right what was wrong.
    Recount(recount::Recount),
}

pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        None => serve::run(arguments.serve),
        Some(Command::Serve(serve)) => serve::run(*serve),
        Some(Command::Token(token)) => token::run(&token),
        Some(Command::Archive(archive)) => archive::run(&archive),
        Some(Command::Audit(audit)) => audit::run(&audit),
        Some(Command::Recount(recount)) => recount::run(&recount),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("tenure-chat: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// For people, beside the answers.
#[expect(clippy::print_stderr, reason = "this is the command line speaking")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// What was asked for.
#[expect(
    clippy::print_stdout,
    reason = "this is the answer of the command line"
)]
fn answer(text: &str) {
    println!("{text}");
}
