//! A server of the run's own: started on a free port of this machine, ended with the run.
//!
//! Knows how Tenure and the floor are started; how others are is said in [`peers`](crate::peers).

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use crate::companions::Companion;
use crate::dialect::{Conversation, System};
use crate::floor;

/// What Tenure says on stdout before its address.
const ANNOUNCEMENT: &str = "tenure listens on ";

/// How long a server may take before it answers.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// How often it is looked whether it does.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running server. Ends when this is dropped.
#[derive(Debug)]
pub struct ServerProcess {
    companion: Companion,
    address: SocketAddr,
}

impl ServerProcess {
    /// Starts a Tenure server, in memory mode and with its defaults but for the log and the ports.
    ///
    /// # Errors
    /// It does not start, or does not say where it listens.
    pub fn start(binary: &Path) -> Result<Self> {
        Self::start_keeping(binary, "memory", TempDir::new()?)
    }

    /// The same in another mode of durability, with what it keeps in a folder that lives as long as the server.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_keeping(binary: &Path, durability: &str, folder: TempDir) -> Result<Self> {
        let mut command = Command::new(fs::canonicalize(binary)?);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--admin", "off"])
            .args(["--durability", durability, "--data", "data"])
            .args(["--log", "error", "--log-format", "text"]);
        for (variable, _) in env::vars_os() {
            if variable.to_string_lossy().starts_with("TENURE_") {
                command.env_remove(variable);
            }
        }
        Self::announced(command, ANNOUNCEMENT, folder)
    }

    /// Starts this binary as the floor.
    ///
    /// # Errors
    /// It does not start, or does not say where it listens.
    pub fn start_floor() -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("floor");
        Self::announced(command, floor::ANNOUNCEMENT, TempDir::new()?)
    }

    /// Starts what says itself where it listens.
    fn announced(mut command: Command, announcement: &str, folder: TempDir) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let companion = Companion::start(&mut command, folder)?;
        let stdout = companion.take_stdout();
        let stdout = stdout.context("the server has no stdout")?;
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            let announced = line.strip_prefix(announcement);
            if let Some(address) = announced.and_then(|rest| rest.split(';').next()) {
                let address = address.parse().context("the server listens nowhere")?;
                return Ok(Self { companion, address });
            }
        }
        bail!("the server ended before it said where it listens")
    }

    /// Starts what is told where to listen, and waits until it can be spoken to. `command` is given a free port and a
    /// folder that costs no disk and lives as long as the server.
    ///
    /// # Errors
    /// It does not start, or does not answer.
    pub fn start_at_free_port(
        command: impl FnOnce(u16, &Path) -> Result<Command>,
        system: &dyn System,
    ) -> Result<Self> {
        Self::start_in(folder_in_memory()?, command, system)
    }

    /// The same, with a folder that is given.
    ///
    /// # Errors
    /// As there.
    pub fn start_in(
        folder: TempDir,
        command: impl FnOnce(u16, &Path) -> Result<Command>,
        system: &dyn System,
    ) -> Result<Self> {
        let address = free_address()?;
        let mut command = command(address.port(), folder.path())?;
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let companion = Companion::start(&mut command, folder)?;
        let process = Self { companion, address };
        process.wait_until_ready(system)?;
        Ok(process)
    }

    fn wait_until_ready(&self, system: &dyn System) -> Result<()> {
        let began = Instant::now();
        loop {
            let spoken = Conversation::connect(self.address)
                .and_then(|mut conversation| system.dialect(0).open(&mut conversation));
            match spoken {
                Ok(()) => return Ok(()),
                Err(error) if began.elapsed() > READY_WITHIN => return Err(error),
                Err(_) => {}
            }
            if let Some(status) = self.companion.ended()? {
                bail!("the server has ended: {status}");
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.companion.pid()
    }
}

/// A folder that costs no disk, where the machine has a place for such.
fn folder_in_memory() -> Result<TempDir> {
    let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new());
    folder.context("there is no place for a temporary folder")
}

/// Where nobody listens at this moment.
///
/// # Errors
/// There is no such place.
pub fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no port is free")?;
    Ok(listener.local_addr()?)
}

/// The server's binary: beside this one, and under `cargo run` built before, so that what is measured is what is there.
///
/// # Errors
/// There is none, or it cannot be built.
pub fn beside_this_binary() -> Result<PathBuf> {
    if let (Some(cargo), Some(package)) = (env::var_os("CARGO"), env::var_os("CARGO_MANIFEST_DIR"))
    {
        let mut build = Command::new(cargo);
        build.args(["build", "--quiet", "--package", "tenure", "--bin", "tenure"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let status = build.current_dir(package).status()?;
        ensure!(status.success(), "the server cannot be built");
    }
    let binary = env::current_exe()?.with_file_name(format!("tenure{}", env::consts::EXE_SUFFIX));
    fs::metadata(&binary).with_context(|| {
        let looked_at = binary.display();
        format!("no server at {looked_at}; build one, or name it with --binary or --server")
    })?;
    Ok(binary)
}

/// Where `bench/guided-build` puts its server, when this one is built into the same folder.
///
/// # Errors
/// This binary does not know where it is.
pub fn guided_beside_this_binary() -> Result<PathBuf> {
    let own = env::current_exe()?;
    let target = own.ancestors().nth(2);
    let target = target.context("this binary lies in no folder of builds")?;
    Ok(target.join("guided/tenure"))
}
