//! One publisher, many subscribers: how many deliveries a second, what each costs the server, and how long it takes until
//! the last has heard.
//!
//! ```text
//!  subscribe all -> warm up -> measure: publish, as long as fewer than so many messages are on their way to anybody
//!  a probe beside: acquire and release at a fixed rate, to see what the locks notice of it
//! ```
//!
//! A [`Feed`] is all that differs between systems. Rules: a message counts when every subscriber that reads has it; one that
//! does not come is no figure but an error.

mod feed;
mod link;
mod nats;
mod redis;
mod tenure;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use hdrhistogram::Histogram;
use mio::{Events, Interest, Token};

pub use self::feed::{Feed, Heard, System};
use self::link::Link;
use crate::cpu::CpuTime;
use crate::dialect::Conversation;
use crate::lookout::{AWAKE, Lookout};
use crate::scale::{Bulk, Shape};

/// A server that delivers nothing for this long has stopped.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Lifetime of the probe's locks, which it lets go of at once, and how many paths it goes through.
const PROBE_TTL: Duration = Duration::from_secs(60);
const PROBE_PATHS: u32 = 1000;

/// What is published, and to how many.
#[derive(Debug, Clone)]
pub struct FanOut {
    /// Where the server listens.
    pub address: SocketAddr,
    /// Its process, if its processor time is to be told.
    pub pid: Option<u32>,
    /// Connections that listen and read.
    pub subscribers: u32,
    /// Connections that listen and never read.
    pub frozen: u32,
    /// Messages that are on their way at most.
    pub in_flight: u32,
    /// Bytes of a message.
    pub payload_bytes: usize,
    /// Pairs of acquire and release a second beside; 0 for none.
    pub probe_rate: u32,
    /// How long before it is measured.
    pub warm_up: Duration,
    /// How long it is measured.
    pub duration: Duration,
}

/// What has come of it.
#[derive(Debug)]
pub struct Measured {
    /// How long it was measured.
    pub elapsed: Duration,
    /// Messages that everybody has heard.
    pub messages: u64,
    /// What the subscribers have heard of, each by itself.
    pub deliveries: u64,
    /// From the handing over of a message until the last subscriber has read it, in microseconds.
    pub to_the_last: Histogram<u64>,
    /// How long the probe's requests took, in microseconds.
    pub probe: Histogram<u64>,
    /// The server's processor time, its work for the probe included.
    pub server: Option<CpuTime>,
    /// This process's own, without what it looked in vain for.
    pub generator: Option<Duration>,
}

/// Publishes for so long, and tells what came of it.
///
/// # Errors
/// The server cannot be reached, answers with an error, or stops delivering.
pub fn measure(fan_out: &FanOut, system: &System) -> Result<Measured> {
    let mut hall = Hall::open(fan_out, system)?;
    let mut probe = system.crowd().map(|system| {
        let mut bulk = Bulk::connect(fan_out.address)?;
        let mut crowd = system.crowd(0, 1, Shape::InTheSession);
        crowd.open(&mut bulk)?;
        anyhow::Ok((bulk, crowd))
    });
    let is_over = AtomicBool::new(false);
    let (is_over, rate) = (&is_over, fan_out.probe_rate);
    thread::scope(|scope| {
        let probe = probe.take().filter(|_| rate > 0).transpose()?;
        let probe = probe.map(|(mut bulk, mut crowd)| {
            scope.spawn(move || {
                let (every, began) = (Duration::from_secs(1) / rate, Instant::now());
                let mut took = microseconds()?;
                for pair in 0.. {
                    let asked = began + every * pair;
                    thread::sleep(asked.saturating_duration_since(Instant::now()));
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let number = pair % PROBE_PATHS;
                    bulk.ask_all(crowd.as_mut(), number..number + 1, |crowd, number, out| {
                        crowd.acquire(number, PROBE_TTL, out);
                    })?;
                    // Whoever is asked late because of the pair before counts from when it should have been asked.
                    record(&mut took, asked.elapsed());
                    let asked = Instant::now();
                    bulk.ask_all(crowd.as_mut(), number..number + 1, |crowd, number, out| {
                        crowd.release(number, out);
                    })?;
                    record(&mut took, asked.elapsed());
                }
                anyhow::Ok(took)
            })
        });
        let measured = hall
            .run(fan_out.warm_up)
            .and_then(|_| hall.run(fan_out.duration));
        is_over.store(true, Ordering::Relaxed);
        let mut measured = measured?;
        if let Some(probe) = probe {
            measured.probe = probe.join().map_err(|_| anyhow!("a thread has failed"))??;
        }
        Ok(measured)
    })
}

/// The publisher and all who listen, in one thread.
struct Hall {
    lookout: Lookout,
    publisher: Link,
    subscribers: Vec<Link>,
    /// They are kept, and never looked at.
    _frozen: Vec<Link>,
    payload: Vec<u8>,
    in_flight: usize,
    pid: Option<u32>,
    /// The messages that somebody has still to hear: when each was published, and how many have not read it.
    on_their_way: VecDeque<(Instant, u32)>,
    /// How many messages were published before these.
    done: u64,
}

/// The publisher's token; a subscriber's is its number.
const PUBLISHER: Token = Token(usize::MAX - 1);

impl Hall {
    fn open(fan_out: &FanOut, system: &System) -> Result<Self> {
        let link = |listens: bool| {
            let mut conversation = Conversation::connect(fan_out.address)?;
            let mut feed = system.feed(fan_out.payload_bytes);
            feed.open(&mut conversation)?;
            if listens {
                feed.subscribe(&mut conversation)?;
            }
            Link::new(conversation, feed)
        };
        let links = |count: u32| (0..count).map(|_| link(true)).collect::<Result<Vec<_>>>();
        let mut hall = Self {
            lookout: Lookout::new(Some(AWAKE))?,
            publisher: link(false)?,
            subscribers: links(fan_out.subscribers)?,
            _frozen: links(fan_out.frozen)?,
            payload: vec![b'.'; fan_out.payload_bytes],
            in_flight: fan_out.in_flight.max(1) as usize,
            pid: fan_out.pid,
            on_their_way: VecDeque::new(),
            done: 0,
        };
        let registry = hall.lookout.registry();
        let both = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut hall.publisher.stream, PUBLISHER, both)?;
        for (number, subscriber) in hall.subscribers.iter_mut().enumerate() {
            registry.register(&mut subscriber.stream, Token(number), Interest::READABLE)?;
        }
        Ok(hall)
    }

    /// Publishes for so long, and then until everybody has heard everything.
    fn run(&mut self, duration: Duration) -> Result<Measured> {
        let mut measured = Measured {
            elapsed: Duration::ZERO,
            messages: 0,
            deliveries: 0,
            to_the_last: microseconds()?,
            probe: microseconds()?,
            server: None,
            generator: None,
        };
        let mut events = Events::with_capacity(1024);
        let began = Instant::now();
        let before = (self.pid.and_then(CpuTime::of), CpuTime::own());
        self.lookout.in_vain();
        let mut heard = began;
        while began.elapsed() < duration || !self.on_their_way.is_empty() {
            if began.elapsed() < duration {
                self.publish()?;
            }
            self.lookout.look(&mut events)?;
            for event in &events {
                if event.token() == PUBLISHER {
                    self.publisher.write()?;
                    self.publisher.read()?;
                } else {
                    self.hear(event.token().0, &mut measured)?;
                    heard = Instant::now();
                }
            }
            if heard.elapsed() > SILENCE_MAX {
                bail!(
                    "the server has stopped delivering: {} messages have not reached everybody",
                    self.on_their_way.len()
                );
            }
        }
        let since = |before: Option<CpuTime>, after: Option<CpuTime>| Some(after? - before?);
        measured.elapsed = began.elapsed();
        measured.server = since(before.0, self.pid.and_then(CpuTime::of));
        let generator = since(before.1, CpuTime::own()).map(CpuTime::total);
        measured.generator = generator.map(|spent| spent.saturating_sub(self.lookout.in_vain()));
        Ok(measured)
    }

    fn publish(&mut self) -> Result<()> {
        let now = Instant::now();
        while self.on_their_way.len() < self.in_flight {
            self.publisher.publish(&self.payload);
            let everybody = self.subscribers.len() as u32;
            self.on_their_way.push_back((now, everybody));
        }
        self.publisher.write()
    }

    fn hear(&mut self, number: usize, measured: &mut Measured) -> Result<()> {
        let subscriber = &mut self.subscribers[number];
        let known = subscriber.messages;
        subscriber.read()?;
        let fresh = subscriber.messages - known;
        measured.deliveries += fresh;
        let first = known.checked_sub(self.done);
        let first = first.context("a subscriber has fallen behind itself")? as usize;
        for place in first..first + fresh as usize {
            let message = self.on_their_way.get_mut(place);
            let (_, left) = message.context("a message came that was not published")?;
            *left -= 1;
        }
        let now = Instant::now();
        while let Some((published, 0)) = self.on_their_way.front() {
            record(&mut measured.to_the_last, now - *published);
            measured.messages += 1;
            self.done += 1;
            self.on_their_way.pop_front();
        }
        Ok(())
    }
}

fn microseconds() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_max(60_000_000, 3)?)
}

fn record(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(took.as_micros() as u64);
}
