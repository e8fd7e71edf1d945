//! Every dialect against the real server, where that is on this machine: who holds a lock and who does not, which is what the
//! figures of a comparison stand on. A peer that is not here is skipped with a line that says so.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic in a test is its message, and a line is what a skipped one has"
)]

use std::time::Duration;

use tenure_bench::dialect::{Ask, Conversation, Dialect, Outcome, System};
use tenure_bench::fan_out::{self, FanOut};
use tenure_bench::paths::Path;
use tenure_bench::peers::{Peer, Spread};

/// Somebody on a connection of their own.
struct Somebody {
    conversation: Conversation,
    dialect: Box<dyn Dialect>,
}

impl Somebody {
    fn asks(&mut self, ask: Ask, path: &Path) -> Outcome {
        let mut out = Vec::new();
        self.dialect.ask(3, ask, path, &mut out);
        let (dialect, mut answers) = (&mut self.dialect, Vec::new());
        let answered = self.conversation.exchange(&out, |bytes| {
            let length = dialect.answers(bytes, &mut answers)?;
            Ok(answers.first().copied().map(|answer| (answer, length)))
        });
        let answer = answered.unwrap();
        assert_eq!(answer.slot, 3);
        answer.outcome
    }
}

/// A lock goes from one to another, and each is told the truth. Whether it says so when somebody renews what they do not
/// hold depends on what a peer renews.
fn a_lock_has_one_holder(peer: Peer) {
    if !peer.is_here() {
        println!("skipped: {peer} is not on this machine");
        return;
    }
    let server = peer.start(None).unwrap();
    let system: Box<dyn System> = peer.system(Spread::default());
    let mut both = (0..2).map(|number| {
        let mut dialect = system.dialect(number);
        let mut conversation = Conversation::connect(server.address()).unwrap();
        dialect.open(&mut conversation).unwrap();
        Somebody {
            conversation,
            dialect,
        }
    });
    let (mut ada, mut bob) = (both.next().unwrap(), both.next().unwrap());
    let path = Path::at(1);
    for _ in 0..2 {
        assert_eq!(ada.asks(Ask::Acquire, &path), Outcome::Done);
        assert_eq!(bob.asks(Ask::Acquire, &path), Outcome::Refused);
        assert_eq!(
            ada.asks(Ask::Acquire, &path),
            Outcome::Refused,
            "she has it"
        );
        assert_eq!(bob.asks(Ask::Release, &path), Outcome::Refused);
        assert_eq!(ada.asks(Ask::Renew, &path), Outcome::Done);
        if peer != Peer::Etcd {
            assert_eq!(bob.asks(Ask::Renew, &path), Outcome::Refused);
        }
        assert_eq!(ada.asks(Ask::Release, &path), Outcome::Done);
        assert_eq!(
            ada.asks(Ask::Release, &path),
            Outcome::Refused,
            "it is gone"
        );
        if peer != Peer::Etcd {
            assert_eq!(ada.asks(Ask::Renew, &path), Outcome::Refused, "it is gone");
        }
        assert_eq!(bob.asks(Ask::Acquire, &path), Outcome::Done);
        assert_eq!(bob.asks(Ask::Release, &path), Outcome::Done);
    }
}

#[test]
fn a_lock_in_redis_has_one_holder() {
    a_lock_has_one_holder(Peer::Redis);
}

#[test]
fn a_lock_in_valkey_has_one_holder() {
    a_lock_has_one_holder(Peer::Valkey);
}

#[test]
fn a_lock_in_etcd_has_one_holder() {
    a_lock_has_one_holder(Peer::Etcd);
}

#[test]
fn a_lock_in_nats_has_one_holder() {
    a_lock_has_one_holder(Peer::Nats);
}

/// Everybody hears of everything that is published, and nothing else counts.
fn all_who_listen_hear(peer: Peer, system: &fan_out::System) {
    if !peer.is_here() {
        println!("skipped: {peer} is not on this machine");
        return;
    }
    let server = peer.start(None).unwrap();
    for in_flight in [1, 16] {
        let fan_out = FanOut {
            address: server.address(),
            pid: Some(server.pid()),
            subscribers: 5,
            frozen: 1,
            in_flight,
            payload_bytes: 128,
            probe_rate: 50,
            warm_up: Duration::from_millis(20),
            duration: Duration::from_millis(200),
        };
        let measured = fan_out::measure(&fan_out, system).unwrap();
        assert!(measured.messages >= u64::from(in_flight));
        assert_eq!(measured.deliveries, 5 * measured.messages);
        assert_eq!(measured.to_the_last.len(), measured.messages);
    }
}

#[test]
fn redis_delivers_to_all_who_listen() {
    all_who_listen_hear(Peer::Redis, &fan_out::System::Redis);
}

#[test]
fn nats_delivers_to_all_who_listen() {
    all_who_listen_hear(Peer::Nats, &fan_out::System::Nats);
}
