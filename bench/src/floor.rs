//! The floor: a bare server that speaks enough of Tenure's protocol to be put under the same load. It cuts frames, decodes,
//! touches a map once, and answers: what any server with this protocol pays on this machine.
//!
//! Knows no term, no queue and no event. Rules: one hold of a mutex and one write for all that a read has brought, as in
//! the real server; nothing is allocated for a request.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail};
use bytes::{Buf as _, BytesMut};
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use parking_lot::Mutex;
use tenure_protocol::frame::Frames;
use tenure_protocol::{
    FromClient, Grant, GrantKind, Mode, OnDisconnect, RefusalReason, Reply, Request, ResumeKey,
    Role, Truth, VERSION, limits, reply,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::template::Template;

/// Orgs are spread over so many maps.
const SHARDS: usize = 16;

/// Bytes that are read at once.
const READ_BYTES: usize = 32 * 1024;

/// Longest path that it takes.
const PATH_MAX: usize = 39;

/// The term of a hold, which it does not keep.
const TTL_MS: u64 = 300_000;

/// What it says on stdout before its address.
pub const ANNOUNCEMENT: &str = "the floor listens on ";

/// Serves until the process ends. `announce` is told the address.
///
/// # Errors
/// The address cannot be listened on.
pub fn serve(address: SocketAddr, announce: impl FnOnce(SocketAddr) -> Result<()>) -> Result<()> {
    // One thread, as the real server has on the machine that its figures are from.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        announce(listener.local_addr()?)?;
        // The acceptor is a task like the others, so that it runs where they do.
        tokio::spawn(accept(listener)).await?
    })
}

async fn accept(listener: TcpListener) -> Result<()> {
    let shared = Arc::new(Shared::new()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let number = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let connection = Connection {
            shared: Arc::clone(&shared),
            session: number,
            shard: 0,
            out: Vec::new(),
        };
        // A connection that fails ends by itself, and who was connected knows.
        tokio::spawn(async move { drop(connection.run(stream).await) });
    }
}

struct Shared {
    connections: AtomicU64,
    orgs: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    replies: Replies,
}

impl Shared {
    fn new() -> Result<Self> {
        Ok(Self {
            connections: AtomicU64::new(0),
            orgs: RandomState::new(),
            shards: Default::default(),
            replies: Replies::new()?,
        })
    }
}

/// Some orgs' locks. Which org a path belongs to is not kept apart: a load has none in two.
#[derive(Default)]
struct Shard {
    /// The session that holds each.
    holders: HashMap<FloorPath, u64>,
    token: u64,
}

/// A path that lies in the map itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct FloorPath {
    length: u8,
    bytes: [u8; PATH_MAX],
}

impl FloorPath {
    fn of(path: &str) -> Result<Self> {
        let mut bytes = [0; PATH_MAX];
        let room = bytes.get_mut(..path.len());
        let room = room.context("the floor takes short paths")?;
        room.copy_from_slice(path.as_bytes());
        let length = path.len() as u8;
        Ok(Self { length, bytes })
    }
}

/// The answers that a load gets all the time.
struct Replies {
    /// With id and token.
    granted: Template<2>,
    renewed: Template<2>,
    /// With id.
    ended: Template<1>,
}

/// What stands in a template where a reply has its own: numbers that take all their bytes.
const ANY_ID: u32 = u32::MAX;
const ANY_TOKEN: u64 = limits::NUMBER_MAX;

impl Replies {
    fn new() -> Result<Self> {
        let encoded = |reply: Reply<'_>| {
            let mut out = BytesMut::new();
            reply.encode(ANY_ID.into(), &mut out);
            out.to_vec()
        };
        let grant = |kind| Grant {
            token: ANY_TOKEN,
            mode: Mode::Exclusive,
            ttl_ms: TTL_MS,
            remaining_ms: TTL_MS,
            kind,
        };
        let (fresh, joined) = (grant(GrantKind::Fresh), grant(GrantKind::Joined));
        let granted = Reply::LockAcquire(reply::Acquire::Granted { grant: fresh });
        let renewed = Reply::LockRenew(reply::Renew::Granted { grant: joined });
        let ended = Reply::LockRelease(reply::Release::Ended);
        let (id, token) = (&ANY_ID.to_be_bytes(), &ANY_TOKEN.to_be_bytes());
        Ok(Self {
            granted: Template::of(encoded(granted), [id, token])?,
            renewed: Template::of(encoded(renewed), [id, token])?,
            ended: Template::of(encoded(ended), [id])?,
        })
    }
}

/// One connection with one session, which has its number.
struct Connection {
    shared: Arc<Shared>,
    session: u64,
    /// Its org's.
    shard: usize,
    out: Vec<u8>,
}

impl Connection {
    async fn run(mut self, mut stream: TcpStream) -> Result<()> {
        let mut inbound = BytesMut::with_capacity(READ_BYTES);
        loop {
            inbound.reserve(READ_BYTES / 2);
            if stream.read_buf(&mut inbound).await? == 0 {
                return Ok(());
            }
            let consumed = self.answer_all(&inbound)?;
            inbound.advance(consumed);
            stream.write_all(&self.out).await?;
            self.out.clear();
        }
    }

    /// Answers all that is there as a whole, and tells how many bytes that was.
    fn answer_all(&mut self, bytes: &[u8]) -> Result<usize> {
        let shared = Arc::clone(&self.shared);
        let mut shard = shared.shards[self.shard].lock();
        let mut frames = Frames::new(bytes, limits::FRAME_FROM_CLIENT);
        for payload in frames.by_ref() {
            FromClient::lend(payload?, |id, request| self.answer(id, request, &mut shard))??;
        }
        Ok(frames.consumed())
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the floor knows what a load asks"
    )]
    fn answer(&mut self, id: u64, request: &Request<'_>, shard: &mut Shard) -> Result<()> {
        let of_load = u32::try_from(id)?.to_be_bytes();
        let replies = &self.shared.replies;
        match request {
            Request::LockAcquire(acquire) => {
                match shard.holders.entry(FloorPath::of(acquire.path)?) {
                    Entry::Vacant(vacant) => {
                        vacant.insert(self.session);
                        shard.token += 1;
                        let token = shard.token.to_be_bytes();
                        replies.granted.write([&of_load, &token], &mut self.out);
                    }
                    Entry::Occupied(_) => {
                        let (reason, truth) = (RefusalReason::Held, Truth::default());
                        let refused = reply::Acquire::Refused { reason, truth };
                        self.reply(id, &Reply::LockAcquire(refused));
                    }
                }
            }
            Request::LockRenew(renew) => {
                let holder = shard.holders.get(&FloorPath::of(renew.path)?);
                if holder == Some(&self.session) {
                    let token = shard.token.to_be_bytes();
                    replies.renewed.write([&of_load, &token], &mut self.out);
                } else {
                    let (lost, truth) = (None, Truth::default());
                    self.reply(id, &Reply::LockRenew(reply::Renew::NotHeld { lost, truth }));
                }
            }
            Request::LockRelease(release) => {
                match shard.holders.entry(FloorPath::of(release.path)?) {
                    Entry::Occupied(holder) if *holder.get() == self.session => {
                        holder.remove();
                        replies.ended.write([&of_load], &mut self.out);
                    }
                    Entry::Occupied(_) | Entry::Vacant(_) => {
                        let (lost, truth) = (None, Truth::default());
                        let not_held = reply::Release::NotHeld { lost, truth };
                        self.reply(id, &Reply::LockRelease(not_held));
                    }
                }
            }
            Request::Ping(_) => self.reply(id, &Reply::Ping(reply::Done {})),
            Request::Hello(_) => self.reply(id, &Reply::Hello(self.hello())),
            Request::SessionOpen(open) => {
                self.shard = self.shared.orgs.hash_one(open.org) as usize % SHARDS;
                let opened = reply::Opened {
                    session: self.session,
                    resume_key: ResumeKey([0; limits::RESUME_KEY_BYTES]),
                    on_disconnect: OnDisconnect::Keep,
                };
                self.reply(id, &Reply::SessionOpen(opened));
            }
            other => bail!("the floor does not know {:?}", other.kind()),
        }
        Ok(())
    }

    /// Answers what is asked rarely.
    fn reply(&mut self, id: u64, reply: &Reply<'_>) {
        let mut encoded = BytesMut::new();
        reply.encode(id, &mut encoded);
        self.out.extend_from_slice(&encoded);
    }

    const fn hello(&self) -> reply::Hello<'static> {
        reply::Hello {
            version: VERSION,
            server: concat!("tenure-bench-floor/", env!("CARGO_PKG_VERSION")),
            connection: self.session,
            principal: "everybody",
            role: Role::Admin,
            heartbeat_ms: limits::DEAD_AFTER_MS,
            dead_after_ms: limits::DEAD_AFTER_MS,
            limits: reply::Limits {
                frame_bytes: limits::FRAME_FROM_CLIENT as u64,
                in_flight: 1024,
                sessions: 1,
                path_bytes: PATH_MAX as u32,
                metadata_bytes: 0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use tenure_protocol::request;

    use super::*;
    use crate::paths::Path;

    fn connection(session: u64, shared: &Arc<Shared>) -> Connection {
        Connection {
            shared: Arc::clone(shared),
            session,
            shard: 0,
            out: Vec::new(),
        }
    }

    fn ask(connection: &mut Connection, request: &Request<'_>) -> bool {
        let shared = Arc::clone(&connection.shared);
        connection.out.clear();
        connection
            .answer(300, request, &mut shared.shards[0].lock())
            .unwrap();
        let payload = &connection.out[tenure_protocol::frame::HEADER..];
        let answer = tenure_protocol::FromServer::decode(payload).unwrap();
        let tenure_protocol::FromServer::Reply { id: 300, reply } = answer else {
            panic!("expected a reply, found {answer:?}");
        };
        matches!(
            reply,
            Reply::LockAcquire(reply::Acquire::Granted { .. })
                | Reply::LockRenew(reply::Renew::Granted { .. })
                | Reply::LockRelease(reply::Release::Ended)
        )
    }

    #[test]
    fn a_lock_has_one_holder_on_the_floor_too() {
        let shared = Arc::new(Shared::new().unwrap());
        let (mut ada, mut bob) = (connection(1, &shared), connection(2, &shared));
        let (session, path) = (0, Path::at(1));
        let path = path.as_str();
        let scope = tenure_protocol::ReleaseScope::Session;
        let (ttl_ms, token) = (None, None);
        let release = Request::LockRelease(request::Release {
            session,
            path,
            scope,
            token,
        });
        let renew = Request::LockRenew(request::Renew {
            session,
            path,
            ttl_ms,
            token,
        });
        let acquire = Request::LockAcquire(request::Acquire {
            session,
            path,
            mode: Mode::Exclusive,
            wait_ms: 0,
            ttl_ms,
            limit: None,
            note: None,
            seize: None,
            metadata: b"",
        });
        assert!(ask(&mut ada, &acquire));
        for request in [&acquire, &renew, &release] {
            assert!(!ask(&mut bob, request));
        }
        assert!(ask(&mut ada, &renew));
        assert!(ask(&mut ada, &release));
        assert!(ask(&mut bob, &acquire));
    }
}
