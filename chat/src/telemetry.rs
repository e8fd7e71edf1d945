//! The log: where lines go, which are written, and how.
//!
//! Lines go to stderr, so that stdout stays with the answers of the command line.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;

/// Starts the log of this process. Called once, before anything is logged.
///
/// # Errors
/// The filter cannot be read, or there is a log already.
pub fn init(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().parse(filter).with_context(|| {
        format!(
            "--log: expected a filter such as `info` or `warn,tenure_chat=debug`, found `{filter}`"
        )
    })?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => lines.with_ansi(false).finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    };
    started.context("the log was set up twice in one process")
}
