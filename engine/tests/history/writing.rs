//! Writes commands, answers and consequences as the lines that scenarios and failures show.
//!
//! Two different things are never written the same way, as far as a reader could care.

use tenure_engine::{
    Answer, Cause, Counts, Disconnect, Event, Grant, GrantKind, Held, Holder, LogTime, Millis,
    Missed, Mode, NotHeld, Notice, OnDisconnect, PolicyLayer, Refusal, RefusalReason, Rejection,
    ReleaseScope, Released, Reply, Role, SessionEnd, SessionRef, Token, Truth, WaitEnd, What, Who,
};

use super::Step;
use super::owned::{Owned, OwnedItem, OwnedTarget, Scoped};

pub(crate) fn step(step: &Step) -> String {
    format!("at {} {}", time(Millis(step.at)), command(&step.command))
}

pub(crate) fn time(span: Millis) -> String {
    match span.0 {
        0 => "0".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

fn from(by: SessionRef) -> String {
    format!("s{}.{}", by.session.0, by.attach.0)
}

fn opt<T>(word: &str, value: Option<T>, write: impl Fn(T) -> String) -> String {
    value
        .map(|value| format!(" {word} {}", write(value)))
        .unwrap_or_default()
}

fn opt_time(word: &str, value: Option<Millis>) -> String {
    opt(word, value, time)
}

fn opt_num(word: &str, value: Option<u32>) -> String {
    opt(word, value, |value| value.to_string())
}

fn opt_token(value: Option<Token>) -> String {
    opt("token", value, token)
}

fn token(token: Token) -> String {
    format!("t{}", token.0)
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Shared => "shared",
        Mode::Exclusive => "exclusive",
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Observer => "observer",
        Role::Member => "member",
        Role::Moderator => "moderator",
        Role::Admin => "admin",
    }
}

/// One arm for each command: a table of contents.
fn command(command: &Owned) -> String {
    match command {
        Owned::Started => "started".to_owned(),
        Owned::Tick => "tick".to_owned(),
        Owned::Configure(scope, layer) => {
            let scope = match scope {
                Scoped::Server => "server".to_owned(),
                Scoped::Org(org) => format!("org {org}"),
                Scoped::Kind(org, kind) => format!("kind {kind} in {org}"),
            };
            format!("configure {scope}{}", policy_layer(layer))
        }
        Owned::Settle { org, path } => format!("settle {path} in {org}"),
        Owned::Open {
            org,
            owner,
            name,
            role: of,
            lost,
            ..
        } => {
            let lost = match lost {
                Disconnect::ByPolicy => String::new(),
                Disconnect::Release(None) => " release".to_owned(),
                Disconnect::Release(Some(grace)) => format!(" grace {}", time(*grace)),
                Disconnect::Keep => " keep".to_owned(),
            };
            format!("open {owner} as {name:?} role {}{lost} in {org}", role(*of))
        }
        Owned::Resume {
            org,
            session,
            key,
            role: of,
        } => {
            let key = if *key == 0 { " wrong-key" } else { "" };
            format!("resume s{} role {}{key} in {org}", session.0, role(*of))
        }
        Owned::Detach(by) => format!("{} detach", from(*by)),
        Owned::RenewSession(by) => format!("{} renew-session", from(*by)),
        Owned::Close(by) => format!("{} close", from(*by)),
        Owned::Acquire {
            by,
            path,
            mode: m,
            limit,
            ttl,
            wait,
            note,
            seize,
            metadata,
        } => {
            let text = |text: &String| format!("{text:?}");
            let metadata = (!metadata.is_empty()).then_some(metadata);
            format!(
                "{} acquire {path} {}{}{}{}{}{}{}",
                from(*by),
                mode(*m),
                opt_num("limit", *limit),
                opt_time("ttl", *ttl),
                opt_time("wait", (*wait != Millis::ZERO).then_some(*wait)),
                opt("note", note.as_ref(), text),
                opt("seize", seize.as_ref(), text),
                opt("metadata", metadata, |m| String::from_utf8_lossy(m)
                    .into_owned()),
            )
        }
        Owned::AcquireAll {
            by,
            items,
            ttl,
            wait,
        } => {
            let item = |item: &OwnedItem| {
                format!(
                    "{} {}{}",
                    item.path,
                    mode(item.mode),
                    opt_num("limit", item.limit)
                )
            };
            let items: Vec<String> = items.iter().map(item).collect();
            let wait = opt_time("wait", (*wait != Millis::ZERO).then_some(*wait));
            let ttl = opt_time("ttl", *ttl);
            format!("{} acquire-all {}{ttl}{wait}", from(*by), items.join(" + "))
        }
        Owned::Renew {
            by,
            path,
            ttl,
            token,
        } => {
            let (ttl, token) = (opt_time("ttl", *ttl), opt_token(*token));
            format!("{} renew {path}{ttl}{token}", from(*by))
        }
        Owned::Release {
            by,
            path,
            scope,
            token,
        } => {
            let scope = match scope {
                ReleaseScope::Session => "",
                ReleaseScope::Owner => " owner",
            };
            format!("{} release {path}{scope}{}", from(*by), opt_token(*token))
        }
        Owned::Cancel { by, wait } => format!("{} cancel w{}", from(*by), wait.0),
        Owned::Convert {
            by,
            path,
            mode: m,
            limit,
            wait,
        } => {
            let wait = opt_time("wait", (*wait != Millis::ZERO).then_some(*wait));
            format!(
                "{} convert {path} {}{}{wait}",
                from(*by),
                mode(*m),
                opt_num("limit", *limit)
            )
        }
        Owned::HandOver { by, path, to } => {
            let to = to.map(|to| format!(" w{}", to.0)).unwrap_or_default();
            format!("{} hand-over {path}{to}", from(*by))
        }
        Owned::Decline { by, path, to } => format!("{} decline {path} w{}", from(*by), to.0),
        Owned::Force {
            org,
            target,
            after,
            reason,
        } => {
            let target = match target {
                OwnedTarget::Path(path) => format!("path {path}"),
                OwnedTarget::Prefix(prefix) => format!("prefix {prefix}"),
                OwnedTarget::Owner(owner) => format!("owner {owner}"),
                OwnedTarget::Session(session) => format!("session s{}", session.0),
                OwnedTarget::All => "all".to_owned(),
            };
            let after = opt("after", after.as_ref(), |after| after.clone());
            format!("force {target}{after} reason {reason:?} in {org}")
        }
    }
}

fn policy_layer(layer: &PolicyLayer) -> String {
    let release = opt(
        "release_on_disconnect",
        layer.release_on_disconnect,
        |yes| yes.to_string(),
    );
    [
        opt_time("ttl_default", layer.ttl_default),
        opt_time("ttl_min", layer.ttl_min),
        opt_time("ttl_max", layer.ttl_max),
        opt_num("queue_max", layer.queue_max),
        opt_time("grace", layer.grace),
        release,
        opt_num("sessions_max", layer.sessions_max),
        opt_num("holds_max", layer.holds_max),
        opt_num("session_holds_max", layer.session_holds_max),
        opt_num("session_waits_max", layer.session_waits_max),
    ]
    .concat()
}

/// One arm for each reply: a table of contents.
pub(crate) fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Done => "done".to_owned(),
        Reply::Opened {
            session,
            attach,
            on_disconnect,
        } => {
            format!(
                "opened s{}.{}, {}",
                session.0,
                attach.0,
                on_lost(on_disconnect)
            )
        }
        Reply::Resumed(resumed) => {
            let holds: Vec<String> = resumed.holds.iter().map(held).collect();
            let waits = resumed.waits.iter().map(|wait| {
                let (left, place) = (time(wait.remaining), wait.place);
                format!(
                    "w{} for {} place {place} {left} left",
                    wait.wait.0,
                    wait.paths.join(" + ")
                )
            });
            let waits: Vec<String> = waits.collect();
            let missed = resumed.missed.iter().map(|missed| match missed {
                Missed::Lost {
                    path,
                    token: t,
                    cause: c,
                } => {
                    format!("lost {path} {} {}", token(*t), cause(c))
                }
                Missed::WaitEnded { wait, why } => format!("w{} {}", wait.0, wait_end(why)),
            });
            let missed: Vec<String> = missed.collect();
            format!(
                "resumed as attachment {} for {}, {}, {}; holds [{}]; awaits [{}]; missed [{}]",
                resumed.attach.0,
                resumed.owner,
                role(resumed.role),
                on_lost(&resumed.on_disconnect),
                holds.join(", "),
                waits.join(", "),
                missed.join(", "),
            )
        }
        Reply::SessionRenewed { holds } => format!("session renewed, {holds} holds"),
        Reply::Granted(granted) => format!("granted {}", grant(granted)),
        Reply::GrantedAll(grants) => {
            let grants: Vec<String> = grants.iter().map(grant).collect();
            format!("granted all: {}", grants.join(" + "))
        }
        Reply::Queued { wait, place } => format!("queued w{} place {place}", wait.0),
        Reply::Refused(refused) => format!("refused {}", refusal(refused)),
        Reply::RefusedAll(items) => {
            let items = items
                .iter()
                .map(|item| format!("#{} {}", item.item, refusal(&item.refusal)));
            let items: Vec<String> = items.collect();
            format!("refused all: {}", items.join(" + "))
        }
        Reply::Released(Released::Ended) => "released".to_owned(),
        Reply::Released(Released::Left) => "released, others of the owner hold on".to_owned(),
        Reply::Released(Released::AlreadyExpired) => "released, had expired already".to_owned(),
        Reply::NotHeld(not_held) => {
            let NotHeld { lost, truth: of } = &**not_held;
            let lost = lost.as_ref().map_or_else(String::new, |lost| {
                format!(", lost {} {}", token(lost.token), cause(&lost.cause))
            });
            format!("not held{lost}; {}", truth(of))
        }
        Reply::Cancelled => "cancelled".to_owned(),
        Reply::GrantedBefore(holds) => {
            let holds: Vec<String> = holds.iter().map(held).collect();
            format!("granted before: {}", holds.join(", "))
        }
        Reply::HandedOver { token: t, owner } => format!("handed over to {owner} {}", token(*t)),
        Reply::Forced { ended, next } => {
            let ended = ended.iter();
            let ended =
                ended.map(|e| format!("{} of {} ({}) {}", e.path, e.owner, e.name, token(e.token)));
            let ended: Vec<String> = ended.collect();
            let ended = if ended.len() > 8 {
                format!("{} holds", ended.len())
            } else {
                ended.join(", ")
            };
            format!(
                "forced [{ended}]{}",
                opt("next", next.as_ref(), ToString::to_string)
            )
        }
        Reply::Rejected(why) => format!("rejected {}", rejection(*why)),
    }
}

fn on_lost(on_disconnect: &OnDisconnect) -> String {
    match on_disconnect {
        OnDisconnect::Release { grace } => format!("grace {}", time(*grace)),
        OnDisconnect::Keep => "keep".to_owned(),
    }
}

fn grant(grant: &Grant) -> String {
    let kind = match grant.kind {
        GrantKind::Fresh => "fresh",
        GrantKind::Joined => "joined",
        GrantKind::Converted => "converted",
    };
    let (token, mode) = (token(grant.token), mode(grant.mode));
    let (ttl, left) = (time(grant.ttl), time(grant.remaining));
    if ttl == left {
        format!("{token} {mode} {kind} ttl {ttl}")
    } else {
        format!("{token} {mode} {kind} ttl {ttl}, {left} left")
    }
}

fn held(held: &Held) -> String {
    format!("{} {}", held.path, grant(&held.grant))
}

fn refusal(refusal: &Refusal) -> String {
    format!("{}; {}", reason(refusal.reason), truth(&refusal.truth))
}

fn reason(reason: RefusalReason) -> &'static str {
    match reason {
        RefusalReason::Held => "held",
        RefusalReason::QueuedAhead => "queued ahead",
        RefusalReason::LimitDiffers => "limit differs",
        RefusalReason::UpgradePending => "upgrade pending",
        RefusalReason::QueueFull => "queue full",
        RefusalReason::RoleTooLow => "role too low",
    }
}

fn rejection(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::UnknownSession => "unknown session",
        Rejection::NotAttached => "not attached",
        Rejection::RoleTooLow => "role too low",
        Rejection::UnknownWait => "unknown wait",
        Rejection::NotGrantable => "not grantable",
        Rejection::BadItems => "bad items",
        Rejection::BadLimit => "bad limit",
        Rejection::BadPolicy => "bad policy",
        Rejection::TooManySessions => "too many sessions",
        Rejection::TooManyHolds => "too many holds",
        Rejection::TooManySessionHolds => "too many session holds",
        Rejection::TooManySessionWaits => "too many session waits",
        Rejection::BadSeize => "bad seize",
        Rejection::TokensExhausted => "tokens exhausted",
    }
}

pub(crate) fn truth(truth: &Truth) -> String {
    let waiters = match truth.waiters {
        0 => String::new(),
        waiters => format!("; {waiters} waiting"),
    };
    let (Some(of), Some(t)) = (truth.mode, truth.token) else {
        return format!("free{waiters}");
    };
    let mut holders: Vec<String> = truth.holders.iter().map(holder).collect();
    if truth.holder_count as usize > holders.len() {
        holders.push(format!("{} in all", truth.holder_count));
    }
    let limit = opt_num("limit", truth.limit);
    format!(
        "{}{limit} {} by {}{waiters}",
        mode(of),
        token(t),
        holders.join(", ")
    )
}

fn holder(holder: &Holder) -> String {
    let sessions = match holder.sessions {
        1 => String::new(),
        sessions => format!(" {sessions} sessions"),
    };
    let orphaned = if holder.orphaned { " orphaned" } else { "" };
    let metadata = match &*holder.metadata {
        [] => String::new(),
        metadata => format!(" metadata {}", String::from_utf8_lossy(metadata)),
    };
    let (owner, name) = (&holder.owner, &holder.name);
    let name = if owner == name {
        owner.to_string()
    } else {
        format!("{owner} ({name})")
    };
    let (since, left) = (time(holder.held), time(holder.remaining));
    format!("{name}{sessions}{orphaned} for {since}, {left} left{metadata}")
}

fn who(who: &Who) -> String {
    if who.owner == who.name {
        return who.owner.to_string();
    }
    format!("{} ({})", who.owner, who.name)
}

fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Released => "released".to_owned(),
        Cause::Expired => "expired".to_owned(),
        Cause::SessionClosed => "session closed".to_owned(),
        Cause::SessionLost => "session lost".to_owned(),
        Cause::Forced { by, reason } => format!("forced by {by}: {reason:?}"),
        Cause::Seized { by, reason } => format!("seized by {}: {reason:?}", who(by)),
        Cause::HandedTo { to } => format!("handed to {}", who(to)),
    }
}

fn wait_end(why: &WaitEnd) -> String {
    match why {
        WaitEnd::TimedOut => "timed out".to_owned(),
        WaitEnd::Cancelled => "cancelled".to_owned(),
        WaitEnd::Refused(why) => format!("refused {}", reason(*why)),
        WaitEnd::SessionEnded => "session ended".to_owned(),
        WaitEnd::Detached => "detached".to_owned(),
        WaitEnd::TooManyHolds => "too many holds".to_owned(),
    }
}

fn session_end(why: SessionEnd) -> &'static str {
    match why {
        SessionEnd::Closed => "closed",
        SessionEnd::GraceOver => "grace over",
        SessionEnd::LastHoldOver => "last hold over",
        SessionEnd::Idle => "idle",
    }
}

pub(crate) fn notice(to: SessionRef, notice: &Notice) -> String {
    let what = match notice {
        Notice::Granted { wait, holds } => {
            let holds: Vec<String> = holds.iter().map(held).collect();
            format!("w{} granted: {}", wait.0, holds.join(" + "))
        }
        Notice::Lost {
            path,
            token: t,
            cause: c,
        } => {
            format!("lost {path} {} {}", token(*t), cause(c))
        }
        Notice::Changed {
            path,
            grant: changed,
        } => format!("changed: {path} {}", grant(changed)),
        Notice::Asked {
            path,
            wait,
            who: by,
            note,
        } => {
            format!("asked for {path} by {} w{}: {note:?}", who(by), wait.0)
        }
        Notice::Declined {
            wait,
            path,
            who: by,
        } => {
            format!("w{} for {path} declined by {}", wait.0, who(by))
        }
        Notice::WaitEnded { wait, why } => format!("w{} ended: {}", wait.0, wait_end(why)),
        Notice::Moved => "moved".to_owned(),
        Notice::Closed { why } => format!("closed: {}", session_end(*why)),
    };
    format!("! {} {what}", from(to))
}

pub(crate) fn event(event: &Event) -> String {
    let what = match &event.what {
        What::Granted {
            path,
            who: by,
            mode: m,
            token: t,
            waited,
        } => {
            let waited = opt_time("waited", (*waited != Millis::ZERO).then_some(*waited));
            format!(
                "granted {path} {} to {} {}{waited}",
                token(*t),
                who(by),
                mode(*m)
            )
        }
        What::Converted {
            path,
            who: by,
            mode: m,
            token: t,
        } => {
            format!(
                "converted {path} {} of {} to {}",
                token(*t),
                who(by),
                mode(*m)
            )
        }
        What::Ended {
            path,
            who: by,
            token: t,
            cause: c,
            held,
        } => {
            let (t, held) = (token(*t), time(*held));
            format!("ended {path} {t} of {}: {}, held {held}", who(by), cause(c))
        }
        What::Orphaned {
            path,
            who: by,
            token: t,
        } => {
            format!("orphaned {path} {} of {}", token(*t), who(by))
        }
        What::Adopted {
            path,
            who: by,
            token: t,
        } => {
            format!("adopted {path} {} of {}", token(*t), who(by))
        }
        What::Queued {
            paths,
            who: by,
            wait,
        } => {
            format!("queued {} w{} of {}", paths.join(" + "), wait.0, who(by))
        }
        What::WaitEnded {
            paths,
            who: by,
            wait,
            why,
        } => {
            let (paths, why) = (paths.join(" + "), wait_end(why));
            format!("wait ended {paths} w{} of {}: {why}", wait.0, who(by))
        }
        What::SessionOpened { session, who: by } => format!("opened s{} of {}", session.0, who(by)),
        What::SessionDetached {
            session, who: by, ..
        } => {
            format!("detached s{} of {}", session.0, who(by))
        }
        What::SessionResumed { session, who: by } => {
            format!("resumed s{} of {}", session.0, who(by))
        }
        What::SessionEnded {
            session,
            who: by,
            why,
        } => {
            format!("ended s{} of {}: {}", session.0, who(by), session_end(*why))
        }
    };
    format!("* {what}")
}

pub(crate) fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Status(of) => truth(of),
        Answer::Checked { current, token: of } => {
            format!(
                "{}{}",
                if *current { "current" } else { "not current" },
                opt_token(*of)
            )
        }
        Answer::Page { holds, next } => {
            let listed = holds.iter().map(|listed| {
                let waiters = opt_num("waiting", (listed.waiters > 0).then_some(listed.waiters));
                let (t, m) = (token(listed.token), mode(listed.mode));
                format!(
                    "{} {m} {t} by {}{waiters}",
                    listed.path,
                    holder(&listed.holder)
                )
            });
            let listed: Vec<String> = listed.collect();
            let many = listed.len() > 8;
            let listed = if many {
                format!("{} holds", listed.len())
            } else {
                listed.join(", ")
            };
            format!(
                "[{listed}]{}",
                opt("next", next.as_ref(), ToString::to_string)
            )
        }
        Answer::Places(places) => {
            let places = places
                .iter()
                .map(|p| format!("{}. w{} of {}", p.place, p.wait.0, from(p.to)));
            places.collect::<Vec<String>>().join(", ")
        }
        Answer::Policy { policy, layer } => {
            let bounds = (policy.queue_max, policy.sessions_max, policy.holds_max);
            format!(
                "ttl {} in {}..{}, queue {}, grace {}, {}, sessions {}, holds {}, of a session {} \
                 holds and {} waits; own layer:{}",
                time(policy.ttl_default),
                time(policy.ttl_min),
                time(policy.ttl_max),
                bounds.0,
                time(policy.grace),
                if policy.release_on_disconnect {
                    "release"
                } else {
                    "keep"
                },
                bounds.1,
                bounds.2,
                policy.session_holds_max,
                policy.session_waits_max,
                policy_layer(layer),
            )
        }
        Answer::Counts(counts) => {
            let Counts {
                orgs,
                sessions,
                sessions_detached,
                locks,
                holds,
                holds_orphaned,
                waits,
            } = counts;
            format!(
                "{orgs} orgs, {sessions} sessions ({sessions_detached} detached), {locks} locks, \
                 {holds} holds ({holds_orphaned} orphaned), {waits} waits"
            )
        }
    }
}

pub(crate) fn moment(at: Option<LogTime>) -> String {
    at.map_or_else(|| "never".to_owned(), |at| time(Millis(at.0)))
}
