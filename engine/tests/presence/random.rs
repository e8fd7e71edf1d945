//! Random histories. Few names, few lengths of time: so that things collide.
//! The only file here that knows proptest, besides `main.rs`.

use proptest::collection::vec;
use proptest::prelude::*;
use tenure_engine::presence::{Activity, Audience};
use tenure_engine::{Millis, Role};

use super::run::{Act, When};
use super::world::{Deed, Op};

/// A history of at most `most` operations; it begins with some sessions.
pub(crate) fn history(most: usize) -> impl Strategy<Value = Vec<Act>> {
    let opens = vec(open().prop_map(|op| Act::Do(When::Plus(0), op)), 3..12);
    (opens, vec(act(), 1..most)).prop_map(|(opens, acts)| opens.into_iter().chain(acts).collect())
}

fn act() -> impl Strategy<Value = Act> {
    let listen = (org(), any::<u8>(), audience(), 1..4_u32);
    let listen = listen.prop_map(|(org, within, audience, page)| Act::Listen {
        org,
        within,
        audience,
        page,
    });
    prop_oneof![
        40 => (when(), op()).prop_map(|(when, op)| Act::Do(when, op)),
        2 => listen,
        3 => any::<u8>().prop_map(Act::Read),
    ]
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        30 => Just(When::Plus(0)),
        5 => Just(When::Plus(1)),
        8 => Just(When::Plus(40)),
        2 => Just(When::Plus(3000)),
        12 => Just(When::Due(0)),
        3 => Just(When::Due(1)),
        1 => Just(When::Plus(30_000)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => open(),
        8 => (org(), path(), 0..7_u8).prop_map(|(org, path, owner)| Op::Hold { org, path, owner }),
        15 => Just(Op::Tick),
        80 => (any::<u8>(), deed()).prop_map(|(who, deed)| Op::Of(who, deed)),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        30 => (path(), activity(), audience(), 0..3_u8)
            .prop_map(|(path, activity, audience, metadata)| Deed::Enter(path, activity, audience, metadata)),
        20 => (path(), activity(), audience())
            .prop_map(|(path, activity, audience)| Deed::Update(path, activity, audience)),
        12 => path().prop_map(Deed::Leave),
        5 => path().prop_map(Deed::EndTyping),
        4 => Just(Deed::Detach),
        6 => role().prop_map(Deed::Resume),
        2 => Just(Deed::End),
        1 => prop_oneof![Just(0), Just(899_999), Just(900_000)].prop_map(|idle| Deed::Idle(Millis(idle))),
    ]
}

fn open() -> impl Strategy<Value = Op> {
    (org(), 0..7_u8, role(), prop::bool::weighted(0.2)).prop_map(|(org, owner, role, keeps)| {
        Op::Open {
            org,
            owner,
            role,
            keeps,
        }
    })
}

fn org() -> impl Strategy<Value = u8> {
    prop_oneof![9 => Just(0_u8), 1 => Just(1_u8)]
}

fn path() -> impl Strategy<Value = u8> {
    prop_oneof![8 => Just(1_u8), 2 => Just(0_u8), 1 => Just(2_u8), 1 => Just(3_u8), 1 => Just(4_u8)]
}

fn activity() -> impl Strategy<Value = Activity> {
    prop_oneof![
        3 => Just(Activity::Viewing),
        1 => Just(Activity::Idle),
        3 => Just(Activity::Typing),
        1 => Just(Activity::Editing),
    ]
}

fn audience() -> impl Strategy<Value = Audience> {
    prop_oneof![Just(Audience::Everyone), Just(Audience::Insiders)]
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![
        1 => Just(Role::Observer),
        3 => Just(Role::Member),
        1 => Just(Role::Admin),
    ]
}
