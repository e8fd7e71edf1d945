//! The rules of `docs/presence.md`, each shown by a scene. The bounds are those of a server.
//! The model agrees with every step.

use tenure_engine::presence::{Activity, Audience, Bounds, Level, Rejection, Reply, Within};
use tenure_engine::{Millis, Role, SessionRef};

use super::reader::Reader;
use super::recorded::{Changed, Recorded};
use super::run::{Run, enter, whole_list};
use super::world::{Deed, Op, Owned};

const TICKET: &str = "ticket/1";

fn run() -> Run {
    Run::new(Bounds::default())
}

fn does(by: SessionRef, activity: Activity) -> Owned {
    Owned::Update(by, TICKET.to_owned(), activity, Audience::Everyone)
}

fn types_within(by: SessionRef) -> Owned {
    let typing = Activity::Typing;
    Owned::Update(by, TICKET.to_owned(), typing, Audience::Insiders)
}

fn leave(by: SessionRef) -> Owned {
    Owned::Leave(by, TICKET.to_owned())
}

/// What is told once changes have been gathered.
fn told(run: &mut Run) -> Vec<Changed> {
    run.after(100, &Owned::Tick).1.changes
}

/// Who is told how near others come.
fn levels(told: &Recorded) -> Vec<(u64, Level)> {
    let collisions = told.collisions.iter();
    collisions
        .map(|told| (told.session.0, told.level))
        .collect()
}

fn entered(first: bool, total: u32, level: Level) -> Reply {
    Reply::Entered {
        first,
        total,
        level,
    }
}

#[test]
fn an_owner_comes_with_its_first_sitting_and_goes_with_its_last() {
    let mut run = run();
    let [tab, phone] = [(); 2].map(|()| run.world.open("acme", "ann", Role::Member));
    let (reply, _) = run.step(&enter(tab, TICKET));
    assert_eq!(reply, entered(true, 1, Level::None));
    assert_eq!(told(&mut run)[0].insiders.1[0].sittings, 1);
    let (reply, _) = run.step(&enter(phone, TICKET));
    assert_eq!(reply, entered(false, 1, Level::None));
    assert_eq!(told(&mut run)[0].insiders.1[0].sittings, 2);
    assert_eq!(run.step(&leave(tab)).0, Reply::Left { last: false });
    assert_eq!(told(&mut run)[0].gone, [""; 0]);
    assert_eq!(run.step(&leave(phone)).0, Reply::Left { last: true });
    let gone = &told(&mut run)[0];
    assert_eq!((gone.total, &*gone.gone), (0, &["ann".to_owned()][..]));
    assert_eq!(run.step(&leave(phone)).0, Reply::Left { last: false });
    assert!(!run.presence.is_anybody_at("acme", TICKET) && !run.presence.is_anywhere(tab.session));
}

#[test]
fn the_strongest_of_an_owners_sittings_is_shown() {
    let mut run = run();
    let [one, other] = [(); 2].map(|()| run.world.open("acme", "ann", Role::Member));
    run.step(&enter(one, TICKET));
    run.step(&enter(other, TICKET));
    for (by, activity, shown) in [
        (one, Activity::Idle, Activity::Viewing),
        (other, Activity::Idle, Activity::Idle),
        (one, Activity::Editing, Activity::Editing),
        (other, Activity::Typing, Activity::Editing),
        (one, Activity::Viewing, Activity::Typing),
    ] {
        run.step(&does(by, activity));
        let list = whole_list(&run.presence, "acme", Within::All, Audience::Insiders);
        assert_eq!(list[0].viewers[0].activity, shown);
        assert_eq!(list[0].counts.of(shown), 1);
    }
}

#[test]
fn changes_are_told_at_most_once_in_a_tenth_of_a_second() {
    let mut run = run();
    let ann = run.world.open("acme", "ann", Role::Member);
    let bob = run.world.open("acme", "bob", Role::Member);
    run.step(&enter(ann, TICKET));
    run.after(60, &enter(bob, TICKET));
    run.after(39, &leave(ann));
    assert_eq!(run.step(&Owned::Tick).1.changes, []);
    let told = run.after(1, &Owned::Tick).1.changes;
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].version, told[0].total), (1, 1));
    assert_eq!(told[0].gone, ["ann"], "a list may have shown her");
    assert_eq!(told[0].insiders.1[0].owner, "bob");
}

#[test]
fn typing_ends_by_itself_after_six_seconds() {
    let mut run = run();
    let ann = run.world.open("acme", "ann", Role::Member);
    run.step(&enter(ann, TICKET));
    run.step(&does(ann, Activity::Typing));
    run.after(100, &Owned::Tick);
    run.after(2900, &does(ann, Activity::Typing));
    assert_eq!(run.after(5999, &Owned::Tick).1, Recorded::default());
    run.after(1, &Owned::Tick);
    let told = told(&mut run);
    assert_eq!(told[0].insiders.1[0].activity, Activity::Viewing);
}

#[test]
fn typing_ends_with_a_message_and_with_the_connection() {
    let mut run = run();
    let ann = run.world.open("acme", "ann", Role::Member);
    run.step(&enter(ann, TICKET));
    let is_typing = |run: &Run| run.presence.stats("acme", Audience::Everyone).counts.typing == 1;
    run.step(&does(ann, Activity::Typing));
    assert!(is_typing(&run));
    run.step(&Owned::EndTyping(ann.session, TICKET.to_owned()));
    assert!(!is_typing(&run));
    run.step(&does(ann, Activity::Typing));
    let detached = run
        .world
        .resolve(Op::Of(0, Deed::Detach))
        .expect("it was attached");
    run.step(&detached);
    assert!(!is_typing(&run), "nobody types without a connection");
    assert_eq!(run.presence.stats("acme", Audience::Everyone).viewers, 1);
}

#[test]
fn what_is_typed_for_insiders_is_not_known_to_observers() {
    let mut run = run();
    let ann = run.world.open("acme", "ann", Role::Member);
    let bob = run.world.open("acme", "bob", Role::Member);
    let eve = run.world.open("acme", "eve", Role::Observer);
    for by in [ann, bob, eve] {
        run.step(&enter(by, TICKET));
    }
    told(&mut run);
    let (_, recorded) = run.step(&types_within(ann));
    assert_eq!(levels(&recorded), [(bob.session.0, Level::Typing)]);
    let change = &told(&mut run)[0];
    assert!(change.insiders.1[0].internal);
    assert_eq!(change.observers, None, "not even that there is something");
    let seen = whole_list(&run.presence, "acme", Within::All, Audience::Everyone);
    assert_eq!(seen[0].counts.viewing, 3);
    assert!(!seen[0].viewers[0].internal);
    // When something else happens at the same time, they see that and no more.
    run.step(&types_within(bob));
    run.step(&leave(eve));
    let change = &told(&mut run)[0];
    let observers = change.observers.as_ref().expect("somebody has left");
    assert_eq!((observers.0.viewing, observers.1.len()), (2, 0));
    assert_eq!((change.insiders.0.typing, change.insiders.1.len()), (2, 1));
}

#[test]
fn how_near_others_come_is_told_when_it_changes() {
    let mut run = run();
    let ann = run.world.open("acme", "ann", Role::Member);
    let bob = run.world.open("acme", "bob", Role::Member);
    assert_eq!(
        run.step(&enter(ann, TICKET)).0,
        entered(true, 1, Level::None)
    );
    let (reply, told) = run.step(&enter(bob, TICKET));
    assert_eq!(reply, entered(true, 2, Level::Viewing));
    assert_eq!(levels(&told), [(1, Level::Viewing)]);
    let (_, told) = run.step(&does(bob, Activity::Typing));
    assert_eq!(levels(&told), [(1, Level::Typing)]);
    assert_eq!(told.collisions[0].by[0].0, "bob");
    assert_eq!(levels(&run.step(&does(bob, Activity::Typing)).1), []);
    let (reply, told) = run.step(&does(ann, Activity::Editing));
    assert_eq!(
        reply,
        Reply::Updated {
            level: Level::Typing
        }
    );
    assert_eq!(levels(&told), [(2, Level::Editing)]);
    assert_eq!(levels(&run.step(&leave(bob)).1), [(1, Level::None)]);
}

#[test]
fn whoever_holds_the_lock_comes_as_near_as_an_editor() {
    let mut run = run();
    let ann = run.world.open("acme", "ann", Role::Member);
    let bob = run.world.open("acme", "bob", Role::Member);
    run.step(&enter(ann, TICKET));
    run.step(&enter(bob, TICKET));
    // The holder need not be there.
    let held = run.world.hold("acme", TICKET, "eve");
    let (_, told) = run.step(&held);
    assert_eq!(levels(&told), [(1, Level::Editing), (2, Level::Editing)]);
    assert_eq!(
        told.collisions[0].by[0],
        ("eve".to_owned(), "the holder".to_owned())
    );
    let freed = run.world.hold("acme", TICKET, "eve");
    let told = run.step(&freed).1;
    assert_eq!(levels(&told), [(1, Level::Viewing), (2, Level::Viewing)]);
    let held = run.world.hold("acme", TICKET, "ann");
    assert_eq!(levels(&run.step(&held).1), [(2, Level::Editing)]);
}

#[test]
fn a_session_that_comes_back_is_told_how_near_others_are() {
    let mut run = run();
    let ann = run.world.open("acme", "ann", Role::Member);
    let bob = run.world.open("acme", "bob", Role::Member);
    run.step(&enter(ann, TICKET));
    run.step(&enter(bob, TICKET));
    let detached = run
        .world
        .resolve(Op::Of(0, Deed::Detach))
        .expect("it was attached");
    run.step(&detached);
    assert_eq!(levels(&run.step(&does(bob, Activity::Editing)).1), []);
    let resumed = run.world.resolve(Op::Of(0, Deed::Resume(Role::Member)));
    let told = run.step(&resumed.expect("it is in its grace")).1;
    assert_eq!(levels(&told), [(1, Level::Editing)]);
}

#[test]
fn a_session_in_its_grace_stays_and_one_that_keeps_goes() {
    let mut run = run();
    let ann = run.world.open("acme", "ann", Role::Member);
    let bob = run.world.open("acme", "bob", Role::Member);
    run.world.sessions[1].keeps = true;
    run.step(&enter(ann, TICKET));
    run.step(&enter(bob, TICKET));
    for who in [0, 1] {
        let detached = run
            .world
            .resolve(Op::Of(who, Deed::Detach))
            .expect("it was attached");
        run.step(&detached);
    }
    let list = whole_list(&run.presence, "acme", Within::All, Audience::Everyone);
    assert_eq!(list[0].viewers.len(), 1);
    assert_eq!(list[0].viewers[0].owner, "ann");
    let ended = run
        .world
        .resolve(Op::Of(0, Deed::End))
        .expect("it was in its grace");
    run.step(&ended);
    assert_eq!(run.presence.stats("acme", Audience::Everyone).viewers, 0);
}

#[test]
fn a_sitting_without_a_sign_of_life_is_swept_and_told() {
    let mut run = run();
    let ann = run.world.open("acme", "ann", Role::Member);
    run.step(&enter(ann, TICKET));
    run.after(20 * 60_000, &does(ann, Activity::Idle));
    run.after(30 * 60_000 - 1, &Owned::Tick);
    assert_eq!(run.presence.stats("acme", Audience::Everyone).viewers, 1);
    let (_, told) = run.after(1, &Owned::Tick);
    assert_eq!(told.ended, [(ann.session, TICKET.to_owned())]);
    let refused = run.step(&does(ann, Activity::Idle)).0;
    assert_eq!(refused, Reply::Rejected(Rejection::NotEntered));
    assert_eq!(
        run.step(&enter(ann, TICKET)).0,
        entered(true, 1, Level::None)
    );
}

#[test]
fn a_session_that_has_nothing_else_is_renewed() {
    let mut run = run();
    let ann = run.world.open("acme", "ann", Role::Member);
    run.world.sessions[0].idle = Millis(15 * 60_000 - 1);
    assert_eq!(run.step(&enter(ann, TICKET)).1.alive, []);
    run.world.sessions[0].idle = Millis(15 * 60_000);
    assert_eq!(run.step(&enter(ann, TICKET)).1.alive, [ann]);
    assert_eq!(run.step(&does(ann, Activity::Idle)).1.alive, [ann]);
}

fn people(run: &mut Run, count: usize) -> Vec<SessionRef> {
    (0..count)
        .map(|number| {
            run.world
                .open("acme", &format!("o{number:03}"), Role::Member)
        })
        .collect()
}

#[test]
fn the_first_are_listed_and_the_others_counted() {
    let mut run = Run::new(Bounds {
        listed: 10,
        colliding: 10,
        ..Bounds::default()
    });
    for audience in [Audience::Insiders, Audience::Everyone] {
        run.listen(Reader::new("acme", Within::All, audience, 256));
    }
    run.read_all();
    let people = people(&mut run, 13);
    for &by in &people {
        run.step(&enter(by, TICKET));
    }
    let list = whole_list(&run.presence, "acme", Within::All, Audience::Everyone);
    assert_eq!((list[0].total, list[0].viewers.len()), (13, 10));
    assert_eq!(list[0].viewers[9].owner, "o009");
    told(&mut run);
    // What the others do is counted.
    let (reply, recorded) = run.step(&does(people[12], Activity::Editing));
    assert_eq!(reply, Reply::Updated { level: Level::None });
    assert_eq!(levels(&recorded), []);
    let change = &told(&mut run)[0];
    assert_eq!((change.insiders.0.editing, change.insiders.1.len()), (1, 0));
    // Whoever makes room is followed by the next.
    run.step(&leave(people[0]));
    let change = &told(&mut run)[0];
    assert_eq!(
        (&*change.gone, change.total),
        (&["o000".to_owned()][..], 12)
    );
    assert_eq!(change.insiders.1[0].owner, "o010");
    // In a crowd nobody is told of anybody; when it is none any more, all are.
    assert_eq!(levels(&run.step(&leave(people[1])).1), []);
    let told = levels(&run.step(&leave(people[2])).1);
    assert_eq!(told.len(), 10);
    let editing = told.iter().filter(|(_, level)| *level == Level::Editing);
    assert_eq!(editing.count(), 9, "all but the one who edits");
    run.run_out();
}

#[test]
fn when_a_hundred_have_come_it_is_told_at_once() {
    let mut run = Run::new(Bounds {
        colliding: 0,
        ..Bounds::default()
    });
    let people = people(&mut run, 100);
    let (last, first) = people.split_last().expect("a hundred");
    for by in first {
        assert_eq!(run.step_of_machine(&enter(*by, TICKET)).1.changes, []);
    }
    let told = run.step_of_machine(&enter(*last, TICKET)).1.changes;
    assert_eq!(told[0].insiders.1.len(), 100);
    run.presence.check(&run.world);
}

#[test]
fn a_session_that_was_in_many_places_is_swept_in_steps() {
    let mut run = run();
    let ann = run.world.open("acme", "ann", Role::Member);
    for number in 0..80 {
        run.step_of_machine(&enter(ann, &format!("ticket/{number:02}")));
    }
    run.after(100, &Owned::Tick);
    let viewers = |run: &Run| run.presence.stats("acme", Audience::Everyone).viewers;
    run.step_of_machine(&Owned::Tick);
    let ended = run
        .world
        .resolve(Op::Of(0, Deed::End))
        .expect("it was attached");
    run.step_of_machine(&ended);
    assert_eq!(viewers(&run), 80 - 64);
    assert!(!run.presence.is_anywhere(ann.session));
    while viewers(&run) > 0 {
        run.step_of_machine(&Owned::Tick);
    }
    run.run_out();
    assert_eq!(run.presence.totals().paths, 0);
}

#[test]
fn what_a_session_has_left_behind_is_nothing_to_it() {
    let mut run = run();
    let ann = run.world.open("acme", "ann", Role::Member);
    run.world.sessions[0].keeps = true;
    let path = |number: usize| format!("ticket/{number:02}");
    for number in 0..80 {
        run.step_of_machine(&enter(ann, &path(number)));
    }
    run.after(100, &Owned::Tick);
    for op in [Deed::Detach, Deed::Resume(Role::Member)] {
        let happened = run.world.resolve(Op::Of(0, op)).expect("it was there");
        run.step_of_machine(&happened);
    }
    let back = SessionRef {
        attach: run.world.sessions[0].attach,
        ..ann
    };
    // It left this one too, but no sweep has come by: it is a sitting beside the one that goes.
    let (reply, _) = run.step_of_machine(&enter(back, &path(79)));
    assert_eq!(reply, entered(false, 1, Level::None));
    let typing = Activity::Typing;
    let update = Owned::Update(back, path(78), typing, Audience::Everyone);
    let refused = run.step_of_machine(&update).0;
    assert_eq!(refused, Reply::Rejected(Rejection::NotEntered));
    run.run_out();
    let list = whole_list(&run.presence, "acme", Within::All, Audience::Everyone);
    assert_eq!((list.len(), &list[0].path), (1, &path(79)));
    assert_eq!(list[0].viewers[0].sittings, 1);
    run.presence.check(&run.world);
}

#[test]
fn versions_of_an_org_never_come_again() {
    let mut run = run();
    let ann = run.world.open("acme", "ann", Role::Member);
    let bob = run.world.open("beta", "bob", Role::Member);
    for (by, org) in [(ann, "acme"), (bob, "beta"), (ann, "acme")] {
        let before = run.presence.version(org);
        run.step(&enter(by, TICKET));
        assert_eq!(told(&mut run)[0].version, before + 1);
        run.step(&leave(by));
        assert_eq!(told(&mut run)[0].version, before + 2);
        assert!(run.presence.version(org) >= before + 2);
    }
}

#[test]
fn every_bound_has_an_answer() {
    let mut run = run();
    let ann = run.world.open("acme", "ann", Role::Member);
    for number in 0..1000 {
        let mut told = Recorded::default();
        let command = enter(ann, &format!("ticket/{number}"));
        let (at, wall) = (Default::default(), Default::default());
        run.presence
            .apply(at, wall, &command.lend(), &run.world, &mut told);
    }
    let mut told = Recorded::default();
    let more = enter(ann, "ticket/1000");
    let (at, wall) = (Default::default(), Default::default());
    let reply = run
        .presence
        .apply(at, wall, &more.lend(), &run.world, &mut told);
    assert_eq!(reply, Reply::Rejected(Rejection::TooManyPaths));
    run.presence.check(&run.world);
}

#[test]
fn a_path_has_ten_thousand_viewers_and_no_more() {
    let mut run = run();
    let people = people(&mut run, 10_001);
    let (last, first) = people.split_last().expect("ten thousand and one");
    let mut apply = |command: Owned| {
        let (at, wall) = (Default::default(), Default::default());
        let mut told = Recorded::default();
        run.presence
            .apply(at, wall, &command.lend(), &run.world, &mut told)
    };
    for (before, by) in first.iter().enumerate() {
        let reply = apply(enter(*by, TICKET));
        let Reply::Entered { total, .. } = reply else {
            panic!("expected an entry, found {reply:?}");
        };
        assert_eq!(total as usize, before + 1);
    }
    let full = Reply::Rejected(Rejection::TooManyViewers);
    assert_eq!(apply(enter(*last, TICKET)), full);
    assert_eq!(apply(leave(first[5000])), Reply::Left { last: true });
    assert_eq!(
        apply(enter(*last, TICKET)),
        entered(true, 10_000, Level::None)
    );
    run.presence.check(&run.world);
}
