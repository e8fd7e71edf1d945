//! What waits to be sent: one lane for each chat, in the order in which it was handed over, bounded as a whole.
//!
//! Pure: time is an argument. Rules: of a lane only the first is on its way, and the next begins when that one has ended, so
//! there is one order and one path; what is on its way is not taken back; a lane is there as long as somebody sees to it, so
//! that nothing waits in one that nobody looks into.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;

use super::types::ChatId;

/// See the file's header.
#[derive(Debug)]
pub(super) struct SendQueue<T> {
    bounds: Bounds,
    lanes: HashMap<ChatId, Lane<T>>,
    load: Load,
    is_closed: bool,
}

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

/// How much waits, what is on its way included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<Queued<T>>,
    /// Whether the first is on its way.
    begun: bool,
}

#[derive(Debug)]
struct Queued<T> {
    bytes: usize,
    since: Instant,
    what: T,
}

/// What there is to do after a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// Somebody has to see to the lane from here on, until [`SendQueue::begin`] gives nothing.
    LaneBegins,
    /// Somebody sees to it already.
    LaneGoesOn,
}

/// Why something cannot be queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotQueued {
    /// As much waits as may.
    Full,
    /// Nothing is taken any more.
    Closed,
}

impl<T: Clone> SendQueue<T> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            lanes: HashMap::new(),
            load: Load::default(),
            is_closed: false,
        }
    }

    /// Whether as much more may wait.
    pub(super) const fn has_room(&self, bytes: usize) -> bool {
        self.load.count < self.bounds.count
            && self.load.bytes.saturating_add(bytes) <= self.bounds.bytes
    }

    /// Puts something at the end of its chat's lane.
    pub(super) fn push(
        &mut self,
        now: Instant,
        chat: ChatId,
        bytes: usize,
        what: T,
    ) -> Result<Pushed, NotQueued> {
        if self.is_closed {
            return Err(NotQueued::Closed);
        }
        if !self.has_room(bytes) {
            return Err(NotQueued::Full);
        }
        self.load.count += 1;
        self.load.bytes += bytes;
        let queued = Queued {
            bytes,
            since: now,
            what,
        };
        if let Some(lane) = self.lanes.get_mut(&chat) {
            lane.waiting.push_back(queued);
            return Ok(Pushed::LaneGoesOn);
        }
        let lane = Lane {
            waiting: VecDeque::from([queued]),
            begun: false,
        };
        self.lanes.insert(chat, lane);
        Ok(Pushed::LaneBegins)
    }

    /// The next of a chat, which is on its way from here on. When there is none the lane is gone, and whoever sees to it is
    /// done.
    pub(super) fn begin(&mut self, chat: ChatId) -> Option<T> {
        let lane = self.lanes.get_mut(&chat)?;
        match lane.waiting.front() {
            Some(first) => {
                lane.begun = true;
                Some(first.what.clone())
            }
            None => {
                self.lanes.remove(&chat);
                None
            }
        }
    }

    /// What was on its way has ended, however it did.
    pub(super) fn finish(&mut self, chat: ChatId) -> Option<T> {
        let lane = self.lanes.get_mut(&chat).filter(|lane| lane.begun)?;
        lane.begun = false;
        let first = lane.waiting.pop_front()?;
        self.load.count -= 1;
        self.load.bytes -= first.bytes;
        Some(first.what)
    }

    /// Takes the first that fits out of a chat's lane, unless it is on its way.
    pub(super) fn take_back(&mut self, chat: ChatId, fits: impl Fn(&T) -> bool) -> Option<T> {
        let lane = self.lanes.get_mut(&chat)?;
        let on_its_way = usize::from(lane.begun);
        let at = lane
            .waiting
            .iter()
            .skip(on_its_way)
            .position(|queued| fits(&queued.what))?;
        let taken = lane.waiting.remove(on_its_way + at)?;
        self.load.count -= 1;
        self.load.bytes -= taken.bytes;
        Some(taken.what)
    }

    /// Takes everything, each lane in order, and takes nothing any more.
    pub(super) fn close(&mut self) -> Vec<T> {
        self.is_closed = true;
        self.load = Load::default();
        let mut lanes: Vec<(ChatId, Lane<T>)> = self.lanes.drain().collect();
        lanes.sort_by_key(|(chat, _)| *chat);
        lanes
            .into_iter()
            .flat_map(|(_, lane)| lane.waiting)
            .map(|queued| queued.what)
            .collect()
    }

    /// How much waits.
    pub(super) const fn load(&self) -> Load {
        self.load
    }

    /// Since when the oldest waits. Looks at each lane.
    pub(super) fn oldest(&self) -> Option<Instant> {
        let first = |lane: &Lane<T>| lane.waiting.front().map(|queued| queued.since);
        self.lanes.values().filter_map(first).min()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        count: 4,
        bytes: 100,
    };

    fn chat(number: u128) -> ChatId {
        ChatId(Uuid::from_u128(number))
    }

    #[test]
    fn one_is_on_its_way_and_the_lane_ends_with_the_last() {
        let mut queue = SendQueue::new(BOUNDS);
        let now = Instant::now();
        assert_eq!(queue.push(now, chat(1), 1, 'a'), Ok(Pushed::LaneBegins));
        assert_eq!(queue.push(now, chat(1), 1, 'b'), Ok(Pushed::LaneGoesOn));
        assert_eq!(queue.push(now, chat(2), 1, 'c'), Ok(Pushed::LaneBegins));
        assert_eq!(queue.begin(chat(1)), Some('a'));
        assert_eq!(queue.finish(chat(1)), Some('a'));
        assert_eq!(queue.begin(chat(1)), Some('b'));
        assert_eq!(queue.finish(chat(1)), Some('b'));
        // Between the end of the last and the look for the next, somebody still sees to it.
        assert_eq!(queue.push(now, chat(1), 1, 'd'), Ok(Pushed::LaneGoesOn));
        assert_eq!(queue.begin(chat(1)), Some('d'));
        queue.finish(chat(1));
        assert_eq!(queue.begin(chat(1)), None);
        assert_eq!(queue.push(now, chat(1), 1, 'e'), Ok(Pushed::LaneBegins));
    }

    #[test]
    fn count_and_bytes_are_bounded() {
        let mut queue = SendQueue::new(BOUNDS);
        let now = Instant::now();
        queue.push(now, chat(1), 60, 1).unwrap();
        assert_eq!(queue.push(now, chat(2), 41, 2), Err(NotQueued::Full));
        queue.push(now, chat(2), 10, 3).unwrap();
        queue.push(now, chat(2), 10, 4).unwrap();
        queue.push(now, chat(2), 10, 5).unwrap();
        assert_eq!(queue.push(now, chat(3), 1, 6), Err(NotQueued::Full));
        assert_eq!(queue.begin(chat(1)), Some(1));
        queue.finish(chat(1));
        queue.push(now, chat(3), 60, 6).unwrap();
        assert_eq!(queue.close(), [3, 4, 5, 6]);
        assert_eq!(queue.load(), Load::default());
        assert_eq!(queue.push(now, chat(1), 1, 7), Err(NotQueued::Closed));
        assert_eq!(queue.begin(chat(2)), None);
    }

    #[test]
    fn what_is_on_its_way_is_not_taken_back() {
        let mut queue = SendQueue::new(BOUNDS);
        let now = Instant::now();
        for what in ['a', 'b', 'c'] {
            queue.push(now, chat(1), 1, what).unwrap();
        }
        queue.begin(chat(1));
        assert_eq!(queue.take_back(chat(1), |what| *what == 'a'), None);
        assert_eq!(queue.take_back(chat(1), |what| *what == 'b'), Some('b'));
        queue.finish(chat(1));
        assert_eq!(queue.begin(chat(1)), Some('c'));
        assert_eq!(queue.load(), Load { count: 1, bytes: 1 });
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(u8, usize),
        Begin(u8),
        Finish(u8),
        TakeBack(u8, u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..3_u8, 1..40_usize).prop_map(|(chat, bytes)| Step::Push(chat, bytes)),
            (0..3_u8).prop_map(Step::Begin),
            (0..3_u8).prop_map(Step::Finish),
            (0..3_u8, 0..4_u8).prop_map(|(chat, at)| Step::TakeBack(chat, at)),
        ]
    }

    proptest! {
        /// Against vectors: what comes out is what went in, once, in the order of its chat, and the bounds hold.
        #[test]
        fn each_comes_out_once_and_in_order(steps in prop::collection::vec(step(), 1..200)) {
            let mut queue = SendQueue::new(BOUNDS);
            let now = Instant::now();
            let mut model: BTreeMap<u8, Vec<(usize, usize)>> = BTreeMap::new();
            let mut seen_to = [false; 3];
            let mut begun = [false; 3];
            let mut next = 0;
            for step in steps {
                match step {
                    Step::Push(of, bytes) => {
                        let all = model.values().flatten();
                        let (count, sum) = all.fold((0, 0), |(n, s), (_, b)| (n + 1, s + b));
                        let pushed = queue.push(now, chat(of.into()), bytes, next);
                        if count < BOUNDS.count && sum + bytes <= BOUNDS.bytes {
                            let expected = if seen_to[usize::from(of)] {
                                Pushed::LaneGoesOn
                            } else {
                                Pushed::LaneBegins
                            };
                            prop_assert_eq!(pushed, Ok(expected));
                            seen_to[usize::from(of)] = true;
                            model.entry(of).or_default().push((next, bytes));
                            next += 1;
                        } else {
                            prop_assert_eq!(pushed, Err(NotQueued::Full));
                        }
                    }
                    Step::Begin(of) => {
                        let first = model.get(&of).and_then(|lane| lane.first()).map(|(what, _)| *what);
                        prop_assert_eq!(queue.begin(chat(of.into())), first);
                        begun[usize::from(of)] = first.is_some();
                        if first.is_none() {
                            seen_to[usize::from(of)] = false;
                        }
                    }
                    Step::Finish(of) => {
                        let expected = begun[usize::from(of)].then(|| model.entry(of).or_default().remove(0).0);
                        prop_assert_eq!(queue.finish(chat(of.into())), expected);
                        begun[usize::from(of)] = false;
                    }
                    Step::TakeBack(of, at) => {
                        let lane = model.entry(of).or_default();
                        let at = usize::from(at);
                        let wanted = lane.get(at).map(|(what, _)| *what);
                        let taken = queue.take_back(chat(of.into()), |what| Some(*what) == wanted);
                        if at == 0 && begun[usize::from(of)] {
                            prop_assert_eq!(taken, None);
                        } else {
                            prop_assert_eq!(taken, wanted);
                            if wanted.is_some() {
                                lane.remove(at);
                            }
                        }
                    }
                }
            }
        }
    }
}
