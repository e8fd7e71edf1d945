//! What a subscription has for its reader: a bounded queue between the ledger, which never waits, and whoever reads.
//!
//! Knows neither the wire nor filters. Rule: what there is no room for is left out and told as lost, behind everything
//! that came before it and ahead of everything that comes after; so the reader sees the stream, or sees where it has a
//! hole.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::error::Error;
use crate::happened::{Event, LostWhy, Position, StreamEvent};

/// Bytes of events that wait for their reader at most, whatever their number.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// What an event costs beside its payload, about.
const EVENT_BYTES: usize = 256;

/// One subscription, shared by the ledger and its reader.
#[derive(Debug)]
pub(crate) struct Feed {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    queue: VecDeque<Item>,
    /// Items that may wait.
    room: usize,
    bytes: usize,
    /// What did not fit, until the reader has come so far.
    left_out: Option<LeftOut>,
    /// Up to where the reader has been given everything.
    position: Position,
    over: Over,
    reader: Option<Waker>,
}

#[derive(Debug)]
enum Item {
    Event(StreamEvent),
    /// Nothing has happened up to here.
    Reached(Position),
}

#[derive(Debug, Default)]
struct LeftOut {
    events: Option<(LostWhy, Position)>,
    viewers: bool,
}

#[derive(Debug)]
enum Over {
    No,
    Ended(Error),
    Told,
}

impl Feed {
    /// A queue of so many events, at least one, from a position on.
    pub(crate) fn new(room: usize, position: Position) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                room: room.max(1),
                bytes: 0,
                left_out: None,
                position,
                over: Over::No,
                reader: None,
            }),
        })
    }

    /// Gives the reader an event. Never waits.
    pub(crate) fn tell(&self, event: StreamEvent) {
        self.change(|state| state.add(event));
    }

    /// Nothing that the subscription is for has happened up to here.
    pub(crate) fn reached(&self, position: Position) {
        self.change(
            |state| match (&mut state.left_out, state.queue.back_mut()) {
                (Some(left_out), _) => left_out.reached(position),
                (None, Some(Item::Reached(reached))) => *reached = position,
                (None, None) => state.position = position,
                (None, Some(Item::Event(_))) => state.queue.push_back(Item::Reached(position)),
            },
        );
    }

    /// Nothing follows any more.
    pub(crate) fn end(&self, why: Error) {
        self.change(|state| {
            if matches!(state.over, Over::No) {
                state.over = Over::Ended(why);
            }
        });
    }

    /// Up to where the reader has been given everything.
    pub(crate) fn position(&self) -> Position {
        self.state.lock().position
    }

    /// The next event; nothing when none can follow.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<Option<StreamEvent>> {
        let mut state = self.state.lock();
        if let Some(event) = state.take() {
            return Poll::Ready(Some(event));
        }
        if matches!(state.over, Over::Told) {
            return Poll::Ready(None);
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl State {
    fn add(&mut self, event: StreamEvent) {
        let bytes = bytes_of(&event);
        let is_full = self.queue.len() >= self.room || self.bytes + bytes > BYTES_MAX;
        if is_full || self.left_out.is_some() {
            self.left_out.get_or_insert_default().add(&event);
        } else {
            self.bytes += bytes;
            self.queue.push_back(Item::Event(event));
        }
    }

    fn take(&mut self) -> Option<StreamEvent> {
        while let Some(item) = self.queue.pop_front() {
            match item {
                Item::Reached(position) => self.position = position,
                Item::Event(event) => {
                    self.bytes -= bytes_of(&event);
                    self.passed(&event);
                    return Some(event);
                }
            }
        }
        if let Some(left_out) = &mut self.left_out {
            let event = left_out.take();
            if let Some(event) = event {
                self.passed(&event);
                return Some(event);
            }
            self.left_out = None;
        }
        match std::mem::replace(&mut self.over, Over::Told) {
            Over::Ended(why) => Some(StreamEvent::Ended { why }),
            before @ (Over::No | Over::Told) => {
                self.over = before;
                None
            }
        }
    }

    fn passed(&mut self, event: &StreamEvent) {
        if let Some(position) = position_of(event) {
            self.position = position;
        }
    }
}

impl LeftOut {
    fn add(&mut self, event: &StreamEvent) {
        match event {
            StreamEvent::Happened(happened) => {
                let why = self.events.map_or(LostWhy::SlowReader, |(why, _)| why);
                self.events = Some((why, happened.position));
            }
            // A hole before the recovery is a hole still.
            StreamEvent::Recovered { position } => self.reached(*position),
            StreamEvent::Lost { why, position } => self.events = Some((*why, *position)),
            StreamEvent::ViewersChanged(_) | StreamEvent::ViewersLost => self.viewers = true,
            // Made by the reader's side, or kept elsewhere.
            StreamEvent::StateBegins(_)
            | StreamEvent::Holds(_)
            | StreamEvent::Viewers(_)
            | StreamEvent::StateWhole(_)
            | StreamEvent::Ended { .. } => {}
        }
    }

    const fn reached(&mut self, position: Position) {
        if let Some((_, until)) = &mut self.events {
            *until = position;
        }
    }

    fn take(&mut self) -> Option<StreamEvent> {
        if let Some((why, position)) = self.events.take() {
            return Some(StreamEvent::Lost { why, position });
        }
        std::mem::take(&mut self.viewers).then_some(StreamEvent::ViewersLost)
    }
}

fn position_of(event: &StreamEvent) -> Option<Position> {
    match event {
        StreamEvent::Happened(happened) => Some(happened.position),
        StreamEvent::Recovered { position } | StreamEvent::Lost { position, .. } => Some(*position),
        StreamEvent::ViewersChanged(_)
        | StreamEvent::ViewersLost
        | StreamEvent::StateBegins(_)
        | StreamEvent::Holds(_)
        | StreamEvent::Viewers(_)
        | StreamEvent::StateWhole(_)
        | StreamEvent::Ended { .. } => None,
    }
}

fn bytes_of(event: &StreamEvent) -> usize {
    let inside = match event {
        StreamEvent::Happened(happened) => bytes_of_happened(&happened.event),
        StreamEvent::ViewersChanged(change) => (change.up.len() + change.gone.len()) * EVENT_BYTES,
        StreamEvent::Recovered { .. }
        | StreamEvent::Lost { .. }
        | StreamEvent::ViewersLost
        | StreamEvent::StateBegins(_)
        | StreamEvent::Holds(_)
        | StreamEvent::Viewers(_)
        | StreamEvent::StateWhole(_)
        | StreamEvent::Ended { .. } => 0,
    };
    EVENT_BYTES + inside
}

fn bytes_of_happened(event: &Event) -> usize {
    let paths: usize = event.paths().iter().map(String::len).sum();
    if let Event::Published { payload, .. } = event {
        return paths + payload.len();
    }
    paths
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::error::ErrorKind;
    use crate::happened::Happened;

    const fn at(offset: u64) -> Position {
        Position { epoch: 7, offset }
    }

    fn published(offset: u64, bytes: usize) -> StreamEvent {
        StreamEvent::Happened(Arc::new(Happened {
            position: at(offset),
            at: SystemTime::UNIX_EPOCH,
            event: Event::Published {
                path: "a".to_owned(),
                event: "e".to_owned(),
                payload: vec![0; bytes],
                id: None,
            },
        }))
    }

    /// What the reader has been given, in short.
    fn read(feed: &Feed) -> Vec<String> {
        let mut given = Vec::new();
        while let Poll::Ready(Some(event)) = feed.poll(&Context::from_waker(Waker::noop())) {
            given.push(match event {
                StreamEvent::Happened(happened) => happened.position.offset.to_string(),
                StreamEvent::Recovered { position } => format!("recovered {}", position.offset),
                StreamEvent::Lost { why, position } => format!("{why} {}", position.offset),
                StreamEvent::ViewersLost => "viewers lost".to_owned(),
                StreamEvent::Ended { why } => why.kind().to_string(),
                other @ (StreamEvent::ViewersChanged(_)
                | StreamEvent::StateBegins(_)
                | StreamEvent::Holds(_)
                | StreamEvent::Viewers(_)
                | StreamEvent::StateWhole(_)) => format!("{other:?}"),
            });
        }
        given
    }

    #[test]
    fn what_fits_comes_in_order() {
        let feed = Feed::new(3, at(1));
        (2..=4).for_each(|offset| feed.tell(published(offset, 10)));
        assert_eq!(feed.position(), at(1));
        assert_eq!(read(&feed), ["2", "3", "4"]);
        assert_eq!(feed.position(), at(4));
    }

    #[test]
    fn what_does_not_fit_is_one_loss_where_the_hole_is() {
        let feed = Feed::new(2, at(0));
        (1..=5).for_each(|offset| feed.tell(published(offset, 10)));
        feed.reached(at(9));
        assert_eq!(read(&feed), ["1", "2", "slow_reader 9"]);
        feed.tell(published(10, 10));
        assert_eq!(read(&feed), ["10"], "from there on it is whole");
    }

    /// A reader that has made some room sees the hole before anything that came after it.
    #[test]
    fn nothing_overtakes_a_hole() {
        let feed = Feed::new(2, at(0));
        (1..=3).for_each(|offset| feed.tell(published(offset, 10)));
        let first = feed.poll(&Context::from_waker(Waker::noop()));
        assert!(matches!(first, Poll::Ready(Some(StreamEvent::Happened(_)))));
        feed.tell(published(4, 10));
        assert_eq!(read(&feed), ["2", "slow_reader 4"]);
    }

    #[test]
    fn memory_is_bounded_by_bytes_too() {
        let feed = Feed::new(1_000_000, at(0));
        (1..=1000).for_each(|offset| feed.tell(published(offset, 65_536)));
        let given = read(&feed);
        assert!(given.len() < 258, "{}", given.len());
        assert_eq!(given.last().map(String::as_str), Some("slow_reader 1000"));
    }

    #[test]
    fn a_loss_that_does_not_fit_keeps_its_reason_and_a_recovery_heals_none() {
        let feed = Feed::new(1, at(0));
        feed.tell(published(1, 10));
        feed.tell(StreamEvent::ViewersLost);
        feed.tell(StreamEvent::Lost {
            why: LostWhy::Epoch,
            position: at(3),
        });
        feed.tell(StreamEvent::Recovered { position: at(5) });
        assert_eq!(read(&feed), ["1", "epoch 5", "viewers lost"]);
    }

    #[test]
    fn a_quiet_position_counts_when_all_before_it_was_given() {
        let feed = Feed::new(8, at(0));
        feed.reached(at(3));
        assert_eq!(feed.position(), at(3));
        feed.tell(published(4, 10));
        feed.reached(at(7));
        feed.reached(at(9));
        assert_eq!(feed.position(), at(3));
        assert_eq!(read(&feed), ["4"]);
        assert_eq!(feed.position(), at(9));
    }

    #[test]
    fn the_end_comes_after_everything_and_once() {
        let feed = Feed::new(1, at(0));
        feed.tell(published(1, 10));
        feed.tell(published(2, 10));
        feed.end(Error::new(ErrorKind::Closed, ""));
        feed.end(Error::new(ErrorKind::Server, ""));
        assert_eq!(read(&feed), ["1", "slow_reader 2", "the client is closed"]);
        let next = feed.poll(&Context::from_waker(Waker::noop()));
        assert!(matches!(next, Poll::Ready(None)));
    }
}
