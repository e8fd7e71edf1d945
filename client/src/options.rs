//! How to connect, and how patient to be.
//!
//! Plain data with defaults; nothing here does anything but [`Options::connect`] and [`Options::connect_lazily`].

use std::fmt;
use std::time::Duration;

use crate::client::Client;
use crate::error::Result;

/// How to connect, and how patient to be. Made by [`Client::builder`].
///
/// ```no_run
/// # async fn run() -> Result<(), tenure_client::Error> {
/// use std::time::Duration;
///
/// let client = tenure_client::Client::builder("locks.internal:7420")
///     .api_key("k-4711")
///     .name("crm/3.2")
///     .request_timeout(Duration::from_secs(3))
///     .connect()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "options do nothing until they are connected"]
pub struct Options {
    pub(crate) address: String,
    pub(crate) api_key: Option<String>,
    pub(crate) name: String,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) back_off_min: Duration,
    pub(crate) back_off_max: Duration,
    pub(crate) jitter: bool,
    pub(crate) lose_in_doubt: bool,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::tls::Tls>,
}

impl Options {
    pub(crate) fn new(address: String) -> Self {
        Self {
            address,
            api_key: None,
            name: concat!("tenure-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
            back_off_min: Duration::from_millis(100),
            back_off_max: Duration::from_secs(10),
            jitter: true,
            lose_in_doubt: false,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// The API key, if the server asks for one.
    pub fn api_key(mut self, key: impl Into<String>) -> Self {
        self.api_key = Some(key.into());
        self
    }

    /// What this program is, for the server's logs: `crm/3.2`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How long a connection, its TLS handshake and its hello may take together. 5 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long the answer to a request may take, back-pressure included. 10 s by default.
    ///
    /// A wait for a lock is no request: it takes as long as its own `wait` says, and this on top of it.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// The pause before a reconnect: it begins at `min`, doubles with each failure, and never exceeds `max`. 100 ms and
    /// 10 s by default.
    ///
    /// A third of the shortest grace of the sessions bounds it too, so that a session is tried three times before its
    /// grace is over.
    pub fn back_off(mut self, min: Duration, max: Duration) -> Self {
        self.back_off_min = min.max(Duration::from_millis(1));
        self.back_off_max = max.max(self.back_off_min);
        self
    }

    /// Whether each pause is drawn between zero and its length, so that many clients do not come back at once. True by
    /// default; false is for tests.
    pub fn jitter(mut self, jitter: bool) -> Self {
        self.jitter = jitter;
        self
    }

    /// Whether a hold counts as lost as soon as the server may have ended its session: when the connection has been gone
    /// for longer than the session's grace. False by default.
    ///
    /// In such doubt [`is_held`](crate::LockGuard::is_held) is false and [`remaining`](crate::LockGuard::remaining) is
    /// zero either way. The default leaves it to the next resume, or to the hold's deadline, to say whether it was lost:
    /// a server that was restarted gives sessions a longer grace than they asked for, and the hold goes on under the same
    /// token. With true, the guard is lost for good, and the hold is released when the connection is back.
    pub fn lose_in_doubt(mut self, lose: bool) -> Self {
        self.lose_in_doubt = lose;
        self
    }

    /// Connects over TLS. The server's name is the host of the address, unless `server_name` says otherwise.
    ///
    /// # Errors
    /// When the name is none.
    #[cfg(feature = "tls")]
    pub fn tls(
        mut self,
        config: std::sync::Arc<rustls::ClientConfig>,
        server_name: Option<&str>,
    ) -> Result<Self> {
        self.tls = Some(crate::tls::Tls::new(config, &self.address, server_name)?);
        Ok(self)
    }

    /// Connects, and gives the client when the server has answered the hello. From then on it reconnects by itself.
    ///
    /// # Errors
    /// [`Connect`](crate::ErrorKind::Connect) when there is no connection to be had; what the server says when it does
    /// not want this client, such as [`NotAllowed`](crate::ErrorKind::NotAllowed).
    ///
    /// Must be called within a tokio runtime, which the connection's task is spawned on.
    pub async fn connect(self) -> Result<Client> {
        Client::connect_with(self).await
    }

    /// Gives a client that is not connected yet and keeps trying: for services that have to start while the lock server
    /// is away. Until it is connected, calls fail with [`Disconnected`](crate::ErrorKind::Disconnected).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn connect_lazily(self) -> Client {
        Client::connect_lazily(self)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("address", &self.address)
            .field("api_key", &self.api_key.as_ref().map(|_| ".."))
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl From<&str> for Options {
    fn from(address: &str) -> Self {
        Self::new(address.to_owned())
    }
}
