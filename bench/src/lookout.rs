//! Looking at many sockets without ever falling asleep.
//!
//! Whoever writes to a sleeping thread pays for waking the core that it sleeps on: on a virtual machine about as much as for
//! the write itself. So beside a generator that sleeps whenever it has nothing to do, a server is measured by how often that
//! is, and a quicker server pays more. The clients of a real one are on other machines, and their naps are not its business.
//! (Nor does the system wake anybody more precisely than to a millisecond, which an open loop needs.)

use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use mio::{Events, Poll};

/// Which sockets something has happened at. If it is nothing, whoever else wants this core has it for a while.
pub(crate) fn look_out(poll: &mut Poll, events: &mut Events) -> Result<()> {
    match poll.poll(events, Some(Duration::ZERO)) {
        Err(error) if error.kind() == ErrorKind::Interrupted => events.clear(),
        polled => polled?,
    }
    if events.is_empty() {
        thread::yield_now();
    }
    Ok(())
}
