//! `tenure-bench floor`: the bare server that others are measured against. Runs until it is ended.

use std::io::{Write as _, stdout};
use std::net::SocketAddr;

use anyhow::Result;
use tenure_bench::floor;

/// Serve as bare as can be: what the protocol costs on this machine without a lock server behind it
///
/// It speaks enough of Tenure's protocol for `load` and `compare`, which starts one by itself. It knows no TTL, no queue
/// and no event.
#[derive(Debug, clap::Args)]
pub(crate) struct FloorArguments {
    /// Where to listen; port 0 is any that is free
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

impl FloorArguments {
    pub(crate) fn run(&self) -> Result<()> {
        floor::serve(self.listen, |address| {
            Ok(writeln!(stdout(), "{}{address}", floor::ANNOUNCEMENT)?)
        })
    }
}
