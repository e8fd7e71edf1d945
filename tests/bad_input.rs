//! Whatever a client sends, it gets the answer that docs/protocol.md promises, and another connection does not notice.
//!
//! A request whose id can be read fails alone; what cannot be answered ends its connection with a goodbye. Every test has a
//! bystander, who works on while the others misbehave.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message, also about what it does not expect"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use support::{Client, PATIENCE, TestServer, config, exclusive, millis, within};
use tenure::config::Config;
use tenure_protocol::{ErrorCode, FromServer, Push, Reply, Request, frame, limits, request};
use tokio::task::JoinHandle;

const ORG: &str = "acme";

/// A round trip that takes longer has been held up by somebody.
const HELD_UP: Duration = Duration::from_secs(1);

/// A server, and somebody who uses it as it is meant.
struct Watched {
    server: TestServer,
    is_over: Arc<AtomicBool>,
    working: JoinHandle<(usize, Duration)>,
}

impl Watched {
    async fn start() -> Self {
        Self::with(config()).await
    }

    async fn with(config: Config) -> Self {
        let server = TestServer::with(config).await;
        let mut client = server.connect().await;
        let session = client.open(ORG, "bystander").await.number;
        let is_over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&is_over);
        let working = tokio::spawn(async move {
            let (mut rounds, mut longest) = (0, Duration::ZERO);
            loop {
                let began = Instant::now();
                client.take(exclusive(session, "other/1")).await;
                client.release(session, "other/1").await;
                longest = longest.max(began.elapsed());
                rounds += 1;
                if until.load(Ordering::Relaxed) {
                    return (rounds, longest);
                }
                tokio::time::sleep(millis(1)).await;
            }
        });
        Self {
            server,
            is_over,
            working,
        }
    }

    /// A connection that has not been introduced.
    async fn stranger(&self) -> Client {
        Client::connect(self.server.addr).await
    }

    /// The bystander has noticed nothing, and somebody new is let in.
    async fn ends_well(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let (rounds, longest) = within(PATIENCE, "the bystander", self.working)
            .await
            .unwrap();
        assert!(rounds > 0);
        assert!(longest < HELD_UP, "held up for {longest:?}");
        self.server.connect().await.ping().await;
    }
}

/// A value of MessagePack, sound or not.
#[derive(Debug, Clone)]
enum Value {
    Nil,
    Number(u64),
    Text(String),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    /// Bytes as they are.
    Raw(Vec<u8>),
}

use Value::{List, Nil, Number, Raw};

fn text(text: &str) -> Value {
    Value::Text(String::from(text))
}

impl Value {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Nil => out.push(0xc0),
            Number(number) => {
                out.push(0xcf);
                out.extend(number.to_be_bytes());
            }
            Self::Text(text) => {
                out.push(0xdb);
                out.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                out.extend(text.bytes());
            }
            Self::Bytes(bytes) => {
                out.push(0xc6);
                out.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
                out.extend(bytes);
            }
            List(values) => {
                out.push(0xdd);
                out.extend(u32::try_from(values.len()).unwrap().to_be_bytes());
                values.iter().for_each(|value| value.write(out));
            }
            Raw(bytes) => out.extend(bytes),
        }
    }

    fn payload(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

/// A frame as it goes over the wire.
fn framed(payload: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame::append(&mut out, |out| out.extend_from_slice(payload));
    out.to_vec()
}

/// Arrays in arrays, and nothing in the last.
fn nested(depth: usize) -> Value {
    let mut bytes = vec![0x91; depth];
    bytes.push(0x90);
    Raw(bytes)
}

/// Sends a request that is not right, and gives code and field of the error. The connection must go on.
async fn answer_to(
    client: &mut Client,
    id: u64,
    request: Value,
) -> (ErrorCode, Option<&'static str>) {
    client.send_payload(&request.payload()).await;
    let error = match client.answer(id).await {
        Err(error) => error,
        Ok(reply) => panic!("{request:?} was answered with {reply:?}"),
    };
    assert!(!error.message.is_empty());
    client.ping().await;
    (error.code.known().unwrap(), error.field)
}

/// Sends bytes that end the connection, and gives the code of the error that came before the goodbye, if one did.
async fn end_by(mut client: Client, bytes: &[u8]) -> (Option<ErrorCode>, ErrorCode) {
    client.try_send_bytes(bytes).await;
    let goodbye = client.ended().await.expect("a goodbye");
    let mut errors = client.heard().iter().filter_map(|heard| match heard {
        FromServer::Error { error, .. } => error.code.known(),
        _ => None,
    });
    (errors.next_back(), goodbye.known().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_frame_of_ours_end_the_connection_with_a_goodbye() {
    let watched = Watched::start().await;
    let hello = request::Hello {
        version: 1,
        client: "test",
        key: None,
    };
    let mut large = BytesMut::new();
    Request::Hello(hello).encode(1, &mut large);
    let too_large = u32::try_from(limits::FRAME_BEFORE_HELLO + 1).unwrap();
    large[..4].copy_from_slice(&too_large.to_be_bytes());
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 what a client of TLS says first";
    for (bytes, code) in [
        (
            &b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"[..],
            ErrorCode::FrameTooLarge,
        ),
        (b"POST /locks HTTP/1.1\r\n\r\n", ErrorCode::FrameTooLarge),
        (
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            ErrorCode::FrameTooLarge,
        ),
        (tls, ErrorCode::FrameTooLarge),
        (b"\xff\xff\xff\xff", ErrorCode::FrameTooLarge),
        (b"SSH-2.0-OpenSSH_9.6\r\n", ErrorCode::FrameTooLarge),
        (&large, ErrorCode::FrameTooLarge),
        (b"\x00\x00\x00\x00", ErrorCode::BadFrame),
    ] {
        let answer = end_by(watched.stranger().await, bytes).await;
        assert_eq!(answer, (None, code), "{bytes:?}");
        // A frame that is too large before the hello is only not whole yet after it.
        if bytes != &large[..] {
            let answer = end_by(watched.server.connect().await, bytes).await;
            assert_eq!(answer, (None, code), "after the hello: {bytes:?}");
        }
    }
    watched.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_noise_is_said_goodbye_to_and_not_taken_in() {
    let watched = Watched::start().await;
    let flood = vec![0xff; 8 << 20];
    for client in [watched.stranger().await, watched.server.connect().await] {
        let answer = end_by(client, &flood).await;
        assert_eq!(answer, (None, ErrorCode::FrameTooLarge));
    }
    watched.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_no_message_end_the_connection_with_an_error_and_a_goodbye() {
    let watched = Watched::start().await;
    for (payload, code) in [
        (&b"hello"[..], ErrorCode::BadMessage),
        (b"\xc1", ErrorCode::BadMessage),
        (b"\x90", ErrorCode::BadMessage),
        (b"\x91\x1d", ErrorCode::BadMessage),
        (b"\x81\x01\x02", ErrorCode::BadMessage),
        (b"\x92\xa4ping\x01", ErrorCode::BadMessage),
        // An array that claims four billion values, and one whose id is a text.
        (b"\xdd\xff\xff\xff\xff", ErrorCode::BadMessage),
        (b"\x92\x02\xa1x", ErrorCode::BadMessage),
        // 0 would be mistaken for no request.
        (b"\x92\x02\x00", ErrorCode::BadValue),
    ] {
        for client in [watched.stranger().await, watched.server.connect().await] {
            let answer = end_by(client, &framed(payload)).await;
            assert_eq!(answer, (Some(code), code), "{payload:?}");
        }
    }
    watched.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_hello_nothing_else_is_answered() {
    let watched = Watched::start().await;
    for request in [
        List(vec![Number(2), Number(7)]),
        List(vec![Number(10), Number(7), text(ORG), text("u-1")]),
        List(vec![Number(29), Number(7), text(ORG), text("doc/1")]),
    ] {
        let answer = end_by(watched.stranger().await, &framed(&request.payload())).await;
        let code = ErrorCode::HelloExpected;
        assert_eq!(answer, (Some(code), code), "{request:?}");
    }
    // A hello that fails ends the connection too.
    for (request, code) in [
        (List(vec![Number(1), Number(7)]), ErrorCode::BadMessage),
        (
            List(vec![Number(1), Number(7), Number(0)]),
            ErrorCode::VersionUnsupported,
        ),
        (
            List(vec![
                Number(1),
                Number(7),
                Number(1),
                text(&"x".repeat(257)),
            ]),
            ErrorCode::BadValue,
        ),
        (
            List(vec![Number(1), Number(7), Number(1), nested(4000)]),
            ErrorCode::BadMessage,
        ),
        (List(vec![Number(99), Number(7)]), ErrorCode::UnknownCommand),
    ] {
        let answer = end_by(watched.stranger().await, &framed(&request.payload())).await;
        assert_eq!(answer, (Some(code), code), "{request:?}");
    }
    watched.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_of_a_later_version_is_taken_as_ours() {
    let watched = Watched::start().await;
    let mut client = watched.stranger().await;
    // With fields that nobody knows yet, as large as a frame may be before the hello.
    let mut hello = vec![
        Number(1),
        Number(1),
        Number(99),
        text("test"),
        Nil,
        nested(100),
    ];
    let room = limits::FRAME_BEFORE_HELLO - List(hello.clone()).payload().len();
    hello.push(Value::Bytes(vec![0; room - 5]));
    let payload = List(hello).payload();
    assert_eq!(payload.len(), limits::FRAME_BEFORE_HELLO);
    client.send_payload(&payload).await;
    let Ok(Reply::Hello(hello)) = client.answer(1).await else {
        panic!("expected a hello");
    };
    assert_eq!(hello.version, 1);
    client.ping().await;
    watched.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_hello_fails_alone() {
    let watched = Watched::start().await;
    let mut client = watched.server.connect().await;
    let session = client.open(ORG, "u-1").await.number;
    let hello = request::Hello {
        version: 1,
        client: "again",
        key: None,
    };
    let code = client.fails(Request::Hello(hello)).await;
    assert_eq!(code, ErrorCode::HelloRepeated);
    client.take(exclusive(session, "doc/1")).await;
    watched.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_not_right_fails_alone_and_names_the_field() {
    let watched = Watched::start().await;
    let mut client = watched.server.connect().await;
    let session = Number(client.open(ORG, "u-1").await.number);
    let id = Number(1000);
    let acquire = |fields: &[Value]| {
        let mut request = vec![Number(20), id.clone(), session.clone()];
        request.extend_from_slice(fields);
        List(request)
    };
    let on = |path: &str| acquire(&[text(path), Number(2)]);
    let with_ttl = |ttl| acquire(&[text("doc/1"), Number(2), Number(0), ttl]);
    let (bad_message, bad_value) = (ErrorCode::BadMessage, ErrorCode::BadValue);
    let century_ms = 100 * 365 * 24 * 60 * 60 * 1000;
    for (request, code, field) in [
        // No such command; a push is none.
        (
            List(vec![Number(99), id.clone()]),
            ErrorCode::UnknownCommand,
            None,
        ),
        (
            List(vec![Number(0), id.clone()]),
            ErrorCode::UnknownCommand,
            None,
        ),
        (
            List(vec![Number(140), id.clone()]),
            ErrorCode::UnknownCommand,
            None,
        ),
        // Fields that are missing or of another type.
        (
            List(vec![Number(20), id.clone()]),
            bad_message,
            Some("session"),
        ),
        (acquire(&[]), bad_message, Some("path")),
        (acquire(&[text("doc/1")]), bad_message, Some("mode")),
        (acquire(&[Number(7), Number(2)]), bad_message, Some("path")),
        (acquire(&[Nil, Number(2)]), bad_message, Some("path")),
        (
            acquire(&[text("doc/1"), text("exclusive")]),
            bad_message,
            Some("mode"),
        ),
        (with_ttl(text("1 s")), bad_message, Some("ttl_ms")),
        (with_ttl(Raw(vec![0xff])), bad_message, Some("ttl_ms")),
        (
            acquire(&[nested(10_000), Number(2)]),
            bad_message,
            Some("path"),
        ),
        (
            acquire(&[nested(250_000), Number(2)]),
            bad_message,
            Some("path"),
        ),
        // Paths.
        (on(""), bad_value, Some("path")),
        (on(&"x".repeat(513)), bad_value, Some("path")),
        (on(&"doc/".repeat(2560)), bad_value, Some("path")),
        (on("doc//1"), bad_value, Some("path")),
        (on("/doc/1"), bad_value, Some("path")),
        (on("doc/"), bad_value, Some("path")),
        (on("doc/*"), bad_value, Some("path")),
        (on("**"), bad_value, Some("path")),
        (on("doc/\n1"), bad_value, Some("path")),
        (on("doc/\u{85}"), bad_value, Some("path")),
        (
            acquire(&[Raw(b"\xa3\xff\xfe\xfd".to_vec()), Number(2)]),
            bad_value,
            Some("path"),
        ),
        // Numbers.
        (with_ttl(Number(0)), bad_value, Some("ttl_ms")),
        (with_ttl(Number(999)), bad_value, Some("ttl_ms")),
        (with_ttl(Number(century_ms)), bad_value, Some("ttl_ms")),
        (with_ttl(Number(u64::MAX)), bad_value, Some("ttl_ms")),
        (
            acquire(&[text("doc/1"), Number(2), Number(century_ms)]),
            bad_value,
            Some("wait_ms"),
        ),
    ] {
        let answer = answer_to(&mut client, 1000, request.clone()).await;
        let shown = format!("{request:?}");
        assert_eq!(answer, (code, field), "{}", &shown[..shown.len().min(200)]);
    }
    // What is at the bounds is taken.
    client.send_payload(&on(&"x".repeat(512)).payload()).await;
    assert!(client.answer(1000).await.is_ok());
    client
        .send_payload(&with_ttl(Number(86_400_000)).payload())
        .await;
    assert!(client.answer(1000).await.is_ok());
    watched.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_contradict_each_other_fail_alone() {
    let watched = Watched::start().await;
    let mut client = watched.server.connect().await;
    let session = client.open(ORG, "u-1").await.number;
    let item = |path| tenure_protocol::Item {
        path,
        mode: tenure_protocol::Mode::Exclusive,
        limit: None,
    };
    let all = |items| {
        Request::LockAcquireAll(request::AcquireAll {
            session,
            items,
            wait_ms: 0,
            ttl_ms: None,
            metadata: b"",
        })
    };
    let base = exclusive(session, "doc/1");
    let names: Vec<_> = (0..17).map(|number| format!("doc/{number}")).collect();
    for (request, field) in [
        (
            Request::LockAcquire(request::Acquire {
                note: Some("may I?"),
                ..base
            }),
            "note",
        ),
        (
            Request::LockAcquire(request::Acquire {
                seize: Some("a test"),
                wait_ms: 1,
                ..base
            }),
            "seize",
        ),
        (
            Request::LockAcquire(request::Acquire {
                limit: Some(3),
                ..base
            }),
            "limit",
        ),
        (
            Request::LockAcquire(request::Acquire {
                metadata: &[0; 4097],
                ..base
            }),
            "metadata",
        ),
        (all(vec![item("doc/1"), item("doc/1")]), "items"),
        (all(vec![]), "items"),
        (all(names.iter().map(|name| item(name)).collect()), "items"),
    ] {
        let error = client.error(request.clone()).await;
        assert_eq!(error.code, ErrorCode::BadValue, "{request:?}");
        assert_eq!(error.field, Some(field), "{request:?}");
    }
    assert_eq!(client.status(ORG, "doc/1").await.holder_count, 0);
    watched.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_version_adds_is_ignored() {
    let watched = Watched::start().await;
    let mut client = watched.server.connect().await;
    for extra in [
        nested(10_000),
        nested(200_000),
        // A map, a float, an extension.
        Raw(b"\x81\xa1k\x07".to_vec()),
        Raw(b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00".to_vec()),
        Raw(b"\xd4\x05\x00".to_vec()),
    ] {
        let status = vec![Number(29), Number(1000), text(ORG), text("doc/1"), extra];
        client.send_payload(&List(status).payload()).await;
        client.answer(1000).await.unwrap();
    }
    // What is not whole is not ignored, nor what comes after the array.
    let mut unclosed = vec![Number(29), Number(1000), text(ORG), text("doc/1")];
    unclosed.push(Raw(vec![0x91; 10_000]));
    let (code, _) = answer_to(&mut client, 1000, List(unclosed)).await;
    assert_eq!(code, ErrorCode::BadMessage);
    let mut trailing = List(vec![Number(2), Number(1000)]).payload();
    trailing.push(0xc0);
    let (code, _) = answer_to(&mut client, 1000, Raw(trailing)).await;
    assert_eq!(code, ErrorCode::BadMessage);
    watched.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_is_taken_up_to_the_size_that_the_hello_names() {
    let watched = Watched::start().await;
    let mut client = watched.stranger().await;
    let told = client.hello(None).await.limits.frame_bytes;
    let size = usize::try_from(told).unwrap();
    let mut status = vec![Number(29), Number(1000), text(ORG), text("doc/1")];
    let room = size - List(status.clone()).payload().len();
    status.push(Value::Bytes(vec![0; room - 5]));
    let payload = List(status).payload();
    assert_eq!(payload.len(), size);
    client.send_payload(&payload).await;
    client.answer(1000).await.unwrap();

    let claimed = u32::try_from(size + 1).unwrap().to_be_bytes();
    assert_eq!(
        end_by(client, &claimed).await,
        (None, ErrorCode::FrameTooLarge)
    );
    watched.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_may_come_in_pieces_and_many_at_once() {
    let watched = Watched::start().await;
    let mut client = watched.stranger().await;
    let mut bytes = BytesMut::new();
    let hello = request::Hello {
        version: 1,
        client: "slow",
        key: None,
    };
    Request::Hello(hello).encode(1, &mut bytes);
    for byte in bytes {
        client.send_bytes(&[byte]).await;
        tokio::task::yield_now().await;
    }
    client.answer(1).await.unwrap();

    let ping = Request::Ping(request::Ping {});
    let mut bytes = BytesMut::new();
    for id in 1000..3000 {
        ping.encode(id, &mut bytes);
    }
    // Pieces that end anywhere.
    for piece in bytes.chunks(1009) {
        client.send_bytes(piece).await;
    }
    for id in 1000..3000 {
        client.answer(id).await.unwrap();
    }
    watched.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_nothing_is_let_go_and_takes_no_place() {
    const SILENT: usize = 200;
    let watched = Watched::with(Config {
        hello_timeout_ms: 500,
        ..config()
    })
    .await;
    let began = Instant::now();
    let mut silent = Vec::new();
    for number in 0..SILENT {
        let mut client = watched.stranger().await;
        // Nothing, half a header, half a frame, or a byte now and then.
        match number % 4 {
            0 => {}
            1 => client.send_bytes(&[0, 0]).await,
            2 => client.send_bytes(&[0, 0, 0, 9, 0x92]).await,
            _ => client.send_bytes(&[0]).await,
        }
        silent.push(client);
    }
    let all_are_there = Instant::now();
    watched.server.connect().await.ping().await;
    for client in &mut silent {
        assert_eq!(client.ended().await.unwrap(), ErrorCode::HelloTimeout);
    }
    assert!(began.elapsed() >= millis(490), "{:?}", began.elapsed());
    // Unasked it would be five seconds.
    let took = all_are_there.elapsed();
    assert!(took < millis(4500), "{took:?}");
    watched.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_now_and_then_does_not_put_off_the_hello() {
    let watched = Watched::with(Config {
        hello_timeout_ms: 500,
        ..config()
    })
    .await;
    let mut client = watched.stranger().await;
    client.send_bytes(&[0, 0, 1, 0]).await;
    let began = Instant::now();
    let dripping = async {
        for _ in 0..100 {
            client.try_send_bytes(&[0x90]).await;
            client.listen(millis(50)).await;
            if let Some(FromServer::Push(Push::ServerGoodbye(goodbye))) = client.heard().last() {
                return goodbye.code;
            }
        }
        panic!("never let go");
    };
    let code = within(PATIENCE, "it is let go", dripping).await;
    assert_eq!(code, ErrorCode::HelloTimeout);
    assert!(began.elapsed() < millis(4000), "{:?}", began.elapsed());
    watched.ends_well().await;
}

/// A generator that makes the same noise at every run.
struct Noise(u64);

impl Noise {
    fn draw(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % count as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.draw(256) as u8).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_is_answered_or_ends_its_connection_with_a_goodbye() {
    let watched = Watched::start().await;
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    let samples = [
        Request::LockAcquire(exclusive(1, "doc/1")),
        Request::LockStatus(request::Status {
            org: ORG,
            path: "doc/1",
        }),
        Request::Ping(request::Ping {}),
        Request::SessionOpen(request::OpenSession {
            org: ORG,
            owner: "u-1",
            name: "Anna",
            role: None,
            on_disconnect: None,
            metadata: b"m",
        }),
    ];
    let mut ended = 0;
    for round in 0..300 {
        let mut client = if round % 3 == 0 {
            watched.stranger().await
        } else {
            watched.server.connect().await
        };
        let mut bytes = BytesMut::new();
        if round % 2 == 0 {
            // Frames of noise, most of which begin as messages do.
            for _ in 0..10 {
                let count = 1 + noise.draw(60);
                let mut payload = noise.bytes(count);
                payload[0] = 0x90 | payload[0] & 0x0f;
                bytes.extend_from_slice(&framed(&payload));
            }
        } else {
            // Sound requests, in each of which a byte behind the header has changed.
            for id in 1000..1010 {
                let start = bytes.len();
                let length = samples[noise.draw(samples.len())].encode(id, &mut bytes);
                let at = start + 4 + noise.draw(length - 4);
                bytes[at] = noise.draw(256) as u8;
            }
        }
        client.try_send_bytes(&bytes).await;
        // Whatever it was, the server is there, or has said why not. (An id of noise may be that of this ping.)
        let ping = Request::Ping(request::Ping {});
        let mut out = BytesMut::new();
        ping.encode(u64::from(u32::MAX) + 7, &mut out);
        client.try_send_bytes(&out).await;
        let outcome = async {
            loop {
                if !client.hear().await {
                    let last = client.heard().last();
                    let said = matches!(last, Some(FromServer::Push(Push::ServerGoodbye(_))));
                    assert!(said, "round {round} ended without a goodbye: {last:?}");
                    return true;
                }
                if let Some(FromServer::Reply { id, .. }) = client.heard().last()
                    && *id == u64::from(u32::MAX) + 7
                {
                    return false;
                }
            }
        };
        ended += usize::from(within(PATIENCE, "an answer to noise", outcome).await);
    }
    assert!((50..300).contains(&ended), "{ended} of 300 ended");
    watched.ends_well().await;
}
