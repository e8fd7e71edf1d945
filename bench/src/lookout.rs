//! Looking at many sockets, and falling asleep late.
//!
//! Whoever writes to a sleeping thread pays for waking the core that it sleeps on: on a virtual machine about as much as for
//! the write itself. So beside a generator that sleeps whenever it has nothing to do, a server is measured by how often that
//! is, and a quicker server pays more. The clients of a real one are on other machines, and their naps are not its business.
//! But whoever never sleeps takes a core from a server with several threads, and from its disk. So it is looked for a while
//! that is longer than a busy server lets anybody wait, and whoever else wants the core has it meanwhile.

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use mio::{Events, Poll, Registry};

use crate::cpu::CpuTime;

/// How long a generator looks in vain before it sleeps, unless it is told otherwise.
pub const AWAKE: Duration = Duration::from_micros(50);

/// How long is slept at most, since the end of a run wakes nobody.
const ASLEEP: Duration = Duration::from_millis(100);

/// See the file's header.
pub(crate) struct Lookout {
    poll: Poll,
    /// How long it looks in vain before it sleeps, if it may.
    awake: Option<Duration>,
    /// When something was seen last.
    seen: Instant,
    /// The thread's processor time when it began to look in vain, if that is what it does.
    idle: Option<Duration>,
    in_vain: Duration,
}

impl Lookout {
    /// One that falls asleep after so long, or not at all: the system wakes nobody more precisely than to a millisecond, so
    /// whoever has something to do at its time cannot sleep.
    pub(crate) fn new(awake: Option<Duration>) -> Result<Self> {
        Ok(Self {
            poll: Poll::new().context("cannot look at sockets")?,
            awake,
            seen: Instant::now(),
            idle: None,
            in_vain: Duration::ZERO,
        })
    }

    /// Where sockets are put under its eyes.
    pub(crate) fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Looks which sockets something has happened at. There may be none.
    pub(crate) fn look(&mut self, events: &mut Events) -> Result<()> {
        let began = Instant::now();
        let sleeps = self.awake.is_some_and(|awake| began - self.seen > awake);
        let within = if sleeps { ASLEEP } else { Duration::ZERO };
        if sleeps {
            self.end_idleness();
        }
        match self.poll.poll(events, Some(within)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => events.clear(),
            polled => polled?,
        }
        if !events.is_empty() {
            self.seen = began;
            self.end_idleness();
        } else if !sleeps {
            if self.idle.is_none() {
                self.idle = CpuTime::of_this_thread();
            }
            thread::yield_now();
        }
        Ok(())
    }

    fn end_idleness(&mut self) {
        if let Some(idle) = self.idle.take() {
            let now = CpuTime::of_this_thread().unwrap_or(idle);
            self.in_vain += now.saturating_sub(idle);
        }
    }

    /// Processor time for which it has looked in vain since this was last asked. What it takes to fall asleep and to wake up is
    /// not among that.
    pub(crate) fn in_vain(&mut self) -> Duration {
        std::mem::take(&mut self.in_vain)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    use mio::{Interest, Token};

    use super::*;

    #[test]
    fn what_happens_is_seen_and_looking_in_vain_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut other = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (own, _) = listener.accept().unwrap();
        own.set_nonblocking(true).unwrap();
        let mut own = mio::net::TcpStream::from_std(own);
        let (mut lookout, mut events) =
            (Lookout::new(Some(AWAKE)).unwrap(), Events::with_capacity(4));
        let registry = lookout.registry();
        registry
            .register(&mut own, Token(7), Interest::READABLE)
            .unwrap();
        lookout.look(&mut events).unwrap();
        assert!(events.is_empty());
        other.write_all(b"?").unwrap();
        while events.is_empty() {
            lookout.look(&mut events).unwrap();
        }
        assert_eq!(events.iter().next().unwrap().token(), Token(7));
        assert!(lookout.in_vain() > Duration::ZERO);
    }
}
