//! What stands around a message: which it is, and which request it belongs to.
//!
//! A request is `[op, id, fields...]`, its reply the same, an error `[0, id, fields...]`, a push `[op, fields...]` with an
//! op from 128. Rule: a request whose op and id can be read is answered, however wrong the rest of it is.

use std::mem::{ManuallyDrop, needs_drop};

use bytes::BytesMut;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::catalog::{Push, PushKind, Reply, Request, RequestKind};
use crate::fault::{DecodeError, Fault};
use crate::message::{Body, ReadBody};
use crate::reader::{Fields, Reader};
use crate::writer::Writer;
use crate::{frame, reply};

/// The op of an error.
const ERROR: u64 = 0;
/// The lowest op of a push.
const FIRST_PUSH: u64 = 128;

/// A request as a server gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromClient<'a> {
    /// Chosen by the client, from 1.
    pub id: u64,
    /// What is asked. It has kept every bound.
    pub request: Request<'a>,
}

impl<'a> FromClient<'a> {
    /// Reads the payload of one frame.
    ///
    /// # Errors
    /// When it is not a request, or not one that keeps its bounds. See [`DecodeError::fails_connection`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        Self::lend(payload, |id, request| Self {
            id,
            request: request.clone(),
        })
    }

    /// As [`decode`](Self::decode), for a server that has very many requests and only looks at them: each is lent with its
    /// id where it lies, since to move it would cost about as much as to read it.
    ///
    /// # Errors
    /// As [`decode`](Self::decode); then nobody has looked.
    #[inline]
    pub fn lend<R>(
        payload: &'a [u8],
        look: impl FnOnce(u64, &Request<'a>) -> R,
    ) -> Result<R, DecodeError> {
        let (op, mut fields) = open(payload)?;
        let id = id(&mut fields).map_err(|fault| fault.of_message(Some(op), None))?;
        let lent = lend_request(
            op,
            fields,
            #[inline(always)]
            |request| look(id, request),
        );
        lent.map_err(|fault| fault.of_message(Some(op), Some(id)))
    }
}

impl Serialize for FromClient<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Envelope::request(self.id, &self.request).serialize(serializer)
    }
}

/// What a client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromServer<'a> {
    /// The answer to a request.
    Reply {
        /// The request's.
        id: u64,
        /// The answer.
        reply: Reply<'a>,
    },
    /// A request has failed.
    Error {
        /// The request's; 0 when it is about the connection.
        id: u64,
        /// Why.
        error: reply::Error<'a>,
    },
    /// Something unasked.
    Push(Push<'a>),
    /// Something unasked of a later version. It is to be ignored.
    UnknownPush {
        /// Its number.
        op: u64,
    },
}

impl<'a> FromServer<'a> {
    /// Reads the payload of one frame.
    ///
    /// # Errors
    /// When it is not a message of a server. One that answers a request says which.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let (op, mut fields) = open(payload)?;
        if op >= FIRST_PUSH {
            return push(op, fields).map_err(|fault| fault.of_message(Some(op), None));
        }
        let id = fields
            .take("id")
            .map_err(|fault| fault.of_message(Some(op), None))?;
        answer(op, id, fields).map_err(|fault| fault.of_message(Some(op), Some(id)))
    }
}

impl Serialize for FromServer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Reply { id, reply } => Envelope::reply(*id, reply).serialize(serializer),
            Self::Error { id, error } => Envelope::error(*id, error).serialize(serializer),
            Self::Push(push) => Envelope::push(push).serialize(serializer),
            Self::UnknownPush { op } => Envelope {
                op: *op,
                name: "unknown",
                id: None,
                body: &reply::Done {},
            }
            .serialize(serializer),
        }
    }
}

impl Request<'_> {
    /// Appends the request to `out` as a frame. Gives the length of the frame.
    pub fn encode(&self, id: u64, out: &mut BytesMut) -> usize {
        append(out, &Envelope::request(id, self))
    }

    /// Looks whether every field keeps its bounds, as the server will.
    ///
    /// # Errors
    /// Says which field does not.
    pub fn check(&self) -> Result<(), Fault> {
        self.check_body()
    }
}

impl Reply<'_> {
    /// Appends the reply to `out` as a frame: the answer to the request `id`. Gives the length of the frame.
    pub fn encode(&self, id: u64, out: &mut BytesMut) -> usize {
        self.encode_in_line(id, out)
    }

    /// As [`encode`](Self::encode), for a reply that is made where it is encoded: then the compiler knows which it is, and
    /// none is made, moved and looked at.
    #[inline(always)]
    pub fn encode_in_line(&self, id: u64, out: &mut BytesMut) -> usize {
        append(out, &Envelope::reply(id, self))
    }
}

impl reply::Error<'_> {
    /// Appends the error to `out` as a frame: the answer to the request `id`, or 0 when there is none. Gives the length
    /// of the frame.
    pub fn encode(&self, id: u64, out: &mut BytesMut) -> usize {
        append(out, &Envelope::error(id, self))
    }
}

impl Push<'_> {
    /// Appends the push to `out` as a frame. Gives the length of the frame.
    pub fn encode(&self, out: &mut BytesMut) -> usize {
        append(out, &Envelope::push(self))
    }
}

#[inline(always)]
fn append<B: Body>(out: &mut BytesMut, envelope: &Envelope<'_, B>) -> usize {
    frame::append(
        out,
        #[inline(always)]
        |out| envelope.put(&mut Writer::new(out)),
    )
}

/// A message with what stands around it, ready to be written.
struct Envelope<'m, B> {
    op: u64,
    name: &'static str,
    id: Option<u64>,
    body: &'m B,
}

impl<'m, 'a> Envelope<'m, Request<'a>> {
    fn request(id: u64, body: &'m Request<'a>) -> Self {
        let kind = body.kind();
        Self {
            op: kind.number(),
            name: kind.name(),
            id: Some(id),
            body,
        }
    }
}

impl<'m, 'a> Envelope<'m, Reply<'a>> {
    fn reply(id: u64, body: &'m Reply<'a>) -> Self {
        let kind = body.kind();
        Self {
            op: kind.number(),
            name: kind.name(),
            id: Some(id),
            body,
        }
    }
}

impl<'m, 'a> Envelope<'m, reply::Error<'a>> {
    const fn error(id: u64, body: &'m reply::Error<'a>) -> Self {
        Self {
            op: ERROR,
            name: "error",
            id: Some(id),
            body,
        }
    }
}

impl<'m, 'a> Envelope<'m, Push<'a>> {
    fn push(body: &'m Push<'a>) -> Self {
        let kind = body.kind();
        Self {
            op: kind.number(),
            name: kind.name(),
            id: None,
            body,
        }
    }
}

impl<B: Body> Envelope<'_, B> {
    #[inline(always)]
    fn put(&self, out: &mut Writer<'_>) {
        let own = 1 + usize::from(self.id.is_some());
        out.array(own + self.body.count());
        out.number(self.op);
        if let Some(id) = self.id {
            out.number(id);
        }
        self.body.put_fields(out);
    }
}

impl<B: Body> Serialize for Envelope<'_, B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("op", self.name)?;
        if let Some(id) = self.id {
            map.serialize_entry("id", &id)?;
        }
        self.body.entries(&mut map)?;
        map.end()
    }
}

/// Opens a message, and reads which it is.
#[inline(always)]
fn open(payload: &[u8]) -> Result<(u64, Fields<'_>), DecodeError> {
    let opened = Fields::open(Reader::new(payload));
    let opened = opened.and_then(|mut fields| Ok((fields.take("op")?, fields)));
    opened.map_err(|fault| fault.of_message(None, None))
}

/// The id of a request. 0 would be mistaken for "no request" in an error.
#[inline(always)]
fn id(fields: &mut Fields<'_>) -> Result<u64, Fault> {
    match fields.take("id")? {
        0 => Err(Fault::value("an id from 1", "0").within("id")),
        id => Ok(id),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the last arm is all that are rare"
)]
#[inline(always)]
fn lend_request<'a, R>(
    op: u64,
    fields: Fields<'a>,
    look: impl FnOnce(&Request<'a>) -> R,
) -> Result<R, Fault> {
    let kind = RequestKind::from_number(op).ok_or_else(|| Fault::operation(op))?;
    match kind {
        // Nearly all requests are one of these.
        RequestKind::LockAcquire => lend_body(fields, Request::LockAcquire, look),
        RequestKind::LockRelease => lend_body(fields, Request::LockRelease, look),
        RequestKind::LockRenew => lend_body(fields, Request::LockRenew, look),
        _ => lend_any(kind, fields, look),
    }
}

/// Lends a request of which it is known from here on which it is: nothing is packed up and looked at again.
#[inline(always)]
fn lend_body<'a, B: ReadBody<'a>, R>(
    mut fields: Fields<'a>,
    request: impl FnOnce(B) -> Request<'a>,
    look: impl FnOnce(&Request<'a>) -> R,
) -> Result<R, Fault> {
    const { assert!(!needs_drop::<B>(), "nothing is let go of") };
    let body = B::read_body(&mut fields)?;
    fields.finish()?;
    body.check_body()?;
    Ok(look(&ManuallyDrop::new(request(body))))
}

#[inline(never)]
fn lend_any<'a, R>(
    kind: RequestKind,
    fields: Fields<'a>,
    look: impl FnOnce(&Request<'a>) -> R,
) -> Result<R, Fault> {
    match Request::read(kind, fields) {
        Ok((ref request, fields)) => {
            fields.finish()?;
            request.check()?;
            Ok(look(request))
        }
        Err(fault) => Err(fault),
    }
}

fn answer<'a>(op: u64, id: u64, mut fields: Fields<'a>) -> Result<FromServer<'a>, Fault> {
    if op == ERROR {
        let error = reply::Error::read_body(&mut fields)?;
        fields.finish()?;
        return Ok(FromServer::Error { id, error });
    }
    let kind = RequestKind::from_number(op).ok_or_else(|| Fault::operation(op))?;
    let (reply, fields) = Reply::read(kind, fields)?;
    fields.finish()?;
    Ok(FromServer::Reply { id, reply })
}

fn push<'a>(op: u64, fields: Fields<'a>) -> Result<FromServer<'a>, Fault> {
    let Some(kind) = PushKind::from_number(op) else {
        return Ok(FromServer::UnknownPush { op });
    };
    let (push, fields) = Push::read(kind, fields)?;
    fields.finish()?;
    Ok(FromServer::Push(push))
}
