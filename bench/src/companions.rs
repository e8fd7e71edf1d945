//! Processes that end when this one does: dropped, interrupted, asked to end, or in a panic.
//!
//! Rule: whatever is started here is known to the one list below before anything can go wrong with it.

use std::collections::BTreeMap;
use std::io;
use std::panic;
use std::process::{Child, ChildStdout, Command, ExitStatus};
use std::thread;

use anyhow::{Context as _, Result};
use parking_lot::Mutex;
use tempfile::TempDir;

/// Exit status of a command that was interrupted, as shells have it.
const INTERRUPTED: i32 = 130;

/// All that run, by their process ids.
static RUNNING: Mutex<BTreeMap<u32, Running>> = Mutex::new(BTreeMap::new());

/// A process, and the folder that it works in. Both are gone when this is dropped.
#[derive(Debug)]
struct Running {
    child: Child,
    _folder: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A process that ends when this is dropped, and at the latest with the process that it is a companion of.
#[derive(Debug)]
pub struct Companion {
    pid: u32,
}

impl Companion {
    /// Starts it, in a temporary folder of its own.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(command: &mut Command, folder: TempDir) -> Result<Self> {
        let mut running = RUNNING.lock();
        let child = command
            .current_dir(folder.path())
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let pid = child.id();
        let _folder = folder;
        running.insert(pid, Running { child, _folder });
        Ok(Self { pid })
    }

    /// Its process id.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// What it says, for one listener.
    #[must_use]
    pub fn take_stdout(&self) -> Option<ChildStdout> {
        RUNNING.lock().get_mut(&self.pid)?.child.stdout.take()
    }

    /// How it has ended, if it has.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn ended(&self) -> io::Result<Option<ExitStatus>> {
        let mut running = RUNNING.lock();
        let process = running.get_mut(&self.pid);
        process.map_or(Ok(None), |process| process.child.try_wait())
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        let ended = RUNNING.lock().remove(&self.pid);
        // Outside of the lock: waiting for its end takes a moment.
        drop(ended);
    }
}

/// Has all companions end when this process is interrupted or panics. Once, before the first of them.
///
/// # Errors
/// Signals cannot be listened to.
pub fn end_with_this_process() -> Result<()> {
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        told(info);
        // A panic aborts a release build, so nothing is dropped. Whoever holds the list may be who panics.
        if let Some(mut running) = RUNNING.try_lock() {
            running.clear();
        }
    }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let entered = runtime.enter();
    let interrupted = interrupted().context("cannot listen to signals")?;
    drop(entered);
    thread::spawn(move || {
        runtime.block_on(interrupted);
        // Kept until the end, so that none is started meanwhile.
        let mut running = RUNNING.lock();
        running.clear();
        std::process::exit(INTERRUPTED);
    });
    Ok(())
}

/// Resolves when the process is asked to end. Listens from when this is called.
#[cfg(unix)]
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}

/// Resolves when the process is interrupted.
#[cfg(not(unix))]
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn a_companion_ends_when_it_is_dropped() {
        let mut command = Command::new("sleep");
        command.arg("60").stdin(Stdio::null());
        let folder = TempDir::new().unwrap();
        let path = folder.path().to_owned();
        let companion = Companion::start(&mut command, folder).unwrap();
        assert!(companion.ended().unwrap().is_none());
        assert!(path.exists());
        drop(companion);
        assert!(!path.exists(), "its folder goes with it");
    }
}
