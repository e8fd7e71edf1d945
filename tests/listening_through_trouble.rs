//! Promises 5 and 7 as a service has them that depends on `tenure-client`: over connections that end at any moment each
//! event comes once and in order, or a loss is told; and whoever takes in what a subscription with state tells knows what
//! a list would say.
//!
//! The link ends abruptly, again and again, while things happen; what was on its way is gone.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message, also about what it does not expect"
)]

mod support;

use std::net::SocketAddr;

use support::{Board, Dice, Link, PATIENCE, TestServer, config, millis, seeds, within};
use tenure::config::Config;
use tenure_client::{Client, Event, LockGuard, Presence, Session, StreamEvent, Subscription};
use tenure_protocol::Filter;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const ORG: &str = "acme";
const PATHS: [&str; 5] = ["doc/a", "doc/b", "chat/1", "chat/1/notes", "x"];

async fn client(addr: SocketAddr) -> Client {
    Client::builder(addr.to_string())
        .back_off(millis(10), millis(20))
        .connect()
        .await
        .unwrap()
}

async fn publish(client: &Client, path: &str, event: &str) {
    client.publish(ORG, path, event, "").await.unwrap();
}

// Each event once, in order, or a loss.

/// What a subscription is told, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// What was published as this number.
    Event(usize),
    Lost,
}

/// All that a subscription is told until the last event comes.
async fn told(mut subscription: Subscription) -> Vec<Told> {
    let mut told = Vec::new();
    loop {
        match within(PATIENCE, "the last event", subscription.next()).await {
            Some(StreamEvent::Happened(happened)) => match &happened.event {
                Event::Published { event, .. } if event == "end" => return told,
                Event::Published { event, .. } => told.push(Told::Event(event.parse().unwrap())),
                other => panic!("nothing else happens: {other:?}"),
            },
            Some(StreamEvent::Recovered { .. }) => {}
            Some(StreamEvent::Lost { .. }) => told.push(Told::Lost),
            other => panic!("nothing else is told: {other:?}"),
        }
    }
}

/// Publishes at random while the link of those who listen is cut again and again. Gives each event's path.
async fn publish_and_cut(publisher: &Client, link: &Link, dice: &mut Dice) -> Vec<&'static str> {
    let mut published = Vec::new();
    for number in 0..400 {
        let path = dice.one_of(&PATHS);
        publish(publisher, path, &number.to_string()).await;
        published.push(path);
        if dice.below(20) == 0 {
            link.cut();
            tokio::time::sleep(millis(dice.below(15))).await;
        }
    }
    published
}

/// Everything between two losses is there, once and in order. What was lost last may reach to the end.
fn judge(told: &[Told], published: &[&str], filter: &Filter<'_>, seed: u64) {
    let mut next = 0;
    let mut is_whole = true;
    for told in told.iter().copied() {
        let Told::Event(number) = told else {
            is_whole = false;
            continue;
        };
        assert!(
            number >= next,
            "seed {seed}, {filter}: {number} comes late or twice"
        );
        assert!(
            filter.matches(published[number]),
            "seed {seed}, {filter}: {number} is not for it"
        );
        let missing = (next..number).find(|missing| filter.matches(published[*missing]));
        if is_whole && let Some(missing) = missing {
            panic!("seed {seed}, {filter}: {missing} is missing before {number}");
        }
        (next, is_whole) = (number + 1, true);
    }
    let missing = (next..published.len()).find(|missing| filter.matches(published[*missing]));
    if is_whole && let Some(missing) = missing {
        panic!("seed {seed}, {filter}: {missing} is missing at the end");
    }
}

/// Gives how often something was lost.
async fn listen_while_it_is_cut(seed: u64, kept: usize) -> usize {
    let mut dice = Dice::of(seed);
    let server = TestServer::with(Config {
        stream_events_max: kept,
        ..config()
    })
    .await;
    let link = Link::to(server.addr).await;
    let (publisher, listener) = (client(server.addr).await, client(link.addr).await);
    let filters =
        ["**", "doc/**", "chat/1", "chat/1/**", "x"].map(|text| Filter::parse(text).unwrap());
    let mut listening = Vec::new();
    for filter in filters {
        let subscribe = listener.subscribe(ORG, [filter.as_str(), "end"]);
        listening.push(tokio::spawn(told(subscribe.await.unwrap())));
    }
    let published = publish_and_cut(&publisher, &link, &mut dice).await;
    // More than once, since the end may be lost as well.
    while !listening.iter().all(JoinHandle::is_finished) {
        publish(&publisher, "end", "end").await;
        tokio::time::sleep(millis(20)).await;
    }
    let mut losses = 0;
    for (filter, listening) in filters.iter().zip(listening) {
        let told = listening.await.unwrap();
        judge(&told, &published, filter, seed);
        losses += told.iter().filter(|told| **told == Told::Lost).count();
    }
    losses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_comes_once_and_in_order() {
    for seed in seeds(4) {
        let losses = listen_while_it_is_cut(seed, 8192).await;
        assert_eq!(losses, 0, "seed {seed}: the server keeps all of it");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_longer_kept_is_a_loss_that_is_told() {
    let mut losses = 0;
    for seed in seeds(6) {
        losses += listen_while_it_is_cut(seed, 4).await;
    }
    assert!(losses > 0, "it tries what it is for");
}

// The state, and what changes it.

/// One who does something, at random.
struct Actor {
    session: Session,
    held: Vec<LockGuard>,
    here: Vec<Presence>,
}

impl Actor {
    async fn new(client: &Client, owner: &str) -> Self {
        Self {
            session: client.session(ORG, owner).await.unwrap(),
            held: Vec::new(),
            here: Vec::new(),
        }
    }

    async fn act(&mut self, dice: &mut Dice) {
        let path = dice.one_of(&PATHS);
        match dice.below(8) {
            0 | 1 => {
                let asked = self.session.try_acquire(path).shared(None).await.unwrap();
                self.held.extend(asked.granted());
            }
            2 => {
                let asked = self.session.try_acquire(path).await.unwrap();
                self.held.extend(asked.granted());
            }
            3 => drop(self.held.pop()),
            4 | 5 => self.here.push(self.session.enter(path).await.unwrap()),
            6 => {
                if let Some(here) = self.here.first() {
                    dice.one_of(&[Presence::idle, Presence::editing, Presence::viewing])(here);
                }
            }
            _ if self.here.is_empty() => {}
            _ => drop(
                self.here
                    .swap_remove(dice.below(self.here.len() as u64) as usize),
            ),
        }
    }
}

/// Gives how often something was lost.
async fn follow_while_it_is_cut(seed: u64, kept: usize) -> usize {
    let mut dice = Dice::of(seed);
    let server = TestServer::with(Config {
        stream_events_max: kept,
        ..config()
    })
    .await;
    let link = Link::to(server.addr).await;
    let (here, there) = (client(server.addr).await, client(link.addr).await);
    let subscribe = there.subscribe(ORG, ["doc/**", "chat/1", "chat/1/**", "x"]);
    let mut events = subscribe
        .with_presence()
        .with_state()
        .buffer(16)
        .await
        .unwrap();
    let mut actors = Vec::new();
    for owner in ["ada", "bob", "eve"] {
        actors.push(Actor::new(&here, owner).await);
    }
    let mut board = Board::default();
    let mut losses = 0;
    let mut take_in = |board: &mut Board, event: Option<StreamEvent>| {
        let event = event.unwrap();
        losses += usize::from(matches!(event, StreamEvent::Lost { .. }));
        board.take_in(event);
    };
    for _ in 0..300 {
        actors[dice.below(3) as usize].act(&mut dice).await;
        match dice.below(20) {
            0 => link.cut(),
            1 => tokio::time::sleep(millis(dice.below(150))).await,
            _ => {}
        }
        // A reader that is now quicker and now slower than what happens.
        for _ in 0..dice.below(4) {
            if let Ok(event) = timeout(millis(1), events.next()).await {
                take_in(&mut board, event);
            }
        }
    }
    let follows = async {
        loop {
            match timeout(millis(300), events.next()).await {
                Ok(event) => take_in(&mut board, event),
                Err(_) if board == Board::listed(&here, ORG).await => return,
                Err(_) => {}
            }
        }
    };
    if timeout(PATIENCE, follows).await.is_err() {
        let listed = Board::listed(&here, ORG).await;
        panic!("seed {seed}: expected\n{listed:?}, found\n{board:?}");
    }
    losses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_follows_knows_what_a_list_would_say() {
    for seed in seeds(4) {
        follow_while_it_is_cut(seed, 8192).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_follows_knows_it_after_losses_too() {
    let mut losses = 0;
    for seed in seeds(4) {
        losses += follow_while_it_is_cut(seed, 1).await;
    }
    assert!(losses > 0, "it tries what it is for");
}
