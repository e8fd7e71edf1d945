//! A subscription as the document has it: what a client gives to whom, what it drops, and what it knows to be lost.
//!
//! Knows only what was heard, in order. Rule: an event is for a subscription if it matches and is above the last offset.

use tenure_protocol::{
    Event, Filter, FromServer, Position, Push, Recovery, Reply, Request, request,
};

use super::{Client, PATIENCE, within};

/// One subscription, and what it was told.
#[derive(Debug)]
pub(crate) struct Following {
    pub(crate) org: String,
    filters: Vec<String>,
    pub(crate) number: u64,
    /// Of the reply.
    pub(crate) position: Position,
    pub(crate) recovery: Recovery,
    /// The last offset.
    pub(crate) last: u64,
    pub(crate) events: Vec<(u64, Event<'static>)>,
    pub(crate) gaps: Vec<(u64, u64)>,
    /// Of what the client has heard, what was looked at.
    seen: usize,
}

impl Following {
    /// Where to go on after a reconnect.
    pub(crate) const fn since(&self) -> Position {
        Position {
            epoch: self.position.epoch,
            offset: self.last,
        }
    }

    pub(crate) fn offsets(&self) -> Vec<u64> {
        self.events.iter().map(|(offset, _)| *offset).collect()
    }

    fn matches(&self, event: &Event<'_>) -> bool {
        let filters = self.filters.iter();
        let mut filters = filters.map(|text| Filter::parse(text).unwrap());
        filters.any(|filter| event.matches(&filter))
    }

    /// Takes what the client has heard since the last time.
    pub(crate) fn catch_up(&mut self, client: &Client) {
        for heard in &client.heard()[self.seen..] {
            let FromServer::Push(push) = heard else {
                continue;
            };
            match push {
                Push::StreamEvent(happened)
                    if happened.org == self.org
                        && happened.offset > self.last
                        && self.matches(&happened.event) =>
                {
                    self.last = happened.offset;
                    self.events.push((happened.offset, happened.event.clone()));
                }
                Push::StreamPosition(reached) if reached.org == self.org => {
                    assert_eq!(reached.position.epoch, self.position.epoch);
                    self.last = self.last.max(reached.position.offset);
                }
                Push::StreamGap(gap) if gap.org == self.org => {
                    assert!(gap.from <= gap.to, "{gap:?}");
                    if gap.to > self.last {
                        self.gaps.push((gap.from, gap.to));
                        self.last = gap.to;
                    }
                }
                _ => {}
            }
        }
        self.seen = client.heard().len();
    }

    /// Hears until this offset is reached.
    pub(crate) async fn reach(&mut self, client: &mut Client, offset: u64) {
        let what = format!("offset {offset}");
        within(PATIENCE, &what, async {
            self.catch_up(client);
            while self.last < offset {
                assert!(client.hear().await, "the connection has ended");
                self.catch_up(client);
            }
        })
        .await;
    }
}

impl Client {
    /// Subscribes, and follows from the reply on.
    pub(crate) async fn follow(
        &mut self,
        org: &str,
        filters: &[&str],
        since: Option<Position>,
    ) -> Following {
        let subscribe = request::Subscribe {
            org,
            filters: filters
                .iter()
                .map(|text| Filter::parse(text).unwrap())
                .collect(),
            since,
            presence: false,
        };
        let id = self.send(Request::StreamSubscribe(subscribe)).await;
        let Reply::StreamSubscribe(reply) = self.answer(id).await.unwrap() else {
            panic!("the answer to another request");
        };
        let is_answer =
            |heard: &FromServer<'_>| matches!(heard, FromServer::Reply { id: of, .. } if *of == id);
        let answered = self.heard().iter().rposition(is_answer).unwrap();
        let last = match (reply.recovery, since) {
            (Recovery::Exact, Some(since)) => since.offset,
            _ => reply.position.offset,
        };
        Following {
            org: String::from(org),
            filters: filters.iter().map(ToString::to_string).collect(),
            number: reply.subscription,
            position: reply.position,
            recovery: reply.recovery,
            last,
            events: Vec::new(),
            gaps: Vec::new(),
            seen: answered + 1,
        }
    }
}
