//! Promise 5: a hold ends by release, expiry, or the end of its last session; a connection that is dead is noticed within
//! 15 s, however it died, and one that is alive is not given up. A viewer is shown no longer than that, the grace, and the
//! tenth of a second in which changes are gathered.
//!
//! All run at the same time (`together`), since they wait far more than they work; each has a server of its own.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message, also about what it does not expect"
)]

mod support;

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::{
    Client, PATIENCE, Proxy, Session, TestServer, Watching, Way, exclusive, for_a_second, millis,
    together, waiting, within,
};
use tenure_protocol::{Activity, Disconnect, ErrorCode, FromServer, Push, Request, reply, request};
use tokio::net::TcpStream;

const ORG: &str = "acme";
const PATH: &str = "doc/1";

/// Within this a dead connection is noticed.
const NOTICED: Duration = Duration::from_secs(15);

/// How long a machine that is busy may take for what takes no time.
const SLACK: Duration = Duration::from_secs(1);

const GRACE_MS: u64 = 300;
/// The grace, less what a clock of milliseconds may be off.
const GRACE: Duration = millis(GRACE_MS - 2);

/// Longer than any silence that a server puts up with.
const LONG: Duration = Duration::from_secs(16);

const fn releasing(owner: &str, grace_ms: u64) -> request::OpenSession<'_> {
    opening(
        owner,
        Disconnect::Release {
            grace_ms: Some(grace_ms),
        },
    )
}

const fn opening(owner: &str, on_disconnect: Disconnect) -> request::OpenSession<'_> {
    request::OpenSession {
        org: ORG,
        owner,
        name: "",
        role: None,
        on_disconnect: Some(on_disconnect),
        metadata: b"",
    }
}

/// Somebody who holds the path over this connection.
async fn hold(client: &mut Client, grace_ms: u64) -> Session {
    let session = client.open_with(releasing("anna", grace_ms)).await;
    client.take(exclusive(session.number, PATH)).await;
    session
}

/// Somebody else, who looks on or waits.
struct Watcher {
    client: Client,
    session: u64,
}

impl Watcher {
    async fn of(server: &TestServer) -> Self {
        let mut client = server.connect().await;
        let session = client.open(ORG, "watcher").await.number;
        Self { client, session }
    }

    async fn queue(&mut self) -> u64 {
        self.client.queue(waiting(self.session, PATH)).await
    }

    /// Whether the one hold has nobody attached; `None` when the path is free or the watcher's own.
    async fn is_orphaned(&mut self) -> Option<bool> {
        let truth = self.client.status(ORG, PATH).await;
        let holder = truth.holders.first()?;
        (holder.owner != "watcher").then_some(holder.orphaned)
    }

    /// Waits until the hold has nobody attached, and gives how long after `since` that was.
    async fn orphaned(&mut self, since: Instant) -> Duration {
        let noticed = async {
            while self.is_orphaned().await != Some(true) {
                tokio::time::sleep(millis(20)).await;
            }
        };
        within(2 * NOTICED, "the hold is orphaned", noticed).await;
        since.elapsed()
    }

    /// Looks for so long, during which the hold must stay in hands.
    async fn not_orphaned(&mut self, duration: Duration) {
        let until = Instant::now() + duration;
        while Instant::now() < until {
            assert_eq!(self.is_orphaned().await, Some(false));
            tokio::time::sleep(millis(100)).await;
        }
    }
}

/// The locks of a connection that died at `died` go to the waiter after the grace, and not before.
async fn freed_after_the_grace(watcher: &mut Watcher, wait: u64, died: Instant) {
    watcher.client.granted(wait).await;
    let took = died.elapsed();
    assert!((GRACE..GRACE + SLACK).contains(&took), "{took:?}");
}

together! {
    the_end_of_a_connection_frees_its_locks_after_the_grace,
    the_reset_of_a_connection_frees_its_locks_after_the_grace,
    the_death_of_a_process_frees_its_locks_after_the_grace,
    closing_a_session_frees_its_locks_at_once,
    all_sessions_of_a_connection_end_with_it,
    a_hold_lives_until_the_last_session_in_it_is_gone,
    a_session_that_is_resumed_within_its_grace_keeps_its_locks_beyond_it,
    a_session_that_comes_back_too_late_is_unknown,
    a_keeping_session_lives_by_the_ttl_of_its_holds,
    a_link_that_is_cut_without_a_sign_is_noticed_in_time,
    a_link_that_loses_what_the_client_says_is_noticed_in_time,
    a_link_that_is_cut_while_much_is_written_is_noticed_in_time,
    a_process_that_is_stopped_is_noticed_in_time,
    a_client_that_only_pings_stays,
    a_client_that_only_answers_pings_stays,
    a_client_on_a_slow_link_stays,
    a_client_that_sends_half_a_frame_for_ever_does_not_stay,
    the_death_of_an_old_connection_does_not_touch_a_session_that_has_moved_on,
    the_end_of_a_connection_takes_its_viewers_away_after_the_grace,
    the_death_of_a_process_takes_its_viewers_away_after_the_grace,
    a_link_that_is_cut_without_a_sign_takes_its_viewers_away_in_time,
}

async fn the_end_of_a_connection_frees_its_locks_after_the_grace() {
    let server = TestServer::start().await;
    let mut watcher = Watcher::of(&server).await;
    let mut client = server.connect().await;
    hold(&mut client, GRACE_MS).await;
    let wait = watcher.queue().await;
    let died = Instant::now();
    drop(client);
    freed_after_the_grace(&mut watcher, wait, died).await;
}

async fn the_reset_of_a_connection_frees_its_locks_after_the_grace() {
    let server = TestServer::start().await;
    let mut watcher = Watcher::of(&server).await;
    let stream = TcpStream::connect(server.addr).await.unwrap();
    stream.set_zero_linger().unwrap();
    let mut client = Client::over(stream);
    client.hello(None).await;
    hold(&mut client, GRACE_MS).await;
    let wait = watcher.queue().await;
    let died = Instant::now();
    drop(client);
    freed_after_the_grace(&mut watcher, wait, died).await;
}

/// A process of its own that holds the path.
struct HoldingProcess(Child);

/// Tells the process below which server to go to.
const SERVER: &str = "TENURE_TEST_HOLDS_AT";

impl HoldingProcess {
    fn start(server: SocketAddr) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_process_that_holds",
                "--ignored",
                "--nocapture",
            ])
            .env(SERVER, server.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("it holds")));
        Self(child)
    }
}

async fn holding_process(server: &TestServer) -> HoldingProcess {
    let address = server.addr;
    tokio::task::spawn_blocking(move || HoldingProcess::start(address))
        .await
        .unwrap()
}

impl Drop for HoldingProcess {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
#[ignore = "run by the tests that kill it"]
async fn a_process_that_holds() {
    let Ok(server) = std::env::var(SERVER) else {
        return;
    };
    let mut client = Client::introduced(server.parse().unwrap()).await;
    let session = hold(&mut client, GRACE_MS).await;
    client.enter(session.number, PATH).await;
    println!("it holds");
    tokio::time::sleep(Duration::from_secs(60)).await;
}

async fn the_death_of_a_process_frees_its_locks_after_the_grace() {
    let server = TestServer::start().await;
    let mut watcher = Watcher::of(&server).await;
    let process = holding_process(&server).await;
    let wait = watcher.queue().await;
    let died = Instant::now();
    drop(process);
    freed_after_the_grace(&mut watcher, wait, died).await;
}

async fn closing_a_session_frees_its_locks_at_once() {
    let server = TestServer::start().await;
    let mut watcher = Watcher::of(&server).await;
    let mut client = server.connect().await;
    let session = hold(&mut client, 60_000).await;
    client.close(session.number).await;
    assert_eq!(watcher.is_orphaned().await, None);
}

async fn all_sessions_of_a_connection_end_with_it() {
    const SESSIONS: usize = 300;
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    // In several orgs, which lie in several shards.
    let orgs = ["acme", "globex", "initech", "umbrella", "hooli"];
    for number in 0..SESSIONS {
        let open = request::OpenSession {
            org: orgs[number % orgs.len()],
            ..releasing("anna", 0)
        };
        let session = client.open_with(open).await.number;
        client
            .take(exclusive(session, &format!("doc/{number}")))
            .await;
    }
    let mut other = server.connect().await;
    assert_eq!(other.status("hooli", "doc/4").await.holder_count, 1);
    drop(client);
    let all_free = async {
        for number in 0..SESSIONS {
            let org = orgs[number % orgs.len()];
            while other
                .status(org, &format!("doc/{number}"))
                .await
                .holder_count
                > 0
            {
                tokio::time::sleep(millis(10)).await;
            }
        }
    };
    within(PATIENCE, "all are free", all_free).await;
}

async fn a_hold_lives_until_the_last_session_in_it_is_gone() {
    let server = TestServer::start().await;
    let mut watcher = Watcher::of(&server).await;
    let mut laptop = server.connect().await;
    hold(&mut laptop, 0).await;
    let mut phone = server.connect().await;
    let session = phone.open_with(releasing("anna", 0)).await.number;
    let token = phone.take(exclusive(session, PATH)).await.token;
    drop(laptop);
    let left = async {
        while watcher.client.status(ORG, PATH).await.holders[0].sessions > 1 {
            tokio::time::sleep(millis(5)).await;
        }
    };
    within(PATIENCE, "one session has left", left).await;
    assert_eq!(watcher.is_orphaned().await, Some(false));
    assert!(watcher.client.check(ORG, PATH, token).await.current);
    let wait = watcher.queue().await;
    drop(phone);
    watcher.client.granted(wait).await;
}

async fn a_session_that_is_resumed_within_its_grace_keeps_its_locks_beyond_it() {
    let server = TestServer::start().await;
    let mut watcher = Watcher::of(&server).await;
    let mut client = server.connect().await;
    let session = hold(&mut client, GRACE_MS).await;
    let token = client.take(exclusive(session.number, PATH)).await.token;
    drop(client);
    watcher.orphaned(Instant::now()).await;
    let mut back = server.connect().await;
    let resumed = back.resume(&session).await;
    assert_eq!(resumed.holds.len(), 1);
    assert_eq!(
        (resumed.holds[0].path, resumed.holds[0].grant.token),
        (PATH, token)
    );
    watcher.not_orphaned(3 * GRACE).await;
    assert_eq!(
        back.release(session.number, PATH).await,
        reply::Release::Ended
    );
}

async fn a_session_that_comes_back_too_late_is_unknown() {
    let server = TestServer::start().await;
    let mut watcher = Watcher::of(&server).await;
    let mut client = server.connect().await;
    let session = hold(&mut client, 1).await;
    let wait = watcher.queue().await;
    drop(client);
    watcher.client.granted(wait).await;
    let mut back = server.connect().await;
    let resume = Request::SessionResume(session.resumption());
    assert_eq!(back.fails(resume).await, ErrorCode::UnknownSession);
}

async fn a_keeping_session_lives_by_the_ttl_of_its_holds() {
    let server = TestServer::start().await;
    let mut watcher = Watcher::of(&server).await;
    let mut client = server.connect().await;
    let session = client.open_with(opening("anna", Disconnect::Keep)).await;
    let asked = Instant::now();
    let token = client.take(for_a_second(session.number, PATH)).await.token;
    drop(client);
    watcher.orphaned(asked).await;

    // From one connection to the next, as scripts do it.
    for _ in 0..3 {
        let mut script = server.connect().await;
        let resumed = script.resume(&session).await;
        assert_eq!(resumed.holds[0].grant.token, token);
        let renewed = script.renew_session(session.number).await;
        assert_eq!(renewed, reply::SessionRenewal::Renewed { holds: 1 });
        drop(script);
        tokio::time::sleep(millis(500)).await;
    }
    assert!(asked.elapsed() > Duration::from_secs(1));
    assert_eq!(watcher.is_orphaned().await, Some(true));

    let renewed = Instant::now() - millis(500);
    let wait = watcher.queue().await;
    watcher.client.granted(wait).await;
    let took = renewed.elapsed();
    assert!(took < Duration::from_secs(1) + SLACK, "{took:?}");
    // With its last hold it has ended itself.
    let mut script = server.connect().await;
    let resume = Request::SessionResume(session.resumption());
    assert_eq!(script.fails(resume).await, ErrorCode::UnknownSession);
}

async fn a_link_that_is_cut_without_a_sign_is_noticed_in_time() {
    let server = TestServer::start().await;
    let mut watcher = Watcher::of(&server).await;
    let link = Proxy::to(server.addr).await;
    let mut client = Client::introduced(link.addr).await;
    hold(&mut client, 1000).await;
    let wait = watcher.queue().await;
    link.both(Way::Lost);
    let cut = Instant::now();
    let noticed = watcher.orphaned(cut).await;
    assert!(noticed <= NOTICED, "noticed after {noticed:?}");
    watcher.client.granted(wait).await;
    let freed = cut.elapsed();
    assert!(
        freed <= NOTICED + Duration::from_secs(1),
        "freed after {freed:?}"
    );
}

async fn a_link_that_loses_what_the_client_says_is_noticed_in_time() {
    let server = TestServer::start().await;
    let mut watcher = Watcher::of(&server).await;
    let link = Proxy::to(server.addr).await;
    let mut client = Client::introduced(link.addr).await;
    hold(&mut client, 60_000).await;
    link.up(Way::Lost);
    let cut = Instant::now();
    let speaking = async {
        loop {
            // It does what it should, in vain.
            client.send(Request::Ping(request::Ping {})).await;
            client.listen(Duration::from_secs(4)).await;
        }
    };
    let noticed = tokio::select! {
        noticed = watcher.orphaned(cut) => noticed,
        () = speaking => unreachable!("speaks for ever"),
    };
    assert!(noticed <= NOTICED, "noticed after {noticed:?}");
    assert_eq!(client.ended().await.unwrap(), ErrorCode::Silent);
}

async fn a_link_that_is_cut_while_much_is_written_is_noticed_in_time() {
    let server = TestServer::with_metrics(support::config()).await;
    let mut watcher = Watcher::of(&server).await;
    let link = Proxy::to(server.addr).await;
    let mut client = Client::introduced(link.addr).await;
    let session = hold(&mut client, 60_000).await;
    let acquire = request::Acquire {
        metadata: &[7; 4096],
        ..exclusive(session.number, PATH)
    };
    client.take(acquire).await;
    // Asks for more than all buffers on the way take.
    link.down(Way::Frozen);
    let status = Request::LockStatus(request::Status {
        org: ORG,
        path: PATH,
    });
    client.send_all(vec![status; 10_000]).await;
    let full = async {
        let mut before = 0;
        loop {
            let sent = server.metric("tenure_sent_bytes_total").await;
            if sent == before && sent > 200_000 {
                return;
            }
            before = sent;
            tokio::time::sleep(millis(50)).await;
        }
    };
    within(PATIENCE, "all buffers are full", full).await;
    link.both(Way::Frozen);
    let noticed = watcher.orphaned(Instant::now()).await;
    assert!(noticed <= NOTICED, "noticed after {noticed:?}");
}

async fn a_process_that_is_stopped_is_noticed_in_time() {
    let server = TestServer::start().await;
    let mut watcher = Watcher::of(&server).await;
    let process = holding_process(&server).await;
    let id = process.0.id().to_string();
    let stopped = Command::new("kill").args(["-s", "STOP", &id]).status();
    assert!(stopped.unwrap().success());
    let noticed = watcher.orphaned(Instant::now()).await;
    assert!(noticed <= NOTICED, "noticed after {noticed:?}");
}

async fn a_client_that_only_pings_stays() {
    let server = TestServer::start().await;
    let mut watcher = Watcher::of(&server).await;
    let mut client = server.connect().await;
    let session = hold(&mut client, 0).await;
    let pinging = async {
        loop {
            client.ping().await;
            client.listen(Duration::from_secs(5)).await;
        }
    };
    tokio::select! {
        () = watcher.not_orphaned(LONG) => {}
        () = pinging => unreachable!("pings for ever"),
    }
    assert_eq!(
        client.release(session.number, PATH).await,
        reply::Release::Ended
    );
}

async fn a_client_that_only_answers_pings_stays() {
    let server = TestServer::start().await;
    let mut watcher = Watcher::of(&server).await;
    let mut client = server.connect().await;
    let session = hold(&mut client, 0).await;
    let mut pings = 0;
    let answering = async {
        while client.hear().await {
            if let Some(FromServer::Push(Push::ServerPing(_))) = client.heard().last() {
                pings += 1;
                client.send(Request::Ping(request::Ping {})).await;
            }
        }
    };
    tokio::select! {
        () = watcher.not_orphaned(LONG) => {}
        () = answering => panic!("the connection has ended"),
    }
    assert!((2..=5).contains(&pings), "{pings} pings");
    assert_eq!(
        client.release(session.number, PATH).await,
        reply::Release::Ended
    );
}

async fn a_client_on_a_slow_link_stays() {
    let server = TestServer::start().await;
    let mut watcher = Watcher::of(&server).await;
    let link = Proxy::to(server.addr).await;
    let mut client = Client::introduced(link.addr).await;
    let session = hold(&mut client, 0).await;
    link.both(Way::Late(Duration::from_secs(1)));
    let pinging = async {
        loop {
            client.send(Request::Ping(request::Ping {})).await;
            client.listen(Duration::from_secs(5)).await;
        }
    };
    tokio::select! {
        () = watcher.not_orphaned(LONG) => {}
        () = pinging => unreachable!("pings for ever"),
    }
    assert_eq!(
        client.release(session.number, PATH).await,
        reply::Release::Ended
    );
}

async fn a_client_that_sends_half_a_frame_for_ever_does_not_stay() {
    let server = TestServer::start().await;
    let mut watcher = Watcher::of(&server).await;
    let mut client = server.connect().await;
    hold(&mut client, 60_000).await;
    // A frame of 200 bytes, of which a byte comes now and then: a sign of life is a frame.
    client.send_bytes(&[0, 0, 0, 200]).await;
    let began = Instant::now();
    let dripping = async {
        loop {
            client.try_send_bytes(&[0x90]).await;
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
    };
    let noticed = tokio::select! {
        noticed = watcher.orphaned(began) => noticed,
        () = dripping => unreachable!("drips for ever"),
    };
    assert!(noticed <= NOTICED, "noticed after {noticed:?}");
}

async fn the_death_of_an_old_connection_does_not_touch_a_session_that_has_moved_on() {
    let server = TestServer::start().await;
    let mut watcher = Watcher::of(&server).await;
    let link = Proxy::to(server.addr).await;
    let mut client = Client::introduced(link.addr).await;
    let session = hold(&mut client, 0).await;
    link.both(Way::Lost);
    let mut back = server.connect().await;
    assert_eq!(back.resume(&session).await.holds.len(), 1);
    let pinging = async {
        loop {
            back.ping().await;
            back.listen(Duration::from_secs(5)).await;
        }
    };
    tokio::select! {
        () = watcher.not_orphaned(LONG) => {}
        () = pinging => unreachable!("pings for ever"),
    }
    assert_eq!(
        back.release(session.number, PATH).await,
        reply::Release::Ended
    );
}

/// Hears of the viewers of the path until nobody is there, and gives how long after `since` that was.
async fn nobody_is_there(
    watcher: &mut Watcher,
    watching: &mut Watching,
    since: Instant,
) -> Duration {
    watching
        .until(&mut watcher.client, "nobody is there", |known| {
            known.paths.is_empty()
        })
        .await;
    since.elapsed()
}

async fn the_end_of_a_connection_takes_its_viewers_away_after_the_grace() {
    let server = TestServer::start().await;
    let mut watcher = Watcher::of(&server).await;
    let mut client = server.connect().await;
    for owner in ["anna", "bert"] {
        let session = client.open_with(releasing(owner, GRACE_MS)).await.number;
        client.enter(session, PATH).await;
        client.does(session, PATH, Activity::Typing).await;
    }
    let mut watching = watcher.client.watch(ORG, "**", 256).await;
    assert_eq!(watching.paths[PATH].total, 2);
    let died = Instant::now();
    drop(client);
    // They are shown as long as they may come back, but nobody types without a connection.
    watching
        .until(&mut watcher.client, "nobody types", |known| {
            known.paths[PATH].counts.typing == 0
        })
        .await;
    assert_eq!(watching.paths[PATH].total, 2);
    let gone = nobody_is_there(&mut watcher, &mut watching, died).await;
    assert!((GRACE..GRACE + SLACK).contains(&gone), "{gone:?}");
}

async fn the_death_of_a_process_takes_its_viewers_away_after_the_grace() {
    let server = TestServer::start().await;
    let mut watcher = Watcher::of(&server).await;
    let process = holding_process(&server).await;
    let mut watching = watcher.client.watch(ORG, "**", 256).await;
    assert_eq!(watching.does(PATH, "anna"), Some(Activity::Viewing));
    let died = Instant::now();
    drop(process);
    let gone = nobody_is_there(&mut watcher, &mut watching, died).await;
    assert!((GRACE..GRACE + SLACK).contains(&gone), "{gone:?}");
}

async fn a_link_that_is_cut_without_a_sign_takes_its_viewers_away_in_time() {
    let server = TestServer::start().await;
    let mut watcher = Watcher::of(&server).await;
    let link = Proxy::to(server.addr).await;
    let mut client = Client::introduced(link.addr).await;
    let session = client.open_with(releasing("anna", GRACE_MS)).await.number;
    client.enter(session, PATH).await;
    let mut watching = watcher.client.watch(ORG, "**", 256).await;
    assert_eq!(watching.does(PATH, "anna"), Some(Activity::Viewing));
    link.both(Way::Lost);
    let cut = Instant::now();
    let pinging = async {
        loop {
            watcher.client.listen(millis(200)).await;
            watcher.client.ping().await;
            watching.catch_up(&watcher.client);
            if watching.paths.is_empty() {
                return cut.elapsed();
            }
        }
    };
    let gone = within(2 * NOTICED, "nobody is there", pinging).await;
    assert!(gone <= NOTICED + GRACE + SLACK, "{gone:?}");
}
