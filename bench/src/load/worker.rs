//! One thread of the generator: waits for its sockets, and has each do what it can.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use mio::{Events, Interest, Poll, Token};

use super::connection::Connection;
use super::course::{Course, Tally};
use super::{Phase, Shared};

/// How long a thread waits before it looks whether the run has come to its end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A server that is silent for this long has stopped answering.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// See the file's header.
pub(crate) struct Worker<'s> {
    shared: &'s Shared,
    course: Course,
    poll: Poll,
    connections: Vec<Connection>,
}

impl<'s> Worker<'s> {
    pub(crate) fn new(shared: &'s Shared, course: Course) -> Result<Self> {
        Ok(Self {
            shared,
            course,
            poll: Poll::new().context("cannot wait for sockets")?,
            connections: Vec::new(),
        })
    }

    pub(crate) fn add(&mut self, mut connection: Connection) -> Result<()> {
        let token = Token(self.connections.len());
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll
            .registry()
            .register(&mut connection.stream, token, both)?;
        self.connections.push(connection);
        Ok(())
    }

    /// Runs until it is drained.
    pub(crate) fn run(mut self) -> Result<Tally> {
        let mut events = Events::with_capacity(1024);
        let mut phase = Phase::WarmUp;
        let mut heard = Instant::now();
        for connection in &mut self.connections {
            connection.begin(&mut self.course)?;
        }
        while phase != Phase::Drain || self.connections.iter().any(Connection::is_busy) {
            match self.poll.poll(&mut events, Some(LOOK_EVERY)) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            if self.shared.phase() != phase {
                phase = self.shared.phase();
                self.course.enter(phase);
            }
            if !events.is_empty() {
                heard = Instant::now();
            } else if heard.elapsed() > SILENCE_MAX {
                bail!("the server has stopped answering");
            }
            let before = self.course.pairs;
            for event in &events {
                let connection = &mut self.connections[event.token().0];
                if event.is_writable() {
                    connection.write()?;
                }
                if event.is_readable() {
                    connection.read(&mut self.course)?;
                }
            }
            let fresh = self.course.pairs - before;
            self.shared.pairs.fetch_add(fresh, Ordering::Relaxed);
        }
        Ok(self.course.into_tally())
    }
}
