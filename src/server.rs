//! Placeholder of the server: binds its listeners, answers on the admin one, and waits for the shutdown.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Readiness};
use crate::config::Config;
use crate::error::ServerError;
use crate::metrics::{Metrics, ShardView, Shards};
use crate::tls;

/// A server that is bound and not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    admin: Option<TcpListener>,
    local_addr: SocketAddr,
    admin_addr: Option<SocketAddr>,
}

/// No shards.
#[derive(Debug)]
struct NoShards;

impl Shards for NoShards {
    fn visit(&self, _: &mut dyn FnMut(ShardView<'_>)) {}
}

/// Serves until `shutdown` is cancelled.
///
/// # Errors
///
/// The configuration, a file it names, or an address cannot be used.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), ServerError> {
    Server::bind(config).await?.serve(shutdown).await
}

impl Server {
    /// Opens what has to be open before the first client comes.
    ///
    /// # Errors
    ///
    /// The configuration, a file it names, or an address cannot be used.
    pub async fn bind(config: Config) -> Result<Self, ServerError> {
        config.validate()?;
        let _acceptor = tls::acceptor(&config)?;
        let (listener, local_addr) = listen("listen", config.listen).await?;
        let admin = match config.admin {
            Some(address) => Some(listen("admin", address).await?),
            None => None,
        };
        let (admin, admin_addr) = admin.unzip();
        Ok(Self {
            listener,
            admin,
            local_addr,
            admin_addr,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where health and metrics are read.
    #[must_use]
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// Serves until `shutdown` is cancelled.
    ///
    /// # Errors
    ///
    /// A listener has failed.
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), ServerError> {
        let metrics = Metrics::new(Arc::new(NoShards));
        let readiness = Readiness::new();
        readiness.ready();
        if let (Some(listener), Some(address)) = (self.admin, self.admin_addr) {
            admin::serve(listener, metrics, readiness, shutdown.cancelled_owned())
                .await
                .map_err(|source| ServerError::Listener { address, source })?;
        } else {
            shutdown.cancelled().await;
        }
        drop(self.listener);
        Ok(())
    }
}

async fn listen(
    setting: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), ServerError> {
    let open = async || -> io::Result<_> {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    open().await.map_err(|source| ServerError::Listen {
        setting,
        address,
        source,
    })
}
