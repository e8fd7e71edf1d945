//! TLS on the client port: who is let in, who is not, and that what is promised in plain holds there too.
//!
//! The certificates are made for each test, by an authority that the right side trusts or by another.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message, also about what it does not expect"
)]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use support::{Client, PATIENCE, TestServer, config, exclusive, key, millis, within};
use tempfile::TempDir;
use tenure::config::Config;
use tenure_engine::Role;
use tenure_protocol::{ErrorCode, FromServer, Push, Request, Target, request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

const ORG: &str = "acme";
const PATH: &str = "doc/1";

/// An authority, and what it has vouched for, as PEM.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
struct Identity {
    cert: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    fn vouch_for(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![String::from(name)]).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Identity {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }

    /// What a client needs that trusts this authority and shows this identity.
    fn trusted(&self, own: Option<&Identity>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.issuer.pem().as_bytes()).unwrap())
            .unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let cert = CertificateDer::from_pem_slice(own.cert.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![cert], key).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

/// A server with a certificate for `localhost`, which may ask for certificates of clients.
struct TlsServer {
    server: TestServer,
    authority: Authority,
    _folder: TempDir,
}

impl TlsServer {
    async fn start() -> Self {
        Self::with(config(), None).await
    }

    async fn with(config: Config, clients: Option<&Authority>) -> Self {
        let folder = TempDir::new().unwrap();
        let write = |name: &str, pem: &str| -> PathBuf {
            let path = folder.path().join(name);
            fs::write(&path, pem).unwrap();
            path
        };
        let authority = Authority::new();
        let own = authority.vouch_for("localhost");
        let config = Config {
            tls_cert: Some(write("server.pem", &own.cert)),
            tls_key: Some(write("server.key", &own.key)),
            tls_client_ca: clients.map(|clients| write("clients.pem", &clients.issuer.pem())),
            ..config
        };
        Self {
            server: TestServer::with(config).await,
            authority,
            _folder: folder,
        }
    }

    async fn client(&self) -> Client {
        let connector = self.authority.trusted(None);
        let mut client = connect(self.server.addr, &connector, "localhost")
            .await
            .unwrap();
        client.hello(None).await;
        client
    }
}

/// A connection whose handshake is done, as far as the client can see.
async fn connect(
    server: SocketAddr,
    connector: &TlsConnector,
    name: &'static str,
) -> std::io::Result<Client> {
    let stream = TcpStream::connect(server).await.unwrap();
    let name = ServerName::try_from(name).unwrap();
    let stream = within(PATIENCE, "a handshake", connector.connect(name, stream)).await?;
    Ok(Client::over(stream))
}

/// Whether the server lets the client say hello. With TLS 1.3 a client learns only afterwards that it is refused.
async fn is_let_in(server: SocketAddr, connector: &TlsConnector) -> bool {
    let Ok(mut client) = connect(server, connector, "localhost").await else {
        return false;
    };
    let hello = request::Hello {
        version: 1,
        client: "test",
        key: None,
    };
    let mut bytes = bytes::BytesMut::new();
    Request::Hello(hello).encode(1, &mut bytes);
    client.try_send_bytes(&bytes).await;
    within(PATIENCE, "an answer or the end", client.hear()).await;
    matches!(client.heard(), [FromServer::Reply { id: 1, .. }])
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_are_taken_told_of_and_lost_over_tls_as_in_plain() {
    let tls = TlsServer::start().await;
    let (mut anna, mut ben) = (tls.client().await, tls.client().await);
    let anna_session = anna.open(ORG, "anna").await.number;
    let ben_session = ben.open(ORG, "ben").await;
    let before = anna.take(exclusive(anna_session, PATH)).await.token;
    let wait = ben.queue(support::waiting(ben_session.number, PATH)).await;
    anna.release(anna_session, PATH).await;
    assert!(before < ben.granted_token(wait).await);
    // Gone without a word, and back.
    drop(ben);
    let mut back = tls.client().await;
    assert_eq!(back.resume(&ben_session).await.holds.len(), 1);
    back.force(ORG, Target::All).await;
    assert_eq!(back.lost(ben_session.number).await.path, PATH);
}

#[tokio::test(flavor = "multi_thread")]
async fn much_passes_through_tls_and_nothing_stays_behind_in_the_server() {
    let tls = TlsServer::start().await;
    let connector = tls.authority.trusted(None);
    // The last of an answer has to wait for room in the network; nothing follows that would push it on.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(tls.server.addr).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = Client::over(connector.connect(name, stream).await.unwrap());
    client.hello(None).await;
    let session = client.open(ORG, "anna").await.number;
    for number in 0..256 {
        let path = format!("doc/{number}");
        let acquire = request::Acquire {
            metadata: &[7; 4096],
            ..exclusive(session, &path)
        };
        client.take(acquire).await;
    }
    // Answers of many sizes: whether the last of one finds the network full is a matter of luck.
    for page in (100..=256).step_by(4) {
        let list = request::List {
            org: ORG,
            target: Target::All,
            mode: None,
            held_min_ms: 0,
            cursor: None,
            page,
        };
        let list = client.ask(Request::LockList(list));
        within(millis(2500), "an answer as soon as it is there", list).await;
    }
}

/// So much to be read that neither the network nor TLS takes all of it, by a client whose side takes little at a time.
async fn much_to_read(tls: &TlsServer) -> (Client, std::ops::Range<u64>) {
    const ANSWERS: usize = 400;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(tls.server.addr).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = tls.authority.trusted(None);
    let mut client = Client::over(connector.connect(name, stream).await.unwrap());
    client.hello(None).await;
    let session = client.open(ORG, "anna").await.number;
    let acquire = request::Acquire {
        metadata: &[7; 4096],
        ..exclusive(session, PATH)
    };
    client.take(acquire).await;
    let status = Request::LockStatus(request::Status {
        org: ORG,
        path: PATH,
    });
    let ids = client.send_all(vec![status; ANSWERS]).await;
    (client, ids)
}

/// Promise 8 over TLS, which keeps 64 KiB of its own: that they take their time to leave is no sign of a reader that is gone.
/// 10 KB/s is about the least that is told from nothing, in plain too.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_slow_over_tls_but_reads_is_left_alone() {
    let tls = TlsServer::start().await;
    let (mut client, ids) = much_to_read(&tls).await;
    let (began, mut last_ping) = (Instant::now(), Instant::now());
    while began.elapsed() < Duration::from_secs(16) {
        let is_open = within(PATIENCE, "something to read", client.sip(1024)).await;
        assert!(is_open, "given up after {:?}", began.elapsed());
        tokio::time::sleep(millis(100)).await;
        if last_ping.elapsed() > Duration::from_secs(4) {
            last_ping = Instant::now();
            client.send(Request::Ping(request::Ping {})).await;
        }
    }
    for id in ids {
        client.answer(id).await.unwrap();
    }
    client.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_over_tls_is_given_up() {
    let tls = TlsServer::start().await;
    let (_frozen, _) = much_to_read(&tls).await;
    let mut other = tls.client().await;
    let began = Instant::now();
    let given_up = async {
        while !other.status(ORG, PATH).await.holders[0].orphaned {
            tokio::time::sleep(millis(50)).await;
        }
    };
    within(Duration::from_secs(20), "it is given up", given_up).await;
    assert!(
        began.elapsed() > Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_refuses_a_server_that_its_authority_has_not_vouched_for() {
    let tls = TlsServer::start().await;
    let stranger = Authority::new().trusted(None);
    assert!(
        connect(tls.server.addr, &stranger, "localhost")
            .await
            .is_err()
    );
    let trusted = tls.authority.trusted(None);
    assert!(
        connect(tls.server.addr, &trusted, "example.com")
            .await
            .is_err()
    );
    tls.client().await.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_certificates_lets_in_those_of_its_authority_alone() {
    let clients = Authority::new();
    let tls = TlsServer::with(config(), Some(&clients)).await;
    let known = clients.vouch_for("crm");
    let of_another = Authority::new().vouch_for("crm");
    let of_the_server = tls.authority.vouch_for("crm");
    let addr = tls.server.addr;
    assert!(is_let_in(addr, &tls.authority.trusted(Some(&known))).await);
    assert!(!is_let_in(addr, &tls.authority.trusted(None)).await);
    assert!(!is_let_in(addr, &tls.authority.trusted(Some(&of_another))).await);
    assert!(!is_let_in(addr, &tls.authority.trusted(Some(&of_the_server))).await);
    assert!(is_let_in(addr, &tls.authority.trusted(Some(&known))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_stands_for_no_key() {
    let clients = Authority::new();
    let keys = vec![key(
        "key-of-acme-0123456789",
        "acme",
        Role::Member,
        &["acme"],
    )];
    let config = Config { keys, ..config() };
    let tls = TlsServer::with(config, Some(&clients)).await;
    let connector = tls.authority.trusted(Some(&clients.vouch_for("acme")));
    let mut client = connect(tls.server.addr, &connector, "localhost")
        .await
        .unwrap();
    let hello = request::Hello {
        version: 1,
        client: "test",
        key: None,
    };
    let code = client.fails(Request::Hello(hello)).await;
    assert_eq!(code, ErrorCode::BadCredentials);
    assert_eq!(client.ended().await.unwrap(), ErrorCode::BadCredentials);

    let mut client = connect(tls.server.addr, &connector, "localhost")
        .await
        .unwrap();
    let hello = client.hello(Some("key-of-acme-0123456789")).await;
    assert_eq!(hello.principal, "acme");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_speaks_plainly_to_a_port_with_tls_gets_no_further() {
    let tls = TlsServer::start().await;
    let mut other = tls.client().await;
    let mut hello = bytes::BytesMut::new();
    let request = request::Hello {
        version: 1,
        client: "test",
        key: None,
    };
    Request::Hello(request).encode(1, &mut hello);
    for bytes in [&hello[..], b"GET / HTTP/1.1\r\n\r\n", &[0xff; 100_000]] {
        let mut stream = TcpStream::connect(tls.server.addr).await.unwrap();
        // The server may have had enough before it has it all.
        let _ = stream.write_all(bytes).await;
        assert_eq!(plain_bytes(stream).await, b"");
        other.ping().await;
    }
}

/// What comes back until the end, less alerts of TLS.
async fn plain_bytes(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let _ = within(PATIENCE, "the end", stream.read_to_end(&mut answer)).await;
    const ALERT: u8 = 21;
    while let [ALERT, _, _, high, low, ..] = answer[..] {
        answer.drain(..5 + usize::from(u16::from_be_bytes([high, low])));
    }
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_plain_is_said_on_a_port_with_tls_to_one_connection_too_many() {
    let tls = TlsServer::with(
        Config {
            connections_max: 1,
            ..config()
        },
        None,
    )
    .await;
    let mut other = tls.client().await;
    let stream = TcpStream::connect(tls.server.addr).await.unwrap();
    assert_eq!(plain_bytes(stream).await, b"");
    other.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_come_is_not_waited_for() {
    let tls = TlsServer::with(
        Config {
            hello_timeout_ms: 400,
            ..config()
        },
        None,
    )
    .await;
    let began = Instant::now();
    let mut silent = Vec::new();
    for number in 0..50 {
        let mut stream = TcpStream::connect(tls.server.addr).await.unwrap();
        if number % 2 == 0 {
            // The beginning of a handshake.
            stream
                .write_all(b"\x16\x03\x01\x02\x00\x01\x00")
                .await
                .unwrap();
        }
        silent.push(stream);
    }
    tls.client().await.ping().await;
    for stream in silent {
        assert_eq!(plain_bytes(stream).await, b"");
    }
    let took = began.elapsed();
    assert!((millis(390)..millis(3000)).contains(&took), "{took:?}");

    // A handshake and no hello: the same time for both together.
    let began = Instant::now();
    let connector = tls.authority.trusted(None);
    let mut client = connect(tls.server.addr, &connector, "localhost")
        .await
        .unwrap();
    assert_eq!(client.ended().await.unwrap(), ErrorCode::HelloTimeout);
    let took = began.elapsed();
    assert!((millis(390)..millis(3000)).contains(&took), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_goodbye_comes_over_tls_too_and_then_a_clean_end() {
    let tls = TlsServer::start().await;
    let stream = TcpStream::connect(tls.server.addr).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = tls.authority.trusted(None);
    let mut stream = connector.connect(name, stream).await.unwrap();
    // One whose handshake has not come yet keeps nobody waiting.
    let _half_open = TcpStream::connect(tls.server.addr).await.unwrap();
    tls.client().await.ping().await;

    tls.server.shut_down();
    let began = Instant::now();
    let mut said = Vec::new();
    // An end that is cut off would be an error.
    let read = stream.read_to_end(&mut said);
    within(PATIENCE, "the end", read).await.unwrap();
    let payload = said.get(4..).unwrap();
    let FromServer::Push(Push::ServerGoodbye(goodbye)) = FromServer::decode(payload).unwrap()
    else {
        panic!("expected a goodbye, found {said:?}");
    };
    assert_eq!(goodbye.code, ErrorCode::ShuttingDown);
    drop(stream);
    tls.server.stopped(PATIENCE).await;
    assert!(began.elapsed() < millis(3000), "{:?}", began.elapsed());
}
