//! The cases of the codec. Decoding begins at the payload of a frame; encoding appends a whole frame to a buffer that has
//! room for it, as the server's mostly have.

use std::hint::black_box;

use bytes::BytesMut;
use tenure_protocol::{
    Cause, FromClient, Grant, GrantKind, Holder, Mode, Push, RefusalReason, ReleaseScope, Reply,
    Request, Truth, frame, push, reply, request,
};

use crate::cases::BATCH;

/// An id, numbers and a path as they are in a server that has run for a while.
const ID: u64 = 1000;
const SESSION: u64 = 4711;
const TOKEN: u64 = 1_790_000_000_000_000;
const PATH: &str = "tickets/5f3a9c0d71e2b846";
/// Room for the answers of a batch.
const BUFFER_BYTES: usize = 1 << 16;

pub(crate) fn decode_acquire() -> Box<dyn FnMut()> {
    decode(&Request::LockAcquire(request::Acquire {
        session: SESSION,
        path: PATH,
        mode: Mode::Exclusive,
        wait_ms: 0,
        ttl_ms: Some(300_000),
        limit: None,
        note: None,
        seize: None,
        metadata: b"",
    }))
}

pub(crate) fn decode_release() -> Box<dyn FnMut()> {
    decode(&Request::LockRelease(request::Release {
        session: SESSION,
        path: PATH,
        scope: ReleaseScope::Session,
        token: None,
    }))
}

pub(crate) fn decode_renew() -> Box<dyn FnMut()> {
    decode(&Request::LockRenew(request::Renew {
        session: SESSION,
        path: PATH,
        ttl_ms: None,
        token: None,
    }))
}

pub(crate) fn encode_granted() -> Box<dyn FnMut()> {
    let grant = Grant {
        token: TOKEN,
        mode: Mode::Exclusive,
        ttl_ms: 300_000,
        remaining_ms: 300_000,
        kind: GrantKind::Fresh,
    };
    encode_reply(Reply::LockAcquire(reply::Acquire::Granted { grant }))
}

pub(crate) fn encode_released() -> Box<dyn FnMut()> {
    encode_reply(Reply::LockRelease(reply::Release::Ended))
}

pub(crate) fn encode_refused() -> Box<dyn FnMut()> {
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
    encode_reply(Reply::LockAcquire(reply::Acquire::Refused {
        reason: RefusalReason::Held,
        truth: Truth {
            mode: Some(Mode::Exclusive),
            limit: None,
            token: Some(TOKEN),
            holders: vec![holder],
            holder_count: 1,
            waiters: 3,
        },
    }))
}

pub(crate) fn encode_lost() -> Box<dyn FnMut()> {
    let push = Push::LockLost(push::Lost {
        session: SESSION,
        path: PATH,
        token: TOKEN,
        cause: Cause::Expired,
    });
    encode(move |out| push.encode(out))
}

fn decode(request: &Request<'_>) -> Box<dyn FnMut()> {
    let mut frame = BytesMut::new();
    request.encode(ID, &mut frame);
    let payload = frame.split_off(frame::HEADER);
    Box::new(move || {
        for _ in 0..BATCH {
            let looked = FromClient::lend(black_box(&payload), |id, request| {
                black_box((id, request));
            });
            assert!(looked.is_ok());
        }
    })
}

fn encode_reply(reply: Reply<'static>) -> Box<dyn FnMut()> {
    encode(move |out| black_box(&reply).encode(ID, out))
}

fn encode(one: impl Fn(&mut BytesMut) -> usize + 'static) -> Box<dyn FnMut()> {
    let mut out = BytesMut::with_capacity(BUFFER_BYTES);
    Box::new(move || {
        out.clear();
        for _ in 0..BATCH {
            one(black_box(&mut out));
        }
    })
}
