//! The systems that can be compared: how each is found and started, with nothing kept on disk, and which dialect it speaks.
//!
//! Knows no load. A peer is started with its defaults but for address, folder and persistence: what its users get.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::{env, fs};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::dialect::{Etcd, Nats, OnTheFloor, Resp, Slock, System, Tenure};
use crate::server_process::{
    ServerProcess, beside_this_binary, free_address, guided_beside_this_binary,
};

/// What a load is spread over.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// Orgs, or what stands for them, that the connections are in.
    pub orgs: u32,
    /// Sessions of each connection, where there are sessions.
    pub sessions: u32,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            orgs: 1,
            sessions: 1,
        }
    }
}

/// A system that can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// This project's server.
    Tenure,
    /// The same, as `bench/guided-build` has built it.
    Guided,
    /// The bare server of [`floor`](crate::floor).
    Floor,
    /// `redis-server`.
    Redis,
    /// `valkey-server`.
    Valkey,
    /// `slock`.
    Slock,
    /// `etcd`.
    Etcd,
    /// `nats-server`, with its streams.
    Nats,
}

impl Peer {
    /// All of them, in the order in which they are told of.
    pub const ALL: [Self; 8] = [
        Self::Tenure,
        Self::Guided,
        Self::Floor,
        Self::Redis,
        Self::Valkey,
        Self::Slock,
        Self::Etcd,
        Self::Nats,
    ];

    /// Its name, as it is typed and told.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenure => "tenure",
            Self::Guided => "guided",
            Self::Floor => "floor",
            Self::Redis => "redis",
            Self::Valkey => "valkey",
            Self::Slock => "slock",
            Self::Etcd => "etcd",
            Self::Nats => "nats",
        }
    }

    /// Whether it can be started here.
    #[must_use]
    pub fn is_here(self) -> bool {
        if self == Self::Guided {
            return guided_beside_this_binary().is_ok_and(|binary| binary.exists());
        }
        self.program().is_none_or(is_on_path)
    }

    /// What is said of one that cannot be.
    #[must_use]
    pub fn absence(self) -> String {
        let made = if self == Self::Guided {
            "; bench/guided-build makes it"
        } else {
            ""
        };
        format!("{self} is not on this machine{made}")
    }

    /// The program that it is; `None` for what comes with this one.
    const fn program(self) -> Option<&'static str> {
        match self {
            Self::Tenure | Self::Guided | Self::Floor => None,
            Self::Redis => Some("redis-server"),
            Self::Valkey => Some("valkey-server"),
            Self::Slock => Some("slock"),
            Self::Etcd => Some("etcd"),
            Self::Nats => Some("nats-server"),
        }
    }

    /// How it is spoken to.
    #[must_use]
    pub fn system(self, spread: Spread) -> Box<dyn System> {
        let Spread { orgs, sessions } = spread;
        match self {
            Self::Tenure | Self::Guided => Box::new(Tenure {
                key: None,
                orgs,
                sessions,
            }),
            Self::Floor => Box::new(OnTheFloor(Tenure {
                key: None,
                orgs,
                sessions: 1,
            })),
            Self::Redis | Self::Valkey => Box::new(Resp { orgs }),
            Self::Slock => Box::new(Slock { orgs }),
            Self::Etcd => Box::new(Etcd { orgs }),
            Self::Nats => Box::new(Nats { orgs }),
        }
    }

    /// Starts it. `tenure` is the binary of this project's server, if that is not the one beside this.
    ///
    /// # Errors
    /// It is not here, does not start, or does not answer.
    pub fn start(self, tenure: Option<&Path>) -> Result<ServerProcess> {
        let started = match self {
            Self::Tenure => match tenure {
                Some(binary) => ServerProcess::start(binary),
                None => ServerProcess::start(&beside_this_binary()?),
            },
            Self::Guided => ServerProcess::start(&guided_beside_this_binary()?),
            Self::Floor => ServerProcess::start_floor(),
            Self::Redis | Self::Valkey => self.start_peer(redis),
            Self::Slock => self.start_peer(slock),
            Self::Etcd => self.start_peer(etcd),
            Self::Nats => self.start_peer(nats),
        };
        started.with_context(|| format!("cannot start {self}"))
    }

    fn start_peer(
        self,
        arguments: fn(&mut Command, u16, &Path) -> Result<()>,
    ) -> Result<ServerProcess> {
        let program = self.program().context("it is no program of its own")?;
        let command = |port, folder: &Path| {
            let mut command = Command::new(program);
            arguments(&mut command, port, folder)?;
            Ok(command)
        };
        ServerProcess::start_at_free_port(command, &*self.system(Spread::default()))
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|peer| peer.name() == name);
        named.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("expected one of {names}")
        })
    }
}

fn is_on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| fs::metadata(folder.join(program)).is_ok())
}

fn redis(command: &mut Command, port: u16, folder: &Path) -> Result<()> {
    redis_keeping(command, port, folder, None);
    Ok(())
}

/// Redis with a log of all that it does, which is synced so often, or without one.
pub(crate) fn redis_keeping(
    command: &mut Command,
    port: u16,
    folder: &Path,
    appendfsync: Option<&str>,
) {
    command
        .args(["--bind", "127.0.0.1", "--port"])
        .arg(port.to_string())
        .args(["--save", "", "--dir"])
        .arg(folder);
    match appendfsync {
        None => command.args(["--appendonly", "no"]),
        Some(often) => command.args(["--appendonly", "yes", "--appendfsync", often]),
    };
}

/// It keeps locks that are held for longer than a second on disk; here, for longer than any is.
fn slock(command: &mut Command, port: u16, folder: &Path) -> Result<()> {
    command
        .args(["--bind=127.0.0.1", "--log_level=ERROR"])
        .arg(format!("--port={port}"))
        .arg("--db_lock_aof_time=255")
        .arg(format!("--data_dir={}", folder.display()));
    Ok(())
}

/// It keeps everything in its folder, which lies in memory where the machine has a place for that.
fn etcd(command: &mut Command, port: u16, folder: &Path) -> Result<()> {
    let clients = format!("http://127.0.0.1:{port}");
    let members = format!("http://{}", free_address()?);
    command
        .args(["--log-level", "error", "--data-dir"])
        .arg(folder)
        .args(["--listen-client-urls", &clients])
        .args(["--advertise-client-urls", &clients])
        .args(["--listen-peer-urls", &members])
        .args(["--initial-advertise-peer-urls", &members])
        .args(["--initial-cluster", &format!("default={members}")])
        .stderr(Stdio::null());
    Ok(())
}

/// The stream is kept in memory; the folder has what the server keeps about itself.
fn nats(command: &mut Command, port: u16, folder: &Path) -> Result<()> {
    command
        .args(["--addr", "127.0.0.1", "--port"])
        .arg(port.to_string())
        .args(["--jetstream", "--store_dir"])
        .arg(folder)
        .stderr(Stdio::null());
    Ok(())
}
