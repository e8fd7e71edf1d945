//! Random operations. Few names, few lengths of time: so that things collide.
//! The only file here that knows proptest: fuzzing includes the others without it.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tenure_engine::{Disconnect, Millis, Mode, PolicyLayer, Role};

use super::world::{Act, Ask, Lock, Op, Tok, When, Which, Who};

/// A history of at most `most` operations; it begins with a few sessions of different owners.
pub(crate) fn history(most: usize) -> impl Strategy<Value = Vec<Op>> {
    let opens = vec(opening(), 2..6);
    (opens, vec(op(), 1..most)).prop_map(|(opens, ops)| opens.into_iter().chain(ops).collect())
}

/// A history in which again and again many wait for one lock when it is let go: more than one step serves.
pub(crate) fn crowd(rounds: usize) -> impl Strategy<Value = Vec<Op>> {
    vec(round(), 1..rounds).prop_map(move |rounds| rounds.into_iter().flatten().collect())
}

/// There are some of each owner, and the lock is freed; somebody has it, many ask for it, and something happens; then it is
/// let go, and much may happen.
fn round() -> impl Strategy<Value = Vec<Op>> {
    let opens = [0, 1, 2, 3].map(|owner| {
        let (org, lost, role) = (0, Disconnect::Release(None), Role::Moderator);
        Act::Open {
            org,
            owner,
            role,
            lost,
        }
    });
    let free = Act::Force {
        org: 0,
        target: 4,
        pick: 0,
        after: None,
    };
    let limit = prop_oneof![9 => Just(None), 1 => limit()];
    let asked = vec((any::<u8>(), prop::bool::weighted(0.1), limit), 4..10);
    let rest = (vec(op(), 0..2), release(), vec(op(), 0..6));
    (any::<u8>(), asked, rest).prop_map(move |(holder, asked, (meanwhile, release, then))| {
        let begun = opens.iter().chain([&free]).map(|act| at_once(act.clone()));
        let first = ask_for_it(holder, Mode::Exclusive, None);
        let asked = asked.into_iter().map(|(who, alone, limit)| {
            let mode = [Mode::Shared, Mode::Exclusive][usize::from(alone)];
            ask_for_it(who, mode, limit)
        });
        let ended = [at_once(release)].into_iter().chain(then);
        let waiting = begun.chain([first]).chain(asked);
        waiting.chain(meanwhile).chain(ended).collect()
    })
}

fn ask_for_it(who: u8, mode: Mode, limit: Option<u32>) -> Op {
    at_once(Act::Acquire(Ask {
        who: Who::Attached(who),
        path: 1,
        mode,
        limit,
        ttl: None,
        wait: 10_000,
        note: None,
        seize: false,
        metadata: 0,
    }))
}

fn release() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => any::<u8>().prop_map(|holder| Act::Release {
            who: Who::Holder(holder),
            path: Lock::Own(0),
            owner: true,
            token: Tok::Any,
        }),
        1 => any::<u8>().prop_map(|holder| Act::Close(Who::Holder(holder))),
        1 => any::<u8>().prop_map(|holder| Act::Convert {
            who: Who::Holder(holder),
            path: Lock::Own(0),
            mode: Mode::Shared,
            limit: None,
            wait: 0,
        }),
        1 => (any::<u8>(), any::<u8>())
            .prop_map(|(target, pick)| Act::Force { org: 0, target, pick, after: None }),
    ]
}

fn at_once(act: Act) -> Op {
    Op {
        when: When::Plus(0),
        act,
    }
}

fn opening() -> impl Strategy<Value = Op> {
    open().prop_map(|act| Op {
        when: When::Plus(0),
        act,
    })
}

fn op() -> impl Strategy<Value = Op> {
    (when(), act()).prop_map(|(when, act)| {
        // A tick is proposed when something is due, as a rule.
        let at_once = matches!((&act, when), (Act::Tick, When::Plus(0)));
        let when = if at_once { When::Due(0) } else { when };
        Op { when, act }
    })
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        120 => Just(When::Plus(0)),
        10 => Just(When::Plus(1)),
        10 => prop_oneof![Just(300), Just(1000)].prop_map(When::Plus),
        12 => Just(When::Due(0)),
        4 => Just(When::NotQuiteDue),
        2 => Just(When::Due(1)),
        1 => prop_oneof![2 => Just(5_000), 1 => Just(70_000), 1 => Just(900_000)]
            .prop_map(When::Plus),
        1 => Just(When::Leap),
        1 => Just(When::Minus(700)),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => open(),
        5 => resume(),
        4 => who().prop_map(Act::Detach),
        3 => who().prop_map(Act::RenewSession),
        1 => who().prop_map(Act::Close),
        40 => ask().prop_map(Act::Acquire),
        8 => acquire_all(),
        4 => (holder(), lock(), option::of(span()), token())
            .prop_map(|(who, path, ttl, token)| Act::Renew { who, path, ttl, token }),
        10 => (holder(), lock(), any::<bool>(), token())
            .prop_map(|(who, path, owner, token)| Act::Release { who, path, owner, token }),
        4 => (who(), which()).prop_map(|(who, wait)| Act::Cancel { who, wait }),
        8 => (holder(), lock(), mode(), limit(), wait()).prop_map(
            |(who, path, mode, limit, wait)| Act::Convert { who, path, mode, limit, wait }
        ),
        5 => (holder(), awaited(), option::of(which()))
            .prop_map(|(who, path, to)| Act::HandOver { who, path, to }),
        3 => (holder(), awaited(), which())
            .prop_map(|(who, path, to)| Act::Decline { who, path, to }),
        2 => force(),
        1 => prop_oneof![2 => Just(Act::Tick), 1 => Just(Act::Started)],
        8 => Just(Act::Tick),
        4 => (org(), path()).prop_map(|(org, path)| Act::Settle { org, path }),
        2 => (any::<u8>(), org(), any::<u8>(), layer())
            .prop_map(|(scope, org, kind, layer)| Act::Configure { scope, org, kind, layer }),
    ]
}

fn resume() -> impl Strategy<Value = Act> {
    let who = prop_oneof![
        4 => any::<u8>().prop_map(Who::Detached),
        1 => who(),
    ];
    let role = prop_oneof![9 => Just(Role::Admin), 1 => role()];
    (who, role, likely(), likely()).prop_map(|(who, role, key_fits, org_fits)| Act::Resume {
        who,
        role,
        key_fits,
        org_fits,
    })
}

fn open() -> impl Strategy<Value = Act> {
    let lost = prop_oneof![
        3 => Just(Disconnect::ByPolicy),
        3 => option::of(span()).prop_map(|grace| Disconnect::Release(grace.map(Millis))),
        2 => Just(Disconnect::Keep),
    ];
    (org(), 0..4_u8, role(), lost).prop_map(|(org, owner, role, lost)| Act::Open {
        org,
        owner,
        role,
        lost,
    })
}

fn ask() -> impl Strategy<Value = Ask> {
    let names = (who(), path(), mode(), limit());
    let note = prop_oneof![3 => Just(None), 2 => (0..2_u8).prop_map(Some)];
    let metadata = prop_oneof![4 => Just(0), 1 => 1..3_u8];
    let rest = (
        option::of(span()),
        wait(),
        note,
        prop::bool::weighted(0.06),
        metadata,
    );
    (names, rest).prop_map(
        |((who, path, mode, limit), (ttl, wait, note, seize, metadata))| {
            let (mode, wait) = if seize && wait < 2000 {
                (Mode::Exclusive, 0)
            } else {
                (mode, wait)
            };
            Ask {
                who,
                path,
                mode,
                limit,
                ttl,
                wait,
                note,
                seize,
                metadata,
            }
        },
    )
}

fn acquire_all() -> impl Strategy<Value = Act> {
    let items = vec((path(), mode(), limit()), 0..4);
    (who(), items, option::of(span()), wait()).prop_map(|(who, mut items, ttl, wait)| {
        // One path twice is refused; that is worth a try only now and then.
        if items.first().is_none_or(|(path, _, _)| *path != 3) {
            items.sort_by_key(|(path, _, _)| path % 4);
            items.dedup_by_key(|(path, _, _)| *path % 4);
        }
        Act::AcquireAll {
            who,
            items,
            ttl,
            wait,
        }
    })
}

fn force() -> impl Strategy<Value = Act> {
    let after = prop_oneof![3 => Just(None), 1 => path().prop_map(Some)];
    (org(), any::<u8>(), any::<u8>(), after).prop_map(|(org, target, pick, after)| Act::Force {
        org,
        target,
        pick,
        after,
    })
}

fn layer() -> impl Strategy<Value = PolicyLayer> {
    let few = || prop_oneof![3 => Just(None), 1 => (1..4_u32).prop_map(Some)];
    let length = || prop_oneof![3 => Just(None), 1 => span().prop_map(|span| Some(Millis(span)))];
    // The last one rarely: whoever may have none at all is rejected.
    let shortest = || prop_oneof![12 => length(), 1 => Just(Some(Millis::ZERO))];
    let times = (length(), shortest(), length(), length());
    let bounds = (few(), few(), few(), few());
    let release = prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)];
    (prop::bool::weighted(0.5), times, bounds, few(), release).prop_map(
        |(empty, times, bounds, session_waits_max, release_on_disconnect)| {
            if empty {
                return PolicyLayer::default();
            }
            let (ttl_default, ttl_min, ttl_max, grace) = times;
            let (queue_max, sessions_max, holds_max, session_holds_max) = bounds;
            PolicyLayer {
                ttl_default,
                ttl_min,
                ttl_max,
                queue_max,
                grace,
                release_on_disconnect,
                sessions_max: sessions_max.map(|most| most + 3),
                holds_max: holds_max.map(|most| most + 1),
                session_holds_max,
                session_waits_max,
            }
        },
    )
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        60 => any::<u8>().prop_map(Who::Attached),
        1 => any::<u8>().prop_map(Who::Detached),
        1 => any::<u8>().prop_map(Who::Ever),
        1 => (any::<u8>(), prop_oneof![Just(-1), Just(1)])
            .prop_map(|(at, shift)| Who::Elsewhere(at, shift)),
    ]
}

fn holder() -> impl Strategy<Value = Who> {
    prop_oneof![6 => any::<u8>().prop_map(Who::Holder), 1 => who()]
}

fn lock() -> impl Strategy<Value = Lock> {
    prop_oneof![6 => any::<u8>().prop_map(Lock::Own), 1 => path().prop_map(Lock::Any)]
}

fn awaited() -> impl Strategy<Value = Lock> {
    prop_oneof![5 => any::<u8>().prop_map(Lock::Awaited), 1 => lock()]
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![
        12 => any::<u8>().prop_map(Which::There),
        3 => any::<u8>().prop_map(Which::Recent),
        6 => any::<u8>().prop_map(Which::Own),
        1 => Just(Which::Bogus),
    ]
}

fn token() -> impl Strategy<Value = Tok> {
    prop_oneof![6 => Just(Tok::Any), 1 => any::<u8>().prop_map(Tok::Recent)]
}

fn org() -> impl Strategy<Value = u8> {
    prop_oneof![15 => Just(0_u8), 1 => Just(1_u8)]
}

fn path() -> impl Strategy<Value = u8> {
    prop_oneof![8 => Just(1_u8), 3 => Just(0_u8), 2 => Just(2_u8), 1 => Just(3_u8)]
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![
        1 => Just(Role::Observer),
        16 => Just(Role::Member),
        8 => Just(Role::Moderator),
        6 => Just(Role::Admin),
    ]
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Shared), Just(Mode::Exclusive)]
}

fn limit() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![32 => Just(None), 12 => Just(Some(2)), 4 => Just(Some(1)), 1 => Just(Some(0))]
}

fn span() -> impl Strategy<Value = u64> {
    prop_oneof![Just(1000), Just(2000), Just(5000), Just(30_000)]
}

fn wait() -> impl Strategy<Value = u64> {
    // The longest wait there is takes nobody beyond the end of time.
    prop_oneof![9 => Just(0), 3 => Just(1000), 6 => Just(2000), 18 => Just(10_000), 1 => Just(u64::MAX)]
}

fn likely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.95)
}
