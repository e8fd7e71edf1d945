//! What is wrong with a configuration, said so that it can be put right without reading anything else.
//! Owns the sentences: where the value stands, what was expected, what was found, what to do. Reads no file itself.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::{fmt, io};

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file, or a file that it names, cannot be read.
    #[error("cannot read {}, which {named_by} names; check the path and the permissions", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// The key that names it.
        named_by: String,
        /// Why.
        source: io::Error,
    },
    /// The file is no TOML, or has a key that there is not, or a value of the wrong kind.
    #[error("{}, line {line}, column {column}: {problem}", file.display())]
    Malformed {
        /// Which file.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What was expected and found.
        problem: String,
    },
    /// A value that cannot be.
    #[error("{key}: expected {expected}, found {found}; {remedy}")]
    Impossible {
        /// Which key.
        key: String,
        /// What it has to be.
        expected: String,
        /// What it is.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// The server would be reachable from other machines, and not be protected.
    #[error("{}", exposed(*listen, *no_keys, *no_tls))]
    Exposed {
        /// Where it would listen.
        listen: SocketAddr,
        /// Whether keys are missing.
        no_keys: bool,
        /// Whether TLS is missing.
        no_tls: bool,
    },
}

impl ConfigError {
    pub(super) fn impossible(
        key: impl Into<String>,
        expected: impl Into<String>,
        found: impl fmt::Display,
        remedy: impl Into<String>,
    ) -> Self {
        Self::Impossible {
            key: key.into(),
            expected: expected.into(),
            found: found.to_string(),
            remedy: remedy.into(),
        }
    }

    /// Says what the library says without the line that it quotes, which may hold a secret.
    pub(super) fn malformed(file: &Path, text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let before = text.get(..at).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let key = text[line_start..]
            .lines()
            .next()
            .and_then(|line| line.split_once('='));
        let problem = match key.map(|(key, _)| key.trim()) {
            Some(key) if !key.is_empty() && !error.message().contains(key) => {
                format!("{key}: {}", error.message())
            }
            Some(_) | None => error.message().to_owned(),
        };
        Self::Malformed {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            problem: format!("{problem}; `tenure serve --help` lists the keys"),
        }
    }

    /// Adds where the value may have been set, which a check of the sum of all layers cannot know.
    pub(super) fn found_in(self, file: Option<&Path>) -> Self {
        let Self::Impossible {
            key,
            expected,
            found,
            remedy,
        } = self
        else {
            return self;
        };
        let mut places = Vec::new();
        if let Some(file) = file {
            places.push(format!("in {}", file.display()));
        }
        if !key.starts_with("keys") {
            places.push(format!(
                "by TENURE_{}",
                key.replace('.', "_").to_uppercase()
            ));
            places.push(format!("by --{}", key.replace(['.', '_'], "-")));
        }
        let remedy = format!("{remedy} (set {})", places.join(", or "));
        Self::Impossible {
            key,
            expected,
            found,
            remedy,
        }
    }
}

/// Says exactly how to make the server safe to reach.
fn exposed(listen: SocketAddr, no_keys: bool, no_tls: bool) -> String {
    let (missing, danger) = match (no_keys, no_tls) {
        (true, true) => (
            "no key and no TLS certificate",
            "anyone who reaches it is an admin",
        ),
        (true, false) => ("no key", "anyone who reaches it is an admin"),
        (false, _) => ("no TLS certificate", "keys would travel in the clear"),
    };
    let mut text = format!(
        "listen: {listen} can be reached from other machines, but {missing} is configured, so {danger}. \
         Either\n  - listen on this machine alone:  listen = \"127.0.0.1:{port}\"\n  - or protect it, in the \
         configuration file:\n",
        port = listen.port(),
    );
    if no_tls {
        text.push_str("        tls_cert = \"server.pem\"\n        tls_key = \"server.key\"\n");
    }
    if no_keys {
        text.push_str(
            "        [[keys]]\n        name = \"my-service\"\n        key_file = \"my-service.key\"   \
             # openssl rand -hex 32 > my-service.key\n        role = \"member\"\n        orgs = [\"*\"]\n",
        );
    }
    text.push_str(
        "  - or, if everyone who can reach it is trusted or a proxy in front does this:  --insecure",
    );
    text
}
