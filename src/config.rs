//! What an operator may set, and what holds where nothing is set.
//!
//! [`Settings`] is one layer as it is written (a file, or flags with their environment variables); [`Config`] is what the
//! layers come to: flag over environment over file over default. Both list the same keys: a key `in_flight_max` is the
//! flag `--in-flight-max` and the variable `TENURE_IN_FLIGHT_MAX`. API keys (`[[keys]]`) are taken from the file alone,
//! since other processes can read flags and variables.
//!
//! Rules: an unknown key is an error; an error names the file and the key, what was expected, what was found and what to
//! do, and never shows a secret. Every key stands in `docs/operating.md` (tested).

mod error;
mod settings;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, thread};

use serde::Deserialize;
use tenure_engine::{Millis, Policy, PolicyLayer, presence};
use tenure_protocol::limits;
use tracing_subscriber::EnvFilter;

use crate::access::{ApiKey, KEY_BYTES_MIN};
use crate::journal::SEGMENT_BYTES;
use crate::streams::{Bounds, Keeping};

pub use error::ConfigError;
pub use settings::{AdminAddress, KeySettings, PolicySettings, Settings};

/// Where clients connect, unless told otherwise.
pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7420);

/// Where health and metrics are read, unless told otherwise.
pub const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7421);

/// Where history is kept, unless told otherwise.
pub const DATA: &str = "./tenure-data";

/// A smaller segment would not hold a batch of the largest commands.
const SEGMENT_BYTES_MIN: u64 = 4 << 20;

/// More workers than any machine has cores.
const WORKERS_MAX: usize = 1024;

/// More shards than this cost memory and give nothing.
const SHARDS_MAX: usize = 1024;

/// Less than a large request would close connections that do nothing wrong.
const OUTBOUND_BYTES_MIN: usize = limits::FRAME_FROM_CLIENT;

/// A stream that cannot keep a single large event would be of no use.
const STREAM_BYTES_MIN: usize = 2 * limits::PAYLOAD.max;

/// Everything a server is told when it starts. [`Config::default`] is a server for development on this machine.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where health and metrics are read over HTTP; `None` is nowhere.
    pub admin: Option<SocketAddr>,
    /// The folder in which history is kept. Made if it is not there; one server at a time.
    pub data: PathBuf,
    /// When what was decided counts as kept.
    pub durability: Durability,
    /// Bytes of each segment of the journal.
    pub segment_bytes: u64,
    /// The server's certificate chain, PEM. Set together with `tls_key`; without them there is no TLS.
    pub tls_cert: Option<PathBuf>,
    /// The private key of the certificate, PEM.
    pub tls_key: Option<PathBuf>,
    /// Only clients with a certificate from one of these authorities may connect, PEM.
    pub tls_client_ca: Option<PathBuf>,
    /// Listens beyond this machine even without keys or TLS.
    pub insecure: bool,
    /// Connections at a time; one more is turned away.
    pub connections_max: usize,
    /// Threads that serve connections.
    pub workers: usize,
    /// Parts that the orgs are spread over; a power of two.
    pub shards: usize,
    /// Requests of one connection that are read but unanswered; then its socket is not read further.
    pub in_flight_max: usize,
    /// Bytes waiting to be written to one connection; beyond, it is closed with a retryable goodbye.
    pub outbound_bytes_max: usize,
    /// How long a fresh connection may take to say who it is.
    pub hello_timeout_ms: u64,
    /// Which log lines are written: a filter such as `info` or `warn,tenure=debug`.
    pub log: String,
    /// How they are written.
    pub log_format: LogFormat,
    /// Events that the stream of one org keeps, for those who come back.
    pub stream_events_max: usize,
    /// Bytes that it keeps.
    pub stream_bytes_max: usize,
    /// How long it keeps them, and how long it goes on when nobody listens any more.
    pub stream_age_ms: u64,
    /// Bytes that the streams of all orgs keep.
    pub streams_bytes_max: usize,
    /// How long a session is shown at a path without a sign of life from it there.
    pub viewer_stale_ms: u64,
    /// How long a graceful shutdown waits for connections to end by themselves.
    pub shutdown_grace_ms: u64,
    /// Who may connect; empty lets everyone in as an admin of every org.
    pub keys: Vec<ApiKey>,
    /// Overrides, for every org, of the engine's built-in policy.
    pub policy: PolicyLayer,
}

/// When what was decided counts as kept, and is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// When it is on disk: it survives the loss of power.
    Always,
    /// At once; the disk follows every second. The loss of power takes the last second.
    Interval,
    /// At once, and nothing is kept: a restart begins anew.
    Memory,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people: one line of text, with colours on a terminal.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

impl Config {
    /// What the file and the settings over it come to, checked.
    ///
    /// # Errors
    ///
    /// Says which file and key is wrong, and what to do.
    pub fn load(file: Option<&Path>, over: Settings) -> Result<Self, ConfigError> {
        let below = file.map(Settings::read).transpose()?.unwrap_or_default();
        let config = over.over(below).resolve()?;
        config.validate().map_err(|error| error.found_in(file))?;
        Ok(config)
    }

    /// Whether a server can run by this, and may: beyond this machine it needs keys and TLS, unless told otherwise.
    ///
    /// # Errors
    ///
    /// Names the first key that is wrong, what was expected and found, and what to do.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_bounds()?;
        self.validate_files()?;
        self.validate_keys()?;
        self.validate_policy()?;
        self.validate_exposure()
    }

    /// Whether connections are encrypted.
    #[must_use]
    pub const fn has_tls(&self) -> bool {
        self.tls_cert.is_some()
    }

    /// Whether everyone is let in, as an admin of every org.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.keys.is_empty()
    }

    /// [`Self::hello_timeout_ms`].
    #[must_use]
    pub const fn hello_timeout(&self) -> Duration {
        Duration::from_millis(self.hello_timeout_ms)
    }

    /// [`Self::shutdown_grace_ms`].
    #[must_use]
    pub const fn shutdown_grace(&self) -> Duration {
        Duration::from_millis(self.shutdown_grace_ms)
    }

    /// What streams keep.
    pub(crate) const fn keeping(&self) -> Keeping {
        Keeping {
            each: Bounds {
                entries_max: self.stream_events_max,
                bytes_max: self.stream_bytes_max,
                age_max: Millis(self.stream_age_ms),
            },
            bytes_max: self.streams_bytes_max,
        }
    }

    /// The bounds of presence.
    pub(crate) fn presence(&self) -> presence::Bounds {
        presence::Bounds {
            stale: Millis(self.viewer_stale_ms),
            ..presence::Bounds::default()
        }
    }

    fn validate_bounds(&self) -> Result<(), ConfigError> {
        within("connections_max", self.connections_max, 1, 1_000_000)?;
        within("in_flight_max", self.in_flight_max, 1, 1_000_000)?;
        within(
            "outbound_bytes_max",
            self.outbound_bytes_max,
            OUTBOUND_BYTES_MIN,
            1 << 30,
        )?;
        within(
            "segment_bytes",
            self.segment_bytes,
            SEGMENT_BYTES_MIN,
            1 << 30,
        )?;
        within("hello_timeout_ms", self.hello_timeout_ms, 100, 600_000)?;
        self.validate_streams()?;
        let stale_max = presence::STALE_MAX.0;
        within("viewer_stale_ms", self.viewer_stale_ms, 10_000, stale_max)?;
        within("shutdown_grace_ms", self.shutdown_grace_ms, 0, 3_600_000)?;
        within("workers", self.workers, 1, WORKERS_MAX)?;
        if !self.shards.is_power_of_two() || self.shards > SHARDS_MAX {
            let expected = format!("a power of two from 1 to {SHARDS_MAX}");
            let remedy = "leave it out for about four for each core";
            return Err(ConfigError::impossible(
                "shards",
                expected,
                self.shards,
                remedy,
            ));
        }
        if let Err(error) = EnvFilter::builder().parse(&self.log) {
            let expected = "a filter such as `info` or `warn,tenure=debug`";
            let found = format!("`{}` ({error})", self.log);
            return Err(ConfigError::impossible(
                "log",
                expected,
                found,
                "correct the filter",
            ));
        }
        Ok(())
    }

    fn validate_streams(&self) -> Result<(), ConfigError> {
        let bytes = self.stream_bytes_max;
        within("stream_events_max", self.stream_events_max, 1, 1_000_000)?;
        within("stream_bytes_max", bytes, STREAM_BYTES_MIN, 1 << 30)?;
        within("stream_age_ms", self.stream_age_ms, 1_000, 3_600_000)?;
        within("streams_bytes_max", self.streams_bytes_max, bytes, 1 << 40)
    }

    fn validate_files(&self) -> Result<(), ConfigError> {
        let (missing, present) = match (&self.tls_cert, &self.tls_key) {
            (Some(_), None) => ("tls_key", "tls_cert"),
            (None, Some(_)) => ("tls_cert", "tls_key"),
            (None, None) if self.tls_client_ca.is_some() => ("tls_cert", "tls_client_ca"),
            (None, None) | (Some(_), Some(_)) => return Ok(()),
        };
        let expected = format!("a PEM file, since {present} is set");
        let remedy = format!("set {missing} too, or remove {present}");
        Err(ConfigError::impossible(
            missing, expected, "nothing", remedy,
        ))
    }

    fn validate_keys(&self) -> Result<(), ConfigError> {
        for (index, key) in self.keys.iter().enumerate() {
            let name = &*key.principal.name;
            if name.trim().is_empty() || limits::NAME.breach(name).is_some() {
                let key = format!("keys: `name` of entry {}", index + 1);
                let most = limits::NAME.max;
                let expected = format!("1 to {most} bytes without control characters");
                let found = format!("`{}`", name.escape_debug());
                let remedy = "write whom the key stands for";
                return Err(ConfigError::impossible(key, expected, found, remedy));
            }
            if key.principal.orgs.is_empty() {
                let key = format!("keys: `orgs` of `{name}`");
                let expected = "at least one pattern such as `acme`, `acme-*` or `*`";
                let remedy = "write orgs = [\"*\"] for every org";
                return Err(ConfigError::impossible(
                    key,
                    expected,
                    "an empty list",
                    remedy,
                ));
            }
            validate_key(key, &self.keys[..index])?;
        }
        Ok(())
    }

    /// The bounds are those of `policy.set`, which would refuse the same layer.
    fn validate_policy(&self) -> Result<(), ConfigError> {
        let policy = Policy::BUILT_IN.under(&self.policy);
        let (least, most) = (policy.ttl_min.0, policy.ttl_max.0);
        let ttl = limits::TTL_MS;
        within("policy.ttl_max_ms", most, ttl.min, ttl.max)?;
        within("policy.ttl_min_ms", least, ttl.min, ttl.max)?;
        if !(least..=most).contains(&policy.ttl_default.0) {
            let key = "policy.ttl_default_ms";
            let expected = format!("a number from ttl_min_ms ({least}) to ttl_max_ms ({most})");
            let remedy = "set the three so that they are in order";
            let found = policy.ttl_default.0;
            return Err(ConfigError::impossible(key, expected, found, remedy));
        }
        for (key, found, bounds) in [
            ("policy.queue_max", policy.queue_max.into(), limits::QUEUE),
            ("policy.grace_ms", policy.grace.0, limits::GRACE_MS),
            (
                "policy.session_holds_max",
                policy.session_holds_max.into(),
                limits::SESSION_HOLDS,
            ),
            (
                "policy.session_waits_max",
                policy.session_waits_max.into(),
                limits::SESSION_WAITS,
            ),
        ] {
            within(key, found, bounds.min, bounds.max)?;
        }
        Ok(())
    }

    fn validate_exposure(&self) -> Result<(), ConfigError> {
        let (no_keys, no_tls) = (self.is_open(), !self.has_tls());
        if self.listen.ip().is_loopback() || self.insecure || !(no_keys || no_tls) {
            return Ok(());
        }
        Err(ConfigError::Exposed {
            listen: self.listen,
            no_keys,
            no_tls,
        })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: LISTEN,
            admin: Some(ADMIN),
            data: PathBuf::from(DATA),
            durability: Durability::Always,
            segment_bytes: SEGMENT_BYTES,
            tls_cert: None,
            tls_key: None,
            tls_client_ca: None,
            insecure: false,
            connections_max: 10_000,
            workers: default_workers(),
            shards: default_shards(),
            in_flight_max: 1024,
            // The largest answer there is, twice.
            outbound_bytes_max: 2 * limits::FRAME_FROM_SERVER,
            hello_timeout_ms: 5_000,
            stream_events_max: 8192,
            stream_bytes_max: 4 << 20,
            stream_age_ms: 300_000,
            streams_bytes_max: 1 << 30,
            log: String::from("info"),
            log_format: LogFormat::Text,
            viewer_stale_ms: presence::Bounds::default().stale.0,
            shutdown_grace_ms: 10_000,
            keys: Vec::new(),
            policy: PolicyLayer::default(),
        }
    }
}

/// Whether a key can be sent, cannot be guessed, and stands for one principal.
fn validate_key(key: &ApiKey, before: &[ApiKey]) -> Result<(), ConfigError> {
    let (name, secret) = (&key.principal.name, key.secret.expose());
    let refused = |expected: &str, found: String, remedy: &str| {
        let place = format!("keys: the key of `{name}`");
        Err(ConfigError::impossible(place, expected, found, remedy))
    };
    let make = "make one with `openssl rand -hex 32`";
    if secret.len() < KEY_BYTES_MIN {
        let expected = format!("at least {KEY_BYTES_MIN} bytes");
        return refused(&expected, secret.len().to_string(), make);
    }
    if let Some(found) = limits::KEY.breach(secret) {
        return refused(&limits::KEY.to_string(), found.into_owned(), make);
    }
    for other in before {
        if other.secret == key.secret {
            let found = format!("the same key for `{}`", other.principal.name);
            return refused("a key of its own", found, make);
        }
        if other.principal.name == *name && other.principal != key.principal {
            let expected = "the role and orgs of the entry before of the same name";
            return refused(
                expected,
                String::from("others"),
                "make them equal, or rename one",
            );
        }
    }
    Ok(())
}

/// Whether a number lies in its bounds.
fn within<N>(key: &str, found: N, least: N, most: N) -> Result<(), ConfigError>
where
    N: PartialOrd + Copy + fmt::Display,
{
    if (least..=most).contains(&found) {
        return Ok(());
    }
    let remedy = "choose another, or leave it out";
    Err(ConfigError::impossible(
        key,
        format!("a number from {least} to {most}"),
        found,
        remedy,
    ))
}

/// All cores but one, which is left to the network of the kernel, the journal, and whoever else is on the machine: a worker that
/// has to take turns with them keeps every connection waiting that it has just read from (ADR 16).
fn default_workers() -> usize {
    (cores() - 1).max(1)
}

/// A few shards for each core keep two busy connections from meeting at one mutex.
fn default_shards() -> usize {
    (cores() * 4).next_power_of_two().min(256)
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests;
