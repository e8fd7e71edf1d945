//! Bytes to requests, as a server reads them. Must hold: what is read keeps its bounds, and can be written and read again;
//! what is not says why, in words that can be told, and without the payload.

use bytes::BytesMut;
use tenure_protocol::{DecodeError, ErrorCode, FromClient, FromServer, frame};

/// A text of an error is for a log line: longer than this, it would have a payload in it.
const ERROR_TEXT_MAX: usize = 400;

/// The bytes are the payload of one frame.
pub fn run(data: &[u8]) {
    match FromClient::decode(data) {
        Ok(message) => survives(&message),
        Err(error) => says_why(&error),
    }
}

fn survives(message: &FromClient<'_>) {
    assert_ne!(message.id, 0, "an error with id 0 is about the connection");
    assert_eq!(message.request.check(), Ok(()));
    let mut out = BytesMut::new();
    let length = message.request.encode(message.id, &mut out);
    assert_eq!(length, out.len());
    assert_eq!(
        FromClient::decode(&out[frame::HEADER..]).as_ref(),
        Ok(message)
    );
}

/// Also used for what a client reads.
pub(crate) fn says_why(error: &DecodeError) {
    let fault = &error.fault;
    assert!(
        !fault.expected().is_empty() && !fault.found().is_empty(),
        "{error}"
    );
    assert!(error.to_string().len() <= ERROR_TEXT_MAX, "{error}");
    if error.code() == ErrorCode::BadValue {
        assert!(fault.field().is_some(), "{error}");
    }
    let mut out = BytesMut::new();
    error.encode_reply(&mut out);
    let told = FromServer::decode(&out[frame::HEADER..]).expect("an error can be told");
    let FromServer::Error { id, error: read } = told else {
        panic!("an error is told as {told:?}");
    };
    assert_eq!(id, error.id.unwrap_or(0));
    assert_eq!(read.code, error.code());
    assert_eq!(read.field, fault.field());
    assert_eq!(read.message, fault.to_string());
}
