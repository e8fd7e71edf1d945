//! One connection, from its first byte to its last: what is there is read and taken as one batch, what is to be said is
//! written in one go, and whoever is silent for too long is given up.
//!
//! ```text
//!  accepted --hello--> introduced --+-- the client goes, or is silent --> its sessions are detached
//!      |                            |
//!      +-- no hello in time --------+-- goodbye (what is in the outbox is still written)
//! ```
//!
//! Must hold: reading stops while much is to be written, so a client that does not read its replies slows itself alone;
//! events are taken from their streams when there is room for them, after what is in the outbox; when the connection ends,
//! every session that it speaks for is detached.

mod alarm;
mod batch;
mod outbound;

use std::mem::take;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use hashbrown::HashMap;
use tenure_engine::Command;
use tenure_protocol::frame::{FrameError, Frames};
use tenure_protocol::{
    ErrorCode, FromClient, Push, Reply, Request, RequestKind, VERSION, limits, push, reply, request,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::task::consume_budget;
use tokio::time::{Instant, sleep, timeout};

use self::alarm::Alarm;
use self::batch::{Batch, is_alone};
use self::outbound::{Outbound, UNWRITTEN_MAX};
use crate::access::Principal;
use crate::dispatch::Item;
use crate::dispatch::attached::Attached;
use crate::dispatch::requests::{Asker, Refused, SESSIONS_MAX};
use crate::dispatch::{replies, terms};
use crate::gate::Gate;
use crate::homes::ShardIndex;
use crate::journal::{Full, Mark};
use crate::metrics::{CommandOutcome, ConnectionRefusal, OpenConnection};
use crate::outbox::{Attachment, Exchanged, Outbox, Unwritten};
use crate::outlet::{Lent, Socket};
use crate::server::Shared;
use crate::shards::{BATCH_MAX, NO_ROOM, PATIENCE};
use crate::streams::{Subscriptions, Woken};

/// Silence after which a sign of life is asked for. Clients send one at least this often.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Silence after which a connection is given up: early enough that promise 5 is kept with the time that noticing takes.
const DEAD_AFTER: Duration = Duration::from_millis(limits::DEAD_AFTER_MS - 500);

/// A client that takes nothing of what it is sent for this long is given up.
const STALLED_AFTER: Duration = Duration::from_secs(10);

/// How long a goodbye may take to be written.
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// Room for bytes that are read at once: twice what came last, but not less and not more. Most connections are idle, and
/// their room is what they cost.
const READ_BYTES_MIN: usize = 512;
const READ_BYTES: usize = 64 * 1024;

/// See the file's header.
pub(crate) struct Connection {
    shared: Arc<Shared>,
    number: u64,
    peer: SocketAddr,
    outbox: Arc<Outbox>,
    open: OpenConnection,
    /// Nobody, until the hello.
    principal: Option<Arc<Principal>>,
    /// The sessions it speaks for.
    sessions: Attached,
    subscriptions: Subscriptions,
    /// Room for what is asked next.
    room: Vec<Item<'static>>,
    /// Whom to tell what has happened, once the reply has gone out. A few are told before it.
    to_tell: Option<Box<Woken>>,
    heard: Instant,
    began: Instant,
    /// When this round began, if anything had to know.
    now: Option<Instant>,
    /// Whether its socket is left to others.
    has_lent: bool,
    /// Bytes that were read and not counted yet.
    uncounted: u64,
    /// Whether it is not read from, because much is to be written.
    is_held_up: bool,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The client has closed it, or the network has.
    Gone,
    /// The server has said goodbye.
    Goodbye(ErrorCode),
}

/// What one batch came to.
struct Taken {
    /// Bytes, and the frames in them.
    consumed: usize,
    frames: u64,
    /// What came instead of another frame.
    failed: Option<FrameError>,
    /// Answers that are to be written next.
    answered: u64,
    /// When it was done, if a shard had to do with it.
    done_at: Option<Instant>,
    to_tell: Option<Box<Woken>>,
}

/// The reads and writes of one loop, and when to look at the clock.
struct Io<R, W> {
    reader: R,
    inbound: BytesMut,
    /// Bytes that the last read has brought.
    brought: usize,
    outbound: Outbound<W>,
}

impl Connection {
    pub(crate) fn new(
        shared: Arc<Shared>,
        number: u64,
        peer: SocketAddr,
        outbox: Arc<Outbox>,
        open: OpenConnection,
        began: Instant,
    ) -> Self {
        let sessions = Attached::new(shared.shards.homes);
        Self {
            shared,
            number,
            peer,
            outbox,
            open,
            principal: None,
            sessions,
            subscriptions: Subscriptions::default(),
            room: Vec::new(),
            to_tell: None,
            heard: began,
            began,
            now: None,
            has_lent: false,
            uncounted: 0,
            is_held_up: false,
        }
    }

    /// Serves until the connection ends, and then detaches its sessions.
    pub(crate) async fn serve<R, W>(mut self, reader: R, writer: W, socket: Option<Socket>)
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut io = Io {
            reader,
            inbound: BytesMut::new(),
            brought: 0,
            outbound: Outbound::new(writer, socket),
        };
        let end = self.run(&mut io).await;
        if self.has_lent {
            self.take_back(&mut io.outbound);
        }
        self.wake_listeners();
        // First of all: others may be waiting for what the sessions hold, and a goodbye can take a while.
        self.detach_sessions(&mut io.outbound).await;
        self.stop_listening().await;
        if let End::Goodbye(code) = end {
            self.shared.metrics.goodbye(code);
            let gate = &self.shared.shards.gate;
            let _ = timeout(GOODBYE_WITHIN, io.part(&self.outbox, gate)).await;
        }
        tracing::debug!(connection = self.number, peer = %self.peer, ?end, "connection ended");
    }

    async fn run<R, W>(&mut self, io: &mut Io<R, W>) -> End
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut alarm = Alarm::after(self.next_alarm(Duration::ZERO));
        let outbox = Arc::clone(&self.outbox);
        let mut calls = outbox.calls();
        loop {
            let found = self.look_around(&mut io.outbound);
            if let Some(code) = found.closing {
                return End::Goodbye(code);
            }
            let has_room = io.outbound.has_room_beside(found.left);
            self.hold_up(!has_room);
            // What a full outbox has held up is taken before more is read, and answered before it is known what that rests on.
            if has_room && self.take_frames(&mut io.inbound, &mut io.outbound) {
                continue;
            }
            let may_write = io.outbound.may_write(&self.shared.shards.gate, &outbox);
            // What is in the outbox comes first: a reply to a subscribe before its first event.
            if found.left == 0 {
                self.take_events(&mut io.outbound);
            }
            match io.outbound.advance_now(may_write).await {
                Some(Err(_)) => return End::Gone,
                // There is room for what was held up.
                Some(Ok(())) if !has_room || found.left > 0 => continue,
                Some(Ok(())) | None => {}
            }
            if self.to_tell.is_some() {
                // The reply has gone out, or waits for the client to read.
                self.tell_listeners();
                continue;
            }
            let is_writing = io.outbound.has_more();
            let has_more_events = self.subscriptions.is_ready() && !is_writing;
            if !is_writing && !has_more_events && !self.subscriptions.is_empty() {
                self.has_lent = io.outbound.lend(&self.outbox);
            }
            reserve_for_reading(&mut io.inbound, io.brought);
            tokio::select! {
                biased;
                written = io.outbound.advance(), if may_write && is_writing => {
                    if written.is_err() {
                        return End::Gone;
                    }
                }
                read = io.reader.read_buf(&mut io.inbound), if has_room => match read {
                    Ok(0) | Err(_) => return End::Gone,
                    Ok(count) => {
                        io.brought = count;
                        self.uncounted += count as u64;
                    }
                },
                // Others have their turn, also if this is in each round.
                () = calls.next() => consume_budget().await,
                () = alarm.rings() => self.look_at_the_clock(&io.outbound, &mut alarm),
                // A long search for what matches is many short steps, between which others have their turn.
                () = tokio::task::yield_now(), if has_more_events => {}
            }
            self.now = None;
        }
    }

    /// When this round began, or anything in it first had to know.
    fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(Instant::now)
    }

    /// Takes what has come to the connection since the last time, and counts what is to be written of it.
    fn look_around<W>(&mut self, outbound: &mut Outbound<W>) -> Exchanged {
        if self.has_lent {
            self.take_back(outbound);
        }
        let mut found = outbound.exchange(&self.outbox, self.subscriptions.woken());
        self.count_unwritten(outbound, 0, found.frames);
        if !found.attachments.is_empty() {
            self.keep(take(&mut found.attachments));
        }
        self.subscriptions.note_woken();
        found
    }

    /// Counts frames that have come to what is to be written, behind so many bytes.
    fn count_unwritten<W>(&mut self, outbound: &mut Outbound<W>, before: usize, frames: u64) {
        if frames == 0 {
            return;
        }
        if before == 0 && outbound.is_flushed {
            outbound.progress = self.now();
        }
        let bytes = outbound.unwritten.bytes.len() - before;
        self.open.sent(bytes as u64, frames);
    }

    /// Reading is held up, or taken up again. What the client has sent meanwhile was not for us to hear.
    fn hold_up(&mut self, is_held_up: bool) {
        if self.is_held_up && !is_held_up {
            self.heard = Instant::now();
        }
        self.is_held_up = is_held_up;
    }

    // Time.

    fn look_at_the_clock<W>(&mut self, outbound: &Outbound<W>, alarm: &mut Alarm) {
        // While it is not listened to, a client shows that it lives by taking what it is sent.
        let heard = if self.is_held_up {
            self.heard.max(outbound.progress)
        } else {
            self.heard
        };
        let silence = heard.elapsed();
        let is_stalled = outbound.has_more()
            && !outbound.is_held
            && outbound.progress.elapsed() >= STALLED_AFTER;
        if self.principal.is_none() && self.began.elapsed() >= self.shared.config.hello_timeout() {
            self.shared
                .metrics
                .connection_refused(ConnectionRefusal::HelloTimeout);
            self.outbox.close(
                ErrorCode::HelloTimeout,
                "expected a hello, found nothing in time",
            );
        } else if is_stalled {
            self.outbox.close(
                ErrorCode::SlowReader,
                "the client takes nothing of what it is sent",
            );
        } else if silence >= DEAD_AFTER {
            let message =
                "expected a sign of life within 15 s; send a ping when there is nothing else";
            self.outbox.close(ErrorCode::Silent, message);
        } else if silence >= HEARTBEAT {
            self.outbox.push(&Push::ServerPing(push::Ping {}));
        }
        self.subscriptions.look_at_all();
        alarm.reset(Instant::now() + self.next_alarm(silence));
    }

    /// How long until the clock has to be looked at again.
    fn next_alarm(&self, silence: Duration) -> Duration {
        let least = Duration::from_millis(50);
        let until_ping = match HEARTBEAT.saturating_sub(silence) {
            Duration::ZERO => HEARTBEAT,
            left => left.max(least),
        };
        let until_dead = DEAD_AFTER.saturating_sub(silence).max(least);
        let until_hello = match self.principal {
            Some(_) => HEARTBEAT,
            None => {
                let timeout = self.shared.config.hello_timeout();
                timeout.saturating_sub(self.began.elapsed()).max(least)
            }
        };
        until_ping.min(until_dead).min(until_hello)
    }

    // Reading.

    /// Takes the frames that are there, a batch at a time. Tells whether that was not all, or has led to more than answers:
    /// then that comes first.
    fn take_frames<W>(&mut self, inbound: &mut BytesMut, outbound: &mut Outbound<W>) -> bool {
        if inbound.is_empty() {
            return false;
        }
        // Set by a hello alone, which is none when there is one already.
        let principal = self.principal.take();
        let before = outbound.unwritten.bytes.len();
        let taken = self.take_batch(principal.as_deref(), inbound, &mut outbound.unwritten);
        if principal.is_some() {
            self.principal = principal;
        }
        self.now = self.now.or(taken.done_at);
        self.count_unwritten(outbound, before, taken.answered);
        self.wake_listeners();
        self.to_tell = taken.to_tell;
        if self.to_tell.as_deref().is_some_and(Woken::is_for_few) {
            self.tell_listeners();
        }
        pass(inbound, taken.consumed);
        self.open.received(take(&mut self.uncounted), taken.frames);
        if taken.frames > 0 {
            // A frame is a sign of life; bytes that never become one are not.
            self.heard = self.now();
        }
        if let Some(error) = taken.failed {
            self.broken_frame(error);
        }
        let is_all = inbound.is_empty() && outbound.has_room_beside(0) && self.outbox.is_unused();
        taken.frames > 0 && !is_all
    }

    /// Takes as many frames as go into one batch, and has them executed.
    #[inline]
    fn take_batch(
        &mut self,
        principal: Option<&Principal>,
        inbound: &[u8],
        written: &mut Unwritten,
    ) -> Taken {
        let bytes_max = match principal {
            Some(_) => limits::FRAME_FROM_CLIENT,
            None => limits::FRAME_BEFORE_HELLO,
        };
        let mut frames = Frames::new(inbound, bytes_max);
        let mut batch = Batch::for_bytes(inbound.len(), take(&mut self.room), written);
        let mut count = 0;
        let mut failed = None;
        for payload in frames
            .by_ref()
            .take(BATCH_MAX.min(self.shared.config.in_flight_max))
        {
            count += 1;
            match payload {
                Ok(payload) => {
                    let is_last = self.take_frame(principal, payload, &mut batch);
                    if is_last {
                        break;
                    }
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        let to_tell = batch.submit(&self.shared, &self.outbox);
        let (answered, done_at) = (batch.answered, batch.done_at.map(Instant::from_std));
        self.room = batch.into_room();
        Taken {
            consumed: frames.consumed(),
            frames: count,
            failed,
            answered,
            done_at,
            to_tell,
        }
    }

    fn wake_listeners(&mut self) {
        if let Some(waiting) = self.to_tell.take() {
            waiting.wake();
        }
    }

    fn tell_listeners(&mut self) {
        if let Some(waiting) = self.to_tell.take() {
            waiting.tell(self.now());
        }
    }

    /// Takes one frame. Tells whether what comes after it has to wait until it has been executed.
    fn take_frame<'a>(
        &mut self,
        principal: Option<&'a Principal>,
        payload: &'a [u8],
        batch: &mut Batch<'a, '_>,
    ) -> bool {
        let taken = FromClient::lend(
            payload,
            #[inline(always)]
            |id, request| self.take_request(principal, id, request, batch),
        );
        taken.unwrap_or_else(|error| {
            self.count(error.op, CommandOutcome::Malformed);
            batch.say(|out| error.encode_reply(out));
            let fails = error.fails_connection() || principal.is_none();
            if fails {
                batch.close(error.code(), error.to_string());
            }
            fails
        })
    }

    #[inline(always)]
    fn take_request<'a>(
        &mut self,
        principal: Option<&'a Principal>,
        id: u64,
        request: &Request<'a>,
        batch: &mut Batch<'a, '_>,
    ) -> bool {
        match (principal, request) {
            (None, Request::Hello(hello)) => {
                self.hello(id, hello, batch);
                true
            }
            (None, _) => {
                let message = String::from("expected a hello first, found another request");
                self.fail(batch, id, ErrorCode::HelloExpected, &message);
                batch.close(ErrorCode::HelloExpected, message);
                true
            }
            (Some(_), Request::Hello(_)) => {
                let message = "this connection has been introduced already";
                self.fail(batch, id, ErrorCode::HelloRepeated, message);
                false
            }
            (Some(_), Request::Ping(_)) => {
                self.count(Some(RequestKind::Ping.number()), CommandOutcome::Done);
                batch.say(|out| Reply::Ping(reply::Done {}).encode(id, out));
                false
            }
            (Some(principal), request) => self.take_work(principal, id, request, batch),
        }
    }

    #[inline(always)]
    fn take_work<'a>(
        &mut self,
        principal: &'a Principal,
        id: u64,
        request: &Request<'a>,
        batch: &mut Batch<'a, '_>,
    ) -> bool {
        let kind = request.kind();
        if let Request::SessionRenew(renew) = request {
            // What was asked before is done before.
            if let Some(woken) = batch.submit(&self.shared, &self.outbox) {
                woken.wake();
            }
            self.renew_sessions(id, renew, batch);
            return false;
        }
        match self.asker(principal, &mut batch.items).add(id, request) {
            Ok(()) => is_alone(kind),
            Err(Refused { code, message }) => {
                self.count(Some(kind.number()), CommandOutcome::Denied);
                self.fail(batch, id, code, &message);
                false
            }
        }
    }

    fn asker<'c, 'a>(
        &'c mut self,
        principal: &'a Principal,
        items: &'c mut Vec<Item<'a>>,
    ) -> Asker<'c, 'a> {
        Asker {
            homes: self.shared.shards.homes,
            principal,
            connection: self.number,
            sessions: &self.sessions,
            subscriptions: &mut self.subscriptions,
            items,
        }
    }

    fn fail(&self, batch: &mut Batch<'_, '_>, id: u64, code: ErrorCode, message: &str) {
        batch.say(|out| replies::error(id, code, message, out));
    }

    fn count(&self, op: Option<u64>, outcome: CommandOutcome) {
        if let Some(kind) = op.and_then(RequestKind::from_number) {
            self.shared.metrics.command(kind, outcome);
        }
    }

    fn broken_frame(&self, error: FrameError) {
        if self.principal.is_none() {
            self.shared
                .metrics
                .connection_refused(ConnectionRefusal::HelloMalformed);
        }
        tracing::debug!(connection = self.number, peer = %self.peer, %error, "broken frame");
        self.outbox.close(error.code(), &error.to_string());
    }

    // What is answered without a shard, or with several.

    fn hello(&mut self, id: u64, hello: &request::Hello<'_>, batch: &mut Batch<'_, '_>) {
        if hello.version == 0 {
            let message = "expected a version from 1, found 0";
            self.fail(batch, id, ErrorCode::VersionUnsupported, message);
            batch.close(ErrorCode::VersionUnsupported, String::from(message));
            return;
        }
        let key = hello.key.as_ref().map(|key| key.0);
        let Some(principal) = self.shared.access.authenticate(key) else {
            let message = if key.is_some() {
                "the API key is none of this server's"
            } else {
                "this server asks for an API key, and the hello has none"
            };
            self.shared
                .metrics
                .connection_refused(ConnectionRefusal::Key);
            tracing::warn!(connection = self.number, peer = %self.peer, "{message}");
            self.fail(batch, id, ErrorCode::BadCredentials, message);
            batch.close(ErrorCode::BadCredentials, String::from(message));
            return;
        };
        self.count(Some(RequestKind::Hello.number()), CommandOutcome::Done);
        let (number, client) = (self.number, hello.client);
        tracing::debug!(connection = number, peer = %self.peer, principal = %principal.name, client, "hello");
        let reply = Reply::Hello(reply::Hello {
            version: hello.version.min(VERSION),
            server: concat!("tenure/", env!("CARGO_PKG_VERSION")),
            connection: self.number,
            principal: &principal.name,
            role: terms::role_to_wire(principal.role),
            heartbeat_ms: HEARTBEAT.as_millis() as u64,
            dead_after_ms: limits::DEAD_AFTER_MS,
            limits: reply::Limits {
                frame_bytes: limits::FRAME_FROM_CLIENT as u64,
                in_flight: u32::try_from(self.shared.config.in_flight_max).unwrap_or(u32::MAX),
                sessions: SESSIONS_MAX as u32,
                path_bytes: limits::PATH.max as u32,
                metadata_bytes: limits::METADATA.max as u32,
            },
        });
        batch.say(|out| reply.encode(id, out));
        self.principal = Some(principal);
    }

    fn renew_sessions(
        &mut self,
        id: u64,
        renew: &request::RenewSessions,
        batch: &mut Batch<'_, '_>,
    ) {
        let shared = Arc::clone(&self.shared);
        let mut mark = Mark::default();
        let results = renew.sessions.iter().map(|number| {
            let Some((shard, by)) = self.sessions.get(*number) else {
                return Ok(reply::SessionRenewal::NotAttached);
            };
            let (renewal, rests_on) = shared.shards.renew_session(shard, by)?;
            mark = mark.max(rests_on);
            Ok(renewal)
        });
        let results = results.collect::<Result<_, Full>>();
        batch.rests_on(mark);
        let kind = RequestKind::SessionRenew;
        match results {
            Ok(results) => {
                self.count(Some(kind.number()), CommandOutcome::Done);
                let reply = Reply::SessionRenew(reply::SessionsRenewed { results });
                batch.say(|out| reply.encode(id, out));
            }
            Err(Full::Segment | Full::Tokens) => {
                self.count(Some(kind.number()), CommandOutcome::Rejected);
                self.fail(batch, id, ErrorCode::Unavailable, NO_ROOM);
            }
        }
    }

    // Events.

    /// Takes the socket back that was left to others, and counts what has gone past meanwhile.
    fn take_back<W>(&mut self, outbound: &mut Outbound<W>) {
        self.has_lent = false;
        let Some(Lent {
            unwritten, passed, ..
        }) = self.outbox.outlet.take_back()
        else {
            return;
        };
        outbound.unwritten.bytes = unwritten;
        if passed.frames > 0 {
            outbound.progress = Instant::now();
            self.open.sent(passed.bytes, passed.frames);
            self.count_gaps(passed.gaps);
        }
    }

    fn count_gaps(&self, gaps: u64) {
        if gaps > 0 {
            self.shared.metrics.stream_gaps(gaps);
            tracing::debug!(connection = self.number, peer = %self.peer, "events left out");
        }
    }

    /// Takes what there is for the subscriptions, as far as there is room.
    fn take_events<W>(&mut self, outbound: &mut Outbound<W>) {
        if !self.subscriptions.is_ready() {
            return;
        }
        let now = self.now();
        let before = outbound.unwritten.bytes.len();
        let out = &mut outbound.unwritten.bytes;
        let drained = self.subscriptions.drain(UNWRITTEN_MAX, now, out);
        self.count_unwritten(outbound, before, drained.frames);
        self.count_gaps(drained.gaps);
    }

    async fn stop_listening(&mut self) {
        for (number, ended) in self.subscriptions.end_all() {
            let shards = &self.shared.shards;
            shards.unsubscribe(ended.shard, &ended.org, self.number, number);
            tokio::task::yield_now().await;
        }
    }

    // Sessions.

    fn keep(&mut self, attachments: Vec<Attachment>) {
        for attachment in attachments {
            match attachment {
                Attachment::Made(session, attach) => {
                    self.sessions.insert(session, attach);
                }
                Attachment::Gone(session) => {
                    self.sessions.remove(session);
                }
            }
        }
    }

    /// Nobody speaks for the sessions any more: their grace begins.
    async fn detach_sessions<W>(&mut self, outbound: &mut Outbound<W>) {
        let found = outbound.exchange(&self.outbox, &mut Vec::new());
        self.keep(found.attachments);
        let mut by_shard: HashMap<ShardIndex, Vec<Command<'static>>> = HashMap::new();
        for (shard, by) in self.sessions.drain() {
            by_shard
                .entry(shard)
                .or_default()
                .push(Command::DetachSession(by));
        }
        for (shard, commands) in by_shard {
            for batch in commands.chunks(BATCH_MAX) {
                // Until this can be kept nobody can take over what they hold.
                while self.shared.shards.propose(shard, batch).is_err() {
                    sleep(PATIENCE).await;
                }
                // The end of a connection with very many is many short steps, between which others have their turn.
                tokio::task::yield_now().await;
            }
        }
    }
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Io<R, W> {
    /// Writes what is left, and then listens until the client has gone too. Closing with requests unread would make the
    /// network drop what has been written, the goodbye included.
    async fn part(&mut self, outbox: &Arc<Outbox>, gate: &Gate) -> std::io::Result<()> {
        self.outbound.finish(outbox, gate).await?;
        loop {
            self.inbound.clear();
            reserve_for_reading(&mut self.inbound, 0);
            if self.reader.read_buf(&mut self.inbound).await? == 0 {
                return Ok(());
            }
        }
    }
}

/// Passes over what is done. When that is all, what comes next lies where it lay.
fn pass(bytes: &mut BytesMut, count: usize) {
    if count == bytes.len() {
        bytes.clear();
    } else {
        bytes.advance(count);
    }
}

/// Makes room for one read, and gives memory back that a burst has taken.
fn reserve_for_reading(inbound: &mut BytesMut, brought: usize) {
    let room = (2 * brought.max(inbound.len())).clamp(READ_BYTES_MIN, READ_BYTES);
    if inbound.is_empty() && inbound.capacity() > 8 * room {
        *inbound = BytesMut::new();
    }
    inbound.reserve(room);
}

#[cfg(test)]
mod tests;
