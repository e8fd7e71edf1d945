//! Which server is measured: one that runs already, or one of the command's own.
//!
//! A server that the command starts ends with it, whatever happens.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use tenure_bench::peers::Peer;
use tenure_bench::server_process::ServerProcess;

#[derive(Debug, clap::Args)]
pub(super) struct ServerArguments {
    /// A server that runs already [default: start one, and end it]
    #[arg(long, value_name = "ADDRESS")]
    server: Option<SocketAddr>,

    /// The process of that server, for its processor time and memory
    #[arg(long, requires = "server")]
    pid: Option<u32>,

    /// The API key for that server
    #[arg(long, requires = "server")]
    key: Option<String>,

    /// The server to start [default: tenure beside this binary; built before under `cargo run`]
    #[arg(long, value_name = "FILE", conflicts_with = "server")]
    binary: Option<PathBuf>,
}

/// A server that can be measured for as long as this is kept.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// If it is known.
    pub(super) pid: Option<u32>,
    _process: Option<ServerProcess>,
}

impl ServerArguments {
    /// The server that runs already, or a fresh one.
    pub(super) fn server(&self) -> Result<Server> {
        if let Some(address) = self.server {
            return Ok(Server {
                address,
                pid: self.pid,
                _process: None,
            });
        }
        self.peer(Peer::Tenure)
    }

    /// A fresh one of this system.
    pub(super) fn peer(&self, peer: Peer) -> Result<Server> {
        let process = peer.start(self.binary.as_deref())?;
        Ok(Server {
            address: process.address(),
            pid: Some(process.pid()),
            _process: Some(process),
        })
    }

    /// Whether it runs already.
    pub(super) const fn is_given(&self) -> bool {
        self.server.is_some()
    }

    pub(super) fn key(&self) -> Option<Arc<str>> {
        self.key.as_deref().map(Into::into)
    }
}
