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
    Role, Truth, VERSION, limits, reply, request,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// As many as the real server has threads on the machine that its figures are from.
const WORKERS: usize = 2;

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
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(WORKERS).enable_io().build()?;
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
    let shared = Arc::new(Shared::default());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let number = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let connection = Connection {
            shared: Arc::clone(&shared),
            session: number,
            shard: 0,
            out: BytesMut::new(),
        };
        // A connection that fails ends by itself, and who was connected knows.
        tokio::spawn(async move { drop(connection.run(stream).await) });
    }
}

#[derive(Default)]
struct Shared {
    connections: AtomicU64,
    orgs: RandomState,
    shards: [Mutex<Shard>; SHARDS],
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

/// One connection with one session, which has its number.
struct Connection {
    shared: Arc<Shared>,
    session: u64,
    /// Its org's.
    shard: usize,
    out: BytesMut,
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
            let FromClient { id, request } = FromClient::decode(payload?)?;
            self.answer(&request, &mut shard)?.encode(id, &mut self.out);
        }
        Ok(frames.consumed())
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the floor knows what a load asks"
    )]
    fn answer(&mut self, request: &Request<'_>, shard: &mut Shard) -> Result<Reply<'static>> {
        Ok(match request {
            Request::LockAcquire(acquire) => Reply::LockAcquire(self.acquire(acquire, shard)?),
            Request::LockRenew(renew) => Reply::LockRenew(self.renew(renew, shard)?),
            Request::LockRelease(release) => Reply::LockRelease(self.release(release, shard)?),
            Request::Ping(_) => Reply::Ping(reply::Done {}),
            Request::Hello(_) => Reply::Hello(self.hello()),
            Request::SessionOpen(open) => {
                self.shard = self.shared.orgs.hash_one(open.org) as usize % SHARDS;
                Reply::SessionOpen(reply::Opened {
                    session: self.session,
                    resume_key: ResumeKey([0; limits::RESUME_KEY_BYTES]),
                    on_disconnect: OnDisconnect::Keep,
                })
            }
            other => bail!("the floor does not know {:?}", other.kind()),
        })
    }

    fn acquire(
        &self,
        acquire: &request::Acquire<'_>,
        shard: &mut Shard,
    ) -> Result<reply::Acquire<'static>> {
        let kind = match shard.holders.entry(FloorPath::of(acquire.path)?) {
            Entry::Vacant(vacant) => {
                vacant.insert(self.session);
                GrantKind::Fresh
            }
            Entry::Occupied(holder) if *holder.get() == self.session => GrantKind::Joined,
            Entry::Occupied(_) => {
                let (reason, truth) = (RefusalReason::Held, Truth::default());
                return Ok(reply::Acquire::Refused { reason, truth });
            }
        };
        shard.token += 1;
        let grant = grant(kind, acquire.ttl_ms, shard.token);
        Ok(reply::Acquire::Granted { grant })
    }

    fn renew(&self, renew: &request::Renew<'_>, shard: &Shard) -> Result<reply::Renew<'static>> {
        let holder = shard.holders.get(&FloorPath::of(renew.path)?);
        Ok(if holder == Some(&self.session) {
            let grant = grant(GrantKind::Joined, renew.ttl_ms, shard.token);
            reply::Renew::Granted { grant }
        } else {
            let (lost, truth) = (None, Truth::default());
            reply::Renew::NotHeld { lost, truth }
        })
    }

    fn release(
        &self,
        release: &request::Release<'_>,
        shard: &mut Shard,
    ) -> Result<reply::Release<'static>> {
        let path = FloorPath::of(release.path)?;
        if let Entry::Occupied(holder) = shard.holders.entry(path)
            && *holder.get() == self.session
        {
            holder.remove();
            return Ok(reply::Release::Ended);
        }
        let (lost, truth) = (None, Truth::default());
        Ok(reply::Release::NotHeld { lost, truth })
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

fn grant(kind: GrantKind, ttl_ms: Option<u64>, token: u64) -> Grant {
    let ttl_ms = ttl_ms.unwrap_or(TTL_MS);
    Grant {
        token,
        mode: Mode::Exclusive,
        ttl_ms,
        remaining_ms: ttl_ms,
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Path;

    fn connection(session: u64, shared: &Arc<Shared>) -> Connection {
        Connection {
            shared: Arc::clone(shared),
            session,
            shard: 0,
            out: BytesMut::new(),
        }
    }

    #[test]
    fn a_lock_has_one_holder_on_the_floor_too() {
        let shared = Arc::new(Shared::default());
        let (mut ada, mut bob) = (connection(1, &shared), connection(2, &shared));
        let path = Path::at(1);
        let release = Request::LockRelease(request::Release {
            session: 0,
            path: path.as_str(),
            scope: tenure_protocol::ReleaseScope::Session,
            token: None,
        });
        let renew = Request::LockRenew(request::Renew {
            session: 0,
            path: path.as_str(),
            ttl_ms: None,
            token: None,
        });
        let acquire = Request::LockAcquire(request::Acquire {
            session: 0,
            path: path.as_str(),
            mode: Mode::Exclusive,
            wait_ms: 0,
            ttl_ms: None,
            limit: None,
            note: None,
            seize: None,
            metadata: b"",
        });
        let shard = &mut shared.shards[0].lock();
        let granted = |reply| {
            matches!(
                reply,
                Ok(Reply::LockAcquire(reply::Acquire::Granted { .. })
                    | Reply::LockRenew(reply::Renew::Granted { .. })
                    | Reply::LockRelease(reply::Release::Ended))
            )
        };
        assert!(granted(ada.answer(&acquire, shard)));
        for request in [&acquire, &renew, &release] {
            assert!(!granted(bob.answer(request, shard)));
        }
        assert!(granted(ada.answer(&renew, shard)));
        assert!(granted(ada.answer(&release, shard)));
        assert!(granted(bob.answer(&acquire, shard)));
    }
}
