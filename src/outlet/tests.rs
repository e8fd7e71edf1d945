//! An outlet between the two ends of a real socket.
//!
//! Rule that is tested: what the other end reads is whole, and in the order in which it was written, whoever wrote it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// The server's end, which takes little at once, and the client's.
pub(crate) async fn pair() -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    let server = accepted.unwrap().0;
    SockRef::from(&server).set_send_buffer_size(1).unwrap();
    (Socket::halves_of(server).1, client.unwrap())
}

fn all<'f>(bytes: &'f [u8]) -> impl FnOnce() -> Filled<'f> {
    move || Filled {
        bytes,
        frames: 1,
        ..Filled::default()
    }
}

#[tokio::test]
async fn nobody_writes_past_a_connection_that_is_awake() {
    let (socket, _client) = pair().await;
    let outlet = Outlet::default();
    let nothing = || panic!("expected not to be asked");
    assert!(!outlet.write(nothing));
    outlet.lend(socket, BytesMut::new());
    assert!(outlet.take_back().is_some());
    assert!(!outlet.write(nothing));
}

#[tokio::test]
async fn what_is_written_past_it_is_read_and_counted() {
    let (socket, mut client) = pair().await;
    let outlet = Outlet::default();
    outlet.lend(socket, BytesMut::new());
    assert!(outlet.write(all(b"first ")));
    assert!(outlet.write(all(b"second")));
    let mut read = [0; 12];
    client.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"first second");
    let lent = outlet.take_back().unwrap();
    assert!(lent.unwritten.is_empty());
    let (bytes, frames, gaps) = (12, 2, 0);
    assert_eq!(
        lent.passed,
        Passed {
            bytes,
            frames,
            gaps
        }
    );
}

#[tokio::test]
async fn what_the_socket_does_not_take_is_kept_and_nothing_is_written_after_it() {
    let block: Vec<u8> = (0..64 * 1024_u32).map(|number| number as u8).collect();
    let (mut socket, mut client) = pair().await;
    let outlet = Outlet::default();
    outlet.lend(socket.clone(), BytesMut::new());
    let mut expected = Vec::new();
    let mut is_taken = true;
    while is_taken {
        expected.extend_from_slice(&block);
        is_taken = outlet.write(all(&block));
    }
    let is_written = outlet.write(all(b"later"));
    assert!(!is_written, "there is something to be written first");
    let lent = outlet.take_back().unwrap();
    assert_eq!(lent.passed.bytes, expected.len() as u64);
    let mut unwritten = lent.unwritten;
    assert!(!unwritten.is_empty());
    let mut read = vec![0; expected.len()];
    let (written, whole) = tokio::join!(
        socket.write_all_buf(&mut unwritten),
        timeout(PATIENCE, client.read_exact(&mut read))
    );
    written.unwrap();
    whole.unwrap().unwrap();
    assert!(read == expected, "expected what was written");
}

/// A connection that wakes and sleeps, and others that write past it, on threads of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn one_writes_at_a_time() {
    const LAST: u64 = 20_000;
    let (mut socket, mut client) = pair().await;
    let outlet = Arc::new(Outlet::default());
    let next = Arc::new(AtomicU64::new(1));
    // Whoever may write takes the next number: whoever writes out of turn writes out of order.
    let number = |next: &AtomicU64| next.fetch_add(1, Ordering::Relaxed);
    let others = [(); 2].map(|()| {
        let (outlet, next) = (Arc::clone(&outlet), Arc::clone(&next));
        tokio::spawn(async move {
            let mut bytes = [0; 8];
            while next.load(Ordering::Relaxed) < LAST {
                outlet.write(|| {
                    bytes = number(&next).to_be_bytes();
                    Filled {
                        bytes: &bytes,
                        frames: 1,
                        ..Filled::default()
                    }
                });
                tokio::task::yield_now().await;
            }
        })
    });
    let connection = tokio::spawn(async move {
        let mut unwritten = BytesMut::new();
        loop {
            let number = number(&next);
            unwritten.extend_from_slice(&number.to_be_bytes());
            if number >= LAST {
                break;
            }
            socket.write_all_buf(&mut unwritten).await.unwrap();
            outlet.lend(socket.clone(), std::mem::take(&mut unwritten));
            tokio::task::yield_now().await;
            unwritten = outlet.take_back().unwrap().unwritten;
        }
        for other in others {
            other.await.unwrap();
        }
        unwritten.extend_from_slice(&u64::MAX.to_be_bytes());
        socket.write_all_buf(&mut unwritten).await.unwrap();
    });
    let read = async {
        let mut expected = 1;
        loop {
            let found = client.read_u64().await.unwrap();
            if found == u64::MAX {
                break;
            }
            assert_eq!(found, expected);
            expected += 1;
        }
        assert!(expected > LAST);
    };
    timeout(PATIENCE, read).await.unwrap();
    connection.await.unwrap();
}
