//! What is written can be read, and is the same.
//! Each sample, messages at random, and many frames in one buffer.

use bytes::BytesMut;
use proptest::prelude::*;
use tenure_protocol::{
    FromClient, FromServer, Holder, Mode, PushKind, RefusalReason, Reply, Request, RequestKind,
    Truth, frame, limits, reply, request,
};

use crate::samples::{self, Message};

#[test]
fn every_sample_survives_the_wire() {
    for sample in samples::all() {
        let bytes = sample.message.frame();
        let mut frames = frame::Frames::new(&bytes, limits::FRAME_FROM_CLIENT);
        let payload = frames.next().expect("a frame").expect("a sound one");
        assert_eq!(frames.consumed(), bytes.len());
        match &sample.message {
            Message::FromClient(message) => {
                assert_eq!(
                    FromClient::decode(payload).as_ref(),
                    Ok(message),
                    "{}",
                    sample.name
                );
            }
            Message::FromServer(message) => {
                assert_eq!(
                    FromServer::decode(payload).as_ref(),
                    Ok(message),
                    "{}",
                    sample.name
                );
            }
        }
    }
}

#[test]
fn every_request_reply_and_push_has_a_sample() {
    let samples = samples::all();
    let request = |kind: RequestKind| {
        samples.iter().any(|sample| {
            matches!(&sample.message, Message::FromClient(call) if call.request.kind() == kind)
        })
    };
    let reply = |kind: RequestKind| {
        samples.iter().any(|sample| {
            matches!(
                &sample.message,
                Message::FromServer(FromServer::Reply { reply, .. }) if reply.kind() == kind
            )
        })
    };
    let push = |kind: PushKind| {
        samples.iter().any(|sample| {
            matches!(
                &sample.message,
                Message::FromServer(FromServer::Push(push)) if push.kind() == kind
            )
        })
    };
    for &kind in RequestKind::ALL {
        assert!(request(kind), "no sample of the request {kind}");
        assert!(reply(kind), "no sample of the reply {kind}");
    }
    for &kind in PushKind::ALL {
        assert!(push(kind), "no sample of the push {kind}");
    }
}

#[test]
fn frames_are_taken_as_far_as_they_are_there() {
    let mut bytes = BytesMut::new();
    let ping = Request::Ping(request::Ping {});
    let whole: usize = (1..=3).map(|id| ping.encode(id, &mut bytes)).sum();
    let last = ping.encode(4, &mut bytes);
    let cut = &bytes[..whole + last - 1];

    let mut frames = frame::Frames::new(cut, limits::FRAME_BEFORE_HELLO);
    let ids = frames.by_ref().map(|frame| {
        let payload = frame.expect("they are sound");
        FromClient::decode(payload).expect("they are pings").id
    });
    assert_eq!(ids.collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(frames.consumed(), whole);

    let mut owned = BytesMut::from(cut);
    for id in 1..=3 {
        let payload = frame::cut(&mut owned, limits::FRAME_BEFORE_HELLO);
        let payload = payload.expect("it is sound").expect("it is there");
        assert_eq!(FromClient::decode(&payload).map(|call| call.id), Ok(id));
    }
    assert_eq!(frame::cut(&mut owned, limits::FRAME_BEFORE_HELLO), Ok(None));
    assert_eq!(owned.len(), last - 1, "what is not whole stays");
}

#[test]
fn nothing_is_taken_after_a_broken_frame() {
    let mut bytes = BytesMut::new();
    Request::Ping(request::Ping {}).encode(1, &mut bytes);
    bytes.extend_from_slice(&[0; 8]);
    let mut frames = frame::Frames::new(&bytes, limits::FRAME_BEFORE_HELLO);
    assert!(matches!(frames.next(), Some(Ok(_))));
    assert_eq!(frames.next(), Some(Err(frame::FrameError::Empty)));
    assert_eq!(frames.next(), None);
}

const NUMBER: std::ops::RangeInclusive<u64> = 0..=limits::NUMBER_MAX;

proptest! {
    #[test]
    fn any_acquire_survives_the_wire(
        (id, session) in (1..=limits::NUMBER_MAX, NUMBER),
        path in "[^/*\\pC]{1,60}(/[^/*\\pC]{1,60}){0,1}",
        (wait_ms, ttl_ms) in (1..=86_400_000_u64, proptest::option::of(1000..=86_400_000_u64)),
        limit in proptest::option::of(1..=4096_u32),
        note in proptest::option::of("\\PC{0,80}"),
        metadata in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let request = Request::LockAcquire(request::Acquire {
            session,
            path: &path,
            mode: Mode::Shared,
            wait_ms,
            ttl_ms,
            limit,
            note: note.as_deref(),
            seize: None,
            metadata: &metadata,
        });
        let mut out = BytesMut::new();
        request.encode(id, &mut out);
        let payload = frame::cut(&mut out, limits::FRAME_FROM_CLIENT).unwrap().unwrap();
        prop_assert!(out.is_empty());
        prop_assert_eq!(FromClient::decode(&payload), Ok(FromClient { id, request }));
    }

    #[test]
    fn any_refusal_survives_the_wire(
        id in 1..=limits::NUMBER_MAX,
        holders in proptest::collection::vec(
            (("\\PC{0,80}", "\\PC{0,300}"), any::<(u32, bool)>(), (NUMBER, NUMBER, NUMBER)),
            0..5,
        ),
        (holder_count, waiters) in any::<(u32, u32)>(),
    ) {
        let borrowed = holders.iter().map(|((owner, name), (sessions, orphaned), times)| Holder {
            owner,
            name,
            sessions: *sessions,
            orphaned: *orphaned,
            since: times.0,
            held_ms: times.1,
            remaining_ms: times.2,
            metadata: name.as_bytes(),
        });
        let truth = Truth { holders: borrowed.collect(), holder_count, waiters, ..Truth::default() };
        let reason = RefusalReason::Held;
        let reply = Reply::LockAcquire(reply::Acquire::Refused { reason, truth });
        let mut out = BytesMut::new();
        reply.encode(id, &mut out);
        let payload = frame::cut(&mut out, limits::FRAME_FROM_SERVER).unwrap().unwrap();
        prop_assert_eq!(FromServer::decode(&payload), Ok(FromServer::Reply { id, reply }));
    }
}
