//! What an operator may set: flags, each with an environment variable, and what holds where nothing is set.
//!
//! Knows neither sockets nor the database. Rules: a secret is named by a file or a variable, never by a flag; an error says
//! what was expected, what was found and what to do; without a key for tokens the service is for development, and then it
//! listens on this machine alone.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use jsonwebtoken::Algorithm;

use crate::serving::TURNED_AWAY_MAX;

/// Where browsers and services connect, unless told otherwise.
pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7430);

/// The database, unless told otherwise: a file beside the service.
pub const DATABASE: &str = "sqlite:tenure-chat.db";

/// Messages are old after this, unless told otherwise.
pub const ARCHIVE_OLDER_THAN: &str = "365d";

/// Chats have been empty for long after this, unless told otherwise.
pub const ARCHIVE_EMPTY_FOR: &str = "90d";

/// The most connections that may be asked for.
const CONNECTIONS_LIMIT: usize = 1_000_000;

/// The database, what was written ahead of it, and what readers of an SQLite share.
const FILES_OF_A_DATABASE_CONNECTION: u64 = 3;

/// What the listener, the lock server, the log and the runtime need, and some to spare.
const OTHER_FILES: u64 = 64;

/// Everything the service is told when it starts.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Where to listen for HTTP.
    #[arg(long, env = "TENURE_CHAT_LISTEN", default_value_t = LISTEN, value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Where the lock server is.
    #[arg(
        long,
        env = "TENURE_CHAT_TENURE",
        default_value = "127.0.0.1:7420",
        value_name = "HOST:PORT"
    )]
    pub tenure: String,
    /// A file with the API key for the lock server. The role of the key is the most that anybody may do to locks.
    #[arg(long, env = "TENURE_CHAT_TENURE_KEY_FILE", value_name = "FILE")]
    pub tenure_key_file: Option<PathBuf>,
    /// The authority that the lock server's certificate is from, PEM; turns on TLS to the lock server.
    #[arg(long, env = "TENURE_CHAT_TENURE_CA", value_name = "FILE")]
    pub tenure_ca: Option<PathBuf>,
    /// The database: `sqlite:FILE`, or `postgres://USER:PASSWORD@HOST/NAME`; with a password, set the variable.
    #[arg(long, env = "TENURE_CHAT_DATABASE", default_value = DATABASE, value_name = "URL", hide_env_values = true)]
    pub database: Secret,
    /// Connections to a PostgreSQL, or readers of an SQLite.
    #[arg(
        long,
        env = "TENURE_CHAT_DATABASE_CONNECTIONS",
        default_value_t = 8,
        value_name = "COUNT"
    )]
    pub database_connections: u32,
    /// How people's tokens (JWT) are identified, and for whom they are.
    #[command(flatten)]
    pub tokens: TokenSettings,
    /// What a page of another origin may do.
    #[arg(
        long,
        env = "TENURE_CHAT_CORS_ORIGINS",
        value_delimiter = ',',
        value_name = "ORIGIN,..."
    )]
    pub cors_origins: Vec<String>,
    /// What becomes of a message while the lock server is away, since nobody knows whether somebody holds the chat.
    #[arg(long, env = "TENURE_CHAT_WHEN_TENURE_IS_AWAY", value_enum, default_value_t = WhenAway::Accept)]
    pub when_tenure_is_away: WhenAway,
    /// How long a browser's locks outlive its feed, in seconds.
    #[arg(
        long = "grace",
        env = "TENURE_CHAT_GRACE",
        default_value_t = 15,
        value_name = "SECONDS"
    )]
    pub grace_s: u64,
    /// How long a session without a feed lives without a sign of life, in seconds.
    #[arg(
        long = "idle",
        env = "TENURE_CHAT_IDLE",
        default_value_t = 300,
        value_name = "SECONDS"
    )]
    pub idle_s: u64,
    /// How much one person may ask for.
    #[command(flatten)]
    pub rates: RateSettings,
    /// When what is old is put away, and what that is.
    #[command(flatten)]
    pub archive: ArchiveSettings,
    /// Connections at a time, feeds among them; one more is answered 503 and let go. As the system's limit of open files
    /// allows.
    #[arg(
        long,
        env = "TENURE_CHAT_CONNECTIONS_MAX",
        default_value_t = 30_000,
        value_name = "COUNT"
    )]
    pub connections_max: usize,
    /// Feeds at a time, and never more than three quarters of the connections; one more is turned away.
    #[arg(
        long,
        env = "TENURE_CHAT_FEEDS_MAX",
        default_value_t = 20_000,
        value_name = "COUNT"
    )]
    pub feeds_max: usize,
    /// Which log lines are written: a filter such as `info` or `warn,tenure_chat=debug`.
    #[arg(
        long,
        env = "TENURE_CHAT_LOG",
        default_value = "info,sqlx=warn",
        value_name = "FILTER"
    )]
    pub log: String,
    /// How they are written.
    #[arg(long, env = "TENURE_CHAT_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// How long a graceful shutdown waits for answers that are under way, in seconds.
    #[arg(
        long = "shutdown-grace",
        env = "TENURE_CHAT_SHUTDOWN_GRACE",
        default_value_t = 10,
        value_name = "SECONDS"
    )]
    pub shutdown_grace_s: u64,
    /// The head of a request has to be there within so long: of the connection, or of the answer before it on the same.
    #[arg(
        long = "head-within",
        env = "TENURE_CHAT_HEAD_WITHIN",
        default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=3600),
        value_name = "SECONDS"
    )]
    pub head_within_s: u64,
    /// The body of a request has to be there within so long of its head.
    #[arg(
        long = "body-within",
        env = "TENURE_CHAT_BODY_WITHIN",
        default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=3600),
        value_name = "SECONDS"
    )]
    pub body_within_s: u64,
}

/// How people's tokens are looked at.
#[derive(Debug, Clone, Args)]
pub struct TokenSettings {
    /// The only algorithm that is taken.
    #[arg(long, env = "TENURE_CHAT_JWT_ALGORITHM", value_enum, default_value_t = JwtAlgorithm::Hs256)]
    pub jwt_algorithm: JwtAlgorithm,
    /// The key: the secret itself for HS256 (at least 32 bytes), else the public key as PEM. Without it the service is for
    /// development.
    #[arg(long, env = "TENURE_CHAT_JWT_KEY_FILE", value_name = "FILE")]
    pub jwt_key_file: Option<PathBuf>,
    /// Whom the tokens must be for (`aud`).
    #[arg(long, env = "TENURE_CHAT_JWT_AUDIENCE", value_name = "TEXT")]
    pub jwt_audience: Option<String>,
    /// Whom the tokens must be from (`iss`).
    #[arg(long, env = "TENURE_CHAT_JWT_ISSUER", value_name = "TEXT")]
    pub jwt_issuer: Option<String>,
    /// Where the key of the development mode is kept. It is made when it is not there.
    #[arg(
        long,
        env = "TENURE_CHAT_DEVELOPMENT_KEY",
        default_value = "tenure-chat-development.key",
        value_name = "FILE"
    )]
    pub development_key: PathBuf,
}

/// How often one person may do what, a second; twice as often for a moment.
#[derive(Debug, Clone, Copy, Args)]
pub struct RateSettings {
    /// Messages sent, edited and deleted.
    #[arg(
        long,
        env = "TENURE_CHAT_RATE_SEND",
        default_value_t = 10,
        value_name = "PER_SECOND"
    )]
    pub rate_send: u32,
    /// Presence and typing.
    #[arg(
        long,
        env = "TENURE_CHAT_RATE_TYPING",
        default_value_t = 10,
        value_name = "PER_SECOND"
    )]
    pub rate_typing: u32,
    /// Locks: taken, kept and given back.
    #[arg(
        long,
        env = "TENURE_CHAT_RATE_LOCK",
        default_value_t = 20,
        value_name = "PER_SECOND"
    )]
    pub rate_lock: u32,
    /// Everything else.
    #[arg(
        long,
        env = "TENURE_CHAT_RATE_READ",
        default_value_t = 50,
        value_name = "PER_SECOND"
    )]
    pub rate_read: u32,
}

/// When what is old is put away, and what that is.
#[derive(Debug, Clone, Args)]
pub struct ArchiveSettings {
    /// How often old messages are moved to the archive and empty chats cleaned up: `24h`, or `off`. One of all companions
    /// that share a database does it.
    #[arg(
        long,
        env = "TENURE_CHAT_ARCHIVE_EVERY",
        default_value = "24h",
        value_name = "SPAN"
    )]
    pub archive_every: Every,
    /// Messages that are older move to the archive. They are read and found as before, and cannot be edited.
    #[arg(long, env = "TENURE_CHAT_ARCHIVE_OLDER_THAN", value_name = "AGE")]
    #[arg(default_value = ARCHIVE_OLDER_THAN, value_parser = humantime::parse_duration)]
    pub archive_older_than: Duration,
    /// Chats without a message that have had no activity for as long are cleaned up.
    #[arg(long, env = "TENURE_CHAT_ARCHIVE_EMPTY_FOR", value_name = "AGE")]
    #[arg(default_value = ARCHIVE_EMPTY_FOR, value_parser = humantime::parse_duration)]
    pub archive_empty_for: Duration,
}

/// The shortest time between two runs of the archive.
const EVERY_MIN: Duration = Duration::from_secs(1);

/// How often, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Every(pub Option<Duration>);

impl FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let span = humantime::parse_duration(text).ok();
        let span = span.filter(|span| *span >= EVERY_MIN);
        span.map(|span| Self(Some(span)))
            .ok_or_else(|| "expected `off`, or a span of 1s or more such as `24h`".to_owned())
    }
}

/// What becomes of a message while nobody knows whether the chat is locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WhenAway {
    /// It is refused with 503, to be sent again.
    Refuse,
    /// It is taken, and the answer says that nobody looked (`unguarded`).
    Accept,
}

/// What tokens may be signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum JwtAlgorithm {
    /// A secret that both sides know.
    Hs256,
    /// RSA.
    Rs256,
    /// The elliptic curve P-256.
    Es256,
    /// Ed25519.
    Eddsa,
}

impl JwtAlgorithm {
    pub(crate) const fn of_the_standard(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
            Self::Eddsa => Algorithm::EdDSA,
        }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people: one line of text.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// A text that is not shown, such as an address with a password in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

impl Config {
    /// Whether tokens are made with the key of the development mode.
    #[must_use]
    pub const fn is_for_development(&self) -> bool {
        self.tokens.jwt_key_file.is_none()
    }

    /// How long a browser's locks outlive its feed.
    #[must_use]
    pub const fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_s)
    }

    /// How long a session without a feed lives without a sign of life.
    #[must_use]
    pub const fn idle(&self) -> Duration {
        Duration::from_secs(self.idle_s)
    }

    /// How many feeds there are at most: a quarter of the connections is left to requests.
    #[must_use]
    pub fn feeds_at_most(&self) -> usize {
        self.feeds_max
            .min(self.connections_max - self.connections_max.div_ceil(4))
    }

    /// Files that the service may have open beside its connections: databases, the lock server, the listener, whoever is
    /// being turned away.
    #[must_use]
    pub fn files_beside_connections(&self) -> u64 {
        TURNED_AWAY_MAX as u64
            + u64::from(self.database_connections) * FILES_OF_A_DATABASE_CONNECTION
            + OTHER_FILES
    }

    /// Looks whether the settings go together.
    ///
    /// # Errors
    /// Says which do not, and what to do.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.is_for_development() && !self.listen.ip().is_loopback() {
            bail!(
                "--listen {}: expected an address of this machine alone (127.0.0.1) while there is no --jwt-key-file, \
                 since anybody could make a token for the development mode; give the key that your tokens are signed with",
                self.listen
            );
        }
        ensure!(
            !self.is_for_development() || self.tokens.jwt_algorithm == JwtAlgorithm::Hs256,
            "--jwt-key-file: expected the public key of the algorithm that --jwt-algorithm names, found no file"
        );
        for (flag, value) in [
            ("--rate-send", self.rates.rate_send),
            ("--rate-typing", self.rates.rate_typing),
            ("--rate-lock", self.rates.rate_lock),
            ("--rate-read", self.rates.rate_read),
            ("--database-connections", self.database_connections),
        ] {
            ensure!(value > 0, "{flag}: expected at least 1, found 0");
        }
        ensure!(
            (1..=CONNECTIONS_LIMIT).contains(&self.connections_max),
            "--connections-max: expected 1 to {CONNECTIONS_LIMIT}, found {}",
            self.connections_max
        );
        ensure!(
            (1..=3600).contains(&self.grace_s),
            "--grace: expected 1 to 3600 seconds, found {}",
            self.grace_s
        );
        ensure!(
            (1..=86_400).contains(&self.idle_s),
            "--idle: expected 1 to 86400 seconds, found {}",
            self.idle_s
        );
        ensure!(
            is_host_and_port(&self.tenure),
            "--tenure: expected a host and a port such as 127.0.0.1:7420, found {:?}",
            self.tenure
        );
        for origin in &self.cors_origins {
            ensure!(
                is_origin(origin),
                "--cors-origins: expected origins such as https://app.example.com, found {origin:?}"
            );
        }
        Ok(())
    }

    /// The API key for the lock server, from its file.
    ///
    /// # Errors
    /// The file cannot be read, or holds nothing.
    pub fn tenure_key(&self) -> anyhow::Result<Option<String>> {
        let Some(file) = &self.tenure_key_file else {
            return Ok(None);
        };
        let key = read(file, "--tenure-key-file")?;
        let key = key.trim();
        ensure!(
            !key.is_empty(),
            "--tenure-key-file: expected an API key in {}, found nothing",
            file.display()
        );
        Ok(Some(key.to_owned()))
    }
}

pub(crate) fn read(file: &Path, setting: &str) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| {
        format!(
            "{setting}: cannot read {}; check the path and the permissions",
            file.display()
        )
    })
}

/// What a socket can be opened to, once the host is looked up.
fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

/// Scheme, host and port: what browsers send.
fn is_origin(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| {
        !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"/?#*,".contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Given {
        #[command(flatten)]
        config: Config,
    }

    fn given(arguments: &[&str]) -> Config {
        Given::parse_from([&["tenure-chat"], arguments].concat()).config
    }

    #[test]
    fn the_defaults_are_for_development_on_this_machine() {
        let config = given(&[]);
        assert!(config.is_for_development());
        assert_eq!(config.listen, LISTEN);
        config.check().unwrap();
    }

    #[test]
    fn development_stays_on_this_machine() {
        let error = given(&["--listen", "0.0.0.0:7430"]).check().unwrap_err();
        assert!(error.to_string().contains("--jwt-key-file"), "{error}");
        given(&["--listen", "0.0.0.0:7430", "--jwt-key-file", "k"])
            .check()
            .unwrap();
    }

    #[test]
    fn a_key_that_was_forgotten_is_no_development_mode() {
        let error = given(&["--jwt-algorithm", "rs256"]).check().unwrap_err();
        assert!(error.to_string().contains("--jwt-key-file"), "{error}");
    }

    #[test]
    fn the_lock_server_is_a_host_and_a_port() {
        for right in ["127.0.0.1:7420", "[::1]:7420", "locks.internal:7420"] {
            given(&["--tenure", right]).check().unwrap();
        }
        for wrong in ["", "nonsense", ":7420", "db:0", "db:99999", "tcp://db:7420"] {
            let error = given(&["--tenure", wrong]).check().unwrap_err();
            assert!(error.to_string().contains("--tenure"), "{error}");
        }
    }

    #[test]
    fn a_session_lives_for_a_while() {
        given(&["--idle", "1"]).check().unwrap();
        for wrong in ["0", "86401"] {
            let error = given(&["--idle", wrong]).check().unwrap_err();
            assert!(error.to_string().contains("--idle"), "{error}");
        }
    }

    #[test]
    fn origins_are_origins() {
        given(&["--cors-origins", "https://a.example,http://localhost:3000"])
            .check()
            .unwrap();
        for wrong in ["*", "a.example", "https://", "https://a.example/"] {
            given(&["--cors-origins", wrong]).check().unwrap_err();
        }
    }

    #[test]
    fn the_archive_is_kept_daily_unless_told_otherwise() {
        let of = |arguments: &[&str]| given(arguments).archive;
        assert_eq!(
            of(&[]).archive_every,
            Every(Some(Duration::from_secs(86_400)))
        );
        assert_eq!(of(&["--archive-every", "off"]).archive_every, Every(None));
        let settings = of(&["--archive-older-than", "30d"]);
        assert_eq!(
            (settings.archive_older_than, settings.archive_empty_for),
            (
                Duration::from_secs(30 * 86_400),
                Duration::from_secs(90 * 86_400)
            )
        );
        for wrong in ["", "0s", "10ms", "daily", "-1h"] {
            assert!(wrong.parse::<Every>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn feeds_leave_connections_to_requests() {
        let feeds = |arguments: &[&str]| given(arguments).feeds_at_most();
        assert_eq!(feeds(&[]), 20_000);
        assert_eq!(feeds(&["--connections-max", "10"]), 7);
        assert_eq!(feeds(&["--connections-max", "1"]), 0);
        assert_eq!(feeds(&["--connections-max", "10", "--feeds-max", "2"]), 2);
        for wrong in ["0", "1000001"] {
            given(&["--connections-max", wrong]).check().unwrap_err();
        }
    }

    #[test]
    fn what_may_hold_a_password_is_not_shown() {
        let config = given(&["--database", "postgres://chat:sesame@db/chat"]);
        assert!(!format!("{config:?}").contains("sesame"));
    }
}
