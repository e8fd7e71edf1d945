//! A crowd of Tenure: one connection that speaks for many sessions, as a service does.
//!
//! Rule: only a hold that was not there before counts as acquired, and only one that is over as released.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::BytesMut;
use tenure_protocol::frame::Frames;
use tenure_protocol::{
    Cause, FromServer, GrantKind, Mode, Push, ReleaseScope, Reply, Request, Secret, VERSION,
    limits, reply, request,
};

use super::{Bulk, Crowd, Heard, Shape};
use crate::paths::Path;

/// All holds are in one org, and so under one mutex: the worst case.
const ORG: &str = "bench";

/// Bytes of a hold's content.
const CONTENT_BYTES: usize = 52;

/// Bytes of a session's metadata.
const SESSION_METADATA_BYTES: usize = 80;

/// See the file's header.
pub(super) struct TenureCrowd {
    key: Option<Arc<str>>,
    connection: u32,
    shape: Shape,
    /// Their numbers as the server has given them, in the order in which they were opened; 0 before that.
    sessions: Vec<u64>,
}

impl TenureCrowd {
    pub(super) fn new(key: Option<Arc<str>>, connection: u32, sessions: u32, shape: Shape) -> Self {
        Self {
            key,
            connection,
            shape,
            sessions: vec![0; sessions as usize],
        }
    }

    fn open_session(&self, number: u32, out: &mut BytesMut) {
        let owner = format!("owner-{:03}-{number:06}", self.connection);
        let name = format!("Somebody {:03}-{number:06}", self.connection);
        let (name, metadata): (&str, &[u8]) = match self.shape {
            Shape::InTheHold => ("", b""),
            Shape::InTheSession => (&name, &[b'.'; SESSION_METADATA_BYTES]),
        };
        let open = Request::SessionOpen(request::OpenSession {
            org: ORG,
            owner: &owner,
            name,
            role: None,
            on_disconnect: None,
            metadata,
        });
        open.encode(id_of(number), out);
    }

    /// The session that this lock belongs to. Neighbours belong to different ones, as in life.
    fn session_of(&self, number: u32) -> u64 {
        self.sessions[number as usize % self.sessions.len()]
    }

    fn answered(&mut self, id: u64, reply: &Reply<'_>) -> Result<bool> {
        match reply {
            Reply::SessionOpen(opened) => {
                let place = id
                    .checked_sub(1)
                    .and_then(|index| usize::try_from(index).ok());
                let session = place.and_then(|place| self.sessions.get_mut(place));
                *session.context("the server has opened what nobody asked for")? = opened.session;
                Ok(true)
            }
            Reply::LockAcquire(acquire) => Ok(
                matches!(acquire, reply::Acquire::Granted { grant } if grant.kind == GrantKind::Fresh),
            ),
            Reply::LockRelease(release) => Ok(*release == reply::Release::Ended),
            Reply::SessionRenew(renewed) => {
                let is_renewed =
                    |result: &_| matches!(result, reply::SessionRenewal::Renewed { .. });
                Ok(renewed.results.iter().all(is_renewed))
            }
            Reply::Hello(_) | Reply::SessionClose(_) | Reply::Ping(_) => Ok(true),
            other @ (Reply::SessionResume(_)
            | Reply::LockAcquireAll(_)
            | Reply::LockRenew(_)
            | Reply::LockCancel(_)
            | Reply::LockConvert(_)
            | Reply::LockHandOver(_)
            | Reply::LockDecline(_)
            | Reply::LockForceRelease(_)
            | Reply::LockStatus(_)
            | Reply::LockList(_)
            | Reply::LockCheck(_)
            | Reply::PolicySet(_)
            | Reply::PolicyGet(_)
            | Reply::AuditList(_)
            | Reply::StreamSubscribe(_)
            | Reply::StreamUnsubscribe(_)
            | Reply::StreamPublish(_)
            | Reply::StreamStats(_)
            | Reply::PresenceEnter(_)
            | Reply::PresenceUpdate(_)
            | Reply::PresenceLeave(_)
            | Reply::PresenceList(_)
            | Reply::PresenceStats(_)) => bail!("a crowd does not ask for {:?}", other.kind()),
        }
    }
}

impl Crowd for TenureCrowd {
    fn open(&mut self, bulk: &mut Bulk) -> Result<()> {
        let sessions = self.sessions.len() as u32;
        bulk.ask_all(self, 0..1, |crowd, number, out| {
            let hello = Request::Hello(request::Hello {
                version: VERSION,
                client: concat!("tenure-bench/", env!("CARGO_PKG_VERSION")),
                key: crowd.key.as_deref().map(Secret),
            });
            hello.encode(id_of(number), out);
        })?;
        bulk.ask_all(self, 0..sessions, |crowd, number, out| {
            crowd.open_session(number, out);
        })?;
        Ok(())
    }

    fn listen(&mut self, _: &mut Bulk) -> Result<()> {
        Ok(())
    }

    fn close(&mut self, bulk: &mut Bulk) -> Result<()> {
        let sessions = self.sessions.len() as u32;
        bulk.ask_all(self, 0..sessions, |crowd, number, out| {
            let session = crowd.session_of(number);
            Request::SessionClose(request::CloseSession { session }).encode(id_of(number), out);
        })?;
        Ok(())
    }

    fn acquire(&mut self, number: u32, ttl: Duration, out: &mut BytesMut) {
        let path = Path::at(number);
        let mut content = [b'.'; CONTENT_BYTES];
        content[..path.as_bytes().len()].copy_from_slice(path.as_bytes());
        let acquire = Request::LockAcquire(request::Acquire {
            session: self.session_of(number),
            path: path.as_str(),
            mode: Mode::Exclusive,
            wait_ms: 0,
            ttl_ms: Some(ttl.as_millis() as u64),
            limit: None,
            note: None,
            seize: None,
            metadata: match self.shape {
                Shape::InTheHold => &content,
                Shape::InTheSession => b"",
            },
        });
        acquire.encode(id_of(number), out);
    }

    fn release(&mut self, number: u32, out: &mut BytesMut) {
        let path = Path::at(number);
        let release = Request::LockRelease(request::Release {
            session: self.session_of(number),
            path: path.as_str(),
            scope: ReleaseScope::Session,
            token: None,
        });
        release.encode(id_of(number), out);
    }

    /// A session is renewed with all that it holds.
    fn renewals(&self, _: Range<u32>) -> Range<u32> {
        0..self.sessions.len().div_ceil(limits::SESSIONS.max) as u32
    }

    fn renew(&mut self, number: u32, _: Duration, out: &mut BytesMut) {
        let sessions = self
            .sessions
            .chunks(limits::SESSIONS.max)
            .nth(number as usize);
        let sessions = sessions.unwrap_or_default().to_vec();
        Request::SessionRenew(request::RenewSessions { sessions }).encode(id_of(number), out);
    }

    fn beat(&mut self, out: &mut BytesMut) {
        Request::Ping(request::Ping {}).encode(id_of(0), out);
    }

    fn hear(&mut self, bytes: &[u8], heard: &mut Heard) -> Result<usize> {
        let mut frames = Frames::new(bytes, limits::FRAME_FROM_SERVER);
        for payload in frames.by_ref() {
            match FromServer::decode(payload?)? {
                FromServer::Reply { id, reply } => {
                    let is_done = self.answered(id, &reply)?;
                    heard.done += u32::from(is_done);
                    heard.refused += u32::from(!is_done);
                }
                FromServer::Error { error, .. } => {
                    bail!("the server answered: {} ({:?})", error.message, error.code)
                }
                FromServer::Push(Push::LockLost(lost)) if lost.cause == Cause::Expired => {
                    heard.expired.extend(Path::number_of(lost.path.as_bytes()));
                }
                FromServer::Push(Push::ServerGoodbye(goodbye)) => {
                    bail!("the server said goodbye: {}", goodbye.message)
                }
                FromServer::Push(_) | FromServer::UnknownPush { .. } => {}
            }
        }
        Ok(frames.consumed())
    }
}

/// Ids count from 1.
fn id_of(number: u32) -> u64 {
    u64::from(number) + 1
}
