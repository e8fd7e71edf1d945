//! Bytes that never change: what was written once is understood for good, and means the same.
//!
//! A line of `golden.txt` is a name and a record in hex. A command that is added gets a line; no line is ever changed.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use tenure::audit::Trail;
use tenure::journal::{
    Directory, Durability, Options, Parts, Record, Segment, SegmentHead, SnapshotHead, Step,
    Storage as _, Tail, bytes_max, go_on, no_rest, recover, segment_name,
};
use tenure_engine::{
    Acquire, AcquireAll, Attach, Command, Convert, Disconnect, ForceRelease, Item, LogTime, Millis,
    Mode, OpenSession, PolicyLayer, Release, ReleaseScope, Renew, ResumeKey, ResumeSession, Role,
    Scope, Seize, SessionId, SessionRef, Target, Token, WaitId, WallTime,
};

use crate::faulty::Faulty;

const BY: SessionRef = SessionRef {
    session: SessionId(300),
    attach: Attach(2),
};

const ITEMS: &[Item<'_>] = &[
    Item {
        path: "doc/1",
        mode: Mode::Exclusive,
        limit: None,
    },
    Item {
        path: "doc/2",
        mode: Mode::Shared,
        limit: Some(5),
    },
];

const LAYER: PolicyLayer = PolicyLayer {
    ttl_default: Some(Millis(1)),
    ttl_min: Some(Millis(2)),
    ttl_max: Some(Millis(70_000)),
    queue_max: Some(4),
    grace: Some(Millis(5)),
    release_on_disconnect: Some(false),
    sessions_max: Some(6),
    holds_max: Some(7),
    session_holds_max: Some(8),
    session_waits_max: Some(9),
};

fn opening(role: Role, on_disconnect: Disconnect) -> Command<'static> {
    Command::OpenSession(OpenSession {
        org: "acme",
        owner: "user-7",
        name: "Zoë",
        metadata: b"\x00\xff",
        role,
        resume_key: ResumeKey(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
        on_disconnect,
    })
}

fn forcing(target: Target<'static>, after: Option<&'static str>) -> Command<'static> {
    Command::ForceRelease(ForceRelease {
        org: "acme",
        target,
        after,
        reason: "fire drill",
        principal: "ops",
    })
}

/// Every command, and every sort of everything in it.
fn commands() -> Vec<(&'static str, Command<'static>)> {
    let mut all = of_sessions();
    all.extend(of_locks());
    all.extend(of_others());
    all
}

fn of_sessions() -> Vec<(&'static str, Command<'static>)> {
    let resume = |role| {
        Command::ResumeSession(ResumeSession {
            org: "acme",
            session: SessionId(300),
            resume_key: ResumeKey(1),
            role,
        })
    };
    vec![
        ("started", Command::Started),
        ("tick", Command::Tick),
        (
            "open-by-policy",
            opening(Role::Member, Disconnect::ByPolicy),
        ),
        (
            "open-release",
            opening(Role::Observer, Disconnect::Release(None)),
        ),
        (
            "open-release-grace",
            opening(Role::Moderator, Disconnect::Release(Some(Millis(30_000)))),
        ),
        ("open-keep", opening(Role::Admin, Disconnect::Keep)),
        ("resume", resume(Role::Member)),
        ("detach", Command::DetachSession(BY)),
        ("renew-session", Command::RenewSession(BY)),
        ("close", Command::CloseSession(BY)),
    ]
}

fn of_locks() -> Vec<(&'static str, Command<'static>)> {
    let acquire = Acquire {
        by: BY,
        path: "doc/quote-123",
        mode: Mode::Exclusive,
        limit: None,
        ttl: None,
        wait: Millis::ZERO,
        note: None,
        seize: None,
        metadata: b"",
    };
    let everything = Acquire {
        mode: Mode::Shared,
        limit: Some(3),
        ttl: Some(Millis(60_000)),
        wait: Millis(1 << 40),
        note: Some("please"),
        seize: Some(Seize {
            reason: "urgent",
            principal: "ops",
        }),
        metadata: b"{\"tab\":1}",
        ..acquire
    };
    let all = AcquireAll {
        by: BY,
        items: ITEMS,
        ttl: Some(Millis(1)),
        wait: Millis(2),
        metadata: b"m",
    };
    let (path, token) = ("doc/quote-123", Some(Token((1 << 53) - 1)));
    let release = |scope, token| {
        Command::Release(Release {
            by: BY,
            path,
            scope,
            token,
        })
    };
    let ttl = Some(Millis(5));
    let renew = |ttl, token| {
        Command::Renew(Renew {
            by: BY,
            path,
            ttl,
            token,
        })
    };
    let convert = |mode, limit, wait| {
        Command::Convert(Convert {
            by: BY,
            path,
            mode,
            limit,
            wait: Millis(wait),
        })
    };
    vec![
        ("acquire", Command::Acquire(acquire)),
        ("acquire-everything", Command::Acquire(everything)),
        ("acquire-all", Command::AcquireAll(all)),
        ("renew", renew(None, None)),
        ("renew-everything", renew(ttl, token)),
        ("release-session", release(ReleaseScope::Session, None)),
        ("release-owner", release(ReleaseScope::Owner, token)),
        ("convert-up", convert(Mode::Exclusive, None, 9)),
        ("convert-down", convert(Mode::Shared, Some(2), 0)),
    ]
}

fn of_others() -> Vec<(&'static str, Command<'static>)> {
    let (path, wait) = ("doc/quote-123", WaitId(70_000));
    let configure = |scope, layer| Command::Configure {
        scope,
        layer,
        principal: "ops",
    };
    vec![
        (
            "configure-server",
            configure(Scope::Server, PolicyLayer::default()),
        ),
        ("configure-org", configure(Scope::Org("acme"), LAYER)),
        (
            "configure-kind",
            configure(
                Scope::Kind {
                    org: "acme",
                    kind: "doc",
                },
                LAYER,
            ),
        ),
        ("settle", Command::Settle { org: "acme", path }),
        ("cancel", Command::Cancel { by: BY, wait }),
        (
            "hand-over",
            Command::HandOver {
                by: BY,
                path,
                to: None,
            },
        ),
        (
            "hand-over-to",
            Command::HandOver {
                by: BY,
                path,
                to: Some(wait),
            },
        ),
        (
            "decline",
            Command::Decline {
                by: BY,
                path,
                to: wait,
            },
        ),
        ("force-path", forcing(Target::Path(path), None)),
        (
            "force-prefix",
            forcing(Target::Prefix("doc/"), Some("doc/7")),
        ),
        ("force-owner", forcing(Target::Owner("user-7"), None)),
        (
            "force-session",
            forcing(Target::Session(SessionId(300)), None),
        ),
        ("force-all", forcing(Target::All, None)),
    ]
}

/// Each command in a record of its own, as the journal writes it; and first what a run begins with.
fn written() -> Vec<(&'static str, Vec<u8>)> {
    let disk = Faulty::default();
    let directory = Directory::on(Arc::new(disk.clone()), 2).unwrap();
    let mut recovered = recover(&directory, go_on).unwrap();
    let options = Options {
        durability: Durability::Always,
        segment_bytes: 1 << 20,
    };
    let first = (Token(1_763_000_000_000_000), WallTime(1_763_000_000_000));
    let mut parts = Parts::assemble(&directory, &mut recovered, first, options).unwrap();
    let appender = &mut parts.appenders[1];
    let mut names = vec!["tokens", "tokens-of-another-shard"];
    for (name, command) in commands() {
        appender.begin(bytes_max(&command), Token(5)).unwrap();
        appender.keep(&command);
        appender.finish(LogTime(86_400_000), WallTime(1_763_000_000_000), Token(5));
        names.push(name);
    }
    appender
        .mark_time(LogTime(86_400_001), WallTime(1_763_000_000_001))
        .unwrap();
    names.push("time");
    parts.writer.write().unwrap();
    let bytes = disk.read(&segment_name(1)).unwrap();
    let segment = Segment::read(&segment_name(1), &bytes, Some(0)).unwrap();
    let records = segment
        .blocks
        .iter()
        .flat_map(|block| segment.records(block).unwrap());
    let records: Vec<_> = records.map(|(_, record)| record.to_vec()).collect();
    assert_eq!(records.len(), names.len());
    names.into_iter().zip(records).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn golden() -> BTreeMap<&'static str, Vec<u8>> {
    let lines = include_str!("golden.txt").lines();
    let lines = lines.filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, bytes)| (name, unhex(bytes)))
        .collect()
}

#[test]
fn what_is_written_is_what_was_always_written() {
    let golden = golden();
    let written = written();
    let others = written
        .iter()
        .filter(|(name, record)| golden.get(name) != Some(record));
    let others: Vec<_> = others
        .map(|(name, record)| format!("{name} {}", hex(record)))
        .collect();
    assert!(
        others.is_empty(),
        "not in golden.txt:\n{}\n",
        others.join("\n")
    );
    assert_eq!(
        golden.len(),
        written.len(),
        "every line is of a record that is known here"
    );
}

#[test]
fn what_was_written_means_what_it_meant() {
    let golden = golden();
    for (name, command) in commands() {
        let record = Record::decode(&golden[name]).unwrap();
        assert_eq!(
            (record.head.shard, record.head.at, record.head.count),
            (1, 86_400_000, 1)
        );
        let mut met = 0;
        let lent = record.lend(|step| -> Result<(), Infallible> {
            match step {
                Step::Entry(entry) => assert_eq!(*entry.command, command, "{name}"),
                Step::Tokens { .. } => panic!("{name} is a command"),
            }
            met += 1;
            Ok(())
        });
        assert_eq!((lent, met), (Ok(()), 1));
    }
}

/// Cut anywhere, or with more behind it, it is none, and nothing panics; whatever else is changed, nothing panics.
#[test]
fn a_record_that_is_cut_or_longer_is_none() {
    for (name, record) in golden() {
        for cut in 0..record.len() {
            assert!(
                Record::decode(&record[..cut]).is_err(),
                "{name} cut to {cut} bytes"
            );
        }
        let mut longer = record.clone();
        longer.push(0);
        assert!(Record::decode(&longer).is_err(), "{name} and a byte");
        for at in 0..record.len() {
            for wrong in [0, 0x7f, 0x80, 0xc1, 0xdd, 0xff] {
                let mut damaged = record.clone();
                damaged[at] = wrong;
                if let Ok(record) = Record::decode(&damaged) {
                    let _ = record.lend(|_| Ok::<(), Infallible>(()));
                }
            }
        }
    }
}

#[test]
fn a_command_keeps_to_its_bound() {
    let written: BTreeMap<_, _> = written().into_iter().collect();
    for (name, command) in commands() {
        let (found, most) = (written[name].len(), bytes_max(&command));
        assert!(
            found <= most,
            "{name}: {found} bytes, expected at most {most}"
        );
    }
}

#[test]
fn a_segment_of_old_is_a_segment() {
    let head = SegmentHead {
        index: 3,
        behaviour: 1,
        shards: 8,
        salt: 0x1234_5678,
        binary: "0.1.0".to_owned(),
    };
    let begin = "54454e5552454a0a010000000100000008000000785634120300000000000000302e312e30";
    let bytes = head.encode();
    assert!(hex(&bytes).starts_with(begin), "{}", hex(&bytes[..40]));
    let mut segment = bytes.to_vec();
    // A block of one record, `abc`, which is the 100th, when 99 were on disk.
    segment.extend(unhex(BLOCK));
    let segment_name = segment_name(3);
    let read = Segment::read(&segment_name, &segment, Some(100)).unwrap();
    assert_eq!((&read.head, &read.tail), (&head, &Tail::Clean));
    let [block] = &*read.blocks else {
        panic!("one block, found {:?}", read.blocks)
    };
    assert_eq!((block.first, block.count, block.synced), (100, 1, 99));
    assert_eq!(read.records(block).unwrap()[0].1, b"abc");
}

const BLOCK: &str =
    "3e3b2a4d0700000064000000000000006300000000000000010000000000000003000000616263";

#[test]
fn a_snapshot_of_old_is_a_snapshot() {
    let head = SnapshotHead {
        behaviour: 1,
        shard: 5,
        shards: 8,
        segment: 3,
        number: 41,
        next: 100,
        at: 86_400_000,
        tokens_below: 1 << 50,
        binary: "0.1.0".to_owned(),
    };
    let disk = Faulty::default();
    head.store(&disk, (b"state", &Trail::default()), &mut no_rest)
        .unwrap();
    let bytes = disk.read("snapshot-00005-000000000003").unwrap();
    assert_eq!(hex(&bytes), SNAPSHOT);
    let (read, state, trail) = SnapshotHead::load("snapshot-00005-000000000003", &bytes).unwrap();
    assert_eq!(
        (read, state, trail),
        (head, &b"state"[..], Trail::default())
    );
}

const SNAPSHOT: &str = "4b5daaf254454e555245530a0100000001000000050000000800000003000000000000002900000000000000640000000000\
    0000005c26050000000000000000000004000500000000000000302e312e3000000000000000000000000000000000000000\
    0000000000000000000000007374617465";
