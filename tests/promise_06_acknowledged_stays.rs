//! Promise 6: what was acknowledged stays, through the death of the server: locks, who waits for them, sessions, policies.
//!
//! Each test kills a server of its own with SIGKILL, or stops it, and starts another on the same directory. What a loss of
//! power leaves is in `tests/journal/`, since a killed process loses nothing that was written.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::print_stdout,
    reason = "a panic in a test is its message, also about what it does not expect; a seed is to be seen"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

use support::{Client, Dice, Process, Session, exclusive, millis, seeds, waiting, within};
use tempfile::TempDir;
use tenure_protocol::{
    ActKind, AuditedAct, FromServer, GrantKind, PolicyLayer, Push, ReleaseScope, Reply, Request,
    Target, reply, request,
};
use tokio::task::JoinSet;

const ORG: &str = "acme";
const PATH: &str = "doc/1";

/// Small segments, so that a test sees some of them, and a start does not have to make large ones. Several workers, however
/// few cores there are: what they do at the same time is what a crash may tear apart.
fn serve(data: &Path, durability: &str) -> Process {
    serve_at("127.0.0.1:0", data, durability)
}

fn serve_at(listen: &str, data: &Path, durability: &str) -> Process {
    let arguments = [
        "--data",
        data.to_str().unwrap(),
        "--durability",
        durability,
        "--workers",
        "3",
        "--shards",
        "4",
        "--segment-bytes",
        "4194304",
    ];
    Process::listening(listen, &arguments)
}

#[tokio::test]
async fn locks_waits_sessions_and_policies_are_there_after_a_kill_and_after_a_stop() {
    let data = TempDir::new().unwrap();
    let mut server = serve(data.path(), "always");
    let mut anna = Client::introduced(server.addr).await;
    let mut ben = Client::introduced(server.addr).await;
    let (annas, bens) = (anna.open(ORG, "anna").await, ben.open(ORG, "ben").await);
    let grant = anna.take(exclusive(annas.number, PATH)).await;
    let wait = ben.queue(waiting(bens.number, PATH)).await;
    let policy = request::SetPolicy {
        org: ORG,
        kind: Some("doc"),
        layer: PolicyLayer {
            queue_max: Some(7),
            ..PolicyLayer::default()
        },
    };
    anna.ask(Request::PolicySet(policy)).await;

    for is_killed in [true, false, true] {
        if is_killed {
            server.kill();
        } else {
            server.stop();
        }
        server = serve(data.path(), "always");
        anna = Client::introduced(server.addr).await;
        let truth = anna.status(ORG, PATH).await;
        let [holder] = &truth.holders[..] else {
            panic!("expected one holder, found {truth:?}");
        };
        assert_eq!((holder.owner, truth.token), ("anna", Some(grant.token)));
        assert!(holder.orphaned && truth.waiters == 1, "{truth:?}");
        let left = grant.remaining_ms - holder.remaining_ms;
        assert!(left < 30_000, "{left} ms of the hold's term are gone");
        let policy = request::GetPolicy {
            org: ORG,
            kind: Some("doc"),
        };
        let reply = anna.ask(Request::PolicyGet(policy)).await;
        let Reply::PolicyGet(policy) = reply else {
            panic!("expected a policy, found {reply:?}");
        };
        assert_eq!(policy.policy.queue_max, 7);
        let resumed = anna.resume(&annas).await;
        assert_eq!(resumed.holds[0].grant.token, grant.token);
        ben = Client::introduced(server.addr).await;
        let resumed = ben.resume(&bens).await;
        assert_eq!(resumed.waits[0].wait, wait);
    }
    anna.release(annas.number, PATH).await;
    let token = ben.granted_token(wait).await;
    assert!(token > grant.token, "{token} is not above {}", grant.token);
}

/// A hold has the time left that it had, though nobody has said anything meanwhile: the time is kept while something is held.
#[tokio::test]
async fn a_crash_gives_a_hold_hardly_any_more_time() {
    let data = TempDir::new().unwrap();
    let server = serve(data.path(), "always");
    let mut anna = Client::introduced(server.addr).await;
    let annas = anna.open(ORG, "anna").await;
    let grant = anna.take(exclusive(annas.number, PATH)).await;
    tokio::time::sleep(Duration::from_millis(3500)).await;
    let truth = anna.status(ORG, PATH).await;
    let left = truth.holders[0].remaining_ms;
    assert!(left <= grant.remaining_ms - 3000, "{left}");
    server.kill();
    let server = serve(data.path(), "always");
    let mut anna = Client::introduced(server.addr).await;
    let truth = anna.status(ORG, PATH).await;
    let gained = truth.holders[0].remaining_ms.saturating_sub(left);
    assert!(gained <= 1500, "{gained} ms more than before the crash");
}

/// Who did what to whom, and why: in order, with numbers that go on, over kills and stops, and of no other org.
#[tokio::test]
async fn the_audit_trail_is_there_after_a_kill_and_after_a_stop() {
    let data = TempDir::new().unwrap();
    let mut expected = Vec::new();
    for (round, is_killed) in [true, false, true, true].into_iter().enumerate() {
        let server = serve(data.path(), "always");
        let mut client = Client::introduced(server.addr).await;
        assert_eq!(trail(&mut client, ORG, 0, 256).await, expected);
        let path = format!("doc/{round}");
        for org in [ORG, "globex"] {
            let session = client.open(org, "anna").await;
            client.take(exclusive(session.number, &path)).await;
            client.force(org, Target::Path { path: &path }).await;
        }
        let number = |acts: &[AuditedAct<'_>]| acts.last().map_or(0, |act| act.number);
        let acts = trail(&mut client, ORG, 0, 256).await;
        assert_eq!(acts.len(), expected.len() + 1);
        assert!(number(&acts) > number(&expected));
        let act = acts.last().unwrap();
        let what = (act.act, act.path, act.owner);
        assert_eq!(what, (ActKind::ForceRelease, Some(&*path), Some("anna")));
        assert!(act.reason.is_some() && act.token.is_some(), "{act:?}");
        expected = acts;
        if is_killed {
            server.kill();
        } else {
            server.stop();
        }
    }
    let server = serve(data.path(), "always");
    let mut client = Client::introduced(server.addr).await;
    // Page by page, and from a moment on.
    let mut found = Vec::new();
    while let [act] = trail(
        &mut client,
        ORG,
        found.last().map_or(0, |act: &AuditedAct<'_>| act.number),
        1,
    )
    .await[..]
    {
        found.push(act);
    }
    assert_eq!(found, expected);
    let since = expected[2].at_ms;
    let late = expected.iter().filter(|act| act.at_ms >= since).count();
    let list = request::ListAudit {
        org: ORG,
        since_ms: since,
        cursor: 0,
        page: 256,
    };
    let Reply::AuditList(page) = client.ask(Request::AuditList(list)).await else {
        panic!("expected acts");
    };
    assert_eq!(page.acts.len(), late);
}

/// The log tells of an act what the trail does: whose lock it was, and in which org.
#[tokio::test]
async fn the_log_says_what_the_trail_says() {
    let server = Process::start(&[]);
    let mut client = Client::introduced(server.addr).await;
    let layer = PolicyLayer {
        ttl_max_ms: Some(60_000),
        queue_max: Some(7),
        ..PolicyLayer::default()
    };
    let policy = request::SetPolicy {
        org: ORG,
        kind: Some("doc"),
        layer,
    };
    client.ask(Request::PolicySet(policy)).await;
    let annas = client.open(ORG, "anna").await;
    let token = client.take(exclusive(annas.number, PATH)).await.token;
    let mos = client.open(ORG, "mo").await;
    let seize = request::Acquire {
        seize: Some("anna has left"),
        ..exclusive(mos.number, PATH)
    };
    client.take(seize).await;
    let server = &server;
    let logged = async |act: &str| {
        let line = within(Duration::from_secs(10), "the line", async {
            loop {
                if let Some(line) = server.logged(act) {
                    break line;
                }
                tokio::time::sleep(millis(10)).await;
            }
        });
        let line: serde_json::Value = serde_json::from_str(&line.await).unwrap();
        assert_eq!(line["target"], "audit");
        line
    };
    let line = logged("\"policy_set\"").await;
    assert_eq!(line["kind"], "doc", "{line}");
    assert_eq!(line["ttl_max_ms"], 60_000, "{line}");
    assert_eq!(line["queue_max"], 7, "{line}");
    assert!(line.get("grace_ms").is_none(), "{line}");
    let line = logged("\"seize\"").await;
    for (field, expected) in [
        ("org", ORG),
        ("path", PATH),
        ("owner", "anna"),
        ("reason", "anna has left"),
    ] {
        assert_eq!(line[field], expected, "{line}");
    }
    assert_eq!(line["token"], token);
}

async fn trail(client: &mut Client, org: &str, cursor: u64, page: u32) -> Vec<AuditedAct<'static>> {
    let list = request::ListAudit {
        org,
        since_ms: 0,
        cursor,
        page,
    };
    let reply = client.ask(Request::AuditList(list)).await;
    let Reply::AuditList(page) = reply else {
        panic!("expected acts, found {reply:?}");
    };
    page.acts
}

/// A service does nothing for it: its guard goes on under the same token, and whoever waits is granted afterwards.
#[tokio::test]
async fn clients_go_on_by_themselves() {
    let data = TempDir::new().unwrap();
    let server = serve(data.path(), "always");
    let at = server.addr.to_string();
    let connect = || {
        tenure_client::Client::builder(at.clone())
            .back_off(millis(20), millis(200))
            .connect()
    };
    let (anna, ben) = (connect().await.unwrap(), connect().await.unwrap());
    let annas = anna.session(ORG, "anna").await.unwrap();
    let bens = ben.session(ORG, "ben").await.unwrap();
    let held = annas.acquire(PATH).await.unwrap();
    let token = held.token();
    let waits = tokio::spawn(async move {
        let lock = bens
            .acquire(PATH)
            .wait(Duration::from_secs(60))
            .await
            .unwrap();
        (lock.token(), bens)
    });
    tokio::time::sleep(millis(200)).await;
    assert!(!waits.is_finished());

    server.kill();
    let server = serve_at(&at, data.path(), "always");
    let status = within(Duration::from_secs(20), "anna is back", async {
        loop {
            if let Ok(status) = anna.status(ORG, PATH).await {
                return status;
            }
            tokio::time::sleep(millis(20)).await;
        }
    })
    .await;
    assert_eq!(status.holders.len(), 1);
    assert!(held.is_held(), "{:?}", held.loss());
    assert_eq!(held.token(), token);
    held.release().await.unwrap();
    let granted = within(Duration::from_secs(20), "ben is granted", waits).await;
    assert!(granted.unwrap().0 > token);
    drop(server);
}

// Crashes under load.

const ORGS: [&str; 3] = ["acme", "globex", "initech"];
const PATHS: [&str; 6] = ["doc/1", "doc/2", "chat/1", "chat/2", "ticket/1", "ticket/2"];
const CLIENTS: usize = 9;

/// Requests that a client has under way at once.
const DEPTH: u64 = 4;

/// What a client knows of one path, from what it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Free,
    Held(u64),
    Waits(u64),
    /// Asked, and not answered: it may be held now, awaited, or neither.
    Asked,
    /// Let go, and not answered: it may still be held under this token.
    LetGo(u64),
}

/// One who asks for what others ask for too, and keeps in mind what it was told.
#[derive(Debug)]
struct Contender {
    org: &'static str,
    session: Session,
    known: BTreeMap<&'static str, Known>,
    /// Every fresh grant that it was told: path and token.
    granted: Vec<(&'static str, u64)>,
    dice: Dice,
}

impl Contender {
    async fn come(server: &Process, index: usize, seed: u64) -> Self {
        let org = ORGS[index % ORGS.len()];
        let mut client = Client::introduced(server.addr).await;
        let session = client.open(org, &format!("owner-{index}")).await;
        Self {
            org,
            session,
            known: PATHS.map(|path| (path, Known::Free)).into(),
            granted: Vec::new(),
            dice: Dice::of(seed ^ (index as u64 + 1)),
        }
    }

    /// After a crash: what it has been told is so, and what it was not told, it learns.
    async fn come_back(&mut self, server: &Process) -> Client {
        let mut client = Client::introduced(server.addr).await;
        let resumed = client.resume(&self.session).await;
        let holds: HashMap<_, _> = resumed
            .holds
            .iter()
            .map(|held| (held.path, held.grant.token))
            .collect();
        let waits: HashMap<_, _> = resumed
            .waits
            .iter()
            .map(|wait| (wait.paths[0], wait.wait))
            .collect();
        for (path, known) in &mut self.known {
            let found = match (holds.get(path), waits.get(path)) {
                (Some(token), None) => Known::Held(*token),
                (None, Some(wait)) => Known::Waits(*wait),
                (None, None) => Known::Free,
                both @ (Some(_), Some(_)) => panic!("holds and awaits {path}: {both:?}"),
            };
            let may_be = match (*known, found) {
                (Known::Free | Known::Held(_), found) => found == *known,
                // It may have been granted, and the server killed before it could say so.
                (Known::Waits(_), Known::Held(_)) => true,
                (Known::Waits(_), found) => found == *known,
                (Known::Asked, _) => true,
                (Known::LetGo(token), found) => [Known::Free, Known::Held(token)].contains(&found),
            };
            let owner = &self.session.number;
            assert!(
                may_be,
                "session {owner} at {path}: it was told {known:?}, and there is {found:?}"
            );
            if let (Known::Waits(_) | Known::Asked, Known::Held(token)) = (*known, found) {
                self.granted.push((path, token));
            }
            *known = found;
        }
        client
    }

    /// Asks and lets go until the connection ends.
    async fn contend(mut self, mut client: Client) -> Self {
        loop {
            let mut asked = Vec::new();
            let mut requests = Vec::new();
            let paths: BTreeSet<_> = (0..DEPTH).map(|_| self.dice.one_of(&PATHS)).collect();
            for path in paths {
                if let Some((request, known)) = self.next(path) {
                    self.known.insert(path, known);
                    asked.push((path, known));
                    requests.push(request);
                }
            }
            let ids = client.try_send_all(requests).await;
            let heard = client.heard().len();
            let mut asked: HashMap<_, _> = ids.zip(asked).collect();
            let mut seen = heard;
            while !asked.is_empty()
                || self
                    .known
                    .values()
                    .all(|known| matches!(known, Known::Waits(_)))
            {
                if !client.hear().await {
                    return self;
                }
                for heard in &client.heard()[seen..] {
                    self.take(heard, &mut asked);
                }
                seen = client.heard().len();
            }
        }
    }

    /// What to do at a path, and what is known until it is answered.
    fn next(&mut self, path: &'static str) -> Option<(Request<'static>, Known)> {
        let session = self.session.number;
        match self.known[path] {
            Known::Free => {
                let acquire = if self.dice.below(3) == 0 {
                    waiting(session, path)
                } else {
                    exclusive(session, path)
                };
                let acquire = request::Acquire {
                    wait_ms: acquire.wait_ms * 10,
                    ttl_ms: Some(3_600_000),
                    ..acquire
                };
                Some((Request::LockAcquire(acquire), Known::Asked))
            }
            Known::Held(token) => {
                let release = request::Release {
                    session,
                    path,
                    scope: ReleaseScope::Session,
                    token: None,
                };
                Some((Request::LockRelease(release), Known::LetGo(token)))
            }
            Known::Waits(_) => None,
            known @ (Known::Asked | Known::LetGo(_)) => panic!("{known:?} was answered"),
        }
    }

    fn take(
        &mut self,
        heard: &FromServer<'static>,
        asked: &mut HashMap<u64, (&'static str, Known)>,
    ) {
        match heard {
            FromServer::Reply { id, reply } => {
                let Some((path, _)) = asked.remove(id) else {
                    return;
                };
                let known = match reply {
                    Reply::LockAcquire(reply::Acquire::Granted { grant }) => {
                        assert_eq!(grant.kind, GrantKind::Fresh);
                        self.granted.push((path, grant.token));
                        Known::Held(grant.token)
                    }
                    Reply::LockAcquire(reply::Acquire::Queued { wait, .. }) => Known::Waits(*wait),
                    Reply::LockAcquire(reply::Acquire::Refused { .. })
                    | Reply::LockRelease(reply::Release::Ended {}) => Known::Free,
                    other => panic!("at {path}: {other:?}"),
                };
                self.known.insert(path, known);
            }
            FromServer::Push(Push::LockGranted(granted)) => {
                let held = &granted.holds[0];
                let path = PATHS.into_iter().find(|path| *path == held.path).unwrap();
                // The notice comes before the answer of a request that is under way for another path only.
                assert_eq!(self.known[path], Known::Waits(granted.wait), "at {path}");
                self.known.insert(path, Known::Held(held.grant.token));
                self.granted.push((path, held.grant.token));
            }
            FromServer::Push(Push::ServerPing(_) | Push::LockPlace(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Every grant of every contender: no token twice, and those since the last crash above all before it.
fn check_tokens(
    contenders: &[Contender],
    before: &mut BTreeMap<(&'static str, &'static str), u64>,
) {
    let mut all = BTreeSet::new();
    let mut highest = before.clone();
    for contender in contenders {
        for (path, token) in &contender.granted {
            let at = (contender.org, *path);
            assert!(
                all.insert((at, *token)),
                "{at:?}: token {token} was given out twice"
            );
            let floor = before.get(&at).copied().unwrap_or(0);
            assert!(*token > floor, "{at:?}: token {token} after {floor}");
            let top = highest.entry(at).or_default();
            *top = (*top).max(*token);
        }
    }
    *before = highest;
}

fn check_one_holder(contenders: &[Contender]) {
    let mut held = BTreeMap::new();
    for contender in contenders {
        for (path, known) in &contender.known {
            if let Known::Held(token) = known {
                let other = held.insert((contender.org, *path), (contender.session.number, *token));
                assert_eq!(other, None, "{}: two hold {path}", contender.org);
            }
        }
    }
}

fn rounds() -> u64 {
    std::env::var("CRASH_ROUNDS").map_or(15, |rounds| rounds.parse().unwrap())
}

/// The server is killed again and again at random moments, while many ask for the same. `CRASH_ROUNDS=5000` is an hour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_crashes_at_any_moment() {
    let seed = seeds(1).next().unwrap();
    println!("PROPTEST_RNG_SEED={seed}");
    let mut dice = Dice::of(seed);
    let data = TempDir::new().unwrap();
    let mut server = serve(data.path(), "always");
    let mut contenders = Vec::new();
    for index in 0..CLIENTS {
        contenders.push(Contender::come(&server, index, seed).await);
    }
    let mut before = BTreeMap::new();
    let mut grants = 0;
    for _ in 0..rounds() {
        let mut clients = Vec::new();
        for contender in &mut contenders {
            clients.push(contender.come_back(&server).await);
        }
        check_tokens(&contenders, &mut before);
        check_one_holder(&contenders);
        let mut running = JoinSet::new();
        for (mut contender, client) in contenders.drain(..).zip(clients) {
            grants += contender.granted.len();
            contender.granted.clear();
            running.spawn(contender.contend(client));
        }
        tokio::time::sleep(millis(20 + dice.below(280))).await;
        server.kill();
        contenders = within(
            Duration::from_secs(30),
            "all have noticed",
            running.join_all(),
        )
        .await;
        server = serve(data.path(), "always");
    }
    println!("{grants} grants over {} crashes", rounds());
    assert!(
        grants as u64 > rounds() * 10,
        "expected load, found {grants} grants"
    );
}

/// What `interval` has lost may be anything but the order of tokens: nobody gets one that somebody has had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_rise_over_what_a_crash_has_lost() {
    let data = TempDir::new().unwrap();
    let mut highest = 0;
    for round in 0..6 {
        let server = serve(data.path(), "interval");
        let mut client = Client::introduced(server.addr).await;
        let session = client.open(ORG, "anna").await;
        for turn in 0..40 {
            let path = format!("doc/{round}-{turn}");
            let token = client.take(exclusive(session.number, &path)).await.token;
            assert!(token > highest, "{token} after {highest}");
            highest = token;
        }
        server.kill();
    }
}
