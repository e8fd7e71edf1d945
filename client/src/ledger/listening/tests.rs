//! A stream at random, a server that does whatever the protocol lets it, and readers that believe what they are told.
//! What must hold: nothing is missed in silence, nothing comes twice, and nothing out of order.

use std::task::{Context, Poll, Waker};

use super::*;

const PATHS: [&str; 4] = ["doc/a", "doc/b", "chat/1", "x"];
const FILTERS: [&str; 5] = ["doc/**", "doc/a", "**", "x", "chat/**"];

/// A stream as a server has it: which path each offset is at. It says nothing of what it keeps.
struct Truth {
    epoch: u64,
    paths: Vec<&'static str>,
}

impl Truth {
    fn position(&self) -> wire::Position {
        wire::Position {
            epoch: self.epoch,
            offset: self.paths.len() as u64,
        }
    }

    fn happen(&mut self) {
        self.paths.push(PATHS[fastrand::usize(..PATHS.len())]);
    }

    fn reached(&self, listening: &mut Listening, offset: u64) {
        let position = wire::Position {
            epoch: self.epoch,
            offset,
        };
        let org = "acme";
        listening.told_position(&push::Reached { org, position });
    }

    fn push(&self, listening: &mut Listening, offset: u64) {
        let event = wire::Event::Published {
            path: self.paths[offset as usize - 1],
            event: "e",
            payload: b"",
            event_id: None,
        };
        listening.told_happened(&push::Happened {
            org: "acme",
            offset,
            at_ms: 0,
            event,
        });
    }
}

/// A reader that believes what it is told: up to where it is whole, and what it was given.
struct Reader {
    feed: Arc<Feed>,
    filters: Filters,
    whole: Position,
    lost: usize,
}

impl Reader {
    /// Takes some of what is there, and complains of whatever does not fit the truth.
    fn read(&mut self, truth: &Truth, most: usize) {
        for _ in 0..most {
            let next = self.feed.poll(&Context::from_waker(Waker::noop()));
            let Poll::Ready(Some(event)) = next else {
                return;
            };
            match event {
                StreamEvent::Happened(happened) => {
                    let offset = happened.position.offset;
                    assert_eq!(happened.position.epoch, self.whole.epoch);
                    assert!(offset > self.whole.offset, "{offset} after {}", self.whole);
                    self.nothing_is_missing(truth, offset);
                    self.whole = happened.position;
                }
                StreamEvent::Recovered { position } => {
                    assert_eq!(position.epoch, self.whole.epoch);
                    self.nothing_is_missing(truth, position.offset + 1);
                }
                StreamEvent::Lost { position, .. } => {
                    self.lost += 1;
                    self.whole = position;
                }
                StreamEvent::ViewersChanged(_)
                | StreamEvent::ViewersLost
                | StreamEvent::StateBegins(_)
                | StreamEvent::Holds(_)
                | StreamEvent::Viewers(_)
                | StreamEvent::StateWhole(_)
                | StreamEvent::Ended { .. } => panic!("nothing of this was told"),
            }
        }
    }

    /// Nothing between what it has and this offset was for it.
    fn nothing_is_missing(&self, truth: &Truth, offset: u64) {
        if self.whole.epoch != truth.epoch {
            return;
        }
        for missing in self.whole.offset + 1..offset {
            let path = truth.paths[missing as usize - 1];
            assert!(
                !self.filters.matches(path),
                "{missing} {path} was left out in silence"
            );
        }
    }
}

fn subscribed(truth: &Truth, recovery: Recovery) -> wire::reply::Subscribed {
    wire::reply::Subscribed {
        subscription: 1,
        position: truth.position(),
        recovery,
        version: None,
    }
}

/// A subscription from now on, or from an earlier place.
fn add(listening: &mut Listening, truth: &Truth, since: Option<u64>) -> Reader {
    let texts = (0..2).map(|_| FILTERS[fastrand::usize(..FILTERS.len())].to_owned());
    let filters = Filters::parse(texts.collect()).expect("filters");
    let (epoch, top) = (truth.epoch, truth.position().offset);
    let since = since.map(|offset| Position { epoch, offset });
    let terms = SubscriptionTerms {
        org: "acme".into(),
        filters: filters.clone(),
        since,
        presence: false,
        room: fastrand::usize(1..20),
    };
    let recovery = since.map_or(Recovery::Fresh, |_| Recovery::Exact);
    let seed = listening.add(Arc::new(terms), &subscribed(truth, recovery));
    Reader {
        feed: seed.feed,
        filters,
        whole: since.unwrap_or(Position { epoch, offset: top }),
        lost: 0,
    }
}

/// A server that resumes each subscription from where it says, or not, and goes back to the least of these places.
/// Gives up to where it has sent everything.
fn reconnect(listening: &mut Listening, truth: &mut Truth) -> u64 {
    listening.disconnected();
    if fastrand::u8(..4) == 0 {
        *truth = Truth {
            epoch: truth.epoch + 1,
            paths: Vec::new(),
        };
    }
    for _ in 0..fastrand::usize(..20) {
        truth.happen();
    }
    let kept = fastrand::u64(0..=truth.position().offset);
    let mut sent = truth.position().offset;
    for subscription in listening.subscriptions.values_mut() {
        let since = subscription.last;
        let lost = |why| Recovery::Lost { why };
        let recovery = if since.epoch != truth.epoch {
            lost(wire::LostWhy::Epoch)
        } else if since.offset < kept {
            lost(wire::LostWhy::Trimmed)
        } else {
            sent = sent.min(since.offset);
            Recovery::Exact
        };
        subscription.goes_on(&subscribed(truth, recovery));
    }
    sent
}

/// Whatever a server may do within the protocol, a reader that believes what it is told misses nothing in silence,
/// gets nothing twice, and nothing out of order.
#[test]
fn random_histories_leave_no_hole_untold() {
    let (mut given, mut lost) = (0, 0);
    for seed in 0..300 {
        fastrand::seed(seed);
        let mut listening = Listening::default();
        let mut truth = Truth {
            epoch: 1,
            paths: Vec::new(),
        };
        let mut readers: Vec<_> = (0..3).map(|_| add(&mut listening, &truth, None)).collect();
        // Up to where the server has sent on this connection.
        let mut sent = 0;
        for _ in 0..200 {
            match fastrand::u8(..20) {
                0 => sent = reconnect(&mut listening, &mut truth),
                1 if sent < truth.position().offset => {
                    let to = fastrand::u64(sent + 1..=truth.position().offset);
                    listening.told_gap(&push::Gap {
                        org: "acme",
                        from: sent + 1,
                        to,
                    });
                    sent = to;
                }
                2 => readers.push(add(&mut listening, &truth, None)),
                4 => {
                    let since = fastrand::u64(0..=truth.position().offset);
                    readers.push(add(&mut listening, &truth, Some(since)));
                    sent = sent.min(since);
                }
                3 => truth.reached(&mut listening, sent),
                5..10 => truth.happen(),
                10..17 if sent < truth.position().offset => {
                    sent += 1;
                    truth.push(&mut listening, sent);
                }
                _ => {
                    let reader = fastrand::usize(..readers.len());
                    readers[reader].read(&truth, fastrand::usize(..8));
                }
            }
        }
        while sent < truth.position().offset {
            sent += 1;
            truth.push(&mut listening, sent);
        }
        for reader in &mut readers {
            reader.read(&truth, usize::MAX);
            reader.nothing_is_missing(&truth, truth.position().offset + 1);
            lost += reader.lost;
            given += usize::from(reader.whole.offset > 0);
        }
    }
    assert!(given > 300 && lost > 300, "{given} {lost}: it tries both");
}
