//! What is written can be read, and is the same.

use tenure_protocol::{FromClient, FromServer, PushKind, RequestKind, frame, limits};

use crate::samples::{self, Message};

#[test]
fn every_sample_survives_the_wire() {
    for sample in samples::all() {
        let bytes = sample.message.frame();
        let mut frames = frame::Frames::new(&bytes, limits::FRAME_FROM_CLIENT);
        let payload = frames.next().expect("a frame").expect("a sound one");
        assert_eq!(frames.consumed(), bytes.len());
        let read = match &sample.message {
            Message::FromClient(_) => format!("{:?}", FromClient::decode(payload).map(Some)),
            Message::FromServer(_) => format!("{:?}", FromServer::decode(payload).map(Some)),
        };
        let written = match &sample.message {
            Message::FromClient(message) => format!("Ok(Some({message:?}))"),
            Message::FromServer(message) => format!("Ok(Some({message:?}))"),
        };
        assert_eq!(read, written, "{}", sample.name);
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
