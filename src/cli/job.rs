//! A command as a job of its own: a group of processes that gets signals together, and the terminal while it runs.
//!
//! Knows no lock. A shell does the same with what is typed into it: the group is the terminal's foreground, so that
//! Ctrl-C reaches the command and it can read; when it is suspended so are we, and we go on together.
//!
//! Rule: when [`Job::stop`] is done, no process of the group runs any more.

use std::io::{self, IsTerminal as _, stdin};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};
use tokio::signal::unix::{self, SignalKind};
use tokio::time::{sleep, timeout};

/// How often to look whether a group is gone whose leader is.
const LOOK: Duration = Duration::from_millis(10);

/// See the header of this file.
pub(super) struct Job {
    /// The process that was started, whose number is the group's.
    leader: Pid,
    /// What it ended with.
    ended: Option<u8>,
    /// Whether stdin is a terminal that was ours when it started.
    has_terminal: bool,
    changes: unix::Signal,
    continued: unix::Signal,
}

impl Job {
    /// Starts the command.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        // Before it starts, so that no change is missed.
        let changes = unix::signal(SignalKind::child())?;
        let continued = unix::signal(SignalKind::from_raw(Signal::SIGCONT as i32))?;
        let has_terminal = stdin().is_terminal() && foreground() == Some(getpgrp());
        let child = command.process_group(0).spawn()?;
        let leader = i32::try_from(child.id()).map_err(io::Error::other)?;
        let job = Self {
            leader: Pid::from_raw(leader),
            ended: None,
            has_terminal,
            changes,
            continued,
        };
        job.resume();
        Ok(job)
    }

    /// Waits for the end of the command: its exit status, or 128 and the number of the signal that ended it. Cancel-safe.
    pub(super) async fn ended(&mut self) -> io::Result<u8> {
        loop {
            if let Some(status) = self.look()? {
                return Ok(status);
            }
            tokio::select! {
                _ = self.changes.recv() => {}
                _ = self.continued.recv() => self.resume(),
            }
        }
    }

    /// Sends a signal to every process of the group.
    pub(super) fn signal(&self, signal: Signal) {
        // None is left to get it: as good.
        let _ = killpg(self.leader, signal);
    }

    /// Ends every process of the group: asks with SIGTERM, and insists with SIGKILL after a while.
    pub(super) async fn stop(&mut self, kill_after: Duration) -> io::Result<()> {
        self.signal(Signal::SIGTERM);
        // Who is suspended has to wake up to hear it.
        self.signal(Signal::SIGCONT);
        let gone = async {
            self.ended().await?;
            while killpg(self.leader, None).is_ok() {
                sleep(LOOK).await;
            }
            Ok(())
        };
        if let Ok(gone) = timeout(kill_after, gone).await {
            return gone;
        }
        self.signal(Signal::SIGKILL);
        self.ended().await.map(drop)
    }

    fn look(&mut self) -> io::Result<Option<u8>> {
        if self.ended.is_some() {
            return Ok(self.ended);
        }
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
        let change = waitpid(self.leader, Some(flags))?;
        let status = if let WaitStatus::Exited(_, status) = change {
            status
        } else if let WaitStatus::Signaled(_, signal, _) = change {
            128 + signal as i32
        } else {
            if let WaitStatus::Stopped(_, signal) = change {
                self.stopped(signal);
            }
            return Ok(None);
        };
        self.take_terminal_back();
        self.ended = Some(u8::try_from(status).unwrap_or(u8::MAX));
        Ok(self.ended)
    }

    /// The command was suspended at its terminal: so are we, until the shell continues us.
    fn stopped(&self, signal: Signal) {
        if !self.has_terminal {
            return;
        }
        let wants_terminal = [Signal::SIGTTIN, Signal::SIGTTOU].contains(&signal);
        let has_it = [Some(getpgrp()), Some(self.leader)].contains(&foreground());
        if !(wants_terminal && has_it) {
            self.take_terminal_back();
            let _ = killpg(getpgrp(), Signal::SIGTSTP);
            // Here we have been continued, or nobody is there who could.
        }
        // Otherwise it has only been quicker than we were.
        self.resume();
    }

    /// Gives the terminal to the command if it is ours to give, and lets it go on.
    fn resume(&self) {
        if self.has_terminal {
            if foreground() == Some(getpgrp()) {
                give_terminal(self.leader);
            }
            // It may have tried to read before it could.
            self.signal(Signal::SIGCONT);
        }
    }

    fn take_terminal_back(&self) {
        if self.has_terminal && foreground() == Some(self.leader) {
            give_terminal(getpgrp());
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.take_terminal_back();
    }
}

/// The group that the terminal takes signals and input for.
fn foreground() -> Option<Pid> {
    tcgetpgrp(stdin()).ok()
}

fn give_terminal(group: Pid) {
    // Who is in the background is suspended for this, unless the signal is blocked.
    let mut suspension = SigSet::empty();
    suspension.add(Signal::SIGTTOU);
    if suspension.thread_block().is_ok() {
        let _ = tcsetpgrp(stdin(), group);
        let _ = suspension.thread_unblock();
    }
}
