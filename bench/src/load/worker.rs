//! One thread of the generator: looks at its sockets, and has each do what it can. In a closed loop it sleeps when it has
//! looked in vain for a while, in an open one never: what is due has to be asked in time.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use mio::{Events, Interest, Token};

use super::connection::Connection;
use super::pace::Pace;
use super::tally::Tally;
use super::{Phase, Shared};
use crate::lookout::Lookout;

/// A server that is silent for this long has stopped answering.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// See the file's header.
pub(crate) struct Worker<'s> {
    shared: &'s Shared,
    desk: Desk,
    lookout: Lookout,
    connections: Vec<Connection>,
}

/// What the connections of a worker share.
pub(crate) struct Desk {
    pub(crate) tally: Tally,
    /// In an open loop.
    pub(crate) pace: Option<Pace>,
}

impl<'s> Worker<'s> {
    /// One that asks at this pace, or as fast as it is answered, and then sleeps when it has looked in vain for so long.
    pub(crate) fn new(shared: &'s Shared, pace: Option<Pace>, awake: Duration) -> Result<Self> {
        Ok(Self {
            shared,
            lookout: Lookout::new(pace.is_none().then_some(awake))?,
            desk: Desk {
                tally: Tally::new()?,
                pace,
            },
            connections: Vec::new(),
        })
    }

    /// How many connections it has.
    pub(crate) const fn connection_count(&self) -> usize {
        self.connections.len()
    }

    pub(crate) fn add(&mut self, mut connection: Connection) -> Result<()> {
        let token = Token(self.connections.len());
        let both = Interest::READABLE | Interest::WRITABLE;
        self.lookout
            .registry()
            .register(&mut connection.stream, token, both)?;
        self.connections.push(connection);
        Ok(())
    }

    /// Runs until it is drained.
    pub(crate) fn run(mut self) -> Result<Tally> {
        let mut events = Events::with_capacity(1024);
        let mut heard = Instant::now();
        for connection in &mut self.connections {
            connection.begin(&mut self.desk)?;
        }
        while self.desk.tally.phase != Phase::Drain
            || self.connections.iter().any(Connection::is_busy)
        {
            self.lookout.look(&mut events)?;
            self.desk.tally.in_vain(self.lookout.in_vain());
            self.enter(self.shared.phase())?;
            if !events.is_empty() {
                heard = Instant::now();
            } else if heard.elapsed() > SILENCE_MAX {
                bail!("the server has stopped answering");
            }
            let before = self.desk.tally.progress;
            for event in &events {
                let connection = &mut self.connections[event.token().0];
                if event.is_writable() {
                    connection.write()?;
                }
                if event.is_readable() {
                    connection.read(&mut self.desk)?;
                }
            }
            self.ask_what_is_due()?;
            let fresh = self.desk.tally.progress - before;
            self.shared.operations.fetch_add(fresh, Ordering::Relaxed);
        }
        Ok(self.desk.tally)
    }

    fn enter(&mut self, phase: Phase) -> Result<()> {
        if phase == Phase::Drain
            && let Some(pace) = self.desk.pace.take()
        {
            let now = Instant::now();
            pace.overdue(now)
                .for_each(|late| self.desk.tally.overdue(late));
            self.desk.tally.phase = phase;
            for connection in &mut self.connections {
                connection.end_waiting(&mut self.desk)?;
            }
        }
        self.desk.tally.phase = phase;
        Ok(())
    }

    fn ask_what_is_due(&mut self) -> Result<()> {
        let Some(pace) = &mut self.desk.pace else {
            return Ok(());
        };
        let now = Instant::now();
        while let Some((place, due)) = pace.take_due(now) {
            self.connections[place].ask_all(due)?;
        }
        Ok(())
    }
}
