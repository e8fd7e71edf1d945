//! Being at a path: entered, kept up to date with few messages, entered again after a reconnect, and left in any case.
//!
//! Against the scripted server of `peer`. What must hold: no path is left entered that no handle is for, and typing is
//! said no oftener than the server wants it.

#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a panic in a test is the message"
)]

mod peer;

use std::time::{Duration, Instant};

use peer::{A_WHILE, Line, Peer, opened, resumed, session, soon};
use tenure_client::{CollisionLevel, ErrorKind, Presence, PresenceEvent, Session, SessionEnd};
use tenure_protocol::{
    self as wire, Activity, ErrorCode, PathViewers, Push, Reply, Request, push, reply, request,
};
use tokio::time::{advance, sleep, timeout};

/// What was said of a path: what was asked, and what is done there.
type Said = (&'static str, u64, String, Option<(Activity, bool)>);

/// How long typing is shown, and how often it is said: far less than in life, so that a test may wait for it.
const TYPING_MS: u64 = 400;
const REFRESH_MS: u64 = 200;

const VIEWING: Option<(Activity, bool)> = Some((Activity::Viewing, false));
const TYPING: Option<(Activity, bool)> = Some((Activity::Typing, false));

/// Answers what comes next about a path.
async fn answer(line: &mut Line, collision: wire::CollisionLevel) -> Said {
    let asked = line.next().await;
    let (reply, said) = match asked.request() {
        Request::PresenceEnter(enter) => (
            Reply::PresenceEnter(reply::Entered {
                first: true,
                total: 2,
                collision,
                typing_ms: TYPING_MS,
                refresh_ms: REFRESH_MS,
            }),
            (
                enter.session,
                enter.path,
                Some((enter.activity, enter.internal)),
            ),
        ),
        Request::PresenceUpdate(update) => (
            Reply::PresenceUpdate(reply::Updated { collision }),
            (
                update.session,
                update.path,
                Some((update.activity, update.internal)),
            ),
        ),
        Request::PresenceLeave(leave) => (
            Reply::PresenceLeave(reply::Left { last: true }),
            (leave.session, leave.path, None),
        ),
        other => panic!("expected something about a path, found {other:?}"),
    };
    let (session, path, doing) = said;
    let said = (asked.name(), session, path.to_owned(), doing);
    line.reply(asked.id, reply).await;
    said
}

async fn said(line: &mut Line) -> Said {
    answer(line, wire::CollisionLevel::None).await
}

fn what(name: &'static str, session: u64, doing: Option<(Activity, bool)>) -> Said {
    (name, session, "doc/a".to_owned(), doing)
}

async fn enter(session: &Session, line: &mut Line) -> Presence {
    let (presence, _) = tokio::join!(async { session.enter("doc/a").await.unwrap() }, said(line));
    presence
}

#[tokio::test]
async fn entering_says_who_is_there_and_dropping_leaves() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let here = ada.enter("doc/a").metadata("tab 3").into_future();
    let answered = async {
        let asked = line.expect("presence.enter").await;
        assert_eq!(
            asked.request(),
            Request::PresenceEnter(request::Enter {
                session: 11,
                path: "doc/a",
                activity: Activity::Viewing,
                internal: false,
                metadata: b"tab 3",
            })
        );
        let entered = reply::Entered {
            first: true,
            total: 2,
            collision: wire::CollisionLevel::Viewing,
            typing_ms: TYPING_MS,
            refresh_ms: REFRESH_MS,
        };
        line.reply(asked.id, Reply::PresenceEnter(entered)).await;
    };
    let (here, ()) = tokio::join!(here, answered);
    let here = here.unwrap();
    assert_eq!(
        (here.path(), here.was_first(), here.viewers_then()),
        ("doc/a", true, 2)
    );
    assert_eq!(here.collision().level, CollisionLevel::Viewing);
    // Another handle of the same session keeps it there.
    let also = enter(&ada, &mut line).await;
    drop(here);
    line.expect_silence().await;
    drop(also);
    assert_eq!(said(&mut line).await, what("presence.leave", 11, None));
    line.expect_silence().await;
}

#[tokio::test]
async fn leaving_says_whether_it_was_the_last() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let one = enter(&ada, &mut line).await;
    let two = enter(&ada, &mut line).await;
    assert!(!one.leave().await.unwrap(), "the other is there still");
    let (last, left) = tokio::join!(two.leave(), said(&mut line));
    assert!(last.unwrap());
    assert_eq!(left, what("presence.leave", 11, None));
    line.expect_silence().await;
}

#[tokio::test]
async fn what_is_refused_says_why_and_leaves_nothing_behind() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    for (code, kind) in [
        (ErrorCode::TooManyPresences, ErrorKind::Unavailable),
        (ErrorCode::NotAttached, ErrorKind::SessionEnded),
    ] {
        let refuse = async {
            let asked = line.expect("presence.enter").await;
            line.error(asked.id, code).await;
        };
        let (refused, ()) = tokio::join!(ada.enter("doc/a").into_future(), refuse);
        assert_eq!(refused.unwrap_err().kind(), kind);
    }
    let wrong = ada.enter("doc//a").await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::BadRequest);
    let large = ada.enter("doc/a").metadata(vec![0; 257]).await.unwrap_err();
    assert_eq!(large.kind(), ErrorKind::BadRequest);
    line.expect_silence().await;
}

#[tokio::test]
async fn an_enter_that_nobody_waits_for_is_taken_back() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let given_up = timeout(A_WHILE, ada.enter("doc/a").into_future());
    assert!(given_up.await.is_err());
    assert_eq!(said(&mut line).await.0, "presence.enter");
    assert_eq!(said(&mut line).await, what("presence.leave", 11, None));
    line.expect_silence().await;
}

#[tokio::test]
async fn typing_is_said_no_oftener_than_the_server_wants_it() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let here = enter(&ada, &mut line).await;
    let begin = Instant::now();
    let stop = begin + Duration::from_millis(5 * REFRESH_MS);
    let mut times = Vec::new();
    // As many key strokes as there can be.
    while Instant::now() < stop {
        here.typing();
        if let Ok(asked) = timeout(Duration::from_millis(5), line.next_or_end()).await {
            assert_eq!(asked.unwrap().name(), "presence.update");
            times.push(begin.elapsed());
        }
    }
    assert!((2..=6).contains(&times.len()), "{times:?}");
    let apart = times.windows(2).map(|pair| pair[1] - pair[0]);
    let least = Duration::from_millis(REFRESH_MS - 20);
    assert!(apart.into_iter().all(|apart| apart >= least), "{times:?}");
    // What is another thing is said at once.
    here.viewing();
    assert_eq!(said(&mut line).await, what("presence.update", 11, VIEWING));
    here.typing_internally();
    let internally = Some((Activity::Typing, true));
    assert_eq!(
        said(&mut line).await,
        what("presence.update", 11, internally)
    );
    here.idle();
    let idle = Some((Activity::Idle, false));
    assert_eq!(said(&mut line).await, what("presence.update", 11, idle));
    here.editing();
    let editing = Some((Activity::Editing, false));
    assert_eq!(said(&mut line).await, what("presence.update", 11, editing));
}

/// Time stands still but for what the test adds.
#[tokio::test(start_paused = true)]
async fn a_sign_of_life_that_is_no_news_is_given_once_a_minute() {
    let mut peer = Peer::bind().await;
    peer.dead_after_ms = 600_000;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let here = enter(&ada, &mut line).await;
    for _ in 0..30 {
        here.viewing();
        advance(Duration::from_secs(1)).await;
    }
    line.expect_silence().await;
    advance(Duration::from_secs(31)).await;
    here.viewing();
    assert_eq!(said(&mut line).await, what("presence.update", 11, VIEWING));
    here.viewing();
    line.expect_silence().await;
}

#[tokio::test]
async fn publishing_ends_the_typing_so_that_the_next_is_news() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let here = enter(&ada, &mut line).await;
    here.typing();
    assert_eq!(said(&mut line).await, what("presence.update", 11, TYPING));
    let publish = client.publish("acme", "doc/a", "note", "").session(&ada);
    let published = async {
        let asked = line.expect("stream.publish").await;
        let published = reply::Published {
            position: wire::Position {
                epoch: 7,
                offset: 1,
            },
            repeated: false,
            listeners: 0,
        };
        line.reply(asked.id, Reply::StreamPublish(published)).await;
    };
    let (sent, ()) = tokio::join!(publish.into_future(), published);
    sent.unwrap();
    here.typing();
    assert_eq!(said(&mut line).await, what("presence.update", 11, TYPING));
}

#[tokio::test]
async fn collisions_are_told_with_who_it_is() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let here = enter(&ada, &mut line).await;
    let mut events = here.events();
    let collision = |level, by| {
        Push::PresenceCollision(push::Collision {
            session: 11,
            path: "doc/a",
            level,
            by,
        })
    };
    let bob = wire::Who {
        owner: "bob",
        name: "Bob",
    };
    line.push(collision(wire::CollisionLevel::Editing, vec![bob]))
        .await;
    let Some(PresenceEvent::Collision(told)) = soon(events.next()).await else {
        panic!("expected a collision")
    };
    assert_eq!(
        (told.level, told.by[0].name.as_str()),
        (CollisionLevel::Editing, "Bob")
    );
    assert_eq!(here.collision(), told);
    // The same level with an answer is no news, and does not forget who it is.
    here.typing();
    answer(&mut line, wire::CollisionLevel::Editing).await;
    here.viewing();
    answer(&mut line, wire::CollisionLevel::None).await;
    let Some(PresenceEvent::Collision(told)) = soon(events.next()).await else {
        panic!("expected a collision")
    };
    assert_eq!((told.level, told.by.len()), (CollisionLevel::None, 0));
}

#[tokio::test]
async fn it_goes_on_after_a_reconnect_with_what_is_done_by_then() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let here = enter(&ada, &mut line).await;
    let gone = async {
        let entered = ada.enter("doc/b").into_future();
        let (gone, _) = tokio::join!(entered, said(&mut line));
        gone.unwrap()
    }
    .await;
    drop(line);
    let mut line = peer.accept().await;
    // Said while there is no connection.
    here.editing();
    drop(gone);
    line.resume(resumed()).await;
    line.renews = true;
    let mut all = [said(&mut line).await, said(&mut line).await];
    all.sort_by_key(|said| said.0);
    let editing = Some((Activity::Editing, false));
    assert_eq!(all[0], what("presence.enter", 11, editing));
    assert_eq!(all[1], ("presence.leave", 11, "doc/b".to_owned(), None));
    line.expect_silence().await;
}

#[tokio::test]
async fn it_goes_on_in_a_session_that_was_opened_again() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let here = enter(&ada, &mut line).await;
    drop(line);
    let mut line = peer.accept().await;
    let asked = line.expect("session.resume").await;
    line.error(asked.id, ErrorCode::UnknownSession).await;
    let asked = line.expect("session.open").await;
    line.reply(asked.id, opened(12)).await;
    assert_eq!(said(&mut line).await, what("presence.enter", 12, VIEWING));
    here.typing();
    assert_eq!(said(&mut line).await, what("presence.update", 12, TYPING));
}

/// An enter that was sent and never answered may have been carried out: it is taken back once the session is resumed.
#[tokio::test]
async fn an_enter_without_an_answer_leaves_no_ghost() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let ended = async {
        line.expect("presence.enter").await;
        drop(line);
    };
    let (failed, ()) = tokio::join!(ada.enter("doc/a").into_future(), ended);
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Disconnected);
    let mut line = peer.accept().await;
    line.resume(resumed()).await;
    line.renews = true;
    assert_eq!(said(&mut line).await, what("presence.leave", 11, None));
    line.expect_silence().await;
}

#[tokio::test]
async fn nobody_is_shown_to_type_who_has_not_typed_lately() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let here = enter(&ada, &mut line).await;
    here.typing();
    assert_eq!(said(&mut line).await, what("presence.update", 11, TYPING));
    drop(line);
    let mut line = peer.accept().await;
    sleep(Duration::from_millis(TYPING_MS + 50)).await;
    line.resume(resumed()).await;
    line.renews = true;
    assert_eq!(said(&mut line).await, what("presence.enter", 11, VIEWING));
}

#[tokio::test]
async fn who_was_swept_enters_again_with_the_next_sign_of_life() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let here = enter(&ada, &mut line).await;
    let mut events = here.events();
    line.push(Push::PresenceEnded(push::PresenceEnded {
        session: 11,
        path: "doc/a",
    }))
    .await;
    assert_eq!(soon(events.next()).await, Some(PresenceEvent::Swept));
    drop(line);
    let mut line = peer.accept().await;
    line.resume(resumed()).await;
    line.renews = true;
    line.expect_silence().await;
    here.viewing();
    assert_eq!(said(&mut line).await, what("presence.enter", 11, VIEWING));
    // And once more when the notice is still on its way: the update says so.
    here.typing();
    let asked = line.expect("presence.update").await;
    line.error(asked.id, ErrorCode::NotEntered).await;
    assert_eq!(said(&mut line).await, what("presence.enter", 11, TYPING));
}

#[tokio::test]
async fn what_cannot_be_had_at_the_moment_is_tried_again() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let here = enter(&ada, &mut line).await;
    drop(line);
    let mut line = peer.accept().await;
    line.resume(resumed()).await;
    line.renews = true;
    let asked = line.expect("presence.enter").await;
    line.error(asked.id, ErrorCode::TooManyPresences).await;
    assert_eq!(said(&mut line).await, what("presence.enter", 11, VIEWING));
    drop(here);
    let asked = line.expect("presence.leave").await;
    line.error(asked.id, ErrorCode::Unavailable).await;
    assert_eq!(said(&mut line).await, what("presence.leave", 11, None));
}

#[tokio::test]
async fn the_end_of_the_session_is_told() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let ada = session(&client, &mut line, 11).await;
    let here = enter(&ada, &mut line).await;
    let mut events = here.events();
    line.push(Push::SessionClosed(push::Closed {
        session: 11,
        why: wire::SessionEnd::Idle,
    }))
    .await;
    let ended = PresenceEvent::SessionEnded(SessionEnd::Idle);
    assert_eq!(soon(events.next()).await, Some(ended));
    here.typing();
    drop(here);
    line.expect_silence().await;
    let over = ada.enter("doc/a").await.unwrap_err();
    assert_eq!(over.kind(), ErrorKind::SessionEnded);
}

#[tokio::test]
async fn who_is_where_comes_in_pages() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.connect().await;
    let pages = async {
        for (path, next) in [("doc/a", Some("doc/a")), ("doc/b", None)] {
            let asked = line.expect("presence.list").await;
            let Request::PresenceList(list) = asked.request() else {
                unreachable!()
            };
            assert_eq!((list.filter.as_str(), list.page), ("doc/**", 1));
            assert_eq!(list.cursor.is_some(), path == "doc/b");
            let ada = wire::Viewer {
                owner: "ada",
                name: "Ada",
                activity: Activity::Typing,
                internal: false,
                since_ms: 1_763_628_000_000,
                sittings: 2,
                metadata: b"tab 3",
            };
            let page = reply::Viewers {
                version: 3,
                position: None,
                paths: vec![PathViewers {
                    path,
                    total: 1,
                    counts: wire::Counts::default(),
                    viewers: vec![ada],
                }],
                next,
            };
            line.reply(asked.id, Reply::PresenceList(page)).await;
        }
    };
    let list = client.viewers("acme", "doc/**").page_size(1);
    let (all, ()) = tokio::join!(list.all(), pages);
    let all = all.unwrap();
    let paths: Vec<_> = all.iter().map(|of| of.path.as_str()).collect();
    assert_eq!(paths, ["doc/a", "doc/b"]);
    let viewer = &all[0].viewers[0];
    assert_eq!((viewer.display_name(), viewer.sittings), ("Ada", 2));
    assert_eq!(viewer.activity.name(), "typing");
}
