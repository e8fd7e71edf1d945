//! What is asked for, and how: the options that all sub-commands share which take a lock.
//!
//! Turns options into what the wire and `tenure-client` want; asks for nothing itself.

use std::time::Duration;

use tenure_client::Session;
use tenure_protocol::{Mode, limits, request};

use super::duration::{self, ms};

/// Which lock.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Place {
    /// The tenant
    pub(super) org: String,

    /// The lock: segments with / between them, the first being its kind
    pub(super) path: String,
}

/// See the header of this file.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Asking {
    /// How people call the owner, shown to others beside the id
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub(super) name: String,

    /// How long the hold lives without renewal [default: the policy's, 5m unless it was changed]
    #[arg(long, value_name = "DURATION", value_parser = duration::ttl, allow_hyphen_values = true)]
    pub(super) ttl: Option<Duration>,

    /// Stand in line for as long as this if it is held by others
    #[arg(long, value_name = "DURATION", value_parser = duration::wait, allow_hyphen_values = true)]
    #[arg(default_value = "0s", hide_default_value = true)]
    pub(super) wait: Duration,

    /// Beside others who share it, at most LIMIT owners if it is given; without this option alone
    #[arg(long, value_name = "LIMIT", require_equals = true)]
    #[arg(value_parser = clap::value_parser!(u32).range(limits::SHARED.min as i64..=limits::SHARED.max as i64))]
    #[expect(clippy::option_option, reason = "absent, without a limit, with one")]
    pub(super) shared: Option<Option<u32>>,

    /// "May I have it?": told to the holders while this waits
    #[arg(long, value_name = "TEXT", requires = "wait")]
    pub(super) note: Option<String>,

    /// Take it from its holders, who are told this reason; needs the role of a moderator
    #[arg(long, value_name = "REASON", conflicts_with_all = ["wait", "shared"])]
    pub(super) seize: Option<String>,

    /// Anything that others shall see beside the hold, at most 4096 bytes
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub(super) metadata: String,
}

impl Asking {
    /// The request of a session.
    pub(super) fn request<'a>(&'a self, session: u64, path: &'a str) -> request::Acquire<'a> {
        request::Acquire {
            session,
            path,
            mode: match self.shared {
                Some(_) => Mode::Shared,
                None => Mode::Exclusive,
            },
            wait_ms: ms(self.wait),
            ttl_ms: self.ttl.map(ms),
            limit: self.shared.flatten(),
            note: self.note.as_deref(),
            seize: self.seize.as_deref(),
            metadata: self.metadata.as_bytes(),
        }
    }

    /// The same for a session of `tenure-client`, which renews what it gets.
    pub(super) fn acquire(&self, session: &Session, path: &str) -> tenure_client::Acquire {
        let mut acquire = session
            .acquire(path)
            .wait(self.wait)
            .metadata(self.metadata.as_bytes());
        if let Some(ttl) = self.ttl {
            acquire = acquire.ttl(ttl);
        }
        if let Some(limit) = self.shared {
            acquire = acquire.shared(limit);
        }
        if let Some(note) = &self.note {
            acquire = acquire.note(note);
        }
        if let Some(reason) = &self.seize {
            acquire = acquire.seize(reason);
        }
        acquire
    }
}
