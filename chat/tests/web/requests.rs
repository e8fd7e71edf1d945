//! What goes around every request: its id, how large it may be, and what pages of other origins may see.
//!
//! What is the same on both databases is shown on one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::support::{Http, PATIENCE, Place, on_killable_postgres, on_sqlite};

/// Bytes of the largest body.
const BODY_BYTES_MAX: usize = 256 * 1024;

#[test]
fn a_request_has_an_id_of_its_own_or_the_one_that_it_brings() {
    on_sqlite(async |place: Place| {
        let companion = place.companion(&[]).await;
        let ada = companion.person("ada");
        let bearer = format!("Bearer {}", ada.token);
        let ask = async |path: &str, id: &str| {
            let headers = [("authorization", bearer.as_str()), ("x-request-id", id)];
            let asked = Http::ask(companion.addr, "GET", path, &headers, None).await;
            asked.unwrap().whole().await.unwrap()
        };
        let longest = "r".repeat(64);
        for id in ["r-42", "A.b_c:9", &longest] {
            assert_eq!(ask("/v1/me", id).await.header("x-request-id"), Some(id));
            let problem = ask("/v1/chats/nothing", id).await.refused(404, "not_found");
            assert_eq!(problem["request_id"], id);
        }
        // What is none is replaced, and goes nowhere.
        let too_long = "r".repeat(65);
        for id in ["", " ", "a b", "<script>", "ä", &too_long] {
            let given = ask("/v1/chats/nothing", id).await;
            let given = given.refused(404, "not_found")["request_id"].clone();
            uuid::Uuid::parse_str(given.as_str().unwrap()).unwrap();
        }
        let (one, other) = (ada.get("/v1/me").await, ada.get("/v1/me").await);
        assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
        // Also where no route is, and no token.
        let nowhere = Http::ask(companion.addr, "GET", "/nowhere", &[], None).await;
        nowhere
            .unwrap()
            .whole()
            .await
            .unwrap()
            .refused(404, "not_found");
    });
}

#[test]
fn what_has_failed_is_in_the_log_with_the_id_of_the_request() {
    on_killable_postgres(async |place: Place, postgres| {
        let companion = place.companion_process(&["--log-format", "json"]).await;
        let ada = companion.person("ada");
        let chat = ada.chat_with(&[]).await;
        postgres.kill();
        let bearer = format!("Bearer {}", ada.token);
        let headers = [
            ("authorization", bearer.as_str()),
            ("x-request-id", "r-7"),
            ("content-type", "application/json"),
        ];
        let path = format!("/v1/chats/{chat}/messages?secret=1");
        let message = json!({"client_msg_id": "m-1", "body": "a secret"}).to_string();
        let asked = Http::ask(companion.addr, "POST", &path, &headers, Some(&message)).await;
        let failed = asked.unwrap().whole().await.unwrap();
        failed.refused(503, "store_away");
        let said = place.said();
        let lines: Vec<Value> = said
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &Value| line["request"] == "r-7")
            .collect();
        assert_eq!(lines.len(), 1, "once: {said}");
        let fields = &lines[0];
        assert_eq!(
            (&fields["code"], &fields["route"]),
            (&json!("store_away"), &json!("/v1/chats/{chat}/messages"))
        );
        assert!(fields["cause"].as_str().unwrap().contains("database"));
        for secret in ["secret", &ada.token] {
            assert!(!said.contains(secret), "{said}");
        }
    });
}

#[test]
fn a_body_may_be_as_large_as_the_largest_message_and_no_larger() {
    on_sqlite(async |place: Place| {
        let companion = place.companion(&[]).await;
        let ada = companion.person("ada");
        let chat = ada.chat_with(&[]).await;
        let path = format!("/v1/chats/{chat}/messages");
        // Each letter takes most room as JSON, and there are as many as there may be.
        let widest = |length: usize| "\u{1}".repeat(length);
        let url = |n: usize| format!("https://files.example/{n}/{}", "x".repeat(2000));
        let attachments: Vec<_> = (0..16)
            .map(|n| json!({"name": widest(255), "media_type": "application/pdf", "bytes": 1, "url": url(n)}))
            .collect();
        let message =
            json!({"client_msg_id": "m-1", "body": widest(16_384), "attachments": attachments});
        assert!(message.to_string().len() > 150_000);
        let stored = ada.post(&path, message).await.expect(201);
        assert_eq!(stored["attachments"].as_array().unwrap().len(), 16);
        let too_much = json!({"client_msg_id": "m-2", "body": "x".repeat(16_385)});
        ada.post(&path, too_much).await.refused(422, "invalid");

        // Wherever a body is read, whether it says how long it is or not.
        let bearer = format!("Bearer {}", ada.token);
        let json = ("content-type", "application/json");
        let plain = [("authorization", bearer.as_str()), json];
        let lock = format!("/v1/chats/{chat}/lock");
        for (length, status) in [(BODY_BYTES_MAX, 200), (BODY_BYTES_MAX + 1, 413)] {
            let blank = " ".repeat(length - 2);
            let body = format!("{{{blank}}}");
            let asked = Http::ask(companion.addr, "POST", &lock, &plain, Some(&body)).await;
            let answer = asked.unwrap().whole().await.unwrap();
            assert_eq!(answer.status, status, "{}", answer.text);
        }
        let chunk = "x".repeat(BODY_BYTES_MAX + 1);
        let chunked = format!("{:x}\r\n{chunk}\r\n0\r\n\r\n", chunk.len());
        let headers = [
            ("authorization", bearer.as_str()),
            json,
            ("transfer-encoding", "chunked"),
        ];
        let asked = Http::ask_raw(companion.addr, "POST", &path, &headers, &chunked).await;
        let answer = asked.unwrap().whole().await.unwrap();
        answer.refused(413, "too_large");
    });
}

#[test]
fn pages_of_named_origins_see_what_they_need_and_others_nothing() {
    on_sqlite(async |place: Place| {
        let origins = "https://app.example,http://localhost:3000";
        let companion = place.companion(&["--cors-origins", origins]).await;
        let ada = companion.person("ada");
        let chat = ada.chat_with(&[]).await;
        let bearer = format!("Bearer {}", ada.token);
        let path = format!("/v1/chats/{chat}/messages");
        let message = json!({"client_msg_id": "m-1", "body": "x"}).to_string();
        for (origin, allowed) in [
            ("https://app.example", true),
            ("http://localhost:3000", true),
            ("https://app.example.evil", false),
            ("http://app.example", false),
            ("null", false),
        ] {
            let expected = allowed.then_some(origin);
            let headers = [
                ("origin", origin),
                ("authorization", bearer.as_str()),
                ("content-type", "application/json"),
            ];
            let sent = Http::ask(companion.addr, "POST", &path, &headers, Some(&message)).await;
            let sent = sent.unwrap().whole().await.unwrap();
            let refused = Http::ask(companion.addr, "GET", "/v1/me", &headers[..1], None).await;
            let refused = refused.unwrap().whole().await.unwrap();
            refused.refused(401, "unauthenticated");
            for answer in [&sent, &refused] {
                let found = answer.header("access-control-allow-origin");
                assert_eq!(found, expected, "{origin}");
                // What is kept for one origin is none of another's.
                assert!(answer.header("vary").unwrap().contains("origin"));
                assert_eq!(answer.header("access-control-allow-credentials"), None);
                let exposed = answer.header("access-control-expose-headers").unwrap();
                for name in ["retry-after", "x-request-id", "idempotent-replayed"] {
                    assert!(exposed.contains(name), "{name}: {exposed}");
                }
            }
        }
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let wanted = "authorization,content-type,tenure-session,last-event-id,x-request-id";
            let headers = [
                ("origin", "https://app.example"),
                ("access-control-request-method", method),
                ("access-control-request-headers", wanted),
            ];
            let asked = Http::ask(companion.addr, "OPTIONS", &path, &headers, None).await;
            let answer = asked.unwrap().whole().await.unwrap();
            assert_eq!(answer.status, 200);
            let methods = answer.header("access-control-allow-methods").unwrap();
            assert!(methods.contains(method), "{methods}");
            let headers = answer.header("access-control-allow-headers").unwrap();
            for name in wanted.split(',') {
                assert!(headers.contains(name), "{name}: {headers}");
            }
        }
    });
}

/// The head of a request, a byte now and then; whether the connection was ended meanwhile, and after how long.
async fn drip(addr: SocketAddr, head: &[u8]) -> (bool, Duration) {
    let stream = TcpStream::connect(addr).await.unwrap();
    let began = Instant::now();
    let (mut answer, mut ask) = stream.into_split();
    let dripping = async {
        for byte in head {
            sleep(Duration::from_millis(100)).await;
            if ask.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let ended = async {
        let mut said = Vec::new();
        // A reset is an end too.
        let _ = answer.read_to_end(&mut said).await;
    };
    let ended = tokio::select! {
        () = ended => true,
        () = dripping => false,
        () = sleep(PATIENCE) => false,
    };
    (ended, began.elapsed())
}

#[test]
fn whoever_says_little_keeps_no_connection() {
    on_sqlite(async |place: Place| {
        let companion = place.companion(&["--head-within", "1"]).await;
        let ada = companion.person("ada");
        let chat = ada.chat_with(&[]).await;
        let mut feed = ada.hear().await;
        feed.next_named("ready").await;
        let head = format!("GET /v1/me HTTP/1.1\r\nhost: {}", "x".repeat(1_000));
        let (nothing, slow) = tokio::join!(
            drip(companion.addr, b""),
            drip(companion.addr, head.as_bytes())
        );
        for (ended, after) in [nothing, slow] {
            // By itself it would be thirty seconds, or never.
            assert!(ended, "{after:?}");
            assert!((Duration::from_millis(900)..Duration::from_secs(15)).contains(&after));
        }
        // One that is kept for later is kept for as long, and what is answered for long is left alone.
        let mut kept = TcpStream::connect(companion.addr).await.unwrap();
        let ask = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
        for _ in 0..2 {
            kept.write_all(ask).await.unwrap();
            // The body is `alive` and the end of the line.
            let mut said = Vec::new();
            while !said.ends_with(b"\r\n\r\nalive\n") {
                assert_ne!(kept.read_buf(&mut said).await.unwrap(), 0);
            }
            assert!(said.starts_with(b"HTTP/1.1 200 OK"));
        }
        let mut rest = Vec::new();
        let ended = timeout(PATIENCE, kept.read_to_end(&mut rest)).await;
        ended.expect("it is let go").unwrap();
        ada.send(&chat, "m-1", "hello").await.expect(201);
        feed.next_named("message.created").await;
    });
}

/// What is answered to the head and a body that comes a byte now and then, and after how long.
async fn drip_body(addr: SocketAddr, head: &str, body: &str) -> (String, Duration) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    let (mut answer, mut ask) = stream.split();
    let dripping = async {
        for byte in body.bytes().cycle() {
            sleep(Duration::from_millis(100)).await;
            if ask.write_all(&[byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut said = Vec::new();
    let mut spoken = Duration::ZERO;
    let answered = async {
        // A reset is an end too.
        while answer
            .read_buf(&mut said)
            .await
            .is_ok_and(|bytes| bytes > 0)
        {
            spoken = began.elapsed();
        }
    };
    tokio::select! {
        () = answered => {}
        () = dripping => {}
        () = sleep(PATIENCE) => panic!("the connection is kept"),
    }
    (String::from_utf8(said).unwrap(), spoken)
}

#[test]
fn a_body_that_does_not_come_in_time_is_refused() {
    on_sqlite(async |place: Place| {
        let companion = place.companion(&["--body-within", "1"]).await;
        let ada = companion.person("ada");
        let chat = ada.chat_with(&[]).await;
        let head = |path: &str, more: &str| {
            format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n{more}\r\n",
                ada.token
            )
        };
        let (messages, lock) = (
            format!("/v1/chats/{chat}/messages"),
            format!("/v1/chats/{chat}/lock"),
        );
        let message = json!({"client_msg_id": "m-1", "body": "x".repeat(1_000)}).to_string();
        let long = "content-length: 100000\r\n";
        let chunked = "transfer-encoding: chunked\r\n";
        let (counted, in_chunks, optional, of_no_use) = (
            head(&messages, long),
            head(&messages, chunked),
            head(&lock, long),
            head("/v1/sessions", long),
        );
        let addr = companion.addr;
        let (counted, in_chunks, optional, of_no_use) = tokio::join!(
            drip_body(addr, &counted, &message),
            drip_body(addr, &in_chunks, "1\r\n \r\n"),
            drip_body(addr, &optional, " "),
            drip_body(addr, &of_no_use, " "),
        );
        for (said, after) in [counted, in_chunks, optional] {
            assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
            assert!(said.contains("\r\nconnection: close\r\n"), "{said}");
            assert!(said.contains("\"code\":\"too_slow\""), "{said}");
            // By themselves they would have taken for ever.
            assert!((Duration::from_millis(900)..Duration::from_secs(15)).contains(&after));
        }
        // Where nobody reads a body nobody waits for it.
        let (said, after) = of_no_use;
        assert!(said.starts_with("HTTP/1.1 201 "), "{said}");
        assert!(after < Duration::from_secs(15));
        let history = ada.get(&messages).await.expect(200);
        assert_eq!(history["items"], json!([]));
        // Slow, and in time.
        let headers = head(&messages, &format!("content-length: {}\r\n", message.len()));
        let mut stream = TcpStream::connect(addr).await.unwrap();
        for part in [headers.as_str(), &message[..10], &message[10..]] {
            stream.write_all(part.as_bytes()).await.unwrap();
            sleep(Duration::from_millis(200)).await;
        }
        let mut said = Vec::new();
        stream.read_buf(&mut said).await.unwrap();
        assert!(said.starts_with(b"HTTP/1.1 201 "));
    });
}
