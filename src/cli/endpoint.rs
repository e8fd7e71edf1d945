//! Where the server is and how to get there: the address, TLS and the key, from the options that all sub-commands share.
//!
//! Owns the socket until it is open; knows no message. Rule: whoever cannot get there is told why, and what to do.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tenure::tls::{self, Identity};
use tenure_client::{Client, Options};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;

use super::{Shared, trouble};

/// How long it may take to get there, and then to be answered the hello.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What the server's log calls us.
pub(super) const NAME: &str = concat!("tenure-cli/", env!("CARGO_PKG_VERSION"));

/// Where a server listens that was not told otherwise.
const PORT: u16 = tenure::config::LISTEN.port();

/// Bytes both ways, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// See the header of this file.
pub(super) struct Endpoint {
    /// `host:port`.
    pub(super) address: String,
    /// The API key, if there is one.
    pub(super) key: Option<String>,
    tls: Option<Arc<ClientConfig>>,
}

impl Endpoint {
    /// What the options say. Fails when a file is wrong.
    pub(super) fn new(shared: &Shared) -> anyhow::Result<Self> {
        let own = match (&shared.tls_client_cert, &shared.tls_client_key) {
            (Some(cert), Some(key)) => Some(Identity { cert, key }),
            _ => None,
        };
        let encrypts = shared.tls || shared.tls_ca.is_some() || own.is_some();
        let tls = encrypts
            .then(|| tls::client_config(shared.tls_ca.as_deref(), own))
            .transpose()?;
        Ok(Self {
            address: with_port(&shared.server),
            // A variable that is set to nothing is as good as one that is not set.
            key: shared.key.clone().filter(|key| !key.is_empty()),
            tls,
        })
    }

    /// Opens a connection, within [`PATIENCE`].
    pub(super) async fn dial(&self) -> anyhow::Result<Box<dyn Stream>> {
        let address = &self.address;
        timeout(PATIENCE, self.open()).await.unwrap_or_else(|_| {
            let error = std::io::ErrorKind::TimedOut.into();
            Err(trouble::unreachable(address, &error))
        })
    }

    async fn open(&self) -> anyhow::Result<Box<dyn Stream>> {
        let address = &self.address;
        let addresses = lookup_host(address)
            .await
            .with_context(|| format!("cannot find {address}; is --server HOST:PORT right?"))?
            .collect::<Vec<_>>();
        let stream = TcpStream::connect(&*addresses)
            .await
            .map_err(|error| trouble::unreachable(address, &error))?;
        stream.set_nodelay(true)?;
        let Some(config) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = tls::server_name(address)?;
        let stream = TlsConnector::from(Arc::clone(config))
            .connect(name, stream)
            .await
            .map_err(|error| trouble::no_tls(address, &error))?;
        Ok(Box::new(stream))
    }

    /// Whether it is reached over TLS.
    pub(super) const fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// The same for `tenure-client`.
    pub(super) fn options(&self) -> anyhow::Result<Options> {
        let mut options = Client::builder(&self.address)
            .name(NAME)
            .connect_timeout(PATIENCE);
        if let Some(key) = &self.key {
            options = options.api_key(key);
        }
        if let Some(config) = &self.tls {
            options = options.tls(Arc::clone(config), None)?;
        }
        Ok(options)
    }
}

/// `host` and `[::1]` without a port mean the usual one.
fn with_port(address: &str) -> String {
    let after_host = address.rsplit_once(']').map_or(address, |(_, rest)| rest);
    if after_host.contains(':') {
        String::from(address)
    } else {
        format!("{address}:{PORT}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_may_be_left_out() {
        for (given, whole) in [
            ("locks.example.com", "locks.example.com:7420"),
            ("locks.example.com:9000", "locks.example.com:9000"),
            ("[::1]", "[::1]:7420"),
            ("[::1]:9000", "[::1]:9000"),
        ] {
            assert_eq!(with_port(given), whole);
        }
    }
}
