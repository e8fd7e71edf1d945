//! The command line: what all sub-commands share. Each sub-command is one file here and one variant of [`Command`].
//!
//! A sub-command is a `clap::Args` struct with a `run` that takes it, and the [`Shared`] options if it talks to a server,
//! and returns a [`Status`]; what it asks is answered on stdout, what goes wrong is returned and printed here.
//!
//! Rules: 0 is yes, 1 is no, 2 is trouble, for every sub-command. Help teaches: an example, every default and variable.

mod duration;
mod serve;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

/// Tenure is a lock server: who may edit this document, for how long, and who is next.
#[derive(Debug, Parser)]
#[command(name = "tenure", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    shared: Shared,

    #[command(subcommand)]
    command: Command,
}

/// What `tenure` can do: one variant, and one file of the same name, for each sub-command.
#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
}

/// Options of every sub-command that talks to a server; before or after its name.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Server to talk to")]
struct Shared {
    /// Where the server listens
    #[arg(long, global = true, env = "TENURE_SERVER", value_name = "HOST:PORT")]
    #[arg(default_value = "127.0.0.1:7420")]
    server: String,

    /// The API key; the variable is safer, since other users can read command lines
    #[arg(long, global = true, env = "TENURE_KEY", value_name = "KEY")]
    key: Option<String>,

    /// Encrypt, and check the server's certificate
    #[arg(long, global = true, env = "TENURE_TLS", value_parser = BoolishValueParser::new())]
    tls: bool,

    /// Trust these authorities instead of the operating system's, PEM; implies --tls
    #[arg(long, global = true, env = "TENURE_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,

    /// Certificate to show to a server that asks for one, PEM; implies --tls
    #[arg(
        long,
        global = true,
        env = "TENURE_TLS_CLIENT_CERT",
        value_name = "FILE"
    )]
    #[arg(requires = "tls_client_key")]
    tls_client_cert: Option<PathBuf>,

    /// Private key of that certificate, PEM
    #[arg(
        long,
        global = true,
        env = "TENURE_TLS_CLIENT_KEY",
        value_name = "FILE"
    )]
    #[arg(requires = "tls_client_cert")]
    tls_client_key: Option<PathBuf>,

    /// Answer in JSON, for programs
    #[arg(long, global = true)]
    json: bool,
}

/// How it went, for shell scripts: `if tenure acquire …; then`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// Done; the answer is yes.
    Yes = 0,
    /// The answer is no: held by somebody else, not held, not ready.
    #[expect(dead_code, reason = "an answer of the sub-commands that ask something")]
    No = 1,
    /// It could not be asked, or not be done. (clap ends with the same number.)
    Trouble = 2,
}

const AFTER_HELP: &str = "\
Examples:
  tenure serve                          a server for development on this machine
  tenure serve --config tenure.toml     a server as the file says
  tenure serve --help                   every setting, its variable and its default

Exit status: 0 yes, 1 no, 2 trouble (also a mistake on the command line)";

/// Options that mean something to a client alone.
const CLIENT_OPTIONS: [&str; 7] = [
    "server",
    "key",
    "tls",
    "tls_ca",
    "tls_client_cert",
    "tls_client_key",
    "json",
];

/// Runs what the command line says.
#[expect(
    clippy::print_stderr,
    reason = "the one place where what went wrong is told"
)]
pub(crate) fn main() -> ExitCode {
    let cli = parse(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let result = match cli.command {
        Command::Serve(serve) => serve.run(),
    };
    let status = result.unwrap_or_else(|error| {
        eprintln!("tenure: {error:#}");
        Status::Trouble
    });
    ExitCode::from(status as u8)
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = command();
    let given = arguments.into_iter().collect::<Vec<_>>();
    let matches = command
        .try_get_matches_from_mut(given.iter().cloned())
        .map_err(|error| name_the_variable(error, &mut command, &given))?;
    refuse_client_options(&matches, &mut command)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// The command line. Its help shows no value of a variable, which may be a key, and for `serve` no option that is a
/// client's.
fn command() -> clap::Command {
    let without_values = |argument: clap::Arg| argument.hide_env_values(true);
    let mut command = Cli::command()
        .mut_args(without_values)
        .mut_subcommands(|subcommand| subcommand.mut_args(without_values));
    // Only a built command has handed its global options down.
    command.build();
    command.mut_subcommand("serve", |serve| {
        serve.mut_args(|argument| {
            let is_foreign = CLIENT_OPTIONS.contains(&argument.get_id().as_str());
            argument.hide(is_foreign)
        })
    })
}

/// A server that is told a client's key would seem protected and be open.
fn refuse_client_options(
    matches: &ArgMatches,
    command: &mut clap::Command,
) -> Result<(), clap::Error> {
    let Some(("serve", serve)) = matches.subcommand() else {
        return Ok(());
    };
    for option in CLIENT_OPTIONS {
        if serve.value_source(option) == Some(ValueSource::CommandLine) {
            let flag = option.replace('_', "-");
            let text = format!(
                "--{flag} is for sub-commands that talk to a server; a server is told where to \
                 listen by --listen, and its keys and certificate by the configuration file \
                 (--config FILE)"
            );
            return Err(command.error(ErrorKind::ArgumentConflict, text));
        }
    }
    Ok(())
}

/// clap blames the flag also where the value came from the variable.
fn name_the_variable(
    error: clap::Error,
    command: &mut clap::Command,
    given: &[OsString],
) -> clap::Error {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else {
        return error;
    };
    let flag = argument
        .trim_start_matches('-')
        .split([' ', '=', '['])
        .next()
        .unwrap_or_default();
    let is_given = given.iter().any(|word| {
        let word = word.to_string_lossy();
        word.strip_prefix("--")
            .is_some_and(|word| word.split('=').next() == Some(flag))
    });
    let variable = command
        .get_subcommands()
        .flat_map(clap::Command::get_arguments)
        .find(|argument| argument.get_long() == Some(flag))
        .and_then(|argument| argument.get_env())
        .filter(|variable| !is_given && std::env::var_os(variable).is_some());
    match variable {
        Some(variable) => {
            let variable = variable.to_string_lossy();
            let text = error.to_string();
            let text = text.trim_start_matches("error: ");
            let text = text.split_once("\n\n").map_or(text, |(text, _usage)| text);
            let text = format!("{text}\n  (from the environment variable {variable})");
            command.error(error.kind(), text)
        }
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(arguments: &[&str]) -> String {
        let arguments = ["tenure"].iter().chain(arguments).map(OsString::from);
        parse(arguments).unwrap_err().to_string()
    }

    fn help(arguments: &[&str]) -> String {
        let help = refusal(arguments);
        assert!(help.contains("Usage:"), "{help}");
        help
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_teaches() {
        let help_of_all = help(&["--help"]);
        for part in [
            "Examples:",
            "Exit status: 0 yes, 1 no, 2 trouble",
            "TENURE_SERVER",
            "7420",
        ] {
            assert!(
                help_of_all.contains(part),
                "{part} is not in:\n{help_of_all}"
            );
        }
        let help_of_serve = help(&["serve", "--help"]);
        for part in [
            "Examples:",
            "Exit status:",
            "TENURE_LISTEN",
            "[default: 1024]",
            "--config",
        ] {
            assert!(
                help_of_serve.contains(part),
                "{part} is not in:\n{help_of_serve}"
            );
        }
        assert!(!help_of_serve.contains("TENURE_SERVER"), "{help_of_serve}");
    }

    #[test]
    fn a_server_is_not_told_a_clients_options() {
        for arguments in [&["serve", "--key", "secret"][..], &["--json", "serve"]] {
            let error = refusal(arguments);
            assert!(
                error.contains("is for sub-commands that talk to a server"),
                "{error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_wrong_flag_is_named() {
        let error = refusal(&["serve", "--shards", "many"]);
        assert!(
            error.contains("invalid value 'many' for '--shards <N>'"),
            "{error}"
        );
        assert!(!error.contains("environment variable"), "{error}");
    }
}
