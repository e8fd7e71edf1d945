//! One layer of settings as it is written, in a file or on a command line with its environment variables, and how layers
//! come to a [`Config`].
//!
//! What can be judged by one value alone is refused here while it is read; the rest is [`Config::validate`]'s.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::builder::BoolishValueParser;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use tenure_engine::{Millis, PolicyLayer, Role};

use super::{Config, ConfigError, Durability, LogFormat};
use crate::access::{ApiKey, OrgPattern, Principal, Secret};

/// One layer of settings, as a file or a command line gives it; what is `None` is left to the layer below.
#[derive(Debug, Clone, Default, Deserialize, clap::Args)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where clients connect [default: 127.0.0.1:7420]
    #[arg(long, env = "TENURE_LISTEN", value_name = "IP:PORT", value_parser = parse_address)]
    #[serde(default, deserialize_with = "some_address")]
    pub listen: Option<SocketAddr>,

    /// Where /healthz, /readyz and /metrics are served over HTTP, or "off" [default: 127.0.0.1:7421]
    #[arg(long, env = "TENURE_ADMIN", value_name = "IP:PORT|off")]
    pub admin: Option<AdminAddress>,

    /// The folder in which history is kept; made if it is not there [default: ./tenure-data]
    #[arg(long, env = "TENURE_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// When what was decided is acknowledged: on disk, at most a second before, or never kept [default: always]
    #[arg(long, env = "TENURE_DURABILITY", value_name = "MODE")]
    pub durability: Option<Durability>,

    /// Bytes of each file of the journal; two are there from the start [default: 67108864]
    #[arg(long, env = "TENURE_SEGMENT_BYTES", value_name = "BYTES")]
    pub segment_bytes: Option<u64>,

    /// The server's certificate chain, PEM; needs --tls-key
    #[arg(long, env = "TENURE_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of the certificate, PEM; needs --tls-cert
    #[arg(long, env = "TENURE_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Take only clients with a certificate from one of these authorities, PEM
    #[arg(long, env = "TENURE_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,

    /// Listen beyond this machine even without keys or TLS [default: false]
    #[arg(long, env = "TENURE_INSECURE", value_name = "BOOL", num_args = 0..=1)]
    #[arg(require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new())]
    pub insecure: Option<bool>,

    /// Connections at a time; one more is turned away [default: 10000]
    #[arg(long, env = "TENURE_CONNECTIONS_MAX", value_name = "N")]
    pub connections_max: Option<usize>,

    /// Threads that serve connections [default: one for each core but one]
    #[arg(long, env = "TENURE_WORKERS", value_name = "N")]
    pub workers: Option<usize>,

    /// Parts that the orgs are spread over, a power of two [default: about four for each core]
    #[arg(long, env = "TENURE_SHARDS", value_name = "N")]
    pub shards: Option<usize>,

    /// Unanswered requests of one connection before its socket is not read further [default: 1024]
    #[arg(long, env = "TENURE_IN_FLIGHT_MAX", value_name = "N")]
    pub in_flight_max: Option<usize>,

    /// Unwritten bytes of one connection before it is closed as too slow [default: 33554432]
    #[arg(long, env = "TENURE_OUTBOUND_BYTES_MAX", value_name = "BYTES")]
    pub outbound_bytes_max: Option<usize>,

    /// How long a fresh connection may take to say who it is [default: 5000]
    #[arg(long, env = "TENURE_HELLO_TIMEOUT_MS", value_name = "MS")]
    pub hello_timeout_ms: Option<u64>,

    /// Events that the stream of one org keeps for those who come back [default: 8192]
    #[arg(long, env = "TENURE_STREAM_EVENTS_MAX", value_name = "N")]
    pub stream_events_max: Option<usize>,

    /// Bytes that it keeps [default: 4194304]
    #[arg(long, env = "TENURE_STREAM_BYTES_MAX", value_name = "BYTES")]
    pub stream_bytes_max: Option<usize>,

    /// How long it keeps them [default: 300000]
    #[arg(long, env = "TENURE_STREAM_AGE_MS", value_name = "MS")]
    pub stream_age_ms: Option<u64>,

    /// Bytes that the streams of all orgs keep [default: 1073741824]
    #[arg(long, env = "TENURE_STREAMS_BYTES_MAX", value_name = "BYTES")]
    pub streams_bytes_max: Option<usize>,

    /// Which log lines are written, such as "info" or "warn,tenure=debug" [default: info]
    #[arg(long, env = "TENURE_LOG", value_name = "FILTER")]
    pub log: Option<String>,

    /// How log lines are written [default: text]
    #[arg(long, env = "TENURE_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// How long a session is shown at a path without a sign of life from it there [default: 1800000]
    #[arg(long, env = "TENURE_VIEWER_STALE_MS", value_name = "MS")]
    pub viewer_stale_ms: Option<u64>,

    /// How long a graceful shutdown waits for connections to end [default: 10000]
    #[arg(long, env = "TENURE_SHUTDOWN_GRACE_MS", value_name = "MS")]
    pub shutdown_grace_ms: Option<u64>,

    /// Who may connect.
    #[arg(skip)]
    pub keys: Option<Vec<KeySettings>>,

    /// What is allowed in every org.
    #[command(flatten)]
    #[serde(default)]
    pub policy: PolicySettings,
}

/// One entry of `[[keys]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySettings {
    /// Whom the key stands for, as the log and the audit trail call it.
    pub name: String,
    /// The key itself. Either this or `key_file`.
    #[serde(default, deserialize_with = "some_secret")]
    pub key: Option<Secret>,
    /// A file with nothing in it but the key.
    pub key_file: Option<PathBuf>,
    /// `observer`, `member`, `moderator` or `admin`.
    #[serde(deserialize_with = "role")]
    pub role: Role,
    /// Orgs it may speak for: `acme`, `acme-*`, `*`.
    pub orgs: Vec<String>,
}

/// The `[policy]` table: what is allowed in every org that has no policy of its own.
#[derive(Debug, Clone, Default, Deserialize, clap::Args)]
#[command(next_help_heading = "Policy of every org that has none of its own")]
#[serde(deny_unknown_fields)]
pub struct PolicySettings {
    /// TTL of a hold whose acquire names none [default: 300000]
    #[arg(
        long = "policy-ttl-default-ms",
        env = "TENURE_POLICY_TTL_DEFAULT_MS",
        value_name = "MS"
    )]
    pub ttl_default_ms: Option<u64>,

    /// Shortest TTL; a shorter request gets this one [default: 1000]
    #[arg(
        long = "policy-ttl-min-ms",
        env = "TENURE_POLICY_TTL_MIN_MS",
        value_name = "MS"
    )]
    pub ttl_min_ms: Option<u64>,

    /// Longest TTL; a longer request gets this one [default: 86400000]
    #[arg(
        long = "policy-ttl-max-ms",
        env = "TENURE_POLICY_TTL_MAX_MS",
        value_name = "MS"
    )]
    pub ttl_max_ms: Option<u64>,

    /// Waits on one path at most [default: 10000]
    #[arg(
        long = "policy-queue-max",
        env = "TENURE_POLICY_QUEUE_MAX",
        value_name = "N"
    )]
    pub queue_max: Option<u32>,

    /// How long a disconnected session may come back [default: 10000]
    #[arg(
        long = "policy-grace-ms",
        env = "TENURE_POLICY_GRACE_MS",
        value_name = "MS"
    )]
    pub grace_ms: Option<u64>,

    /// Whether a session that does not say gives its holds back when its grace is over [default: true]
    #[arg(
        long = "policy-release-on-disconnect",
        env = "TENURE_POLICY_RELEASE_ON_DISCONNECT"
    )]
    #[arg(value_name = "BOOL", value_parser = BoolishValueParser::new())]
    pub release_on_disconnect: Option<bool>,

    /// Sessions of one org at most [default: 1000000]
    #[arg(
        long = "policy-sessions-max",
        env = "TENURE_POLICY_SESSIONS_MAX",
        value_name = "N"
    )]
    pub sessions_max: Option<u32>,

    /// Holds of one org at most [default: 10000000]
    #[arg(
        long = "policy-holds-max",
        env = "TENURE_POLICY_HOLDS_MAX",
        value_name = "N"
    )]
    pub holds_max: Option<u32>,

    /// Holds of one session at most [default: 10000]
    #[arg(
        long = "policy-session-holds-max",
        env = "TENURE_POLICY_SESSION_HOLDS_MAX"
    )]
    #[arg(value_name = "N")]
    pub session_holds_max: Option<u32>,

    /// Waits of one session at most [default: 1000]
    #[arg(
        long = "policy-session-waits-max",
        env = "TENURE_POLICY_SESSION_WAITS_MAX"
    )]
    #[arg(value_name = "N")]
    pub session_waits_max: Option<u32>,
}

/// Where the admin listener is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum AdminAddress {
    /// Nowhere.
    Off,
    /// Here.
    At(SocketAddr),
}

impl Settings {
    /// Reads one file. Relative paths in it are taken from where the file lies.
    ///
    /// # Errors
    ///
    /// Says where in the file which key is wrong.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(file).map_err(|source| ConfigError::Unreadable {
            file: file.to_owned(),
            named_by: String::from("--config or TENURE_CONFIG"),
            source,
        })?;
        let mut settings = toml::from_str::<Self>(&text)
            .map_err(|error| ConfigError::malformed(file, &text, &error))?;
        if let Some(folder) = file.parent() {
            settings
                .paths_mut()
                .for_each(|path| *path = folder.join(&*path));
        }
        Ok(settings)
    }

    /// This layer over another.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        Self {
            listen: self.listen.or(below.listen),
            admin: self.admin.or(below.admin),
            data: self.data.or(below.data),
            durability: self.durability.or(below.durability),
            segment_bytes: self.segment_bytes.or(below.segment_bytes),
            tls_cert: self.tls_cert.or(below.tls_cert),
            tls_key: self.tls_key.or(below.tls_key),
            tls_client_ca: self.tls_client_ca.or(below.tls_client_ca),
            insecure: self.insecure.or(below.insecure),
            connections_max: self.connections_max.or(below.connections_max),
            workers: self.workers.or(below.workers),
            shards: self.shards.or(below.shards),
            in_flight_max: self.in_flight_max.or(below.in_flight_max),
            outbound_bytes_max: self.outbound_bytes_max.or(below.outbound_bytes_max),
            hello_timeout_ms: self.hello_timeout_ms.or(below.hello_timeout_ms),
            stream_events_max: self.stream_events_max.or(below.stream_events_max),
            stream_bytes_max: self.stream_bytes_max.or(below.stream_bytes_max),
            stream_age_ms: self.stream_age_ms.or(below.stream_age_ms),
            streams_bytes_max: self.streams_bytes_max.or(below.streams_bytes_max),
            log: self.log.or(below.log),
            log_format: self.log_format.or(below.log_format),
            viewer_stale_ms: self.viewer_stale_ms.or(below.viewer_stale_ms),
            shutdown_grace_ms: self.shutdown_grace_ms.or(below.shutdown_grace_ms),
            keys: self.keys.or(below.keys),
            policy: self.policy.over(&below.policy),
        }
    }

    /// Fills what no layer has set, and reads the key files.
    pub(super) fn resolve(self) -> Result<Config, ConfigError> {
        let default = Config::default();
        let keys = self
            .keys
            .unwrap_or_default()
            .into_iter()
            .map(KeySettings::resolve);
        Ok(Config {
            listen: self.listen.unwrap_or(default.listen),
            admin: self.admin.map_or(default.admin, AdminAddress::address),
            data: self.data.unwrap_or(default.data),
            durability: self.durability.unwrap_or(default.durability),
            segment_bytes: self.segment_bytes.unwrap_or(default.segment_bytes),
            tls_cert: self.tls_cert,
            tls_key: self.tls_key,
            tls_client_ca: self.tls_client_ca,
            insecure: self.insecure.unwrap_or(default.insecure),
            connections_max: self.connections_max.unwrap_or(default.connections_max),
            workers: self.workers.unwrap_or(default.workers),
            shards: self.shards.unwrap_or(default.shards),
            in_flight_max: self.in_flight_max.unwrap_or(default.in_flight_max),
            outbound_bytes_max: self
                .outbound_bytes_max
                .unwrap_or(default.outbound_bytes_max),
            hello_timeout_ms: self.hello_timeout_ms.unwrap_or(default.hello_timeout_ms),
            stream_events_max: self.stream_events_max.unwrap_or(default.stream_events_max),
            stream_bytes_max: self.stream_bytes_max.unwrap_or(default.stream_bytes_max),
            stream_age_ms: self.stream_age_ms.unwrap_or(default.stream_age_ms),
            streams_bytes_max: self.streams_bytes_max.unwrap_or(default.streams_bytes_max),
            log: self.log.unwrap_or(default.log),
            log_format: self.log_format.unwrap_or(default.log_format),
            viewer_stale_ms: self.viewer_stale_ms.unwrap_or(default.viewer_stale_ms),
            shutdown_grace_ms: self.shutdown_grace_ms.unwrap_or(default.shutdown_grace_ms),
            keys: keys.collect::<Result<_, _>>()?,
            policy: self.policy.layer(),
        })
    }

    fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let key_files = self
            .keys
            .iter_mut()
            .flatten()
            .filter_map(|key| key.key_file.as_mut());
        let files = [
            &mut self.data,
            &mut self.tls_cert,
            &mut self.tls_key,
            &mut self.tls_client_ca,
        ];
        files.into_iter().flatten().chain(key_files)
    }
}

impl KeySettings {
    fn resolve(self) -> Result<ApiKey, ConfigError> {
        let name = self.name;
        let place = format!("keys: the key of `{name}`");
        let secret = match (self.key, self.key_file) {
            (Some(secret), None) => secret,
            (None, Some(file)) => read_secret(file, place)?,
            (None, None) => {
                let remedy = "make one with `openssl rand -hex 32`";
                return Err(ConfigError::impossible(
                    place,
                    "key or key_file",
                    "neither",
                    remedy,
                ));
            }
            (Some(_), Some(_)) => {
                let expected = "key or key_file";
                return Err(ConfigError::impossible(
                    place,
                    expected,
                    "both",
                    "remove one",
                ));
            }
        };
        let orgs = self.orgs.iter().map(|pattern| {
            OrgPattern::parse(pattern).map_err(|expected| {
                let key = format!("keys: `orgs` of `{name}`");
                let found = format!("`{pattern}`");
                ConfigError::impossible(key, expected, found, "correct the pattern")
            })
        });
        let orgs = orgs.collect::<Result<_, _>>()?;
        let principal = Principal {
            name: Arc::from(name),
            role: self.role,
            orgs,
        };
        Ok(ApiKey { secret, principal })
    }
}

impl PolicySettings {
    fn over(self, below: &Self) -> Self {
        Self {
            ttl_default_ms: self.ttl_default_ms.or(below.ttl_default_ms),
            ttl_min_ms: self.ttl_min_ms.or(below.ttl_min_ms),
            ttl_max_ms: self.ttl_max_ms.or(below.ttl_max_ms),
            queue_max: self.queue_max.or(below.queue_max),
            grace_ms: self.grace_ms.or(below.grace_ms),
            release_on_disconnect: self.release_on_disconnect.or(below.release_on_disconnect),
            sessions_max: self.sessions_max.or(below.sessions_max),
            holds_max: self.holds_max.or(below.holds_max),
            session_holds_max: self.session_holds_max.or(below.session_holds_max),
            session_waits_max: self.session_waits_max.or(below.session_waits_max),
        }
    }

    fn layer(self) -> PolicyLayer {
        PolicyLayer {
            ttl_default: self.ttl_default_ms.map(Millis),
            ttl_min: self.ttl_min_ms.map(Millis),
            ttl_max: self.ttl_max_ms.map(Millis),
            queue_max: self.queue_max,
            grace: self.grace_ms.map(Millis),
            release_on_disconnect: self.release_on_disconnect,
            sessions_max: self.sessions_max,
            holds_max: self.holds_max,
            session_holds_max: self.session_holds_max,
            session_waits_max: self.session_waits_max,
        }
    }
}

impl AdminAddress {
    const fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }
}

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self::Off);
        }
        parse_address(text)
            .map(Self::At)
            .map_err(|problem| format!("{problem}, or `off`"))
    }
}

impl TryFrom<String> for AdminAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Reads a file that holds a key and nothing else; white space around it is not part of it.
fn read_secret(file: PathBuf, named_by: String) -> Result<Secret, ConfigError> {
    match fs::read_to_string(&file) {
        Ok(text) => Ok(Secret::new(text.trim())),
        Err(source) => Err(ConfigError::Unreadable {
            file,
            named_by,
            source,
        }),
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("expected an IP address and a port such as 127.0.0.1:7420, found `{text}`")
    })
}

fn some_address<'de, D: Deserializer<'de>>(source: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(source)?;
    parse_address(&text).map(Some).map_err(D::Error::custom)
}

/// A secret of the wrong kind is not shown either.
fn some_secret<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Secret>, D::Error> {
    let value = toml::Value::deserialize(source)?;
    let text = value.as_str().ok_or_else(|| {
        D::Error::custom(format!("expected a string, found: {}", value.type_str()))
    })?;
    Ok(Some(Secret::new(text)))
}

fn role<'de, D: Deserializer<'de>>(source: D) -> Result<Role, D::Error> {
    let text = String::deserialize(source)?;
    match &*text {
        "observer" => Ok(Role::Observer),
        "member" => Ok(Role::Member),
        "moderator" => Ok(Role::Moderator),
        "admin" => Ok(Role::Admin),
        _ => {
            let expected = &["observer", "member", "moderator", "admin"];
            Err(D::Error::unknown_variant(&text, expected))
        }
    }
}
