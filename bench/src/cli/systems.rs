//! Which systems are measured beside one another: Tenure, and those that keep keys with a time to live, where they are on
//! this machine.

use anyhow::Result;
use tenure_bench::peers::Peer;
use tenure_bench::scale::System;

use super::progress;
use super::server::{Server, ServerArguments};

#[derive(Debug, clap::Args)]
pub(super) struct SystemArguments {
    #[command(flatten)]
    server: ServerArguments,

    /// Leave out redis-server and valkey-server, though they are on this machine
    #[arg(long)]
    alone: bool,
}

impl SystemArguments {
    /// What is measured, in this order. Beside a server that runs already there is nobody.
    pub(super) fn systems(&self) -> Vec<System> {
        let peers = [(Peer::Redis, System::Redis), (Peer::Valkey, System::Valkey)];
        let is_measured = |peer: Peer| !self.alone && !self.server.is_given() && peer.is_here();
        let here = peers.into_iter().filter(|(peer, _)| is_measured(*peer));
        let tenure = System::Tenure(self.server.key());
        [tenure]
            .into_iter()
            .chain(here.map(|(_, system)| system))
            .collect()
    }

    /// Measures so often, systems in turn and each at a fresh server, and gives a row for each.
    pub(super) fn in_turn<R>(
        &self,
        rounds: u32,
        measure: impl Fn(&Server, &System) -> Result<R>,
    ) -> Result<Vec<R>> {
        let mut rows = Vec::new();
        for _ in 0..rounds {
            for system in self.systems() {
                rows.push(measure(&self.start(&system)?, &system)?);
            }
        }
        progress::clear();
        Ok(rows)
    }

    /// A fresh server of this system, unless one was given.
    pub(super) fn start(&self, system: &System) -> Result<Server> {
        match system {
            System::Tenure(_) => self.server.server(),
            System::Redis => self.server.peer(Peer::Redis),
            System::Valkey => self.server.peer(Peer::Valkey),
        }
    }
}
