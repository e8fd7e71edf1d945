//! Why the server does not start, or stops: the errors that an operator reads.
//!
//! What a user does wrong is a reply (`tenure-engine`), what a peer does wrong is a goodbye (`connection.rs`), what we do
//! wrong is a panic. Here is the rest: what is configured, and what the world refuses.

use std::io;
use std::net::SocketAddr;

use crate::config::ConfigError;
use crate::journal::{Full, JournalError};
use crate::telemetry::TelemetryError;
use crate::tls::TlsError;

/// Why the server does not start, or has stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The configuration cannot be, or may not be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The files for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Not even the beginning of a run can be kept.
    #[error(
        "the beginning of this run cannot be kept: {0}; make room on the disk, nothing is lost"
    )]
    NoRoom(#[from] Full),
    /// The log cannot be set up.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// An address cannot be listened on.
    #[error("{setting}: cannot listen on {address}: {}", remedy(source))]
    Listen {
        /// Which setting names the address.
        setting: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A listener that worked has failed.
    #[error("the listener on {address} has failed")]
    Listener {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// Whose move it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerErrorKind {
    /// The operator corrects a setting or a file; starting again as it is ends alike.
    Configuration,
    /// The machine or the network does; starting again may help.
    Environment,
}

impl ServerError {
    /// Whose move it is.
    #[must_use]
    pub const fn kind(&self) -> ServerErrorKind {
        match self {
            Self::Config(_) | Self::Tls(_) | Self::Telemetry(_) => ServerErrorKind::Configuration,
            Self::Journal(_) | Self::NoRoom(_) | Self::Listen { .. } | Self::Listener { .. } => {
                ServerErrorKind::Environment
            }
        }
    }
}

/// What to do about an address that cannot be listened on.
#[expect(clippy::wildcard_enum_match_arm, reason = "io::ErrorKind is open")]
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "something listens there already (another tenure?); stop it, or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; use one of its own, or 0.0.0.0 for all"
        }
        io::ErrorKind::PermissionDenied => {
            "not permitted; ports below 1024 are for privileged processes, so choose another"
        }
        _ => "the system refuses it",
    }
}
