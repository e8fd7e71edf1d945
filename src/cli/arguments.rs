//! Reads the command line: what clap leaves to do so that help is right for every sub-command and a mistake is named
//! where it was made.
//!
//! Rule: neither help nor an error shows the value of a variable, which may be a key.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use super::Cli;

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

/// The command line as values, or what is wrong with it.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
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
    Without::ALL.iter().fold(command, hide_foreign)
}

/// A sub-command that talks to no server, and what to say to whoever tells it which one.
struct Without {
    name: &'static str,
    takes: &'static [&'static str],
    instead: &'static str,
}

impl Without {
    /// A server that is told a client's key would seem protected and be open; a backup of another machine's server
    /// would be one of this machine's.
    const ALL: [Self; 3] = [
        Self {
            name: "serve",
            takes: &[],
            instead: "a server is told where to listen by --listen, and its keys and certificate by the configuration \
                      file (--config FILE)",
        },
        Self {
            name: "backup",
            takes: &["json"],
            instead: "a backup reads the files of this machine: run it where the server runs, and name its data \
                      directory by --data",
        },
        Self {
            name: "journal",
            takes: &["json"],
            instead: "the journal is read from the files of this machine: run it where they are",
        },
    ];

    fn foreign(&self) -> impl Iterator<Item = &'static str> {
        let options = CLIENT_OPTIONS.into_iter();
        options.filter(|option| !self.takes.contains(option))
    }
}

fn hide_foreign(command: clap::Command, without: &Without) -> clap::Command {
    fn hide(command: clap::Command, without: &Without) -> clap::Command {
        let is_foreign = |argument: &clap::Arg| {
            without
                .foreign()
                .any(|option| option == argument.get_id().as_str())
        };
        command
            .mut_args(|argument| {
                let is_foreign = is_foreign(&argument);
                // The heading is of those that are hidden.
                match argument.get_id().as_str() {
                    "json" if !is_foreign => argument.help_heading(None::<&str>),
                    _ => argument.hide(is_foreign),
                }
            })
            .mut_subcommands(|below| hide(below, without))
    }
    command.mut_subcommand(without.name, |command| hide(command, without))
}

fn refuse_client_options(
    matches: &ArgMatches,
    command: &mut clap::Command,
) -> Result<(), clap::Error> {
    let Some((name, mut matches)) = matches.subcommand() else {
        return Ok(());
    };
    let Some(without) = Without::ALL.iter().find(|without| without.name == name) else {
        return Ok(());
    };
    while let Some((_, below)) = matches.subcommand() {
        matches = below;
    }
    for option in without.foreign() {
        if matches.value_source(option) == Some(ValueSource::CommandLine) {
            let flag = option.replace('_', "-");
            let instead = without.instead;
            let text = format!("--{flag} is for sub-commands that talk to a server; {instead}");
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
            "Exit status: 0 yes, 1 no",
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

    /// The sub-commands at the ends of the tree, with the words that lead to them.
    fn leaves(command: &clap::Command, path: &[String]) -> Vec<Vec<String>> {
        let below = command
            .get_subcommands()
            .filter(|sub| sub.get_name() != "help");
        let below = below.map(|sub| {
            let path = [path, &[sub.get_name().to_owned()]].concat();
            match leaves(sub, &path) {
                none if none.is_empty() => vec![path],
                leaves => leaves,
            }
        });
        below.flatten().collect()
    }

    #[test]
    fn every_sub_command_has_examples_and_says_how_it_ends() {
        for words in leaves(&command(), &[]) {
            let words = words.iter().map(String::as_str).collect::<Vec<_>>();
            let help = help(&[&words[..], &["--help"]].concat());
            let example = format!("\n  tenure {}", words.join(" "));
            for part in ["Examples:", &example, "Exit status: "] {
                assert!(help.contains(part), "{part:?} is not in:\n{help}");
            }
            // Texts are broken into lines here; what clap makes of options is its own.
            let lines = help
                .lines()
                .filter(|line| !line.trim_start().starts_with('['));
            let widest = lines.map(|line| line.chars().count()).max();
            assert!(widest <= Some(132), "{words:?}: {widest:?}");
        }
    }

    #[test]
    fn what_reads_files_is_not_told_a_server() {
        for words in [
            &["backup", "/b", "--server", "elsewhere:7420"][..],
            &["--server", "elsewhere:7420", "backup", "/b"],
            &["journal", "verify", "/d", "--key", "secret"],
            &["--tls", "journal", "inspect", "/d/journal-000000000001"],
        ] {
            let error = refusal(words);
            assert!(error.contains("files of this machine"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        for words in [
            &["backup", "--help"][..],
            &["journal", "verify", "--help"],
            &["journal", "inspect", "--help"],
        ] {
            let help = help(words);
            assert!(
                !help.contains("--server") && !help.contains("--tls"),
                "{help}"
            );
            assert!(help.contains("--json"), "{help}");
        }
        let given = ["tenure", "backup", "/b", "--json"].map(OsString::from);
        assert!(parse(given).is_ok());
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
