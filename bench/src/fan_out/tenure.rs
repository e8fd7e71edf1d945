//! Tenure's streams: an event of the application's own, or what happens to a lock, at one path of one org.
//!
//! Subscribers only look at what a frame is: to decode a million events a second is their application's business.

use std::sync::Arc;

use anyhow::{Result, bail};
use bytes::BytesMut;
use tenure_protocol::frame::{self, Frames};
use tenure_protocol::{
    Filter, FromServer, Mode, PushKind, ReleaseScope, Reply, Request, Secret, VERSION, limits,
    request,
};

use super::feed::{Feed, Heard};
use crate::dialect::Conversation;

const ORG: &str = "bench";
const PATH: &str = "chat/42";
const EVENT: &str = "message";

/// What there is to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// Events of the application's own.
    Published,
    /// A lock that is acquired and released in turn.
    Lock,
}

/// See the file's header.
pub(super) struct TenureFeed {
    key: Option<Arc<str>>,
    told: Told,
    /// Its session, where it is about a lock, and whether that holds it.
    session: u64,
    holds: bool,
    frame: BytesMut,
}

impl TenureFeed {
    pub(super) fn new(key: Option<Arc<str>>, told: Told) -> Self {
        Self {
            key,
            told,
            session: 0,
            holds: false,
            frame: BytesMut::new(),
        }
    }

    /// Gives the number of the session, if that was what was asked for.
    fn ask(
        &mut self,
        request: &Request<'_>,
        conversation: &mut Conversation,
    ) -> Result<Option<u64>> {
        self.frame.clear();
        request.encode(1, &mut self.frame);
        conversation.exchange(&self.frame, |bytes| {
            let Some(payload) = frame::peek(bytes, limits::FRAME_FROM_SERVER)? else {
                return Ok(None);
            };
            let length = frame::HEADER + payload.len();
            match FromServer::decode(payload)? {
                FromServer::Reply {
                    reply: Reply::SessionOpen(opened),
                    ..
                } => Ok(Some((Some(opened.session), length))),
                FromServer::Reply { .. } => Ok(Some((None, length))),
                other @ (FromServer::Error { .. }
                | FromServer::Push(_)
                | FromServer::UnknownPush { .. }) => bail!("expected an answer, found {other:?}"),
            }
        })
    }
}

impl Feed for TenureFeed {
    fn open(&mut self, conversation: &mut Conversation) -> Result<()> {
        let key = self.key.clone();
        let hello = Request::Hello(request::Hello {
            version: VERSION,
            client: concat!("tenure-bench/", env!("CARGO_PKG_VERSION")),
            key: key.as_deref().map(Secret),
        });
        self.ask(&hello, conversation)?;
        if self.told == Told::Lock {
            let open = Request::SessionOpen(request::OpenSession {
                org: ORG,
                owner: "somebody",
                name: "",
                role: None,
                on_disconnect: None,
                metadata: b"",
            });
            self.session = self.ask(&open, conversation)?.unwrap_or_default();
        }
        Ok(())
    }

    fn subscribe(&mut self, conversation: &mut Conversation) -> Result<()> {
        let subscribe = Request::StreamSubscribe(request::Subscribe {
            org: ORG,
            filters: vec![Filter::parse(PATH)?],
            since: None,
            presence: false,
        });
        self.ask(&subscribe, conversation)?;
        Ok(())
    }

    fn publish(&mut self, payload: &[u8], out: &mut Vec<u8>) {
        let request = match self.told {
            Told::Published => Request::StreamPublish(request::Publish {
                org: ORG,
                path: PATH,
                event: EVENT,
                payload,
                event_id: None,
                session: None,
            }),
            Told::Lock => self.acquire_or_release(),
        };
        self.frame.clear();
        request.encode(1, &mut self.frame);
        out.extend_from_slice(&self.frame);
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<Heard> {
        let mut messages = 0;
        let mut frames = Frames::new(bytes, limits::FRAME_FROM_SERVER);
        for payload in frames.by_ref() {
            let payload = payload?;
            if is_event(payload) {
                messages += 1;
                continue;
            }
            match FromServer::decode(payload)? {
                FromServer::Reply { .. } | FromServer::UnknownPush { .. } => {}
                FromServer::Push(push) if push.kind() != PushKind::StreamGap => {}
                other @ (FromServer::Error { .. } | FromServer::Push(_)) => {
                    bail!("expected an event or an answer, found {other:?}")
                }
            }
        }
        Ok(Heard {
            messages,
            bytes: frames.consumed(),
        })
    }
}

impl TenureFeed {
    fn acquire_or_release(&mut self) -> Request<'static> {
        self.holds = !self.holds;
        if self.holds {
            Request::LockAcquire(request::Acquire {
                session: self.session,
                path: PATH,
                mode: Mode::Exclusive,
                wait_ms: 0,
                ttl_ms: None,
                limit: None,
                note: None,
                seize: None,
                metadata: b"",
            })
        } else {
            Request::LockRelease(request::Release {
                session: self.session,
                path: PATH,
                scope: ReleaseScope::Session,
                token: None,
            })
        }
    }
}

/// Whether a frame begins as an array whose first element is the number of the push.
fn is_event(payload: &[u8]) -> bool {
    let number = PushKind::StreamEvent.number() as u8;
    matches!(payload, [_, 0xcc, op, ..] if *op == number)
}

#[cfg(test)]
mod tests {
    use tenure_protocol::{Event, Push, push};

    use super::*;

    #[test]
    fn an_event_is_known_by_its_first_bytes() {
        let mut out = BytesMut::new();
        Push::StreamEvent(push::Happened {
            org: ORG,
            offset: 70_000,
            at_ms: 1,
            event: Event::Published {
                path: PATH,
                event: EVENT,
                payload: b"x",
                event_id: None,
            },
        })
        .encode(&mut out);
        assert!(is_event(&out[frame::HEADER..]));
        let first = out.len();
        Push::ServerPing(push::Ping {}).encode(&mut out);
        assert!(!is_event(&out[first + frame::HEADER..]));
        let heard = TenureFeed::new(None, Told::Published).hear(&out).unwrap();
        assert_eq!((heard.messages, heard.bytes), (1, out.len()));
    }
}
