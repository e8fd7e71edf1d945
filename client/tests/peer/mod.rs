//! A server that does what a test tells it: it speaks the wire and knows no rule.
//!
//! Each test reads the requests it expects, in order, and answers them as it likes. Pings are answered by themselves.
#![allow(dead_code, reason = "each test file uses its part")]

use std::future::Future;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tenure_client::{Client, Options, Session};
use tenure_protocol::{
    Code, ErrorCode, FromClient, Grant, GrantKind, Held, Holder, Mode, OnDisconnect, Push, Reply,
    Request, ResumeKey, Role, Truth, frame, limits, push, reply,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// How long a test waits for what must come.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// How long a test waits to see that something does not come.
pub(crate) const A_WHILE: Duration = Duration::from_millis(150);

/// The key of every session of the peer.
pub(crate) const KEY: ResumeKey = ResumeKey([7; 16]);

pub(crate) struct Peer {
    listener: TcpListener,
    pub(crate) in_flight: u32,
    pub(crate) frame_bytes: usize,
    pub(crate) heartbeat_ms: u64,
    pub(crate) dead_after_ms: u64,
}

impl Peer {
    pub(crate) async fn bind() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            in_flight: 64,
            frame_bytes: limits::FRAME_FROM_CLIENT,
            heartbeat_ms: 5000,
            dead_after_ms: 15_000,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// Options for tests: quick, and without chance.
    pub(crate) fn options(&self) -> Options {
        Client::builder(self.address())
            .back_off(Duration::from_millis(20), Duration::from_millis(200))
            .jitter(false)
    }

    pub(crate) async fn connect(&self) -> (Client, Line) {
        self.connect_with(self.options()).await
    }

    pub(crate) async fn connect_with(&self, options: Options) -> (Client, Line) {
        let (client, line) = tokio::join!(options.connect(), self.accept());
        (client.unwrap(), line)
    }

    /// Takes the next connection and answers its hello.
    pub(crate) async fn accept(&self) -> Line {
        let mut line = self.accept_silently().await;
        let hello = line.next().await;
        assert!(
            matches!(hello.request(), Request::Hello(_)),
            "a connection begins with a hello"
        );
        line.reply(hello.id, Reply::Hello(self.hello())).await;
        line
    }

    pub(crate) async fn accept_silently(&self) -> Line {
        let (stream, _) = soon(self.listener.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Line {
            stream,
            read: BytesMut::new(),
            pings: 0,
            renews: false,
        }
    }

    pub(crate) fn hello(&self) -> reply::Hello<'static> {
        reply::Hello {
            version: 1,
            server: "peer/1",
            connection: 1,
            principal: "test",
            role: Role::Admin,
            heartbeat_ms: self.heartbeat_ms,
            dead_after_ms: self.dead_after_ms,
            limits: reply::Limits {
                frame_bytes: self.frame_bytes as u64,
                in_flight: self.in_flight,
                sessions: 1000,
                path_bytes: 512,
                metadata_bytes: 4096,
            },
        }
    }
}

/// One connection, from the server's side.
pub(crate) struct Line {
    stream: TcpStream,
    read: BytesMut,
    pub(crate) pings: usize,
    /// Whether renewals of sessions are answered as pings are.
    pub(crate) renews: bool,
}

/// A request that has come.
pub(crate) struct Asked {
    pub(crate) id: u64,
    payload: Bytes,
}

impl Asked {
    pub(crate) fn request(&self) -> Request<'_> {
        FromClient::decode(&self.payload).unwrap().request
    }

    pub(crate) fn name(&self) -> &'static str {
        self.request().kind().name()
    }
}

impl Line {
    /// The next request that is no ping.
    pub(crate) async fn next(&mut self) -> Asked {
        soon(self.next_or_end())
            .await
            .expect("the client has closed the connection")
    }

    /// The next request, which must be of this name.
    pub(crate) async fn expect(&mut self, name: &str) -> Asked {
        let asked = self.next().await;
        assert_eq!(asked.name(), name, "{:?}", asked.request());
        asked
    }

    /// The next request that is no ping, or nothing when the client has gone.
    pub(crate) async fn next_or_end(&mut self) -> Option<Asked> {
        loop {
            while let Some(payload) = frame::cut(&mut self.read, limits::FRAME_FROM_CLIENT).unwrap()
            {
                let id = FromClient::decode(&payload).unwrap().id;
                let asked = Asked { id, payload };
                if matches!(asked.request(), Request::Ping(_)) {
                    self.pings += 1;
                    self.reply(id, Reply::Ping(reply::Done {})).await;
                    continue;
                }
                if self.renews
                    && let Request::SessionRenew(renew) = asked.request()
                {
                    let renewal = reply::SessionRenewal::Renewed { holds: 1000 };
                    let results = vec![renewal; renew.sessions.len()];
                    let reply = Reply::SessionRenew(reply::SessionsRenewed { results });
                    self.reply(id, reply).await;
                    continue;
                }
                return Some(asked);
            }
            match self.stream.read_buf(&mut self.read).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Nothing but pings comes for a while.
    pub(crate) async fn expect_silence(&mut self) {
        if let Ok(asked) = timeout(A_WHILE, self.next_or_end()).await {
            let request = asked.map(|asked| format!("{:?}", asked.request()));
            panic!("expected silence, found {request:?}");
        }
    }

    pub(crate) async fn reply(&mut self, id: u64, reply: Reply<'_>) {
        let mut out = BytesMut::new();
        reply.encode(id, &mut out);
        self.write(&out).await;
    }

    pub(crate) async fn error(&mut self, id: u64, code: ErrorCode) {
        let mut out = BytesMut::new();
        let error = reply::Error {
            code: Code::from(code),
            message: "as the test wants",
            field: None,
        };
        error.encode(id, &mut out);
        self.write(&out).await;
    }

    pub(crate) async fn push(&mut self, push: Push<'_>) {
        let mut out = BytesMut::new();
        push.encode(&mut out);
        self.write(&out).await;
    }

    pub(crate) async fn goodbye(&mut self, code: ErrorCode) {
        let goodbye = push::Goodbye {
            code: Code::from(code),
            message: "as the test wants",
        };
        self.push(Push::ServerGoodbye(goodbye)).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        // A client that has gone is for the test to notice by what it does not ask.
        let _ = self.stream.write_all(bytes).await;
    }

    /// Answers the opening of a session.
    pub(crate) async fn open(&mut self, number: u64) -> Asked {
        let asked = self.expect("session.open").await;
        self.reply(asked.id, opened(number)).await;
        asked
    }

    /// Answers a resume with what the session has.
    pub(crate) async fn resume(&mut self, resumed: reply::Resumed<'_>) -> u64 {
        let asked = self.expect("session.resume").await;
        let Request::SessionResume(request) = asked.request() else {
            unreachable!()
        };
        assert_eq!(request.resume_key, KEY);
        let session = request.session;
        self.reply(asked.id, Reply::SessionResume(resumed)).await;
        session
    }

    /// Answers an acquire with a grant.
    pub(crate) async fn grant(&mut self, token: u64) -> Asked {
        let asked = self.expect("lock.acquire").await;
        self.reply(asked.id, granted(grant(token))).await;
        asked
    }

    /// Answers a release.
    pub(crate) async fn released(&mut self) -> Asked {
        let asked = self.expect("lock.release").await;
        let ended = Reply::LockRelease(reply::Release::Ended);
        self.reply(asked.id, ended).await;
        asked
    }

    /// Answers the renewal that follows a pushed grant.
    pub(crate) async fn confirm(&mut self, token: u64) -> Asked {
        let asked = self.expect("lock.renew").await;
        let Request::LockRenew(renew) = asked.request() else {
            unreachable!()
        };
        assert_eq!(renew.token, Some(token));
        let mut grant = grant(token);
        grant.kind = GrantKind::Joined;
        let reply = Reply::LockRenew(reply::Renew::Granted { grant });
        self.reply(asked.id, reply).await;
        asked
    }
}

/// A session, and the line that it was opened over.
pub(crate) async fn session(client: &Client, line: &mut Line, number: u64) -> Session {
    let (session, _) = tokio::join!(
        async { client.session("acme", "ada").name("Ada").await.unwrap() },
        line.open(number)
    );
    session
}

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(SOON, what).await.expect("it did not come in time")
}

pub(crate) fn opened(number: u64) -> Reply<'static> {
    Reply::SessionOpen(reply::Opened {
        session: number,
        resume_key: KEY,
        on_disconnect: OnDisconnect::Release { grace_ms: 10_000 },
    })
}

pub(crate) fn grant(token: u64) -> Grant {
    Grant {
        token,
        mode: Mode::Exclusive,
        ttl_ms: 60_000,
        remaining_ms: 60_000,
        kind: GrantKind::Fresh,
    }
}

pub(crate) fn short_grant(token: u64, ttl_ms: u64) -> Grant {
    Grant {
        ttl_ms,
        remaining_ms: ttl_ms,
        ..grant(token)
    }
}

pub(crate) fn shared_grant(token: u64) -> Grant {
    Grant {
        mode: Mode::Shared,
        ..grant(token)
    }
}

pub(crate) fn granted(grant: Grant) -> Reply<'static> {
    Reply::LockAcquire(reply::Acquire::Granted { grant })
}

pub(crate) fn queued(wait: u64, place: u32) -> Reply<'static> {
    Reply::LockAcquire(reply::Acquire::Queued { wait, place })
}

pub(crate) fn held_by<'a>(owner: &'a str, name: &'a str) -> Truth<'a> {
    Truth {
        mode: Some(Mode::Exclusive),
        limit: None,
        token: Some(3),
        holders: vec![Holder {
            owner,
            name,
            sessions: 1,
            orphaned: false,
            since: 1_700_000_000_000,
            held_ms: 4000,
            remaining_ms: 50_000,
            metadata: b"tab 1",
        }],
        holder_count: 1,
        waiters: 2,
    }
}

pub(crate) fn refused(truth: Truth<'_>) -> Reply<'_> {
    Reply::LockAcquire(reply::Acquire::Refused {
        reason: tenure_protocol::RefusalReason::Held,
        truth,
    })
}

pub(crate) fn wait_granted<'a>(session: u64, wait: u64, path: &'a str, grant: Grant) -> Push<'a> {
    Push::LockGranted(push::Granted {
        session,
        wait,
        holds: vec![Held { path, grant }],
    })
}

pub(crate) fn resumed<'a>() -> reply::Resumed<'a> {
    reply::Resumed {
        owner: "ada",
        role: Role::Admin,
        on_disconnect: OnDisconnect::Release { grace_ms: 10_000 },
        holds: Vec::new(),
        waits: Vec::new(),
        missed: Vec::new(),
        missed_left_out: 0,
    }
}
