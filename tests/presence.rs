//! Presence: who is where, seen by people at one ticket and by whoever watches many.
//!
//! All run at the same time (`together`), since they wait far more than they work; each has a server of its own.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is its message, also about what it does not expect"
)]

mod support;

use std::time::{Duration, Instant};

use support::{
    Client, Proxy, Session, TestServer, Way, config, entering, exclusive, key, millis, together,
    within,
};
use tenure::config::Config;
use tenure_engine::Role;
use tenure_protocol::{Activity, CollisionLevel, Disconnect, ErrorCode, Push, Request, request};

const ORG: &str = "acme";
const TICKET: &str = "ticket/1";

const TYPING: Duration = Duration::from_secs(6);

/// How long changes are gathered, and how long a machine that is busy may take for what takes no time.
const SOON: Duration = Duration::from_secs(1);

together! {
    two_people_at_one_ticket_are_told_how_near_they_come,
    whoever_edits_or_holds_the_lock_is_the_nearest,
    typing_ends_by_itself,
    typing_ends_with_the_message,
    tabs_of_one_person_are_one_viewer,
    what_is_typed_for_insiders_is_not_seen_by_observers,
    a_subtree_of_thousands_of_paths_is_read_while_it_changes,
    whoever_comes_back_reads_anew_and_knows_all,
    whoever_reads_too_slowly_is_told_and_reads_anew,
    a_session_that_is_resumed_is_where_it_was,
    a_session_that_keeps_is_nowhere_without_its_connection,
    a_session_that_is_closed_is_nowhere,
    a_viewer_without_a_sign_of_life_is_told_and_may_come_again,
    a_hundred_are_listed_and_the_others_counted,
    every_bound_has_an_answer,
    what_is_gathered_is_told_in_one_change,
    how_much_there_is_is_counted,
}

async fn person(client: &mut Client, owner: &str) -> u64 {
    client.open(ORG, owner).await.number
}

async fn two_people_at_one_ticket_are_told_how_near_they_come() {
    let server = TestServer::start().await;
    let (mut ann, mut bob) = (server.connect().await, server.connect().await);
    let anns = person(&mut ann, "ann").await;
    let bobs = person(&mut bob, "bob").await;
    let entered = ann.enter(anns, TICKET).await;
    assert!(entered.first);
    assert_eq!(
        (entered.total, entered.collision),
        (1, CollisionLevel::None)
    );
    assert_eq!((entered.typing_ms, entered.refresh_ms), (6000, 3000));
    let entered = bob.enter(bobs, TICKET).await;
    assert_eq!(
        (entered.total, entered.collision),
        (2, CollisionLevel::Viewing)
    );
    let by = |owner: &str| vec![owner.to_owned()];
    assert_eq!(
        ann.collision(anns).await,
        (CollisionLevel::Viewing, by("bob"))
    );
    let level = ann.does(anns, TICKET, Activity::Typing).await;
    assert_eq!(level, CollisionLevel::Viewing);
    assert_eq!(
        bob.collision(bobs).await,
        (CollisionLevel::Typing, by("ann"))
    );
    // Typing on is nothing new to anybody.
    ann.does(anns, TICKET, Activity::Typing).await;
    assert!(ann.leave(anns, TICKET).await);
    assert_eq!(bob.collision(bobs).await, (CollisionLevel::None, vec![]));
    assert!(!ann.leave(anns, TICKET).await, "it was not there");
    assert_eq!(bob.pushes_until_now().await, []);
    assert_eq!(ann.pushes_until_now().await, []);
}

async fn whoever_edits_or_holds_the_lock_is_the_nearest() {
    let server = TestServer::start().await;
    // One service speaks for both.
    let mut service = server.connect().await;
    let anns = person(&mut service, "ann").await;
    let bobs = person(&mut service, "bob").await;
    service.enter(anns, TICKET).await;
    service.enter(bobs, TICKET).await;
    assert_eq!(service.collision(anns).await.0, CollisionLevel::Viewing);
    service.does(bobs, TICKET, Activity::Editing).await;
    assert_eq!(service.collision(anns).await.0, CollisionLevel::Editing);
    service.does(bobs, TICKET, Activity::Viewing).await;
    assert_eq!(service.collision(anns).await.0, CollisionLevel::Viewing);
    // The lock says the same, also of somebody who is not there.
    let eves = person(&mut service, "eve").await;
    service.take(exclusive(eves, TICKET)).await;
    for session in [anns, bobs] {
        let (level, by) = service.collision(session).await;
        assert_eq!(
            (level, &*by),
            (CollisionLevel::Editing, &["eve".to_owned()][..])
        );
    }
    service.close(eves).await;
    for session in [anns, bobs] {
        assert_eq!(service.collision(session).await.0, CollisionLevel::Viewing);
    }
    service.take(exclusive(anns, TICKET)).await;
    assert_eq!(service.collision(bobs).await.0, CollisionLevel::Editing);
    assert_eq!(
        service.pushes_until_now().await,
        [],
        "ann has nothing to fear"
    );
}

async fn typing_ends_by_itself() {
    let server = TestServer::start().await;
    let (mut ann, mut desk) = (server.connect().await, server.connect().await);
    let anns = person(&mut ann, "ann").await;
    let mut watching = desk.watch(ORG, TICKET, 256).await;
    ann.enter(anns, TICKET).await;
    ann.does(anns, TICKET, Activity::Typing).await;
    ann.listen(millis(2500)).await;
    let typed = Instant::now();
    ann.does(anns, TICKET, Activity::Typing).await;
    let is =
        |activity| move |known: &support::Watching| known.does(TICKET, "ann") == Some(activity);
    watching
        .until(&mut desk, "she types", is(Activity::Typing))
        .await;
    watching
        .until(&mut desk, "she types no more", is(Activity::Viewing))
        .await;
    let took = typed.elapsed();
    assert!((TYPING..TYPING + SOON).contains(&took), "{took:?}");
}

async fn typing_ends_with_the_message() {
    let server = TestServer::start().await;
    let mut ann = server.connect().await;
    let anns = person(&mut ann, "ann").await;
    ann.enter(anns, TICKET).await;
    let publish = |session| {
        Request::StreamPublish(request::Publish {
            org: ORG,
            path: TICKET,
            event: "new_message",
            payload: b"hello",
            event_id: None,
            session,
        })
    };
    ann.does(anns, TICKET, Activity::Typing).await;
    ann.ask(publish(None)).await;
    assert_eq!(ann.presence(ORG).await.counts.typing, 1, "it was not hers");
    ann.ask(publish(Some(anns))).await;
    assert_eq!(ann.presence(ORG).await.counts.typing, 0);
    assert_eq!(ann.presence(ORG).await.counts.viewing, 1);
}

async fn tabs_of_one_person_are_one_viewer() {
    let server = TestServer::start().await;
    let mut ann = server.connect().await;
    let [tab, phone] = [person(&mut ann, "ann").await, person(&mut ann, "ann").await];
    assert!(ann.enter(tab, TICKET).await.first);
    let metadata = b"on the phone";
    let entered = request::Enter {
        metadata,
        activity: Activity::Idle,
        ..entering(phone, TICKET)
    };
    let entered = ann.enter_with(entered).await;
    assert_eq!((entered.first, entered.total), (false, 1));
    assert_eq!(
        entered.collision,
        CollisionLevel::None,
        "she is no stranger to herself"
    );
    let all = ann.all_viewers(ORG, "**").await;
    let viewer = &all[TICKET].viewers["ann"];
    assert_eq!((viewer.sittings, viewer.activity), (2, Activity::Viewing));
    assert_eq!(viewer.metadata, metadata);
    assert!(!ann.leave(tab, TICKET).await);
    assert!(ann.leave(phone, TICKET).await);
    assert!(ann.all_viewers(ORG, "**").await.is_empty());
}

const MEMBER: &str = "the-key-of-a-member";
const OBSERVER: &str = "the-key-of-an-observer";

async fn what_is_typed_for_insiders_is_not_seen_by_observers() {
    let keys = vec![
        key(MEMBER, "desk", Role::Member, &["*"]),
        key(OBSERVER, "portal", Role::Observer, &["*"]),
    ];
    let server = TestServer::with(Config { keys, ..config() }).await;
    let mut ann = server.connect_with(MEMBER).await;
    let mut desk = server.connect_with(MEMBER).await;
    let mut portal = server.connect_with(OBSERVER).await;
    let anns = person(&mut ann, "ann").await;
    let bobs = person(&mut desk, "bob").await;
    // The customer may be seen too.
    let customers = person(&mut portal, "customer").await;
    ann.enter(anns, TICKET).await;
    desk.enter(bobs, TICKET).await;
    portal.enter(customers, TICKET).await;
    tokio::time::sleep(millis(300)).await;
    let mut inside = desk.watch(ORG, "**", 256).await;
    let mut outside = portal.watch(ORG, "**", 256).await;
    desk.pushes_until_now().await;
    portal.pushes_until_now().await;
    let note = request::Update {
        session: anns,
        path: TICKET,
        activity: Activity::Typing,
        internal: true,
    };
    ann.update(note).await;
    inside
        .until(&mut desk, "she types", |known| {
            known.does(TICKET, "ann") == Some(Activity::Typing)
        })
        .await;
    assert!(inside.paths[TICKET].viewers["ann"].internal);
    assert_eq!(desk.collision(bobs).await.0, CollisionLevel::Typing);
    ann.does(anns, TICKET, Activity::Viewing).await;
    inside
        .until(&mut desk, "she types no more", |known| {
            known.does(TICKET, "ann") == Some(Activity::Viewing)
        })
        .await;
    // Nothing of this has come out: no change, no collision, no count.
    assert_eq!(portal.pushes_until_now().await, []);
    outside.catch_up(&portal);
    assert_eq!(outside.changes, 0);
    ann.update(note).await;
    assert_eq!(portal.presence(ORG).await.counts.typing, 0);
    assert_eq!(desk.presence(ORG).await.counts.typing, 1);
    let seen = portal.all_viewers(ORG, "**").await;
    let seen = &seen[TICKET].viewers["ann"];
    assert_eq!((seen.activity, seen.internal), (Activity::Viewing, false));
}

async fn a_subtree_of_thousands_of_paths_is_read_while_it_changes() {
    const PATHS: usize = 3000;
    let server = TestServer::start().await;
    let (mut service, mut desk) = (server.connect().await, server.connect().await);
    let mut sessions = Vec::new();
    for number in 0..4 {
        sessions.push(person(&mut service, &format!("agent-{number}")).await);
    }
    let paths: Vec<String> = (0..PATHS)
        .map(|number| format!("ticket/{number:04}/notes"))
        .collect();
    // Each is at every fourth.
    let sitting = |number: usize| (sessions[number % 4], paths[number].as_str());
    let enter = |number: usize| {
        let (session, path) = sitting(number);
        Request::PresenceEnter(entering(session, path))
    };
    for ids in (0..PATHS).collect::<Vec<_>>().chunks(500) {
        for id in service
            .send_all(ids.iter().map(|number| enter(*number)))
            .await
        {
            service.answer(id).await.unwrap();
        }
    }
    service.enter(sessions[0], "elsewhere/1").await;
    // They go on while the pages are read.
    let going_on = async {
        for number in (0..PATHS).step_by(3) {
            let (session, path) = sitting(number);
            match number % 2 {
                0 => drop(service.leave(session, path).await),
                _ => drop(service.does(session, path, Activity::Editing).await),
            }
        }
    };
    let (mut watching, ()) = tokio::join!(desk.watch(ORG, "ticket/**", 100), going_on);
    let expected = service.all_viewers(ORG, "ticket/**").await;
    assert_eq!(expected.len(), PATHS - PATHS / 6);
    watching
        .until(&mut desk, "all is known", |known| known.paths == expected)
        .await;
}

async fn whoever_comes_back_reads_anew_and_knows_all() {
    let server = TestServer::start().await;
    let mut ann = server.connect().await;
    let anns = person(&mut ann, "ann").await;
    ann.enter(anns, TICKET).await;
    let mut desk = server.connect().await;
    let before = desk.watch(ORG, "**", 1).await;
    assert_eq!(before.paths.len(), 1);
    drop(desk);
    ann.leave(anns, TICKET).await;
    ann.enter(anns, "ticket/2").await;
    let mut desk = server.connect().await;
    let mut watching = desk.watch(ORG, "**", 1).await;
    assert_eq!(watching.does("ticket/2", "ann"), Some(Activity::Viewing));
    assert_eq!(watching.paths.len(), 1);
    ann.does(anns, "ticket/2", Activity::Editing).await;
    watching
        .until(&mut desk, "she edits", |known| {
            known.does("ticket/2", "ann") == Some(Activity::Editing)
        })
        .await;
    // Subscribed twice, told once.
    let again = desk.watch(ORG, "ticket/2", 1).await;
    assert_eq!(again.paths, watching.paths);
    let told = watching.changes;
    ann.does(anns, "ticket/2", Activity::Idle).await;
    watching
        .until(&mut desk, "she does nothing", |known| {
            known.does("ticket/2", "ann") == Some(Activity::Idle)
        })
        .await;
    assert_eq!(watching.changes, told + 1);
}

async fn whoever_reads_too_slowly_is_told_and_reads_anew() {
    let server = TestServer::start().await;
    let mut service = server.connect().await;
    let link = Proxy::to(server.addr).await;
    let mut desk = Client::introduced(link.addr).await;
    desk.watch(ORG, "**", 256).await;
    link.down(Way::Frozen);
    let metadata = [7; 256];
    for number in 0..16 {
        let session = person(&mut service, &format!("agent-{number}")).await;
        let paths: Vec<String> = (0..1000).map(|path| format!("ticket/{path}")).collect();
        let enter = |path| {
            Request::PresenceEnter(request::Enter {
                metadata: &metadata,
                ..entering(session, path)
            })
        };
        for id in service.send_all(paths.iter().map(|path| enter(path))).await {
            service.answer(id).await.unwrap();
        }
        // Told before the next comes.
        tokio::time::sleep(millis(150)).await;
    }
    link.down(Way::Open);
    let gap = |push: &Push<'static>| match push {
        Push::PresenceGap(gap) => Some(gap.version),
        _ => None,
    };
    let left_out = desk.push("a gap", gap).await;
    let mut watching = desk.watch(ORG, "**", 256).await;
    let expected = service.all_viewers(ORG, "**").await;
    watching
        .until(&mut desk, "all is known", |known| known.paths == expected)
        .await;
    assert!(watching.since() >= left_out);
}

async fn a_session_that_is_resumed_is_where_it_was() {
    let server = TestServer::start().await;
    let (mut ann, mut bob) = (server.connect().await, server.connect().await);
    let session = ann.open(ORG, "ann").await;
    let bobs = person(&mut bob, "bob").await;
    bob.enter(bobs, TICKET).await;
    ann.enter(session.number, TICKET).await;
    assert_eq!(bob.collision(bobs).await.0, CollisionLevel::Viewing);
    ann.does(session.number, TICKET, Activity::Typing).await;
    assert_eq!(bob.collision(bobs).await.0, CollisionLevel::Typing);
    drop(ann);
    // Nobody types without a connection.
    assert_eq!(bob.collision(bobs).await.0, CollisionLevel::Viewing);
    bob.does(bobs, TICKET, Activity::Editing).await;
    let mut ann = server.connect().await;
    ann.resume(&session).await;
    assert_eq!(
        ann.collision(session.number).await.0,
        CollisionLevel::Editing
    );
    let entered = ann.enter(session.number, TICKET).await;
    assert_eq!((entered.first, entered.total), (false, 2));
    assert_eq!(bob.presence(ORG).await.viewers, 2);
}

async fn open(client: &mut Client, owner: &str, on_disconnect: Disconnect) -> Session {
    client
        .open_with(request::OpenSession {
            org: ORG,
            owner,
            name: "",
            role: None,
            on_disconnect: Some(on_disconnect),
            metadata: b"",
        })
        .await
}

/// Waits until nobody is anywhere.
async fn all_gone(client: &mut Client) {
    within(SOON, "all are gone", async {
        while client.presence(ORG).await.viewers > 0 {
            tokio::time::sleep(millis(10)).await;
        }
    })
    .await;
}

async fn a_session_that_keeps_is_nowhere_without_its_connection() {
    let server = TestServer::start().await;
    let (mut ann, mut bob) = (server.connect().await, server.connect().await);
    let session = open(&mut ann, "ann", Disconnect::Keep).await;
    ann.take(exclusive(session.number, TICKET)).await;
    ann.enter(session.number, TICKET).await;
    assert_eq!(bob.presence(ORG).await.viewers, 1);
    drop(ann);
    all_gone(&mut bob).await;
    assert_eq!(bob.status(ORG, TICKET).await.holder_count, 1);
}

async fn a_session_that_is_closed_is_nowhere() {
    let server = TestServer::start().await;
    let (mut ann, mut bob) = (server.connect().await, server.connect().await);
    let anns = person(&mut ann, "ann").await;
    for number in 0..200 {
        ann.enter(anns, &format!("ticket/{number}")).await;
    }
    let stats = bob.presence(ORG).await;
    assert_eq!(
        (stats.paths, stats.viewers, stats.sittings),
        (200, 200, 200)
    );
    let mut watching = bob.watch(ORG, "**", 64).await;
    ann.close(anns).await;
    all_gone(&mut bob).await;
    watching
        .until(&mut bob, "all are gone", |known| known.paths.is_empty())
        .await;
    let enter = Request::PresenceEnter(entering(anns, TICKET));
    let refused = ann.fails(enter).await;
    assert!(matches!(
        refused,
        ErrorCode::NotAttached | ErrorCode::UnknownSession
    ));
}

async fn a_viewer_without_a_sign_of_life_is_told_and_may_come_again() {
    const STALE: Duration = Duration::from_secs(10);
    let server = TestServer::with(Config {
        viewer_stale_ms: STALE.as_millis() as u64,
        ..config()
    })
    .await;
    let mut service = server.connect().await;
    let anns = person(&mut service, "ann").await;
    let bobs = person(&mut service, "bob").await;
    let entered = Instant::now();
    service.enter(anns, TICKET).await;
    service.enter(bobs, TICKET).await;
    service.listen(STALE / 2).await;
    service.does(bobs, TICKET, Activity::Idle).await;
    let ended = service.push_within(STALE, "she is gone", |push| match push {
        Push::PresenceEnded(ended) => Some((ended.session, ended.path)),
        _ => None,
    });
    assert_eq!(ended.await, (anns, TICKET));
    let took = entered.elapsed();
    assert!((STALE..STALE + SOON).contains(&took), "{took:?}");
    assert_eq!(
        service.presence(ORG).await.viewers,
        1,
        "bob gave a sign of life"
    );
    let update = request::Update {
        session: anns,
        path: TICKET,
        activity: Activity::Viewing,
        internal: false,
    };
    let refused = service.fails(Request::PresenceUpdate(update)).await;
    assert_eq!(refused, ErrorCode::NotEntered);
    assert!(service.enter(anns, TICKET).await.first);
}

async fn a_hundred_are_listed_and_the_others_counted() {
    let server = TestServer::start().await;
    let (mut service, mut desk) = (server.connect().await, server.connect().await);
    let mut people = Vec::new();
    for number in 0..120 {
        let session = person(&mut service, &format!("u-{number:03}")).await;
        service.enter(session, TICKET).await;
        people.push(session);
    }
    let mut watching = desk.watch(ORG, TICKET, 1).await;
    let listed = &watching.paths[TICKET];
    assert_eq!((listed.total, listed.viewers.len()), (120, 100));
    assert_eq!(listed.counts.viewing, 120);
    assert!(watching.does(TICKET, "u-100").is_none());
    // Nobody is told of anybody in a crowd.
    service.pushes_until_now().await;
    let level = service.does(people[110], TICKET, Activity::Editing).await;
    assert_eq!(level, CollisionLevel::None);
    assert_eq!(service.pushes_until_now().await, []);
    service.leave(people[0], TICKET).await;
    watching
        .until(&mut desk, "the next is listed", |known| {
            known.does(TICKET, "u-100").is_some()
        })
        .await;
    assert!(watching.does(TICKET, "u-000").is_none());
    let expected = service.all_viewers(ORG, TICKET).await;
    watching
        .until(&mut desk, "all is known", |known| known.paths == expected)
        .await;
    assert_eq!(watching.paths[TICKET].counts.editing, 1);
}

async fn every_bound_has_an_answer() {
    let server = TestServer::start().await;
    let mut service = server.connect().await;
    let anns = person(&mut service, "ann").await;
    let update = request::Update {
        session: anns,
        path: TICKET,
        activity: Activity::Idle,
        internal: false,
    };
    let refused = service.fails(Request::PresenceUpdate(update)).await;
    assert_eq!(refused, ErrorCode::NotEntered);
    let paths: Vec<String> = (0..1001).map(|number| format!("ticket/{number}")).collect();
    let enter = |path| Request::PresenceEnter(entering(anns, path));
    for id in service
        .send_all(paths[..1000].iter().map(|path| enter(path)))
        .await
    {
        service.answer(id).await.unwrap();
    }
    let refused = service.fails(enter(&paths[1000])).await;
    assert_eq!(refused, ErrorCode::TooManyPresences);
    let mut other = server.connect().await;
    let stolen = other.fails(enter(TICKET)).await;
    assert_eq!(
        stolen,
        ErrorCode::NotAttached,
        "a session of another connection"
    );
}

async fn what_is_gathered_is_told_in_one_change() {
    let server = TestServer::start().await;
    let (mut ann, mut desk) = (server.connect().await, server.connect().await);
    let anns = person(&mut ann, "ann").await;
    ann.enter(anns, TICKET).await;
    tokio::time::sleep(millis(300)).await;
    let mut watching = desk.watch(ORG, TICKET, 1).await;
    let began = Instant::now();
    let update = |number: usize| {
        let activity = if number.is_multiple_of(2) {
            Activity::Idle
        } else {
            Activity::Editing
        };
        Request::PresenceUpdate(request::Update {
            session: anns,
            path: TICKET,
            activity,
            internal: false,
        })
    };
    for id in ann.send_all((0..200).map(update)).await {
        ann.answer(id).await.unwrap();
    }
    watching
        .until(&mut desk, "she edits", |known| {
            known.does(TICKET, "ann") == Some(Activity::Editing)
        })
        .await;
    let most = 2 + began.elapsed().as_millis() / 100;
    assert!(
        watching.changes as u128 <= most,
        "{} changes",
        watching.changes
    );
}

async fn how_much_there_is_is_counted() {
    let server = TestServer::with_metrics(config()).await;
    let mut service = server.connect().await;
    for owner in ["ann", "bob", "bob"] {
        let session = person(&mut service, owner).await;
        service.enter(session, TICKET).await;
    }
    assert_eq!(server.metric("tenure_viewers").await, 2);
    assert_eq!(server.metric("tenure_sittings").await, 3);
    within(SOON, "it is told", async {
        while server.metric("tenure_presence_changes_total").await == 0 {
            tokio::time::sleep(millis(20)).await;
        }
    })
    .await;
}
