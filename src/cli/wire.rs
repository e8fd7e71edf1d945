//! One connection for short errands: asks one thing after another, and gives what came back as it came, so that `--json`
//! says what `docs/protocol.md` says.
//!
//! Knows frames, the hello and signs of life. It does not reconnect and does not renew: whoever keeps a lock while it
//! runs does so by `tenure-client`. Rule: an answer is given for the request it belongs to, pushes wait for their turn.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::bail;
use bytes::{Bytes, BytesMut};
use tenure_protocol::{
    Disconnect, FromServer, Push, Reply, Request, Secret, frame, limits, reply, request,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use super::endpoint::{Endpoint, NAME, PATIENCE, Stream};
use super::{Shared, trouble};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// See the header of this file.
pub(super) struct Wire {
    endpoint: Endpoint,
    stream: Box<dyn Stream>,
    inbound: BytesMut,
    /// What is still to be written: the rest of a frame, where a caller did not wait for all of it.
    outbound: BytesMut,
    next_id: u64,
    pushes: VecDeque<Message>,
    hello: Option<Message>,
    heartbeat: Duration,
    dead_after: Duration,
    heard: Instant,
}

/// A whole message of the server; what it says borrows from it.
#[derive(Debug, Clone)]
pub(super) struct Message(Bytes);

impl Wire {
    /// Connects and introduces itself.
    pub(super) async fn connect(shared: &Shared) -> anyhow::Result<Self> {
        let endpoint = Endpoint::new(shared)?;
        let stream = endpoint.dial().await?;
        let silent = trouble::silent(&endpoint.address);
        timeout(PATIENCE, Self::introduced(endpoint, stream))
            .await
            .unwrap_or(Err(silent))
    }

    async fn introduced(endpoint: Endpoint, stream: Box<dyn Stream>) -> anyhow::Result<Self> {
        let key = endpoint.key.clone();
        let mut wire = Self {
            endpoint,
            stream,
            inbound: BytesMut::new(),
            outbound: BytesMut::new(),
            next_id: 1,
            pushes: VecDeque::new(),
            hello: None,
            heartbeat: ANSWER,
            dead_after: ANSWER,
            heard: Instant::now(),
        };
        let message = wire
            .ask(&Request::Hello(request::Hello {
                version: tenure_protocol::VERSION,
                client: NAME,
                key: key.as_deref().map(Secret),
            }))
            .await?;
        let Reply::Hello(hello) = message.reply()? else {
            bail!(message.unexpected());
        };
        wire.heartbeat = Duration::from_millis(hello.heartbeat_ms.max(1));
        wire.dead_after = Duration::from_millis(hello.dead_after_ms.max(1));
        wire.hello = Some(message);
        Ok(wire)
    }

    /// Where it is connected to.
    pub(super) fn address(&self) -> &str {
        &self.endpoint.address
    }

    /// What the server said of itself.
    pub(super) fn hello(&self) -> anyhow::Result<reply::Hello<'_>> {
        let message = self.hello.as_ref();
        let message = message.ok_or_else(|| trouble::cut_off(self.address(), false))?;
        let Reply::Hello(hello) = message.reply()? else {
            return Err(message.unexpected());
        };
        Ok(hello)
    }

    /// Opens a session that keeps its holds when the connection ends: so that one call acquires and another releases.
    pub(super) async fn open_keeping(
        &mut self,
        org: &str,
        owner: &str,
        name: &str,
    ) -> anyhow::Result<u64> {
        let message = self
            .ask(&Request::SessionOpen(request::OpenSession {
                org,
                owner,
                name,
                role: None,
                on_disconnect: Some(Disconnect::Keep),
                metadata: b"",
            }))
            .await?;
        let Reply::SessionOpen(opened) = message.reply()? else {
            return Err(message.unexpected());
        };
        Ok(opened.session)
    }

    /// Ends a session, with what it holds and awaits.
    pub(super) async fn close(&mut self, session: u64) -> anyhow::Result<()> {
        self.ask(&Request::SessionClose(request::CloseSession { session }))
            .await?;
        Ok(())
    }

    /// The reply to a request. Fails with what the server says when it answers with an error.
    pub(super) async fn ask(&mut self, request: &Request<'_>) -> anyhow::Result<Message> {
        let id = self.send(request)?;
        match timeout(ANSWER, self.answer(id)).await {
            Ok(answer) => answer,
            Err(_) => Err(trouble::silent(self.address())),
        }
    }

    /// The next push. Gives signs of life meanwhile. Cancel-safe.
    pub(super) async fn push(&mut self) -> anyhow::Result<Message> {
        loop {
            if let Some(push) = self.pushes.pop_front() {
                return Ok(push);
            }
            match timeout(self.heartbeat, self.hear()).await {
                Ok(heard) => {
                    let message = heard?;
                    if matches!(message.read()?, FromServer::Push(_)) {
                        return Ok(message);
                    }
                }
                Err(_) if self.heard.elapsed() >= self.dead_after => {
                    return Err(trouble::silent(self.address()));
                }
                Err(_) => {
                    self.send(&Request::Ping(request::Ping {}))?;
                }
            }
        }
    }

    /// Puts a request in line to be written, which happens before anything is read.
    fn send(&mut self, request: &Request<'_>) -> anyhow::Result<u64> {
        if let Err(fault) = request.check() {
            bail!("{fault}");
        }
        let id = self.next_id;
        self.next_id += 1;
        request.encode(id, &mut self.outbound);
        Ok(id)
    }

    async fn answer(&mut self, id: u64) -> anyhow::Result<Message> {
        loop {
            let message = self.hear().await?;
            match message.read()? {
                FromServer::Reply { id: of, .. } if of == id => return Ok(message),
                // An error without a request is about the connection.
                FromServer::Error { id: of, error } if of == id || of == 0 => {
                    return Err(trouble::refused(&self.endpoint, &error));
                }
                FromServer::Push(_) => self.pushes.push_back(message),
                // An answer that nobody waited for, or a push of a later version.
                FromServer::Reply { .. }
                | FromServer::Error { .. }
                | FromServer::UnknownPush { .. } => {}
            }
        }
    }

    /// Writes what is to be written, and reads the next message. Cancel-safe.
    async fn hear(&mut self) -> anyhow::Result<Message> {
        while !self.outbound.is_empty() {
            // A connection that takes nothing may still have said why: read on.
            if self.stream.write_buf(&mut self.outbound).await.is_err() {
                self.outbound.clear();
            }
        }
        // An encrypted stream keeps bytes until it is told to let them go.
        let _ = self.stream.flush().await;
        loop {
            let cut = frame::cut(&mut self.inbound, limits::FRAME_FROM_SERVER)
                .map_err(|error| trouble::not_ours(self.address(), &error))?;
            if let Some(payload) = cut {
                return self.heard(Message(payload));
            }
            match self.stream.read_buf(&mut self.inbound).await {
                Ok(0) | Err(_) => {
                    return Err(trouble::cut_off(self.address(), self.hello.is_some()));
                }
                Ok(_) => {}
            }
        }
    }

    fn heard(&mut self, message: Message) -> anyhow::Result<Message> {
        self.heard = Instant::now();
        match message.read() {
            Ok(FromServer::Push(Push::ServerGoodbye(goodbye))) => {
                let error = reply::Error {
                    code: goodbye.code,
                    message: goodbye.message,
                    field: None,
                };
                Err(trouble::refused(&self.endpoint, &error))
            }
            Ok(FromServer::Push(Push::ServerPing(_))) => {
                self.send(&Request::Ping(request::Ping {}))?;
                Ok(message)
            }
            Ok(_) => Ok(message),
            Err(error) => Err(trouble::not_ours(self.address(), &*error)),
        }
    }
}

impl Message {
    /// The reply that it is.
    pub(super) fn reply(&self) -> anyhow::Result<Reply<'_>> {
        match self.read()? {
            FromServer::Reply { reply, .. } => Ok(reply),
            FromServer::Error { .. } | FromServer::Push(_) | FromServer::UnknownPush { .. } => {
                Err(self.unexpected())
            }
        }
    }

    /// The push that it is.
    pub(super) fn push(&self) -> anyhow::Result<Push<'_>> {
        match self.read()? {
            FromServer::Push(push) => Ok(push),
            FromServer::Error { .. }
            | FromServer::Reply { .. }
            | FromServer::UnknownPush { .. } => Err(self.unexpected()),
        }
    }

    /// That it is the answer to something else.
    pub(super) fn unexpected(&self) -> anyhow::Error {
        let what = self.read().map_or("nothing", |_| "another");
        anyhow::anyhow!("expected the answer to what was asked, found {what}")
    }

    fn read(&self) -> anyhow::Result<FromServer<'_>> {
        FromServer::decode(&self.0).map_err(|error| anyhow::anyhow!("{error}"))
    }
}
