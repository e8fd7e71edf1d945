//! The chat client against a scripted companion, which says whatever a companion, a proxy or a network may say.
//!
//! Knows HTTP as far as it has to. What must hold: each event is told once, whatever is repeated and wherever it is cut; nobody
//! asks before they were asked to; nothing is said in plain to an address with `https`.

#![cfg(all(feature = "chat", feature = "tls"))]
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is the message"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tenure_client::chat::{
    ChatClient, ChatId, ChatOptions, ConnectionState, ErrorKind, Event, Rate, Recovery,
};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

const CHAT: &str = "01a1fa84-1eda-7922-8201-5644031292c5";

/// Long enough for anything that takes no time.
const PATIENCE: Duration = Duration::from_secs(20);

/// A request, as far as a test cares.
#[derive(Debug)]
struct Asked {
    line: String,
    last_event_id: Option<String>,
    authorization: String,
    body: String,
    at: Instant,
}

/// Gives each request the next of these answers, and cuts the connection after it.
async fn companion(answers: Vec<String>) -> (SocketAddr, mpsc::UnboundedReceiver<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (told, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (stream, _) = listener.accept().await.unwrap();
            told.send(serve(stream, &answer).await.unwrap()).unwrap();
        }
        // Whoever comes then waits.
        std::future::pending::<()>().await;
    });
    (addr, asked)
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    answer: &str,
) -> std::io::Result<Asked> {
    let mut stream = BufReader::new(stream);
    let mut asked = Asked {
        line: String::new(),
        last_event_id: None,
        authorization: String::new(),
        body: String::new(),
        at: Instant::now(),
    };
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let line = line.trim_end();
        match line.split_once(": ") {
            None if asked.line.is_empty() => asked.line = line.to_owned(),
            None => break,
            Some(("last-event-id", id)) => asked.last_event_id = Some(id.to_owned()),
            Some(("authorization", token)) => asked.authorization = token.to_owned(),
            Some(("content-length", text)) => length = text.parse().unwrap(),
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    asked.body = String::from_utf8(body).unwrap();
    stream.write_all(answer.as_bytes()).await?;
    stream.flush().await?;
    stream.shutdown().await?;
    Ok(asked)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}")
}

/// A feed that ends where this ends.
fn feed(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{text}")
}

fn created(id: &str, rev: i64) -> String {
    let data = message(rev);
    format!(
        "id: {id}\nevent: message.created\ndata: {{\"chat\":\"{CHAT}\",\"rev\":{rev},\"message\":{data}}}\n\n"
    )
}

fn message(rev: i64) -> String {
    format!(
        r#"{{"id":"01a1fa84-22ec-763e-84b7-b8756a777d05","chat":"{CHAT}","seq":{rev},"rev":{rev},"sender":"ada",
        "sender_name":"Ada","client_msg_id":"m-{rev}","body":"{rev}","attachments":[],
        "created_at":"2026-11-20T09:30:00.125Z","edited_at":null,"deleted_at":null,"unguarded":false}}"#
    )
    .replace('\n', "")
}

fn options(addr: SocketAddr) -> ChatOptions {
    let rate = Rate {
        per_second: 1000,
        burst: 1000,
    };
    ChatClient::builder(format!("http://{addr}"), "t-1")
        .back_off(Duration::from_millis(1), Duration::from_millis(20))
        .breaker(100, Duration::from_millis(50))
        .send_rate(rate)
        .read_rate(rate)
}

fn chat() -> ChatId {
    CHAT.parse().unwrap()
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it comes in time")
}

#[tokio::test]
async fn each_event_is_told_once_wherever_the_feed_is_cut_and_whatever_is_repeated() {
    let ready = |recovery: &str| format!("event: ready\ndata: {{\"recovery\":\"{recovery}\"}}\n\n");
    let whole = created("1:4", 7);
    let fresh = format!("id: 1:1\n{}", ready("fresh"));
    let answers = vec![
        // Cut in the middle of an event.
        feed(&format!(
            "{fresh}{}{}",
            created("1:2", 5),
            &whole[..whole.len() / 2]
        )),
        // Another companion tells what was told, and what follows.
        feed(&format!(
            "{}{}:\n\n{}{whole}",
            ready("exact"),
            created("1:3", 5),
            created("1:3", 6)
        )),
        // Nothing has happened, and the position moves on all the same.
        feed(&format!("{}id: 1:9\n\n", ready("exact"))),
        answer("503 Service Unavailable", "", "<html>a proxy</html>"),
        feed(&format!("id: 2:1\n{}{}", ready("lost"), created("2:2", 8))),
    ];
    let (addr, mut asked) = companion(answers).await;
    let client = options(addr).connect().unwrap();
    let mut events = client.events();
    let mut told = Vec::new();
    while told.len() < 8 {
        match soon(events.next()).await.unwrap().event {
            Event::MessageCreated(created) => told.push(created.rev.to_string()),
            Event::Ready(recovery) => told.push(format!("{recovery:?}")),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        told,
        ["Fresh", "5", "Exact", "6", "7", "Exact", "Lost", "8"]
    );
    let mut since = Vec::new();
    for _ in 0..5 {
        let asked = soon(asked.recv()).await.unwrap();
        assert_eq!(asked.line, "GET /v1/feed HTTP/1.1");
        assert_eq!(asked.authorization, "Bearer t-1");
        since.push(asked.last_event_id.unwrap_or_default());
    }
    assert_eq!(since, ["", "1:2", "1:4", "1:9", "1:9"]);
    assert_eq!(client.position().as_deref(), Some("2:2"));
    let figures = client.figures();
    assert_eq!((figures.events_repeated, figures.losses), (1, 1));
}

#[tokio::test]
async fn an_event_without_end_ends_the_feed() {
    let endless = format!("event: x\ndata: {}", "a".repeat(5 * 1024 * 1024));
    let ready = "id: 1:1\nevent: ready\ndata: {\"recovery\":\"fresh\"}\n\n";
    let (addr, _asked) = companion(vec![feed(&endless), feed(ready)]).await;
    let client = options(addr).connect().unwrap();
    let mut events = client.events();
    let told = soon(events.next()).await.unwrap();
    assert_eq!(told.event, Event::Ready(Recovery::Fresh));
    assert_eq!(client.figures().feeds_opened, 2);
}

#[tokio::test]
async fn a_send_waits_as_long_as_it_was_asked_to_and_takes_a_proxys_word_for_nothing() {
    let answers = vec![
        answer("502 Bad Gateway", "", "<html>no</html>"),
        answer(
            "503 Service Unavailable",
            "retry-after: 1\r\n",
            "{\"code\":\"store_away\"}",
        ),
        answer(
            "429 Too Many Requests",
            "retry-after: 1\r\n",
            "{\"code\":\"too_many_requests\"}",
        ),
        answer("200 OK", "idempotent-replayed: true\r\n", &message(3)),
        answer("201 Created", "", "no JSON"),
    ];
    let (addr, mut asked) = companion(answers).await;
    let client = options(addr).connect().unwrap();
    let sent = soon(client.send(chat(), "hello").unwrap()).await.unwrap();
    assert_eq!(
        (sent.attempts, sent.replayed, sent.message.seq),
        (4, true, 3)
    );
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(soon(asked.recv()).await.unwrap());
    }
    assert!(
        all.iter().all(|asked| asked.body == all[0].body),
        "the same each time"
    );
    assert!(all[0].body.contains("\"client_msg_id\""));
    for pair in all[1..].windows(2) {
        assert!(pair[1].at - pair[0].at >= Duration::from_secs(1));
    }
    // What says that it is stored, and cannot be read, is stored all the same.
    let error = soon(client.send(chat(), "hello").unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.is_in_doubt());
}

#[tokio::test]
async fn a_message_that_the_companion_fails_over_does_not_hold_up_others_for_ever() {
    let mut answers = vec![answer("500 Internal Server Error", "", "{\"code\":\"internal\"}"); 5];
    answers.push(answer("201 Created", "", &message(1)));
    let (addr, _asked) = companion(answers).await;
    let client = options(addr).connect().unwrap();
    let (bad, good) = (
        client.send(chat(), "bad").unwrap(),
        client.send(chat(), "good").unwrap(),
    );
    let error = soon(bad).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.is_in_doubt()),
        (ErrorKind::Server, true)
    );
    assert_eq!(soon(good).await.unwrap().attempts, 1);
}

#[tokio::test]
async fn a_call_is_tried_again_as_long_as_patience_lasts_and_not_while_it_is_away() {
    let away = answer("503 Service Unavailable", "", "{\"code\":\"store_away\"}");
    let counts = "{\"chats\":1,\"messages\":2}";
    let mut answers = vec![away.clone(), answer("200 OK", "", counts)];
    answers.extend(vec![away; 3]);
    let (addr, mut asked) = companion(answers).await;
    let client = options(addr)
        .breaker(3, Duration::from_secs(60))
        .patience(Duration::from_secs(5))
        .connect()
        .unwrap();
    assert_eq!(soon(client.unread()).await.unwrap().messages, 2);
    let error = soon(client.unread()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.retry_after().unwrap() > Duration::from_secs(9),
        "{error:?}"
    );
    assert_eq!(client.state(), ConnectionState::Offline);
    assert_eq!(client.figures().breaker_opened, 1);
    // From then on nothing is asked.
    let began = Instant::now();
    soon(client.unread()).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(1));
    let mut count = 0;
    while asked.try_recv().is_ok() {
        count += 1;
    }
    assert_eq!(count, 5);
}

#[tokio::test]
async fn over_tls_the_other_side_has_to_be_who_it_should_be() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Ok(stream) = acceptor.accept(stream).await {
                let counts = answer("200 OK", "", "{\"chats\":1,\"messages\":2}");
                drop(serve(stream, &counts).await);
            }
        }
    });
    let url = format!("https://localhost:{port}");
    let trusting = |roots| {
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        ChatClient::builder(url.as_str(), "t-1")
            .tls(Arc::new(config))
            .patience(Duration::from_millis(300))
            .connect()
            .unwrap()
    };
    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    assert_eq!(soon(trusting(roots).unread()).await.unwrap().chats, 1);
    let error = soon(trusting(RootCertStore::empty()).unread())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    let error = ChatClient::connect(url.as_str(), "t-1").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadRequest, "nothing in plain");
}
