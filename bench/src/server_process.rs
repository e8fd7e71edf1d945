//! A Tenure server of the run's own: started on a free port of this machine, ended with the run.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{env, fs};

use anyhow::{Context as _, Result, ensure};

/// What the server says on stdout before its address.
const ANNOUNCEMENT: &str = "tenure listens on ";

/// A running server. Ends when this is dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    address: SocketAddr,
}

impl ServerProcess {
    /// Starts a server, in memory mode and with its defaults but for the log and the ports.
    ///
    /// # Errors
    /// It does not start, or does not say where it listens.
    pub fn start(binary: &Path) -> Result<Self> {
        let mut command = Command::new(binary);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--admin", "off"])
            .args(["--log", "error", "--log-format", "text"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        for (variable, _) in env::vars_os() {
            if variable.to_string_lossy().starts_with("TENURE_") {
                command.env_remove(variable);
            }
        }
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        // From here on the child ends with this, whatever goes wrong.
        let mut process = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        process.address = process.read_address()?;
        Ok(process)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn read_address(&mut self) -> Result<SocketAddr> {
        let stdout = self
            .child
            .stdout
            .take()
            .context("the server has no stdout")?;
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            let announced = line.strip_prefix(ANNOUNCEMENT);
            if let Some(address) = announced.and_then(|rest| rest.split(';').next()) {
                return address.parse().context("the server listens nowhere");
            }
        }
        anyhow::bail!("the server ended before it said where it listens")
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
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
