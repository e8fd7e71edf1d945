//! A client that says what it is told to say and keeps what it hears, in order. No reconnecting, no renewing, no sign of
//! life unless a test sends one.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use tenure_protocol::{
    Code, ErrorCode, FromServer, Grant, Held, Mode, Push, RefusalReason, Reply, Request, ResumeKey,
    Secret, Target, Truth, WaitEnd, frame, limits, push, reply, request,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{ANSWERED, PATIENCE, WAIT_MS, within};

/// The answer to a request. What has been heard is kept for as long as the test runs, so it borrows from nothing.
pub(crate) type Answer = Result<Reply<'static>, reply::Error<'static>>;

/// A session, as whoever opened it knows it.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) org: String,
    pub(crate) number: u64,
    pub(crate) key: ResumeKey,
}

/// See the file's header.
pub(crate) struct Client {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    inbound: BytesMut,
    next_id: u64,
    /// Heard, and not yet asked for by the test.
    answers: HashMap<u64, Answer>,
    pushes: VecDeque<Push<'static>>,
    /// Everything heard, in order.
    heard: Vec<FromServer<'static>>,
}

/// An exclusive acquire that wants an answer at once.
pub(crate) const fn exclusive(session: u64, path: &str) -> request::Acquire<'_> {
    request::Acquire {
        session,
        path,
        mode: Mode::Exclusive,
        wait_ms: 0,
        ttl_ms: None,
        limit: None,
        note: None,
        seize: None,
        metadata: b"",
    }
}

/// A shared acquire that wants an answer at once.
pub(crate) const fn shared(session: u64, path: &str, limit: Option<u32>) -> request::Acquire<'_> {
    request::Acquire {
        mode: Mode::Shared,
        limit,
        ..exclusive(session, path)
    }
}

/// An exclusive acquire of a hold with the shortest life there is.
pub(crate) const fn for_a_second(session: u64, path: &str) -> request::Acquire<'_> {
    request::Acquire {
        ttl_ms: Some(1000),
        ..exclusive(session, path)
    }
}

/// An event of an application's own, without payload or id.
pub(crate) const fn happening<'a>(org: &'a str, path: &'a str) -> request::Publish<'a> {
    request::Publish {
        org,
        path,
        event: "happened",
        payload: b"",
        event_id: None,
        session: None,
    }
}

/// An exclusive acquire that waits.
pub(crate) const fn waiting(session: u64, path: &str) -> request::Acquire<'_> {
    with_wait(exclusive(session, path))
}

/// The same, if it has to wait.
pub(crate) const fn with_wait(acquire: request::Acquire<'_>) -> request::Acquire<'_> {
    request::Acquire {
        wait_ms: WAIT_MS,
        ..acquire
    }
}

// What is said.
impl Client {
    pub(crate) async fn connect(server: SocketAddr) -> Self {
        let stream = within(ANSWERED, "a connection", TcpStream::connect(server)).await;
        let stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }

    /// A connection whose side of the network takes few bytes at a time.
    pub(crate) async fn connect_narrow(server: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = within(ANSWERED, "a connection", socket.connect(server)).await;
        Self::over(stream.unwrap())
    }

    pub(crate) fn over(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader: Box::new(reader),
            writer: Box::new(writer),
            inbound: BytesMut::new(),
            next_id: 1,
            answers: HashMap::new(),
            pushes: VecDeque::new(),
            heard: Vec::new(),
        }
    }

    /// A connection that has been introduced.
    pub(crate) async fn introduced(server: SocketAddr) -> Self {
        let mut client = Self::connect(server).await;
        client.hello(None).await;
        client
    }

    /// Sends a request, and gives the id that its answer will have.
    pub(crate) async fn send(&mut self, request: Request<'_>) -> u64 {
        self.send_all([request]).await.start
    }

    /// Sends requests in one write, and gives their ids.
    pub(crate) async fn send_all<'a>(
        &mut self,
        requests: impl IntoIterator<Item = Request<'a>>,
    ) -> std::ops::Range<u64> {
        let first = self.next_id;
        let mut out = BytesMut::new();
        for request in requests {
            request.encode(self.next_id, &mut out);
            self.next_id += 1;
        }
        self.send_bytes(&out).await;
        first..self.next_id
    }

    /// Sends bytes as they are.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        within(ANSWERED, "the server reads", self.writer.write_all(bytes))
            .await
            .unwrap();
        self.writer.flush().await.unwrap();
    }

    /// Sends bytes as they are, as many as the server takes before it ends the connection.
    pub(crate) async fn try_send_bytes(&mut self, bytes: &[u8]) {
        let _ = within(ANSWERED, "the server reads", self.writer.write_all(bytes)).await;
        let _ = self.writer.flush().await;
    }

    /// Sends requests in one write, as far as the connection takes them, and gives their ids.
    pub(crate) async fn try_send_all<'a>(
        &mut self,
        requests: impl IntoIterator<Item = Request<'a>>,
    ) -> std::ops::Range<u64> {
        let first = self.next_id;
        let mut out = BytesMut::new();
        for request in requests {
            request.encode(self.next_id, &mut out);
            self.next_id += 1;
        }
        self.try_send_bytes(&out).await;
        first..self.next_id
    }

    /// Sends a frame with this payload.
    pub(crate) async fn send_payload(&mut self, payload: &[u8]) {
        let mut out = BytesMut::new();
        frame::append(&mut out, |out| out.extend_from_slice(payload));
        self.send_bytes(&out).await;
    }
}

// What is heard.
impl Client {
    /// The answer to a request that was sent.
    pub(crate) async fn answer(&mut self, id: u64) -> Answer {
        let answer = async {
            loop {
                if let Some(answer) = self.answers.remove(&id) {
                    return answer;
                }
                self.hear_or_panic().await;
            }
        };
        within(ANSWERED, "an answer", answer).await
    }

    /// The first push not yet asked for that `pick` takes. Others wait for their turn.
    pub(crate) async fn push<T>(
        &mut self,
        what: &str,
        pick: impl FnMut(&Push<'static>) -> Option<T>,
    ) -> T {
        self.push_within(PATIENCE, what, pick).await
    }

    pub(crate) async fn push_within<T>(
        &mut self,
        limit: Duration,
        what: &str,
        mut pick: impl FnMut(&Push<'static>) -> Option<T>,
    ) -> T {
        let found = async {
            let mut seen = 0;
            loop {
                while seen < self.pushes.len() {
                    if let Some(found) = pick(&self.pushes[seen]) {
                        self.pushes.remove(seen);
                        return found;
                    }
                    seen += 1;
                }
                self.hear_or_panic().await;
            }
        };
        within(limit, what, found).await
    }

    /// Every push that the server had for this connection before it answered what is asked here, and nobody asked for.
    pub(crate) async fn pushes_until_now(&mut self) -> Vec<Push<'static>> {
        self.ping().await;
        std::mem::take(&mut self.pushes).into()
    }

    /// Waits for the end of the connection, and gives the goodbye if there was one. It must have been the last frame.
    pub(crate) async fn ended(&mut self) -> Option<Code> {
        self.ended_within(PATIENCE).await
    }

    pub(crate) async fn ended_within(&mut self, limit: Duration) -> Option<Code> {
        within(limit, "the connection ends", async {
            while self.hear().await {}
        })
        .await;
        let goodbyes = self.heard.iter().filter(|heard| goodbye(heard).is_some());
        let last = self.heard.last().and_then(goodbye);
        assert_eq!(
            goodbyes.count(),
            usize::from(last.is_some()),
            "a goodbye is the last frame"
        );
        last
    }

    /// Reads whatever comes for a while, or until the connection ends.
    pub(crate) async fn listen(&mut self, duration: Duration) {
        let _ = timeout(duration, async { while self.hear().await {} }).await;
    }

    /// Everything heard so far, in order.
    pub(crate) fn heard(&self) -> &[FromServer<'static>] {
        &self.heard
    }

    /// Reads the next frame. False at the end of the connection.
    pub(crate) async fn hear(&mut self) -> bool {
        loop {
            let cut = frame::cut(&mut self.inbound, limits::FRAME_FROM_SERVER);
            if let Some(payload) = cut.expect("the server sends frames") {
                // Kept until the process ends, so that messages can be handed around.
                let payload: &'static [u8] = Vec::from(payload).leak();
                self.keep(FromServer::decode(payload).expect("the server sends messages"));
                return true;
            }
            match self.reader.read_buf(&mut self.inbound).await {
                Ok(0) | Err(_) => return false,
                Ok(_) => {}
            }
        }
    }

    /// Takes at most so many bytes off the connection, to be heard later. False at its end.
    pub(crate) async fn sip(&mut self, bytes_max: u64) -> bool {
        let mut sip = (&mut self.reader).take(bytes_max);
        matches!(sip.read_buf(&mut self.inbound).await, Ok(1..))
    }

    async fn hear_or_panic(&mut self) {
        if !self.hear().await {
            let last = self.heard.last();
            panic!("the connection has ended; the last frame was {last:?}");
        }
    }

    fn keep(&mut self, heard: FromServer<'static>) {
        match &heard {
            FromServer::Reply { id, reply } => {
                let twice = self.answers.insert(*id, Ok(reply.clone()));
                assert!(twice.is_none(), "a second answer to {id}");
            }
            FromServer::Error { id, error } => {
                let twice = self.answers.insert(*id, Err(*error));
                assert!(twice.is_none(), "a second answer to {id}");
            }
            FromServer::Push(Push::ServerPing(_)) | FromServer::UnknownPush { .. } => {}
            FromServer::Push(push) => self.pushes.push_back(push.clone()),
        }
        self.heard.push(heard);
    }
}

fn goodbye(heard: &FromServer<'static>) -> Option<Code> {
    if let FromServer::Push(Push::ServerGoodbye(goodbye)) = heard {
        return Some(goodbye.code);
    }
    None
}

/// Asks, and gives the reply, which has to be of the kind that the request names.
macro_rules! ask {
    ($client:expr, $kind:ident, $request:expr) => {{
        let reply = $client.ask(Request::$kind($request)).await;
        let Reply::$kind(reply) = reply else {
            panic!("the answer to another request: {reply:?}");
        };
        reply
    }};
}

// What is asked.
impl Client {
    /// The reply to a request that must not fail.
    pub(crate) async fn ask(&mut self, request: Request<'_>) -> Reply<'static> {
        let kind = request.kind();
        let id = self.send(request).await;
        match self.answer(id).await {
            Ok(reply) => reply,
            Err(error) => panic!("{kind} failed: {error:?}"),
        }
    }

    /// The code of the error that a request must have for an answer.
    pub(crate) async fn fails(&mut self, request: Request<'_>) -> ErrorCode {
        self.error(request).await.code.known().unwrap()
    }

    /// The error that a request must have for an answer.
    pub(crate) async fn error(&mut self, request: Request<'_>) -> reply::Error<'static> {
        let kind = request.kind();
        let id = self.send(request).await;
        match self.answer(id).await {
            Err(error) => error,
            Ok(reply) => panic!("{kind} did not fail: {reply:?}"),
        }
    }

    pub(crate) async fn hello(&mut self, key: Option<&str>) -> reply::Hello<'static> {
        let hello = request::Hello {
            version: tenure_protocol::VERSION,
            client: "test",
            key: key.map(Secret),
        };
        ask!(self, Hello, hello)
    }

    pub(crate) async fn ping(&mut self) {
        ask!(self, Ping, request::Ping {});
    }

    /// Opens a session as the policy has it.
    pub(crate) async fn open(&mut self, org: &str, owner: &str) -> Session {
        self.open_with(request::OpenSession {
            org,
            owner,
            name: "",
            role: None,
            on_disconnect: None,
            metadata: b"",
        })
        .await
    }

    pub(crate) async fn open_with(&mut self, open: request::OpenSession<'_>) -> Session {
        let org = String::from(open.org);
        let opened = ask!(self, SessionOpen, open);
        Session {
            org,
            number: opened.session,
            key: opened.resume_key,
        }
    }

    pub(crate) async fn resume(&mut self, session: &Session) -> reply::Resumed<'static> {
        ask!(self, SessionResume, session.resumption())
    }

    pub(crate) async fn close(&mut self, session: u64) {
        ask!(self, SessionClose, request::CloseSession { session });
    }

    pub(crate) async fn renew_session(&mut self, session: u64) -> reply::SessionRenewal {
        let sessions = vec![session];
        let renewed = ask!(self, SessionRenew, request::RenewSessions { sessions });
        assert_eq!(renewed.results.len(), 1);
        renewed.results[0]
    }

    pub(crate) async fn acquire(
        &mut self,
        acquire: request::Acquire<'_>,
    ) -> reply::Acquire<'static> {
        ask!(self, LockAcquire, acquire)
    }

    /// Acquires what must be free for it.
    pub(crate) async fn take(&mut self, acquire: request::Acquire<'_>) -> Grant {
        match self.acquire(acquire).await {
            reply::Acquire::Granted { grant } => grant,
            other => panic!("expected a grant, found {other:?}"),
        }
    }

    /// Acquires what must be taken, and gives the wait.
    pub(crate) async fn queue(&mut self, acquire: request::Acquire<'_>) -> u64 {
        match self.acquire(acquire).await {
            reply::Acquire::Queued { wait, .. } => wait,
            other => panic!("expected a place in the queue, found {other:?}"),
        }
    }

    /// Acquires what must be taken, without waiting.
    pub(crate) async fn refused(
        &mut self,
        acquire: request::Acquire<'_>,
    ) -> (RefusalReason, Truth<'static>) {
        match self.acquire(acquire).await {
            reply::Acquire::Refused { reason, truth } => (reason, truth),
            other => panic!("expected a refusal, found {other:?}"),
        }
    }

    pub(crate) async fn acquire_all(
        &mut self,
        all: request::AcquireAll<'_>,
    ) -> reply::AcquireAll<'static> {
        ask!(self, LockAcquireAll, all)
    }

    pub(crate) async fn renew(&mut self, session: u64, path: &str) -> reply::Renew<'static> {
        let renew = request::Renew {
            session,
            path,
            ttl_ms: None,
            token: None,
        };
        ask!(self, LockRenew, renew)
    }

    pub(crate) async fn release(&mut self, session: u64, path: &str) -> reply::Release<'static> {
        let release = request::Release {
            session,
            path,
            scope: tenure_protocol::ReleaseScope::Session,
            token: None,
        };
        ask!(self, LockRelease, release)
    }

    pub(crate) async fn cancel(&mut self, session: u64, wait: u64) -> reply::Cancel<'static> {
        ask!(self, LockCancel, request::Cancel { session, wait })
    }

    pub(crate) async fn convert(
        &mut self,
        convert: request::Convert<'_>,
    ) -> reply::Convert<'static> {
        ask!(self, LockConvert, convert)
    }

    pub(crate) async fn hand_over(
        &mut self,
        session: u64,
        path: &str,
        to: Option<u64>,
    ) -> reply::HandOver<'static> {
        ask!(self, LockHandOver, request::HandOver { session, path, to })
    }

    pub(crate) async fn force(&mut self, org: &str, target: Target<'_>) -> reply::Forced<'static> {
        let force = request::ForceRelease {
            org,
            target,
            reason: "for a test",
            dry_run: false,
            cursor: None,
        };
        ask!(self, LockForceRelease, force)
    }

    pub(crate) async fn status(&mut self, org: &str, path: &str) -> Truth<'static> {
        ask!(self, LockStatus, request::Status { org, path }).truth
    }

    pub(crate) async fn list(&mut self, org: &str, target: Target<'_>) -> reply::Page<'static> {
        let list = request::List {
            org,
            target,
            mode: None,
            held_min_ms: 0,
            cursor: None,
            page: 256,
        };
        ask!(self, LockList, list)
    }

    pub(crate) async fn list_from(
        &mut self,
        org: &str,
        cursor: Option<&str>,
        page: u32,
    ) -> reply::Page<'static> {
        let list = request::List {
            org,
            target: Target::All,
            mode: None,
            held_min_ms: 0,
            cursor,
            page,
        };
        ask!(self, LockList, list)
    }

    pub(crate) async fn unsubscribe(&mut self, subscription: u64) {
        ask!(
            self,
            StreamUnsubscribe,
            request::Unsubscribe { subscription }
        );
    }

    pub(crate) async fn publish(&mut self, publish: request::Publish<'_>) -> reply::Published {
        ask!(self, StreamPublish, publish)
    }

    pub(crate) async fn stream(&mut self, org: &str, path: Option<&str>) -> reply::StreamStats {
        ask!(self, StreamStats, request::StreamStats { org, path })
    }

    pub(crate) async fn check(&mut self, org: &str, path: &str, token: u64) -> reply::Checked {
        ask!(self, LockCheck, request::Check { org, path, token })
    }
}

// Pushes that tests wait for.
impl Client {
    /// The holds that a wait has become.
    pub(crate) async fn granted(&mut self, wait: u64) -> Vec<Held<'static>> {
        self.granted_within(PATIENCE, wait).await
    }

    pub(crate) async fn granted_within(
        &mut self,
        limit: Duration,
        wait: u64,
    ) -> Vec<Held<'static>> {
        self.push_within(limit, "a grant", |push| {
            if let Push::LockWaitEnded(ended) = push {
                assert_ne!(ended.wait, wait, "ended without a grant: {ended:?}");
            }
            if let Push::LockGranted(granted) = push {
                return (granted.wait == wait).then(|| granted.holds.clone());
            }
            None
        })
        .await
    }

    /// The token of the one hold that a wait has become.
    pub(crate) async fn granted_token(&mut self, wait: u64) -> u64 {
        let holds = self.granted(wait).await;
        assert_eq!(holds.len(), 1);
        holds[0].grant.token
    }

    /// Why a wait is over without a grant.
    pub(crate) async fn wait_ended(&mut self, wait: u64) -> WaitEnd {
        self.push("the end of a wait", |push| {
            if let Push::LockGranted(granted) = push {
                assert_ne!(granted.wait, wait, "granted: {granted:?}");
            }
            if let Push::LockWaitEnded(ended) = push {
                return (ended.wait == wait).then_some(ended.why);
            }
            None
        })
        .await
    }

    /// That a session has lost a hold.
    pub(crate) async fn lost(&mut self, session: u64) -> push::Lost<'static> {
        self.push("a loss", |push| {
            if let Push::LockLost(lost) = push {
                return (lost.session == session).then_some(*lost);
            }
            None
        })
        .await
    }

    /// That somebody asks a session for its lock.
    pub(crate) async fn asked(&mut self, session: u64) -> push::Asked<'static> {
        self.push("a note", |push| {
            if let Push::LockAsked(asked) = push {
                return (asked.session == session).then_some(*asked);
            }
            None
        })
        .await
    }

    /// That a session has ended.
    pub(crate) async fn closed(&mut self, session: u64) -> push::Closed {
        self.push("the end of a session", |push| {
            if let Push::SessionClosed(closed) = push {
                return (closed.session == session).then_some(*closed);
            }
            None
        })
        .await
    }

    /// That a session has gone to another connection.
    pub(crate) async fn moved(&mut self, session: u64) {
        self.push("that the session has moved", |push| {
            if let Push::SessionMoved(moved) = push {
                return (moved.session == session).then_some(());
            }
            None
        })
        .await;
    }
}

impl Session {
    /// The request that resumes it.
    pub(crate) fn resumption(&self) -> request::ResumeSession<'_> {
        request::ResumeSession {
            org: &self.org,
            session: self.number,
            resume_key: self.key,
        }
    }
}
