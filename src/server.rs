//! The server as a whole: what is bound, who is let in, which tasks run, and how it all ends.
//!
//! ```text
//!  bind --> recover --> accept --> one task per connection ----> shards <-- one timekeeper per shard
//!             |                    ^                                    housekeeper, admin listener
//!             +-- shutdown: goodbye to every outbox, wait for the connections, stop
//! ```
//!
//! Must hold: nobody is let in before history has begun; at the end every client has been said goodbye to, or was not
//! there to hear it in time.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dashmap::DashMap;
use socket2::SockRef;
use tenure_protocol::ErrorCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::admin::{self, Readiness};
use crate::config::Config;
use crate::connection::Connection;
use crate::error::ServerError;
use crate::history::{self, History};
use crate::journal::Directory;
use crate::metrics::{ConnectionRefusal, Metrics, ShardView};
use crate::outbox::{Outbox, Unwritten};
use crate::outlet::Socket;
use crate::shards::Shards;
use crate::tls;

/// Pause after an accept that failed for want of something, such as file descriptors, that may come back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that the kernel keeps until they are taken: as many as Linux allows by default. One more would try again after
/// a second, which is how long it takes when a crowd comes back at once.
const BACKLOG: u32 = 4096;

/// An address that is in use may be that of a server which has just ended: it is asked for so often, with such pauses.
const LISTEN_TRIES: u32 = 20;
const LISTEN_PAUSE: Duration = Duration::from_millis(50);

/// How long one connection too many is listened to.
const TURN_AWAY_WITHIN: Duration = Duration::from_secs(1);

/// Bytes that the kernel holds for a connection: with what it takes in one go, so little that a slow reader is seen to take it.
const SEND_BUFFER_BYTES: usize = 128 * 1024;

/// How often waiters are told their places, if these have changed, and events that are too old are let go of.
const HOUSE_EVERY: Duration = Duration::from_secs(1);

/// A server that is bound and not yet serving.
pub struct Server {
    config: Config,
    /// Where history is kept, if it is.
    directory: Option<Directory>,
    acceptor: Option<TlsAcceptor>,
    listener: TcpListener,
    admin: Option<TcpListener>,
    local_addr: SocketAddr,
    admin_addr: Option<SocketAddr>,
}

/// What every connection needs.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) access: Access,
    pub(crate) shards: Arc<Shards>,
    pub(crate) metrics: Arc<Metrics>,
    /// The open connections, for the goodbye at the end.
    connections: DashMap<u64, Arc<Outbox>>,
    next_connection: AtomicU64,
}

impl Shared {
    /// No connections yet.
    pub(crate) fn new(config: Config, shards: Arc<Shards>, metrics: Arc<Metrics>) -> Self {
        Self {
            access: Access::new(&config.keys),
            config,
            shards,
            metrics,
            connections: DashMap::new(),
            next_connection: AtomicU64::new(1),
        }
    }
}

/// Serves until `shutdown` is cancelled.
///
/// # Errors
///
/// The configuration, a file it names, or an address cannot be used.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), ServerError> {
    Server::bind(config).await?.serve(shutdown).await
}

impl Server {
    /// Opens what has to be open before the first client comes. Waits some seconds for a server before it that is about to
    /// end and still has the data directory or an address. Cancel-safe.
    ///
    /// # Errors
    ///
    /// The configuration, a file it names, an address or the data directory cannot be used.
    pub async fn bind(config: Config) -> Result<Self, ServerError> {
        config.validate()?;
        let acceptor = tls::acceptor(&config)?;
        // A server that is about to end gives back its directory first, or its addresses: both take a moment.
        let directory = history::open(&config).await?;
        let (listener, local_addr) = listen("listen", config.listen).await?;
        let admin = match config.admin {
            Some(address) => Some(listen("admin", address).await?),
            None => None,
        };
        let (admin, admin_addr) = admin.unzip();
        Ok(Self {
            config,
            directory,
            acceptor,
            listener,
            admin,
            local_addr,
            admin_addr,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where health and metrics are read.
    #[must_use]
    pub const fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// Replays what was kept, and then serves until `shutdown` is cancelled, which also ends the replay; says goodbye to
    /// every client and waits for them to have heard it, but not longer than the configured grace.
    ///
    /// # Errors
    ///
    /// What was kept cannot be replayed, or a listener has failed.
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), ServerError> {
        let for_metrics = Arc::new(ForMetrics::default());
        let metrics = Metrics::new(Arc::<ForMetrics>::clone(&for_metrics));
        let readiness = Readiness::new();
        let admin_shutdown = CancellationToken::new();
        // Whoever asks is told that it takes a while.
        let admin = self.admin.map(|listener| {
            let (metrics, readiness) = (Arc::clone(&metrics), readiness.clone());
            let until = admin_shutdown.clone().cancelled_owned();
            tokio::spawn(admin::serve(listener, metrics, readiness, until))
        });
        let begun = History::begin(self.directory, &self.config, &readiness, &shutdown).await?;
        let Some(history) = begun else {
            admin_shutdown.cancel();
            return Ok(());
        };
        let shards = Arc::clone(&history.shards);
        for_metrics.begin(&shards);
        let shared = Arc::new(Shared::new(self.config, shards, metrics));

        // Ends with the rest, when this is dropped.
        let mut tasks = JoinSet::new();
        for home in shared.shards.homes.all() {
            let shards = Arc::clone(&shared.shards);
            tasks.spawn(async move { shards.keep_time(home.index).await });
        }
        tasks.spawn(keep_house(Arc::clone(&shared.shards)));

        readiness.ready();
        let mut connections = JoinSet::new();
        accept_until(
            &shutdown,
            &self.listener,
            self.acceptor.as_ref(),
            &shared,
            &mut connections,
        )
        .await;

        readiness.shutting_down();
        drop(self.listener);
        say_goodbye(&shared, connections).await;
        tasks.shutdown().await;
        history.end().await;
        admin_shutdown.cancel();
        match (admin, self.admin_addr) {
            (Some(admin), Some(address)) => admin
                .await
                .unwrap_or_else(|panicked| Err(io::Error::other(panicked)))
                .map_err(|source| ServerError::Listener { address, source }),
            _ => Ok(()),
        }
    }
}

async fn accept_until(
    shutdown: &CancellationToken,
    listener: &TcpListener,
    acceptor: Option<&TlsAcceptor>,
    shared: &Arc<Shared>,
    connections: &mut JoinSet<()>,
) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(admit(Arc::clone(shared), acceptor.cloned(), stream, peer));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection's task has failed");
                }
            }
        }
    }
}

/// Lets a client in, or turns it away.
async fn admit(
    shared: Arc<Shared>,
    acceptor: Option<TlsAcceptor>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    let began = Instant::now();
    // Replies are written as a whole: there is nothing to wait for.
    drop(stream.set_nodelay(true));
    // Where the kernel took megabytes at once, a slow reader would look like one that takes nothing.
    drop(SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES));
    let number = shared.next_connection.fetch_add(1, Ordering::Relaxed);
    let outbox = Arc::new(Outbox::new(shared.config.outbound_bytes_max));
    if shared.connections.len() >= shared.config.connections_max {
        shared.metrics.connection_refused(ConnectionRefusal::Full);
        // Before a handshake nothing can be said to a client that speaks TLS: closing must do.
        if acceptor.is_none() {
            turn_away(stream, &outbox).await;
        }
        return;
    }
    let registered = Registered::new(Arc::clone(&shared), number, &outbox);
    let open = shared.metrics.connection_opened();
    let connection = Connection::new(
        Arc::clone(&shared),
        number,
        peer,
        Arc::clone(&outbox),
        open,
        began,
    );
    match acceptor {
        None => {
            let (reader, socket) = Socket::halves_of(stream);
            connection.serve(reader, socket.clone(), Some(socket)).await;
        }
        Some(acceptor) => {
            if let Some(stream) = shake_hands(&shared, &acceptor, stream, peer, &outbox).await {
                let (reader, writer) = tokio::io::split(stream);
                connection.serve(reader, writer, None).await;
            }
        }
    }
    drop(registered);
}

/// Says goodbye to one connection too many.
async fn turn_away(mut stream: TcpStream, outbox: &Outbox) {
    outbox.close(
        ErrorCode::TooManyConnections,
        "this server has as many connections as it may",
    );
    let mut goodbye = Unwritten::default();
    outbox.exchange(&mut goodbye, &mut Vec::new());
    let _ = timeout(TURN_AWAY_WITHIN, async {
        stream.write_all(&goodbye.bytes).await?;
        stream.shutdown().await?;
        // Closing with a hello unread would make the network drop the goodbye.
        let mut unread = [0; 4096];
        while stream.read(&mut unread).await? > 0 {}
        io::Result::Ok(())
    })
    .await;
}

/// The encrypted stream, unless the client fails, takes too long, or the server is to stop meanwhile.
async fn shake_hands(
    shared: &Shared,
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    outbox: &Outbox,
) -> Option<TlsStream<TcpStream>> {
    let handshake = timeout(shared.config.hello_timeout(), acceptor.accept(stream));
    let failure = tokio::select! {
        () = outbox.ready() => String::from("the server is about to stop"),
        shaken = handshake => match shaken {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => error.to_string(),
            Err(_) => String::from("not done in time"),
        },
    };
    shared.metrics.connection_refused(ConnectionRefusal::Tls);
    tracing::debug!(%peer, failure, "TLS handshake failed");
    None
}

/// A connection's place among the open ones, until this is dropped.
struct Registered {
    shared: Arc<Shared>,
    number: u64,
}

impl Registered {
    fn new(shared: Arc<Shared>, number: u64, outbox: &Arc<Outbox>) -> Self {
        shared.connections.insert(number, Arc::clone(outbox));
        Self { shared, number }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.connections.remove(&self.number);
    }
}

/// Tells every client to go, and waits until they have.
async fn say_goodbye(shared: &Shared, mut connections: JoinSet<()>) {
    tracing::info!(connections = connections.len(), "shutting down");
    for connection in &shared.connections {
        connection.close(
            ErrorCode::ShuttingDown,
            "this server is about to stop; connect again",
        );
    }
    let deadline = Instant::now() + shared.config.shutdown_grace();
    while let Ok(Some(_)) = tokio::time::timeout_at(deadline, connections.join_next()).await {}
    if !connections.is_empty() {
        tracing::warn!(connections = connections.len(), "not waiting any longer");
    }
    connections.shutdown().await;
}

async fn keep_house(shards: Arc<Shards>) {
    let mut every = interval(HOUSE_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        for home in shards.homes.all() {
            shards.tell_places(home.index);
            shards.forget_old_events(home.index);
        }
        shards.clock.look_at_the_wall();
        shards.mark_time();
    }
}

/// The shards, as the metrics see them: none until history goes on.
#[derive(Debug, Default)]
struct ForMetrics(OnceLock<Arc<Shards>>);

impl ForMetrics {
    fn begin(&self, shards: &Arc<Shards>) {
        self.0.get_or_init(|| Arc::clone(shards));
    }
}

impl crate::metrics::Shards for ForMetrics {
    fn visit(&self, visit: &mut dyn FnMut(ShardView<'_>)) {
        if let Some(shards) = self.0.get() {
            shards.visit(visit);
        }
    }

    fn stream_bytes(&self) -> u64 {
        self.0
            .get()
            .map_or(0, |shards| shards.stream_bytes() as u64)
    }
}

async fn listen(
    setting: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), ServerError> {
    let open = || -> io::Result<_> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A server that is started again does not wait for the connections of the one before to be forgotten.
        #[cfg(not(windows))]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    let mut tries = 0;
    loop {
        tries += 1;
        match open() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < LISTEN_TRIES => {
                tokio::time::sleep(LISTEN_PAUSE).await;
            }
            opened => {
                return opened.map_err(|source| ServerError::Listen {
                    setting,
                    address,
                    source,
                });
            }
        }
    }
}
