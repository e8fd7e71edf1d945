//! What it costs to read and to write a message: the commonest requests, their answers, and a push.
//!
//! Decoding begins at the payload of a frame; encoding appends a whole frame to a buffer that has room for it, as the
//! server's buffers mostly have.

use std::hint::black_box;
use std::time::Duration;

use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tenure_bench::paths::Path;
use tenure_protocol::{
    FromClient, FromServer, Grant, GrantKind, Held, Holder, Mode, Push, RefusalReason, Reply,
    Request, Truth, frame, push, reply, request,
};

/// An id and numbers as they are in a server that has run for a while.
const ID: u64 = 1000;
const SESSION: u64 = 4711;
const TOKEN: u64 = 1_790_000_000_000_000;

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1));
    targets = requests, answers, pushes
}
criterion_main!(benches);

fn requests(c: &mut Criterion) {
    let path = Path::at(0);
    let acquire = Request::LockAcquire(request::Acquire {
        session: SESSION,
        path: path.as_str(),
        mode: Mode::Exclusive,
        wait_ms: 0,
        ttl_ms: Some(300_000),
        limit: None,
        note: None,
        seize: None,
        metadata: b"",
    });
    let renew = Request::LockRenew(request::Renew {
        session: SESSION,
        path: path.as_str(),
        ttl_ms: None,
        token: None,
    });
    for (name, request) in [("acquire", acquire), ("renew", renew)] {
        let encode = |out: &mut BytesMut| request.encode(ID, out);
        measure(c, name, encode, |payload| {
            FromClient::lend(payload, |id, request| {
                black_box((id, request));
            })
            .is_ok()
        });
    }
}

fn answers(c: &mut Criterion) {
    let granted = Reply::LockAcquire(reply::Acquire::Granted { grant: grant() });
    let holder = Holder {
        owner: "user-5f3a9c",
        name: "Ada Lovelace",
        sessions: 1,
        orphaned: false,
        since: 1_790_000_000_000,
        held_ms: 12_000,
        remaining_ms: 288_000,
        metadata: b"",
    };
    let refused = Reply::LockAcquire(reply::Acquire::Refused {
        reason: RefusalReason::Held,
        truth: Truth {
            mode: Some(Mode::Exclusive),
            limit: None,
            token: Some(TOKEN),
            holders: vec![holder],
            holder_count: 1,
            waiters: 3,
        },
    });
    for (name, reply) in [("granted", granted), ("refused", refused)] {
        let encode = |out: &mut BytesMut| reply.encode(ID, out);
        measure(c, name, encode, |payload| {
            black_box(FromServer::decode(payload)).is_ok()
        });
    }
}

fn pushes(c: &mut Criterion) {
    let path = Path::at(0);
    let granted = Push::LockGranted(push::Granted {
        session: SESSION,
        wait: 815,
        holds: vec![Held {
            path: path.as_str(),
            grant: grant(),
        }],
    });
    measure(
        c,
        "lock.granted",
        |out| granted.encode(out),
        |payload| black_box(FromServer::decode(payload)).is_ok(),
    );
}

const fn grant() -> Grant {
    Grant {
        token: TOKEN,
        mode: Mode::Exclusive,
        ttl_ms: 300_000,
        remaining_ms: 300_000,
        kind: GrantKind::Fresh,
    }
}

/// Measures both ways of one message, and that what is written can be read.
fn measure(
    c: &mut Criterion,
    name: &str,
    encode: impl Fn(&mut BytesMut) -> usize,
    decode: impl Fn(&[u8]) -> bool,
) {
    let mut out = BytesMut::with_capacity(4096);
    let length = encode(&mut out);
    let payload = out[frame::HEADER..].to_vec();
    assert!(decode(&payload), "{name} was written and cannot be read");

    let mut group = c.benchmark_group(format!("codec/{name}"));
    group.throughput(Throughput::Bytes(length as u64));
    group.bench_function("encode", |bencher| {
        bencher.iter(|| {
            out.clear();
            encode(black_box(&mut out))
        });
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| decode(black_box(&payload)));
    });
    group.finish();
}
