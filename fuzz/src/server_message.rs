//! Bytes to replies, errors and pushes, as a client reads them. Must hold: what is read can be written and read again; what
//! is not says why, as with requests.

use bytes::BytesMut;
use tenure_protocol::{FromServer, frame};

use crate::request::says_why;

/// The bytes are the payload of one frame.
pub fn run(data: &[u8]) {
    match FromServer::decode(data) {
        Ok(message) => survives(&message),
        Err(error) => says_why(&error),
    }
}

fn survives(message: &FromServer<'_>) {
    let mut out = BytesMut::new();
    let length = match message {
        FromServer::Reply { id, reply } => reply.encode(*id, &mut out),
        FromServer::Error { id, error } => error.encode(*id, &mut out),
        FromServer::Push(push) => push.encode(&mut out),
        FromServer::UnknownPush { .. } => return,
    };
    assert_eq!(length, out.len());
    assert_eq!(
        FromServer::decode(&out[frame::HEADER..]).as_ref(),
        Ok(message)
    );
}
