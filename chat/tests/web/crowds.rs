//! More connections than there may be: each is told so, and nobody waits for an answer that does not come.
//!
//! Knows connections as sockets. What is the same on both databases is shown on one.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::support::{Http, PATIENCE, Person, Place, on_sqlite, says, until};

/// Connections that are turned away at a time.
const TURNED_AWAY_MAX: usize = 256;

/// A connection that was let in, answered once, and is kept for later.
async fn kept(addr: SocketAddr) -> TcpStream {
    let ask = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    timeout(PATIENCE, async {
        loop {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(ask).await.unwrap();
            let mut said = Vec::new();
            while !said.ends_with(b"\r\n\r\nalive\n") {
                assert_ne!(stream.read_buf(&mut said).await.unwrap(), 0);
            }
            // Whoever has asked before may not have gone yet: then this is one too many, and is answered as well, once.
            if !String::from_utf8(said)
                .unwrap()
                .contains("connection: close")
            {
                return stream;
            }
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("there is room for it")
}

/// All that is said until the other side ends.
async fn all_of(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    // A reset is an end too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut said))
        .await
        .expect("it is let go");
    String::from_utf8(said).unwrap()
}

async fn is_told_to_come_back(person: &Person) {
    let answer = person.get("/v1/me").await;
    answer.refused(503, "full");
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert_eq!(answer.header("connection"), Some("close"));
}

#[test]
fn one_connection_too_many_is_told_so_and_let_go() {
    on_sqlite(async |place: Place| {
        let few = ["--connections-max", "8", "--head-within", "3600"];
        let companion = place.companion(&few).await;
        let (ada, bob) = (companion.person("ada"), companion.person("bob"));
        let chat = ada.chat_with(&["bob"]).await;
        let nobody_else = async || says(&companion, "connections").await == Some(1);
        until("nobody else is connected", nobody_else).await;
        // Three quarters are for feeds, and no more.
        let mut feeds = Vec::new();
        for _ in 0..6 {
            let mut feed = bob.hear().await;
            feed.next_named("ready").await;
            feeds.push(feed);
        }
        bob.get("/v1/feed").await.refused(503, "full");
        ada.get("/v1/me").await.expect(200);
        let full = async || says(&companion, "connections").await == Some(7);
        until("the feeds alone are connected", full).await;
        let (one, mut other) = (kept(companion.addr).await, kept(companion.addr).await);

        for _ in 0..20 {
            is_told_to_come_back(&ada).await;
        }
        // Also who has much to say, and says it before listening.
        let mut stream = TcpStream::connect(companion.addr).await.unwrap();
        let length = 4 * 1024 * 1024;
        let head =
            format!("POST /v1/chats HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b' '; length]).await.unwrap();
        let said = all_of(&mut stream).await;
        assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
        // One answer, and no more.
        let mut stream = TcpStream::connect(companion.addr).await.unwrap();
        let ask = "GET /v1/me HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2);
        stream.write_all(ask.as_bytes()).await.unwrap();
        let said = all_of(&mut stream).await;
        assert_eq!(said.matches("HTTP/1.1 503 ").count(), 1, "{said}");
        assert!(said.contains("\r\nconnection: close\r\n"), "{said}");

        // Operators see it.
        ada.get("/healthz").await;
        assert_eq!(ada.get("/readyz").await.status, 503);
        assert_eq!(says(&companion, "connections").await, Some(8));
        let told = "connections_turned_away_total{how=\"told\"}";
        assert!(says(&companion, told).await.unwrap() >= 22);

        // Who was there before is served as ever, and who leaves makes room.
        let bearer = format!("authorization: Bearer {}", ada.token);
        let message = json!({"client_msg_id": "m-1", "body": "hello"}).to_string();
        let head = format!(
            "POST /v1/chats/{chat}/messages HTTP/1.1\r\nhost: x\r\n{bearer}\r\ncontent-length: {}\r\n",
            message.len()
        );
        let ask =
            format!("{head}content-type: application/json\r\nconnection: close\r\n\r\n{message}");
        other.write_all(ask.as_bytes()).await.unwrap();
        let said = all_of(&mut other).await;
        assert!(said.starts_with("HTTP/1.1 201 "), "{said}");
        for feed in &mut feeds {
            feed.next_named("message.created").await;
        }
        drop(one);
        until("there is room again", async || {
            ada.get("/v1/me").await.status == 200
        })
        .await;
        let ready = async || ada.get("/readyz").await.status == 200;
        until("who was served has gone too", ready).await;
    });
}

#[test]
fn who_comes_to_a_full_house_and_says_nothing_keeps_no_others_out() {
    on_sqlite(async |place: Place| {
        let one = ["--connections-max", "1", "--head-within", "3600"];
        let companion = place.companion_process(&one).await;
        let ada = companion.person("ada");
        let free = async || says(&companion, "connections").await == Some(1);
        until("nobody else is connected", free).await;
        let _kept = kept(companion.addr).await;
        let closed = "connections_turned_away_total{how=\"closed\"}";
        until("one more is closed at once", || async {
            let mut silent = Vec::new();
            for _ in 0..=TURNED_AWAY_MAX {
                silent.push(TcpStream::connect(companion.addr).await.unwrap());
            }
            // And the others soon, so that whoever comes then is told again.
            for stream in &mut silent {
                assert_eq!(all_of(stream).await, "");
            }
            is_told_to_come_back(&ada).await;
            says(&companion, closed)
                .await
                .is_some_and(|closed| closed >= 1)
        })
        .await;
    });
}

#[test]
fn feeds_that_come_at_once_are_no_more_than_may_be() {
    on_sqlite(async |place: Place| {
        let companion = place.companion(&["--feeds-max", "2"]).await;
        let ada = companion.person("ada");
        let bearer = format!("Bearer {}", ada.token);
        let headers = [("authorization", bearer.as_str())];
        let ask = || Http::ask(companion.addr, "GET", "/v1/feed", &headers, None);
        // Nobody has listened in this organisation yet, so all have to wait for the lock server.
        let (a, b, c, d) = tokio::join!(ask(), ask(), ask(), ask());
        let answers = [a, b, c, d].map(Result::unwrap);
        let open = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!(open, 2);
        assert_eq!(says(&companion, "feeds").await, Some(2));
        drop(answers);
        until("one may listen again", async || {
            ada.try_hear(None).await.is_some()
        })
        .await;
    });
}

#[cfg(unix)]
#[test]
fn where_the_system_allows_few_files_whoever_comes_is_told_as_well() {
    on_sqlite(async |place: Place| {
        // Some 350 of them are for other things than connections.
        let companion = place.companion_with_files(400, &[]).await;
        assert!(place.said().contains("the system allows fewer open files"));
        let ada = companion.person("ada");
        let mut kept_by = Vec::new();
        loop {
            // What is answered is the operators' page: it counts those that are connected.
            if ada.get("/v1/me").await.status == 503 {
                break;
            }
            kept_by.push(kept(companion.addr).await);
            assert!(kept_by.len() < 400);
        }
        is_told_to_come_back(&ada).await;
        assert!((30..100).contains(&kept_by.len()), "{}", kept_by.len());
        sleep(Duration::from_millis(100)).await;
        assert!(!place.said().contains("no connection can be taken"));
    });
}
