//! The command line: `tenure-chat`, which serves, and what operators do besides.
//!
//! Each sub-command is one file here. What it is asked is answered on stdout, as text or with `--json` as one object a
//! line; everything else goes to stderr. Exit status, for every sub-command: 0 yes or done, 1 no, 2 trouble, with a
//! sentence that says what to do.

mod archive;
mod audit;
mod database;
mod open_files;
mod output;
mod recount;
mod serve;
mod signals;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::{NobodyReads, remark};

/// Chats that persist, with locks over HTTP: the companion of the Tenure lock server.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Serve,
}

const AFTER_HELP: &str = "\
Examples:
  tenure-chat                                       # for development, with tokens for Ada and Bob
  ADA=$(tenure-chat token ada --role admin)         # a token of your own
  TENURE_CHAT_DATABASE=postgres://chat:secret@db/chat tenure-chat --listen 0.0.0.0:7430 \\
      --jwt-algorithm rs256 --jwt-key-file login.pem
  tenure-chat archive --dry-run                     # what is old, in the database of the variable or the flag

Commands other than serve ask the database itself: they may run beside a companion, or without one.
Exit status: 0 done, 1 no, 2 trouble; each command says what that means";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Serve>),
    Token(token::Token),
    Archive(archive::Archive),
    Audit(audit::Audit),
    Recount(recount::Recount),
}

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// Done; the answer is yes.
    Yes,
    /// The answer is no.
    No,
    /// It could not be done. (clap ends with the same number.)
    Trouble,
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
    let exit = done.unwrap_or_else(|error| {
        if error.is::<NobodyReads>() {
            return Exit::Yes;
        }
        remark(&format!("tenure-chat: {}", sentence(&error)));
        Exit::Trouble
    });
    ExitCode::from(match exit {
        Exit::Yes => 0,
        Exit::No => 1,
        Exit::Trouble => 2,
    })
}

/// An error with its causes. Some say themselves what theirs was: nothing is said twice.
fn sentence(error: &anyhow::Error) -> String {
    let causes = error.chain().map(ToString::to_string);
    causes.fold(String::new(), |said, cause| {
        if said.is_empty() {
            cause
        } else if said.contains(&cause) {
            said
        } else {
            format!("{said}: {cause}")
        }
    })
}
