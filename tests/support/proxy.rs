//! A link between client and server that can be late, or lose everything without anybody hearing of it.
//! Knows bytes and no frames. Rule: whoever sends through it notices nothing, unless its own buffers fill.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// What happens to bytes on their way in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// They arrive, so much later.
    Late(Duration),
    /// They are lost, and so is the end of the connection. The sender does not notice.
    Lost,
    /// They are not taken, as by a machine that has been stopped: the sender's buffers fill.
    Frozen,
}

/// See the file's header.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    /// From the client to the server, and back.
    up: watch::Sender<Way>,
    down: watch::Sender<Way>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (up, down) = (watch::Sender::new(Way::Open), watch::Sender::new(Way::Open));
        let (up_seen, down_seen) = (up.subscribe(), down.subscribe());
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(server).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                carry(from_client, to_server, up_seen.clone());
                carry(from_server, to_client, down_seen.clone());
            }
        });
        Self {
            addr,
            up,
            down,
            accepting,
        }
    }

    /// What happens from here on to what the client sends.
    pub(crate) fn up(&self, way: Way) {
        self.up.send_replace(way);
    }

    /// What happens from here on to what the server sends.
    pub(crate) fn down(&self, way: Way) {
        self.down.send_replace(way);
    }

    /// Both ways at once.
    pub(crate) fn both(&self, way: Way) {
        self.up(way);
        self.down(way);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What is on its way: bytes and when they arrive; no bytes are the end.
type Underway = (Instant, Bytes);

fn carry(from: OwnedReadHalf, to: OwnedWriteHalf, way: watch::Receiver<Way>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(take(from, sender, way.clone()));
    tokio::spawn(give(receiver, to, way));
}

async fn take(
    mut from: OwnedReadHalf,
    underway: mpsc::UnboundedSender<Underway>,
    mut way: watch::Receiver<Way>,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        thawed(&mut way).await;
        // What a frozen machine has not read is not read while it is frozen, also if that began during the wait.
        let count = tokio::select! {
            _ = way.changed() => continue,
            read = from.read(&mut buffer) => read.unwrap_or(0),
        };
        let late = match *way.borrow() {
            Way::Late(by) => by,
            Way::Open | Way::Lost | Way::Frozen => Duration::ZERO,
        };
        let chunk = Bytes::copy_from_slice(&buffer[..count]);
        let is_end = chunk.is_empty();
        if underway.send((Instant::now() + late, chunk)).is_err() || is_end {
            return;
        }
    }
}

async fn give(
    mut underway: mpsc::UnboundedReceiver<Underway>,
    mut to: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
) {
    while let Some((at, chunk)) = underway.recv().await {
        sleep_until(at).await;
        thawed(&mut way).await;
        if *way.borrow() == Way::Lost {
            continue;
        }
        let given = if chunk.is_empty() {
            to.shutdown().await
        } else {
            to.write_all(&chunk).await
        };
        if given.is_err() {
            return;
        }
    }
    // The socket stays open: whoever was not told does not know. It goes with the test's runtime.
    std::future::pending::<()>().await;
}

/// Waits until bytes are taken again. A link whose proxy is gone stays as it is.
async fn thawed(way: &mut watch::Receiver<Way>) {
    if way.wait_for(|way| *way != Way::Frozen).await.is_err() {
        std::future::pending::<()>().await;
    }
}
