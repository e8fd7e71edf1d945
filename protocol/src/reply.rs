//! What a server answers. Every request has exactly one answer: the reply named beside it in the catalog, or an
//! [`Error`]. That a lock is held by somebody else is a reply.

use crate::{
    AuditedAct, Code, CollisionLevel, Counts, EndedHold, Grant, Held, ListedHold, Loss, Missed,
    OnDisconnect, PathViewers, Policy, PolicyLayer, Position, Recovery, RefusalReason, RefusedItem,
    ResumeKey, Role, Truth, Waiting,
};

message! {
    /// The request failed, and has changed nothing.
    #[derive(Copy)]
    Error<'a> {
        /// Why; its class says what to do.
        code: Code,
        /// The same for people, with what was expected and what was found.
        message: &'a str,
        /// The field that is wrong, with the fields around it: `items.path`.
        field: Option<&'a str>,
    }
}

message! {
    /// It is so, and there is nothing more to say.
    #[derive(Copy, Default)]
    Done {}
}

message! {
    /// The client is known.
    #[derive(Copy)]
    Hello<'a> {
        /// The version of the protocol that both speak on this connection.
        version: u32,
        /// What the server is: `tenure/0.1.0`.
        server: &'a str,
        /// The connection's number, for logs.
        connection: u64,
        /// Who the client is to the server.
        principal: &'a str,
        /// How much it may do.
        role: Role,
        /// The client sends something at least this often.
        heartbeat_ms: u64,
        /// Either side takes the other for dead after a silence this long.
        dead_after_ms: u64,
        /// What this server takes.
        limits: Limits,
    }
}

message! {
    /// What a server takes, which its operator may have narrowed.
    #[derive(Copy)]
    Limits {
        /// Bytes of the largest frame that the server takes, without the length before it.
        frame_bytes: u64,
        /// Requests that may be unanswered at once; beyond that the server stops reading.
        in_flight: u32,
        /// Sessions of this connection at once.
        sessions: u32,
        /// Bytes of a path.
        path_bytes: u32,
        /// Bytes of metadata.
        metadata_bytes: u32,
    }
}

message! {
    /// The session is open, and attached to this connection.
    #[derive(Copy)]
    Opened {
        /// Its number.
        session: u64,
        /// The secret that lets it be resumed.
        resume_key: ResumeKey,
        /// What a disconnect does to it.
        on_disconnect: OnDisconnect,
    }
}

message! {
    /// The session is attached to this connection.
    Resumed<'a> {
        /// On whose behalf it acts.
        owner: &'a str,
        /// How much it may do.
        role: Role,
        /// What a disconnect does to it.
        on_disconnect: OnDisconnect,
        /// What it holds, oldest first: all of it.
        holds: Vec<Held<'a>>,
        /// What it awaits, oldest first: all of it.
        waits: Vec<Waiting<'a>>,
        /// What it may not have heard, oldest first: the newest 1024.
        missed: Vec<Missed<'a>>,
        /// How many older ones were left out of `missed`.
        missed_left_out: u32 = 0,
    }
}

message! {
    /// Which sessions were renewed.
    SessionsRenewed {
        /// One for each session, in the order asked.
        results: Vec<SessionRenewal>,
    }
}

choice! {
    /// How the renewal of one session went.
    #[derive(Copy)]
    SessionRenewal by status {
        /// Its holds were renewed.
        1 Renewed "renewed" {
            /// How many holds live on.
            holds: u32,
        },
        /// There is no such session, or not any more.
        2 UnknownSession "unknown_session",
        /// It is not attached to this connection.
        3 NotAttached "not_attached",
    }
}

choice! {
    /// How an acquire went.
    Acquire<'a> by status {
        /// The lock is held.
        1 Granted "granted" {
            /// The hold.
            grant: Grant,
        },
        /// An answer will follow as a push that names the wait.
        2 Queued "queued" {
            /// Names the wait.
            wait: u64,
            /// Waiters ahead, plus one.
            place: u32,
        },
        /// No.
        3 Refused "refused" {
            /// Why.
            reason: RefusalReason,
            /// Who holds it, and how many wait.
            truth: Truth<'a>,
        },
    }
}

choice! {
    /// How an acquire of several went.
    AcquireAll<'a> by status {
        /// All are held.
        1 Granted "granted" {
            /// The holds, in the order asked.
            grants: Vec<Grant>,
        },
        /// An answer will follow as a push that names the wait.
        2 Queued "queued" {
            /// Names the wait.
            wait: u64,
            /// Always 0: it stands in no queue.
            place: u32,
        },
        /// No.
        3 Refused "refused" {
            /// The items that stand in the way.
            items: Vec<RefusedItem<'a>>,
        },
    }
}

choice! {
    /// How a renewal went.
    Renew<'a> by status {
        /// The lock is held.
        1 Granted "granted" {
            /// The hold.
            grant: Grant,
        },
        /// The owner does not hold it, or not any more, or with another token.
        4 NotHeld "not_held" {
            /// How the session lost it, if it held it and the server remembers.
            lost: Option<Loss<'a>>,
            /// Who holds it.
            truth: Truth<'a>,
        },
    }
}

choice! {
    /// How a release went.
    Release<'a> by status {
        /// The hold is over.
        1 Ended "ended",
        /// The session has left; the owner's other sessions hold on.
        2 Left "left",
        /// It had expired already, which is as good.
        3 AlreadyExpired "already_expired",
        /// The owner does not hold it, or not any more, or with another token.
        4 NotHeld "not_held" {
            /// How the session lost it, if it held it and the server remembers.
            lost: Option<Loss<'a>>,
            /// Who holds it.
            truth: Truth<'a>,
        },
    }
}

choice! {
    /// How a cancellation went.
    Cancel<'a> by status {
        /// The wait is over, nothing was granted.
        1 Cancelled "cancelled",
        /// The grant came first: the session holds the locks, and releases them if it does not want them.
        2 Granted "granted" {
            /// What it holds.
            holds: Vec<Held<'a>>,
        },
    }
}

choice! {
    /// How a conversion went.
    Convert<'a> by status {
        /// The lock is held in the mode wanted.
        1 Granted "granted" {
            /// The hold.
            grant: Grant,
        },
        /// An answer will follow as a push that names the wait. The hold goes on as it was.
        2 Queued "queued" {
            /// Names the wait.
            wait: u64,
            /// Waiters ahead, plus one.
            place: u32,
        },
        /// No. The hold goes on as it was.
        3 Refused "refused" {
            /// Why.
            reason: RefusalReason,
            /// Who holds it, and how many wait.
            truth: Truth<'a>,
        },
        /// The owner does not hold it, or not any more.
        4 NotHeld "not_held" {
            /// How the session lost it, if it held it and the server remembers.
            lost: Option<Loss<'a>>,
            /// Who holds it.
            truth: Truth<'a>,
        },
    }
}

choice! {
    /// How a hand-over went.
    HandOver<'a> by status {
        /// The waiter holds the lock.
        1 HandedOver "handed_over" {
            /// The waiter's token.
            token: u64,
            /// The waiter's owner.
            owner: &'a str,
        },
        /// The owner does not hold it, or not any more.
        4 NotHeld "not_held" {
            /// How the session lost it, if it held it and the server remembers.
            lost: Option<Loss<'a>>,
            /// Who holds it.
            truth: Truth<'a>,
        },
    }
}

choice! {
    /// How a decline went.
    Decline<'a> by status {
        /// The waiter was told, if it is there to hear.
        1 Done "done",
        /// The owner does not hold the lock, or not any more.
        4 NotHeld "not_held" {
            /// How the session lost it, if it held it and the server remembers.
            lost: Option<Loss<'a>>,
            /// Who holds it.
            truth: Truth<'a>,
        },
    }
}

message! {
    /// What one step of a force release has ended, or would end.
    Forced<'a> {
        /// The holds, by path.
        ended: Vec<EndedHold<'a>>,
        /// Where the next step goes on; absent when all is done.
        next: Option<&'a str>,
    }
}

message! {
    /// The truth about one path.
    Status<'a> {
        /// Who holds it, and how many wait.
        truth: Truth<'a>,
    }
}

message! {
    /// One page of a list.
    Page<'a> {
        /// The holds, by path.
        holds: Vec<ListedHold<'a>>,
        /// Where the next page goes on; absent when this is the last. A page may be empty and not the last.
        next: Option<&'a str>,
        /// Where the org's stream stood when this page was true; absent when nobody has listened to it for a while.
        position: Option<Position>,
    }
}

message! {
    /// Whether a token is current.
    #[derive(Copy)]
    Checked {
        /// Whether the lock is held and the token is its.
        current: bool,
        /// The lock's token; absent when it is free.
        token: Option<u64>,
    }
}

message! {
    /// A policy.
    #[derive(Copy)]
    PolicyInForce {
        /// What is in force, all layers and defaults taken together.
        policy: Policy,
        /// What the layer that was asked for overrides by itself.
        layer: PolicyLayer,
    }
}

message! {
    /// One page of an org's audit trail.
    AuditPage<'a> {
        /// The acts, oldest first.
        acts: Vec<AuditedAct<'a>>,
        /// The cursor of the next page; absent when this is the last.
        next: Option<u64>,
    }
}

message! {
    /// The subscription stands: events follow as pushes.
    #[derive(Copy)]
    Subscribed {
        /// Its number, by which this connection ends it.
        subscription: u64,
        /// The newest event of the org's stream at this moment, whether or not it matches; where to resume from if
        /// nothing follows.
        position: Position,
        /// What has become of the events after `since`.
        recovery: Recovery,
        /// Presence that the changes to come go on from; absent when they were not asked for.
        version: Option<u64>,
    }
}

message! {
    /// The event is in the stream.
    #[derive(Copy)]
    Published {
        /// Where; of a repeated one, where it was put at first.
        position: Position,
        /// Whether an event with this id was there already. Then nothing was published.
        repeated: bool,
        /// How many connections listen to the path.
        listeners: u32,
    }
}

message! {
    /// How an org's stream stands.
    #[derive(Copy)]
    StreamStats {
        /// Connections that listen: to the path that was asked about, else to any.
        listeners: u32,
        /// Subscriptions of theirs, which may overlap.
        subscriptions: u32,
        /// The newest event; absent when nobody has listened for a while.
        position: Option<Position>,
        /// Offset of the oldest event that can still be resumed from; absent when none is kept.
        oldest: Option<u64>,
        /// Events that are kept.
        events: u32,
        /// Their bytes.
        bytes: u64,
        /// Events that applications have published in this epoch.
        published: u64,
        /// Gaps that listeners were told of in this epoch.
        gaps: u64,
    }
}

message! {
    /// The session is at the path.
    #[derive(Copy)]
    Entered {
        /// Whether it is the first of its owner's there.
        first: bool,
        /// How many viewers the path has now.
        total: u32,
        /// The most that another owner does there.
        collision: CollisionLevel,
        /// How long typing is shown without another update.
        typing_ms: u64,
        /// How often to say that the typing goes on; no oftener.
        refresh_ms: u64,
    }
}

message! {
    /// The activity is known.
    #[derive(Copy)]
    Updated {
        /// The most that another owner does there.
        collision: CollisionLevel,
    }
}

message! {
    /// The session is not at the path.
    #[derive(Copy)]
    Left {
        /// Whether it was the last of its owner's there.
        last: bool,
    }
}

message! {
    /// One page of who is where.
    Viewers<'a> {
        /// Presence at which this page is true: changes up to this version are in it.
        version: u64,
        /// Where the org's stream stood then; absent when nobody has listened to it for a while.
        position: Option<Position>,
        /// The paths with viewers, in order.
        paths: Vec<PathViewers<'a>>,
        /// Where the next page goes on; absent when this is the last. A page may be empty and not the last.
        next: Option<&'a str>,
    }
}

message! {
    /// How many are where.
    #[derive(Copy)]
    PresenceStats {
        /// Paths with at least one viewer.
        paths: u32,
        /// Viewers, at each path counted anew.
        viewers: u32,
        /// Sessions of theirs, at each path counted anew.
        sittings: u32,
        /// The viewers by what they do.
        counts: Counts,
    }
}
