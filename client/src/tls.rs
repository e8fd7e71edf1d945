//! TLS around the connection, with a configuration that the caller brings.
//!
//! Knows no certificates: whom to trust is in the `rustls::ClientConfig`.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{Error, ErrorKind, Result};

#[derive(Clone)]
pub(crate) struct Tls {
    connector: TlsConnector,
    server_name: ServerName<'static>,
}

impl Tls {
    pub(crate) fn new(
        config: Arc<rustls::ClientConfig>,
        address: &str,
        server_name: Option<&str>,
    ) -> Result<Self> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let name = server_name.unwrap_or_else(|| host.trim_matches(['[', ']']));
        let server_name = ServerName::try_from(name.to_owned()).map_err(|error| {
            Error::new(
                ErrorKind::BadRequest,
                format!("expected a host name, found `{name}`"),
            )
            .with_source(error)
        })?;
        Ok(Self {
            connector: TlsConnector::from(config),
            server_name,
        })
    }

    pub(crate) async fn connect(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        self.connector
            .connect(self.server_name.clone(), stream)
            .await
    }
}
