//! The log: where lines go, which are written, and how.
//!
//! Lines go to stderr, so that stdout stays with the answers of the command line. Colours are for terminals alone, and
//! not where `NO_COLOR` is set.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::config::LogFormat;

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter means nothing.
    #[error("log: expected a filter such as `info` or `warn,tenure=debug`, found `{filter}`")]
    Filter {
        /// What was given.
        filter: String,
        /// Why it cannot be read.
        source: ParseError,
    },
    /// Something else in this process writes a log already.
    #[error("the log was set up twice in one process")]
    Twice(#[source] TryInitError),
}

/// Starts the log of this process. Called once, before anything is logged.
///
/// # Errors
///
/// The filter cannot be read, or there is a log already.
pub fn init(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|source| TelemetryError::Filter {
            filter: filter.to_owned(),
            source,
        })?;
    let lines = fmt().with_env_filter(filter).with_writer(stderr);
    match format {
        LogFormat::Text => lines.with_ansi(has_colours()).finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    }
    .map_err(TelemetryError::Twice)
}

fn has_colours() -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stderr().is_terminal() && !is_refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_means_nothing_is_refused() {
        let error = init("tenure=loud", LogFormat::Text)
            .unwrap_err()
            .to_string();
        assert!(error.contains("found `tenure=loud`"), "{error}");
    }
}
