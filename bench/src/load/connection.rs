//! One connection under load: reads what is there, and writes in one go what follows from it. Its slots have one request in
//! flight each; what they ask is their courses' business, when they ask it in an open loop their worker's.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use mio::net::TcpStream;

use super::Phase;
use super::course::{Start, Step, Steps};
use super::worker::Desk;
use crate::dialect::{Answer, Ask, Conversation, Dialect, Outcome};

/// Bytes that are read at once, which is more than the answers of any sensible depth.
const READ_BYTES: usize = 64 * 1024;

/// See the file's header.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// Which one of its worker's.
    place: usize,
    dialect: Box<dyn Dialect>,
    slots: Vec<Slot>,
    /// Slots that have a request in flight. In an open loop the others wait for their time, and when all do, the connection.
    busy: u32,
    inbound: Vec<u8>,
    filled: usize,
    outbound: Vec<u8>,
    written: usize,
    answers: Vec<Answer>,
}

/// One of the requests that a connection has in flight.
struct Slot {
    steps: Box<dyn Steps>,
    /// What is in flight, or waits for its time.
    step: Step,
    /// When it was asked, or should have been.
    asked: Instant,
    is_waiting: bool,
}

impl Connection {
    /// One that has been introduced. `place` is which one of its worker's it will be.
    pub(crate) fn new(
        conversation: Conversation,
        dialect: Box<dyn Dialect>,
        slots: impl Iterator<Item = Box<dyn Steps>>,
        place: usize,
    ) -> Result<Self> {
        let (stream, read) = conversation.into_parts();
        stream.set_nonblocking(true)?;
        let mut inbound = vec![0; READ_BYTES];
        inbound[..read.len()].copy_from_slice(&read);
        let asked = Instant::now();
        let slots = slots.map(|mut steps| Slot {
            step: steps.next(),
            steps,
            asked,
            is_waiting: false,
        });
        Ok(Self {
            stream: TcpStream::from_std(stream),
            place,
            dialect,
            slots: slots.collect(),
            busy: 0,
            inbound,
            filled: read.len(),
            outbound: Vec::new(),
            written: 0,
            answers: Vec::new(),
        })
    }

    pub(crate) const fn is_busy(&self) -> bool {
        self.busy > 0
    }

    /// Has every slot ask what it asks first.
    pub(crate) fn begin(&mut self, desk: &mut Desk) -> Result<()> {
        let now = Instant::now();
        self.busy = self.slots.len() as u32;
        for number in 0..self.slots.len() as u32 {
            let first = self.slots[number as usize].step;
            self.busy -= 1;
            self.go_on(number, Some(first), now, desk);
        }
        self.write()
    }

    /// Has every slot ask what was due at this moment. All of them have waited for it.
    pub(crate) fn ask_all(&mut self, due: Instant) -> Result<()> {
        for (number, slot) in self.slots.iter_mut().enumerate() {
            (slot.is_waiting, slot.asked) = (false, due);
            let (ask, path) = (slot.step.ask, &slot.step.path);
            self.dialect
                .ask(number as u32, ask, path, &mut self.outbound);
        }
        self.busy = self.slots.len() as u32;
        self.write()
    }

    /// Has the slots that wait for their time let go of what they hold.
    pub(crate) fn end_waiting(&mut self, desk: &mut Desk) -> Result<()> {
        let now = Instant::now();
        for number in 0..self.slots.len() {
            let slot = &mut self.slots[number];
            if std::mem::take(&mut slot.is_waiting) {
                let last = slot.steps.last();
                self.go_on(number as u32, last, now, desk);
            }
        }
        self.write()
    }

    /// Reads all that is there, and asks on.
    pub(crate) fn read(&mut self, desk: &mut Desk) -> Result<()> {
        loop {
            let room = &mut self.inbound[self.filled..];
            let most = room.len();
            match self.stream.read(room) {
                Ok(0) => bail!("the server has closed the connection"),
                Ok(count) => {
                    self.filled += count;
                    self.take_answers(desk)?;
                    // A socket that gave less than it could is empty, and tells when it is not: no need to ask it.
                    if count < most {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the connection has failed"),
            }
        }
        self.write()
    }

    fn take_answers(&mut self, desk: &mut Desk) -> Result<()> {
        let now = Instant::now();
        let read = &self.inbound[..self.filled];
        let used = self.dialect.answers(read, &mut self.answers)?;
        self.inbound.copy_within(used..self.filled, 0);
        self.filled -= used;
        if self.filled == self.inbound.len() {
            bail!("the server has sent an answer of more than {READ_BYTES} bytes");
        }
        for index in 0..self.answers.len() {
            let Answer { slot, outcome } = self.answers[index];
            self.take_answer(slot, outcome, now, desk)?;
        }
        self.answers.clear();
        Ok(())
    }

    fn take_answer(
        &mut self,
        number: u32,
        outcome: Outcome,
        now: Instant,
        desk: &mut Desk,
    ) -> Result<()> {
        let slot = self
            .slots
            .get_mut(number as usize)
            .context("the server has answered what nobody asked")?;
        slot.steps.answered(&slot.step, outcome);
        let took = now.saturating_duration_since(slot.asked);
        desk.tally.answered(slot.step.ask, outcome, took);
        if outcome == Outcome::Queued {
            return Ok(());
        }
        if (slot.step.ask, outcome) == (Ask::Wait, Outcome::Done)
            && let Some(places_off) = slot.steps.places_off()
        {
            desk.tally.granted(places_off);
        }
        let next = match desk.tally.phase {
            Phase::Drain => slot.steps.last(),
            Phase::WarmUp | Phase::Measure => Some(slot.steps.next()),
        };
        self.busy -= 1;
        self.go_on(number, next, now, desk);
        Ok(())
    }

    /// A slot that has nothing in flight asks its next step, waits for its time, or is done.
    fn go_on(&mut self, number: u32, step: Option<Step>, now: Instant, desk: &mut Desk) {
        let Some(step) = step else { return };
        let slot = &mut self.slots[number as usize];
        slot.step = step;
        slot.asked = now;
        match &mut desk.pace {
            Some(pace) if step.start == Start::WhenDue => {
                slot.is_waiting = true;
                if self.busy == 0 {
                    pace.wait(self.place);
                }
            }
            _ => {
                self.busy += 1;
                self.dialect
                    .ask(number, step.ask, &step.path, &mut self.outbound);
            }
        }
    }

    /// Writes what there is to be written, as far as the socket takes it; the rest when it takes more.
    pub(crate) fn write(&mut self) -> Result<()> {
        while self.written < self.outbound.len() {
            match self.stream.write(&self.outbound[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the connection has failed"),
            }
        }
        self.outbound.clear();
        self.written = 0;
        Ok(())
    }
}
