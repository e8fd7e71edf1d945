//! Over TLS everything is as without: only the other side has to be who it should be.
//!
//! Knows a server that answers hellos and pings. What must hold: no request leaves for a server that is somebody else.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a panic in a test is the message")]

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tenure_client::{Client, ErrorKind};
use tenure_protocol::{FromClient, Reply, Request, Role, frame, limits, reply};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Answers hellos and pings over TLS.
async fn serve(listener: TcpListener, acceptor: TlsAcceptor) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                answer(stream).await;
            }
        });
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut read = BytesMut::new();
    while stream
        .read_buf(&mut read)
        .await
        .is_ok_and(|count| count > 0)
    {
        while let Some(payload) = frame::cut(&mut read, limits::FRAME_FROM_CLIENT).unwrap() {
            let asked = FromClient::decode(&payload).unwrap();
            let reply = if matches!(asked.request, Request::Hello(_)) {
                Reply::Hello(hello())
            } else {
                Reply::Ping(reply::Done {})
            };
            let mut out = BytesMut::new();
            reply.encode(asked.id, &mut out);
            stream.write_all(&out).await.unwrap();
        }
    }
}

fn hello() -> reply::Hello<'static> {
    reply::Hello {
        version: 1,
        server: "peer/1",
        connection: 1,
        principal: "test",
        role: Role::Admin,
        heartbeat_ms: 5000,
        dead_after_ms: 15_000,
        limits: reply::Limits {
            frame_bytes: limits::FRAME_FROM_CLIENT as u64,
            in_flight: 64,
            sessions: 1000,
            path_bytes: 512,
            metadata_bytes: 4096,
        },
    }
}

#[tokio::test]
async fn a_connection_over_tls_is_a_connection() {
    let certified = rcgen::generate_simple_self_signed(vec!["locks.test".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config))));

    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let config = Arc::new(config);
    let options = Client::builder(&address).connect_timeout(Duration::from_secs(5));
    let client = options
        .clone()
        .tls(Arc::clone(&config), Some("locks.test"))
        .unwrap()
        .connect()
        .await
        .unwrap();
    client.ping().await.unwrap();

    // Somebody else's certificate is no good, and neither is a server that speaks no TLS.
    let error = options.clone().tls(config, None).unwrap().connect().await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Connect);
    // It answers with an alert, or closes, whichever comes first.
    let error = options.connect().await.unwrap_err();
    let kinds = [ErrorKind::Connect, ErrorKind::Protocol];
    assert!(kinds.contains(&error.kind()), "{error}");
}

#[test]
fn a_name_that_is_none_is_refused() {
    let config = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let options = Client::builder("127.0.0.1:7420").tls(Arc::new(config), Some("no name"));
    assert_eq!(options.unwrap_err().kind(), ErrorKind::BadRequest);
}
