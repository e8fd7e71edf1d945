//! Tenure's own dialect: its requests are written from templates, so that the generator spends its time on the server and
//! not on encoding. Rule: a slot acts for one session, and sessions of a connection are different owners.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use bytes::BytesMut;
use tenure_protocol::frame::Frames;
use tenure_protocol::{
    FromServer, GrantKind, Mode, Push, ReleaseScope, Reply, Request, Secret, VERSION, limits,
    reply, request,
};

use super::{Answer, Ask, Conversation, Dialect, Outcome, System};
use crate::paths::Path;
use crate::template::Template;

/// Holds that outlive every run.
const TTL_MS: u64 = 300_000;

/// Waits that outlive every run.
const WAIT_MS: u64 = 300_000;

/// What stands in a template where a request has its own: an id that takes five bytes, and a path.
const ANY_ID: u32 = u32::MAX;
const ANY_PATH: &str = "????????????????????????";

/// A Tenure server under load.
#[derive(Debug, Clone)]
pub struct Tenure {
    /// The API key, for a server that asks for one.
    pub key: Option<Arc<str>>,
    /// How many orgs the connections are spread over.
    pub orgs: u32,
    /// Sessions of each connection, each with an owner of its own; its slots are spread over them.
    pub sessions: u32,
}

impl Default for Tenure {
    fn default() -> Self {
        Self {
            key: None,
            orgs: 1,
            sessions: 1,
        }
    }
}

impl System for Tenure {
    fn orgs(&self) -> u32 {
        self.orgs.max(1)
    }

    fn supports(&self, ask: Ask) -> bool {
        match ask {
            Ask::Acquire | Ask::Release | Ask::Renew | Ask::Wait => true,
        }
    }

    fn dialect(&self, connection: u32) -> Box<dyn Dialect> {
        Box::new(TenureConnection {
            key: self.key.clone(),
            org: format!("bench-{}", connection % self.orgs.max(1)),
            owners: (0..self.sessions.max(1))
                .map(|session| format!("owner-{connection}-{session}"))
                .collect(),
            sessions: Vec::new(),
            waiting: HashMap::new(),
        })
    }
}

/// The floor under load: it speaks as Tenure does, and has no line to stand in.
#[derive(Debug, Clone)]
pub struct OnTheFloor(pub Tenure);

impl System for OnTheFloor {
    fn orgs(&self) -> u32 {
        self.0.orgs()
    }

    fn supports(&self, ask: Ask) -> bool {
        match ask {
            Ask::Acquire | Ask::Release | Ask::Renew => true,
            Ask::Wait => false,
        }
    }

    fn dialect(&self, connection: u32) -> Box<dyn Dialect> {
        self.0.dialect(connection)
    }
}

/// One connection with its sessions.
#[derive(Debug)]
struct TenureConnection {
    key: Option<Arc<str>>,
    org: String,
    owners: Vec<String>,
    sessions: Vec<Templates>,
    /// The slots that stand in line, by the number of their wait.
    waiting: HashMap<u64, u32>,
}

/// The requests of one session.
#[derive(Debug)]
struct Templates {
    acquire: Template<2>,
    release: Template<2>,
    renew: Template<2>,
    wait: Template<2>,
}

impl Templates {
    fn of(session: u64) -> Result<Self> {
        Ok(Self {
            acquire: template(&acquire(session, ANY_PATH))?,
            release: template(&release(session, ANY_PATH))?,
            renew: template(&renew(session, ANY_PATH))?,
            wait: template(&wait(session, ANY_PATH))?,
        })
    }
}

impl Dialect for TenureConnection {
    fn open(&mut self, conversation: &mut Conversation) -> Result<()> {
        let hello = Request::Hello(request::Hello {
            version: VERSION,
            client: concat!("tenure-bench/", env!("CARGO_PKG_VERSION")),
            key: self.key.as_deref().map(Secret),
        });
        exchange(conversation, &hello, |_| Ok(()))?;
        for owner in &self.owners {
            let open = Request::SessionOpen(request::OpenSession {
                org: &self.org,
                owner,
                name: "",
                role: None,
                on_disconnect: None,
                metadata: b"",
            });
            let session = exchange(conversation, &open, |reply| {
                let Reply::SessionOpen(opened) = reply else {
                    bail!("expected a session, found {:?}", reply.kind());
                };
                Ok(opened.session)
            })?;
            self.sessions.push(Templates::of(session)?);
        }
        Ok(())
    }

    fn ask(&mut self, slot: u32, ask: Ask, path: &Path, out: &mut Vec<u8>) {
        let session = &self.sessions[slot as usize % self.sessions.len()];
        let template = match ask {
            Ask::Acquire => &session.acquire,
            Ask::Release => &session.release,
            Ask::Renew => &session.renew,
            Ask::Wait => &session.wait,
        };
        template.write([&(slot + 1).to_be_bytes(), path.as_bytes()], out);
    }

    fn answers(&mut self, bytes: &[u8], answers: &mut Vec<Answer>) -> Result<usize> {
        let mut frames = Frames::new(bytes, limits::FRAME_FROM_SERVER);
        for payload in frames.by_ref() {
            match FromServer::decode(payload?)? {
                FromServer::Reply { id, reply } => {
                    let slot = slot_of(id)?;
                    if let Reply::LockAcquire(reply::Acquire::Queued { wait, .. }) = reply {
                        self.waiting.insert(wait, slot);
                    }
                    let outcome = outcome(&reply)?;
                    answers.push(Answer { slot, outcome });
                }
                FromServer::Error { error, .. } => return Err(failed(&error)),
                FromServer::Push(push) => answers.extend(self.end_of_wait(&push)?),
                FromServer::UnknownPush { .. } => {}
            }
        }
        Ok(frames.consumed())
    }
}

impl TenureConnection {
    /// The second answer to a slot that stood in line, if the push is that.
    fn end_of_wait(&mut self, push: &Push<'_>) -> Result<Option<Answer>> {
        let (wait, outcome) = match push {
            Push::LockGranted(granted) => (granted.wait, Outcome::Done),
            Push::LockWaitEnded(ended) => (ended.wait, Outcome::Refused),
            Push::ServerGoodbye(goodbye) => {
                bail!("the server said goodbye: {}", goodbye.message)
            }
            Push::ServerPing(_)
            | Push::SessionMoved(_)
            | Push::SessionClosed(_)
            | Push::LockLost(_)
            | Push::LockChanged(_)
            | Push::LockAsked(_)
            | Push::LockDeclined(_)
            | Push::LockPlace(_)
            | Push::StreamEvent(_)
            | Push::StreamPosition(_)
            | Push::StreamGap(_)
            | Push::PresenceChanged(_)
            | Push::PresenceCollision(_)
            | Push::PresenceGap(_)
            | Push::PresenceEnded(_) => return Ok(None),
        };
        let slot = self.waiting.remove(&wait);
        let slot = slot.context("the server has ended a wait that nobody began")?;
        Ok(Some(Answer { slot, outcome }))
    }
}

fn acquire(session: u64, path: &str) -> Request<'_> {
    acquire_within(0, session, path)
}

fn wait(session: u64, path: &str) -> Request<'_> {
    acquire_within(WAIT_MS, session, path)
}

fn acquire_within(wait_ms: u64, session: u64, path: &str) -> Request<'_> {
    Request::LockAcquire(request::Acquire {
        session,
        path,
        mode: Mode::Exclusive,
        wait_ms,
        ttl_ms: Some(TTL_MS),
        limit: None,
        note: None,
        seize: None,
        metadata: b"",
    })
}

fn release(session: u64, path: &str) -> Request<'_> {
    Request::LockRelease(request::Release {
        session,
        path,
        scope: ReleaseScope::Session,
        token: None,
    })
}

fn renew(session: u64, path: &str) -> Request<'_> {
    Request::LockRenew(request::Renew {
        session,
        path,
        ttl_ms: None,
        token: None,
    })
}

fn slot_of(id: u64) -> Result<u32> {
    let slot = id.checked_sub(1).and_then(|slot| u32::try_from(slot).ok());
    slot.with_context(|| format!("expected the id of a request, found {id}"))
}

/// A joined hold is another slot's, which will release it: not a success of whoever joined.
fn outcome(reply: &Reply<'_>) -> Result<Outcome> {
    let done = if let Reply::LockAcquire(acquire) = reply {
        if matches!(acquire, reply::Acquire::Queued { .. }) {
            return Ok(Outcome::Queued);
        }
        matches!(acquire, reply::Acquire::Granted { grant } if grant.kind == GrantKind::Fresh)
    } else if let Reply::LockRelease(release) = reply {
        *release == reply::Release::Ended
    } else if let Reply::LockRenew(renew) = reply {
        matches!(renew, reply::Renew::Granted { .. })
    } else {
        let found = reply.kind();
        bail!("expected the answer to an acquire, a renewal or a release, found {found:?}");
    };
    Ok(if done {
        Outcome::Done
    } else {
        Outcome::Refused
    })
}

fn failed(error: &reply::Error<'_>) -> anyhow::Error {
    anyhow::anyhow!("the server answered: {} ({:?})", error.message, error.code)
}

fn exchange<T>(
    conversation: &mut Conversation,
    request: &Request<'_>,
    mut read: impl FnMut(&Reply<'_>) -> Result<T>,
) -> Result<T> {
    let mut out = BytesMut::new();
    request.encode(1, &mut out);
    conversation.exchange(&out, |bytes| {
        let mut frames = Frames::new(bytes, limits::FRAME_FROM_SERVER);
        let Some(payload) = frames.next() else {
            return Ok(None);
        };
        match FromServer::decode(payload?)? {
            FromServer::Reply { reply, .. } => Ok(Some((read(&reply)?, frames.consumed()))),
            FromServer::Error { error, .. } => Err(failed(&error)),
            FromServer::Push(_) | FromServer::UnknownPush { .. } => {
                bail!("expected an answer, found a push")
            }
        }
    })
}

/// A request with an id and a path.
fn template(request: &Request<'_>) -> Result<Template<2>> {
    let mut out = BytesMut::new();
    request.encode(ANY_ID.into(), &mut out);
    Template::of(out.to_vec(), [&ANY_ID.to_be_bytes(), ANY_PATH.as_bytes()])
}

#[cfg(test)]
mod tests {
    use tenure_protocol::{FromClient, frame};

    use super::*;

    #[test]
    fn a_template_writes_what_the_codec_reads() {
        let path = Path::at(7);
        for make in [acquire, release, renew, wait] {
            let template = template(&make(4711, ANY_PATH)).unwrap();
            for id in [1, 200, 70_000_u32] {
                let mut out = Vec::new();
                template.write([&id.to_be_bytes(), path.as_bytes()], &mut out);
                let decoded = FromClient::decode(&out[frame::HEADER..]).unwrap();
                assert_eq!(decoded.id, u64::from(id));
                assert_eq!(decoded.request, make(4711, path.as_str()));
            }
        }
    }

    #[test]
    fn joining_is_no_success() {
        let mut grant = tenure_protocol::Grant {
            token: 1,
            mode: Mode::Exclusive,
            ttl_ms: TTL_MS,
            remaining_ms: TTL_MS,
            kind: GrantKind::Fresh,
        };
        let granted = |grant| Reply::LockAcquire(reply::Acquire::Granted { grant });
        assert_eq!(outcome(&granted(grant)).unwrap(), Outcome::Done);
        grant.kind = GrantKind::Joined;
        assert_eq!(outcome(&granted(grant)).unwrap(), Outcome::Refused);
        let gone = Reply::LockRelease(reply::Release::AlreadyExpired);
        assert_eq!(outcome(&gone).unwrap(), Outcome::Refused);
    }

    #[test]
    fn a_wait_is_answered_twice() {
        let mut connection = TenureConnection {
            key: None,
            org: String::new(),
            owners: Vec::new(),
            sessions: Vec::new(),
            waiting: HashMap::new(),
        };
        let (mut bytes, mut answers) = (BytesMut::new(), Vec::new());
        let queued = reply::Acquire::Queued { wait: 77, place: 1 };
        Reply::LockAcquire(queued).encode(5, &mut bytes);
        let granted = tenure_protocol::push::Granted {
            session: 1,
            wait: 77,
            holds: Vec::new(),
        };
        Push::LockGranted(granted).encode(&mut bytes);
        let read = connection.answers(&bytes, &mut answers).unwrap();
        assert_eq!(read, bytes.len());
        let outcomes = [Outcome::Queued, Outcome::Done];
        assert_eq!(answers, outcomes.map(|outcome| Answer { slot: 4, outcome }));
        assert!(connection.waiting.is_empty());
    }
}
