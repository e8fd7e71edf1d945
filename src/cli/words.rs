//! Sentences for people: who holds a lock, why it was refused, how it was lost. What the wire says, in plain words.
//!
//! Knows no terminal and no socket. Rule: what others wrote (notes, reasons) cannot move a cursor or ring a bell.

use std::fmt::Write as _;

use tenure_protocol::{
    Cause, Grant, GrantKind, Holder, Loss, Mode, RefusalReason, Truth, WaitEnd, Who,
};

/// `250ms`, `42s`, `4m 32s`, `3h 5m`, `2d 1h`: as exactly as people care, to the nearest second.
pub(super) fn span(ms: u64) -> String {
    let seconds = if ms < 1000 { 0 } else { (ms + 500) / 1000 };
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |many: u64, unit, rest: u64, small| match rest {
        0 => format!("{many}{unit}"),
        rest => format!("{many}{unit} {rest}{small}"),
    };
    match () {
        () if days > 0 => pair(days, "d", hours % 24, "h"),
        () if hours > 0 => pair(hours, "h", minutes % 60, "m"),
        () if minutes > 0 => pair(minutes, "m", seconds % 60, "s"),
        () if seconds > 0 || ms == 0 => format!("{seconds}s"),
        () => format!("{ms}ms"),
    }
}

/// `1,234,567`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 hold`, `2 holds`.
pub(super) fn count(many: u64, thing: &str) -> String {
    let plural = if many == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", number(many))
}

/// `alice (Alice)`, or `alice` when that is all there is to say.
pub(super) fn person(owner: &str, name: &str) -> String {
    if name.is_empty() || name == owner {
        String::from(owner)
    } else {
        format!("{owner} ({name})")
    }
}

fn who(who: Who<'_>) -> String {
    person(who.owner, who.name)
}

/// What somebody wrote, in quotation marks, on one line.
pub(super) fn quote(text: &str) -> String {
    format!("\"{}\"", harmless(text))
}

/// What somebody wrote, on one line, for a column of its own.
pub(super) fn harmless(text: &str) -> String {
    let mut harmless = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            harmless.extend(c.escape_default());
        } else {
            harmless.push(c);
        }
    }
    harmless
}

/// `granted, token 17, for 5m`.
pub(super) fn grant(grant: &Grant) -> String {
    let mode = match grant.mode {
        Mode::Exclusive => "",
        Mode::Shared => ", shared",
    };
    let kind = match grant.kind {
        GrantKind::Fresh => "",
        GrantKind::Joined => " (the owner held it already)",
        GrantKind::Converted => " (the owner held it in another mode)",
    };
    let (token, left) = (grant.token, span(grant.remaining_ms));
    format!("granted{mode}, token {token}, for {left}{kind}")
}

/// `held by alice (Alice) for 2m, 4m 58s left, 1 waiting`.
pub(super) fn truth(truth: &Truth<'_>) -> String {
    let mut text = match (&*truth.holders, truth.holder_count) {
        ([], _) => String::from("free"),
        ([alone], ..=1) => format!("held by {}{}", holder(alone), shared(truth)),
        ([first, ..], many) => {
            let (many, first) = (number(u64::from(many)), holder(first));
            format!("held by {many}{}, longest by {first}", shared(truth))
        }
    };
    if truth.waiters > 0 {
        let waiters = number(u64::from(truth.waiters));
        // A string takes everything.
        let _ = write!(text, ", {waiters} waiting");
    }
    text
}

fn shared(truth: &Truth<'_>) -> String {
    match (truth.mode, truth.limit) {
        (Some(Mode::Shared), Some(limit)) => format!(" (shared, at most {limit})"),
        (Some(Mode::Shared), None) => String::from(" (shared)"),
        (Some(Mode::Exclusive) | None, _) => String::new(),
    }
}

fn holder(holder: &Holder<'_>) -> String {
    let who = person(holder.owner, holder.name);
    let (held, left) = (span(holder.held_ms), span(holder.remaining_ms));
    format!("{who} for {held}, {left} left")
}

/// Why an acquire was refused, and who has the lock.
pub(super) fn refusal(reason: RefusalReason, about: &Truth<'_>) -> String {
    let truth = truth(about);
    match reason_beside_the_truth(reason) {
        None => truth,
        Some(reason) => format!("refused: {reason}; {truth}"),
    }
}

fn reason_beside_the_truth(reason: RefusalReason) -> Option<&'static str> {
    Some(match reason {
        RefusalReason::Held => return None,
        RefusalReason::QueuedAhead => "others wait ahead (--wait to stand in line)",
        RefusalReason::LimitDiffers => "it is shared with another limit",
        RefusalReason::UpgradePending => "another owner waits already to have it alone",
        RefusalReason::QueueFull => "as many wait as may",
        RefusalReason::RoleTooLow => "a holder's role is higher than yours",
    })
}

/// Why a wait ended without a grant, and who has the lock.
pub(super) fn wait_end(why: WaitEnd, about: &Truth<'_>) -> String {
    let why = match why {
        WaitEnd::TimedOut => "waited in vain",
        WaitEnd::Cancelled => "the wait was cancelled",
        WaitEnd::Refused { reason } => return refusal(reason, about),
        WaitEnd::SessionEnded | WaitEnd::Detached => "the session ended",
        WaitEnd::TooManyHolds => "a limit on holds was reached when its turn came",
    };
    format!("{why}; {}", truth(about))
}

/// `not held by alice; held by bob for 2m, 5m left`, or how it was lost.
pub(super) fn not_held(owner: &str, lost: Option<Loss<'_>>, about: &Truth<'_>) -> String {
    let truth = truth(about);
    match lost {
        Some(lost) => format!("lost: {}; {truth}", cause(lost.cause)),
        None => format!("not held by {owner}; {truth}"),
    }
}

/// How a hold has ended.
pub(super) fn cause(cause: Cause<'_>) -> String {
    match cause {
        Cause::Released => String::from("released by its owner"),
        Cause::Expired => String::from("not renewed in time"),
        Cause::SessionClosed => String::from("its session was closed"),
        Cause::SessionLost => String::from("its session was not resumed in time"),
        Cause::Forced { by, reason } => format!("ended by {by}: {}", quote(reason)),
        Cause::Seized { by, reason } => format!("seized by {}: {}", who(by), quote(reason)),
        Cause::HandedTo { to } => format!("handed over to {}", who(to)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        for (ms, text) in [
            (0, "0s"),
            (250, "250ms"),
            (59_499, "59s"),
            (59_999, "1m"),
            (272_000, "4m 32s"),
            (300_000, "5m"),
            (11_100_000, "3h 5m"),
            (176_400_000, "2d 1h"),
        ] {
            assert_eq!(span(ms), text);
        }
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(count(1, "hold"), "1 hold");
        assert_eq!(count(999, "hold"), "999 holds");
        assert_eq!(count(1_234_567, "hold"), "1,234,567 holds");
    }

    fn alice() -> Holder<'static> {
        Holder {
            owner: "alice",
            name: "Alice",
            sessions: 1,
            orphaned: false,
            since: 0,
            held_ms: 120_000,
            remaining_ms: 298_400,
            metadata: b"",
        }
    }

    #[test]
    fn the_truth_is_a_sentence() {
        let mut about = Truth::default();
        assert_eq!(truth(&about), "free");
        about.mode = Some(Mode::Exclusive);
        about.holders = vec![alice()];
        about.holder_count = 1;
        about.waiters = 1;
        assert_eq!(
            truth(&about),
            "held by alice (Alice) for 2m, 4m 58s left, 1 waiting"
        );
        about.mode = Some(Mode::Shared);
        about.limit = Some(5);
        about.holder_count = 3;
        about.waiters = 0;
        assert_eq!(
            truth(&about),
            "held by 3 (shared, at most 5), longest by alice (Alice) for 2m, 4m 58s left"
        );
    }

    #[test]
    fn what_others_wrote_stays_on_its_line() {
        assert_eq!(quote("go\x1b[2J\n\u{9b}"), r#""go\u{1b}[2J\n\u{9b}""#);
    }
}
