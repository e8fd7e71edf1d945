//! What a client asks. The session in a request is one that this connection has opened or resumed.
//!
//! A decoded request has kept every bound that is declared here; one that is written by hand can be looked over with
//! [`Request::check`](crate::Request::check).

use crate::fault::Fault;
use crate::terms::limit_is_for_sharing;
use crate::{
    Activity, Disconnect, Filter, Item, Mode, PolicyLayer, Position, ReleaseScope, ResumeKey, Role,
    Secret, Target,
};

message! {
    /// Introduces the client. Must come first.
    Hello<'a> {
        /// The highest version of the protocol that the client speaks.
        version: u32,
        /// What the client is, for logs: `crm/3.2`.
        client: &'a str where CLIENT = "",
        /// An API key; absent for a server that asks for none.
        key: Option<Secret<'a>> where KEY,
    }
}

message! {
    /// A sign of life, and a way to measure a round trip.
    #[derive(Copy, Default)]
    Ping {}
}

message! {
    /// Opens a session, attached to this connection.
    #[derive(Copy)]
    OpenSession<'a> {
        /// The tenant.
        org: &'a str where ORG,
        /// On whose behalf the session acts.
        owner: &'a str where OWNER,
        /// How people call the owner.
        name: &'a str where NAME = "",
        /// How much the session may do; absent is as much as the principal may.
        role: Option<Role>,
        /// What a disconnect does; absent is what the policy says.
        on_disconnect: Option<Disconnect>,
        /// Opaque to the server, shown to others with the session's holds.
        metadata: &'a [u8] where METADATA = b"",
    }
}

message! {
    /// Attaches a session to this connection, after a reconnect.
    #[derive(Copy)]
    ResumeSession<'a> {
        /// The tenant.
        org: &'a str where ORG,
        /// The session's number.
        session: u64,
        /// The secret that came with it.
        resume_key: ResumeKey,
    }
}

message! {
    /// Renews every hold of some sessions.
    RenewSessions {
        /// Their numbers.
        sessions: Vec<u64> where SESSIONS,
    }
}

message! {
    /// Ends a session: holds released, waits cancelled.
    #[derive(Copy)]
    CloseSession {
        /// Its number.
        session: u64,
    }
}

message! {
    /// Asks for a lock.
    #[derive(Copy)]
    Acquire<'a> {
        /// Who asks.
        session: u64,
        /// The lock.
        path: &'a str where PATH,
        /// Alone or beside others.
        mode: Mode,
        /// How long to wait for it; 0 wants an answer at once.
        wait_ms: u64 where WAIT_MS = 0,
        /// How long the hold lives without renewal; absent is what the policy says.
        ttl_ms: Option<u64> where TTL_MS,
        /// Owners that may share at most; the first holder fixes it. Absent is as many as come.
        limit: Option<u32> where SHARED,
        /// "May I have it?", told to the holders when the acquire is queued.
        note: Option<&'a str> where NOTE,
        /// Take it from its holders, for this reason.
        seize: Option<&'a str> where REASON,
        /// Opaque to the server, shown to others with the hold. Empty leaves the hold's as it is.
        metadata: &'a [u8] where METADATA = b"",
    }
    and Acquire::limit_is_for_sharing;
    and Acquire::note_needs_a_wait;
    and Acquire::seizure_is_exclusive_and_at_once;
}

impl Acquire<'_> {
    fn limit_is_for_sharing(&self) -> Result<(), Fault> {
        limit_is_for_sharing(self.mode, self.limit)
    }

    /// Nobody is told a note of an acquire that is never queued.
    fn note_needs_a_wait(&self) -> Result<(), Fault> {
        if self.note.is_some() && self.wait_ms == 0 {
            return Err(
                Fault::value("no note without a wait", "a note and a wait of 0").within("note"),
            );
        }
        Ok(())
    }

    fn seizure_is_exclusive_and_at_once(&self) -> Result<(), Fault> {
        if self.seize.is_some() && (self.mode != Mode::Exclusive || self.wait_ms > 0) {
            let found = if self.wait_ms > 0 {
                "a wait"
            } else {
                "shared mode"
            };
            return Err(Fault::value("exclusive mode and no wait to seize", found).within("seize"));
        }
        Ok(())
    }
}

message! {
    /// Asks for several locks, all or nothing.
    AcquireAll<'a> {
        /// Who asks.
        session: u64,
        /// The locks, no path twice.
        items: Vec<Item<'a>> where ITEMS,
        /// How long to wait for them; 0 wants an answer at once.
        wait_ms: u64 where WAIT_MS = 0,
        /// How long the holds live without renewal; absent is what the policy says.
        ttl_ms: Option<u64> where TTL_MS,
        /// Opaque to the server, shown to others with the holds. Empty leaves a hold's as it is.
        metadata: &'a [u8] where METADATA = b"",
    }
    and AcquireAll::no_path_twice;
}

impl AcquireAll<'_> {
    fn no_path_twice(&self) -> Result<(), Fault> {
        let twice = |(place, item): (usize, &Item<'_>)| {
            self.items[..place]
                .iter()
                .any(|earlier| earlier.path == item.path)
        };
        if self.items.iter().enumerate().any(twice) {
            return Err(Fault::value("each path once", "a path twice").within("items"));
        }
        Ok(())
    }
}

message! {
    /// Extends a hold of the session's owner.
    #[derive(Copy)]
    Renew<'a> {
        /// A session of the holder's.
        session: u64,
        /// The lock.
        path: &'a str where PATH,
        /// How long the hold lives without renewal from here on, if that is longer; absent is the hold's own.
        ttl_ms: Option<u64> where TTL_MS,
        /// Only if this is still the token.
        token: Option<u64>,
    }
}

message! {
    /// Lets go of a hold of the session's owner.
    #[derive(Copy)]
    Release<'a> {
        /// A session of the holder's.
        session: u64,
        /// The lock.
        path: &'a str where PATH,
        /// Who lets go.
        scope: ReleaseScope = ReleaseScope::Session,
        /// Only if this is still the token.
        token: Option<u64>,
    }
}

message! {
    /// Ends a wait.
    #[derive(Copy)]
    Cancel {
        /// Who waits.
        session: u64,
        /// For what.
        wait: u64,
    }
}

message! {
    /// Changes the mode of a hold without letting go.
    #[derive(Copy)]
    Convert<'a> {
        /// A session of the holder's.
        session: u64,
        /// The lock.
        path: &'a str where PATH,
        /// The mode wanted.
        mode: Mode,
        /// How long an upgrade may wait; 0 wants an answer at once.
        wait_ms: u64 where WAIT_MS = 0,
        /// Owners that may share at most after a downgrade; absent is as many as come.
        limit: Option<u32> where SHARED,
    }
    and Convert::limit_is_for_sharing;
}

impl Convert<'_> {
    fn limit_is_for_sharing(&self) -> Result<(), Fault> {
        limit_is_for_sharing(self.mode, self.limit)
    }
}

message! {
    /// Gives a hold to a waiter in one step.
    #[derive(Copy)]
    HandOver<'a> {
        /// A session of the holder's.
        session: u64,
        /// The lock.
        path: &'a str where PATH,
        /// The waiter; absent is the first who left a note that was not declined.
        to: Option<u64>,
    }
}

message! {
    /// Tells a waiter who left a note that the answer is no. The wait goes on.
    #[derive(Copy)]
    Decline<'a> {
        /// A session of the holder's.
        session: u64,
        /// The lock.
        path: &'a str where PATH,
        /// The waiter.
        to: u64,
    }
}

message! {
    /// Ends holds of others, a bounded number a step.
    #[derive(Copy)]
    ForceRelease<'a> {
        /// The tenant.
        org: &'a str where ORG,
        /// Which holds.
        target: Target<'a>,
        /// Told to the losers, and kept.
        reason: &'a str where REASON,
        /// Only say what would be ended.
        dry_run: bool = false,
        /// Goes on where the step before ended.
        cursor: Option<&'a str> where CURSOR,
    }
}

message! {
    /// Asks for the truth about one path.
    #[derive(Copy)]
    Status<'a> {
        /// The tenant.
        org: &'a str where ORG,
        /// The lock.
        path: &'a str where PATH,
    }
}

message! {
    /// Asks for the holds of an org, by path, a page at a time.
    #[derive(Copy)]
    List<'a> {
        /// The tenant.
        org: &'a str where ORG,
        /// Which holds.
        target: Target<'a>,
        /// Only holds of this mode.
        mode: Option<Mode>,
        /// Only holds that have been held at least so long.
        held_min_ms: u64 = 0,
        /// Goes on where the page before ended.
        cursor: Option<&'a str> where CURSOR,
        /// About so many holds; a lock with many holders is not cut in two.
        page: u32 where PAGE = 256,
    }
}

message! {
    /// Asks whether a token is the current one of a held lock.
    #[derive(Copy)]
    Check<'a> {
        /// The tenant.
        org: &'a str where ORG,
        /// The lock.
        path: &'a str where PATH,
        /// The token.
        token: u64,
    }
}

message! {
    /// Replaces one layer of policy; an empty layer removes it.
    #[derive(Copy)]
    SetPolicy<'a> {
        /// The tenant.
        org: &'a str where ORG,
        /// First segment of the paths; absent is the org's own layer.
        kind: Option<&'a str> where KIND,
        /// The overrides.
        layer: PolicyLayer,
    }
    and SetPolicy::a_kind_decides_about_locks_alone;
    and SetPolicy::bounds_are_in_order;
}

impl SetPolicy<'_> {
    /// A session spans kinds, so what concerns sessions cannot differ between them.
    fn a_kind_decides_about_locks_alone(&self) -> Result<(), Fault> {
        let of_kind = PolicyLayer {
            ttl_default_ms: self.layer.ttl_default_ms,
            ttl_min_ms: self.layer.ttl_min_ms,
            ttl_max_ms: self.layer.ttl_max_ms,
            queue_max: self.layer.queue_max,
            ..PolicyLayer::default()
        };
        if self.kind.is_some() && self.layer != of_kind {
            let expected = "only ttl_default_ms, ttl_min_ms, ttl_max_ms and queue_max for a kind";
            return Err(Fault::value(expected, "more").within("layer"));
        }
        Ok(())
    }

    fn bounds_are_in_order(&self) -> Result<(), Fault> {
        match (self.layer.ttl_min_ms, self.layer.ttl_max_ms) {
            (Some(min), Some(max)) if min > max => {
                let found = format!("{min} and {max}");
                Err(Fault::value("ttl_min_ms at most ttl_max_ms", found).within("layer"))
            }
            (Some(_) | None, Some(_) | None) => Ok(()),
        }
    }
}

message! {
    /// Asks for the policy in force.
    #[derive(Copy)]
    GetPolicy<'a> {
        /// The tenant.
        org: &'a str where ORG,
        /// First segment of the paths; absent is the org's own.
        kind: Option<&'a str> where KIND,
    }
}

message! {
    /// Asks for the privileged acts in an org, oldest first, a page at a time.
    #[derive(Copy)]
    ListAudit<'a> {
        /// The tenant.
        org: &'a str where ORG,
        /// Only acts since then, in milliseconds of Unix time.
        since_ms: u64 = 0,
        /// Goes on after the act with this number.
        cursor: u64 = 0,
        /// So many acts at most.
        page: u32 where PAGE = 256,
    }
}

message! {
    /// Listens to an org, on behalf of this connection.
    Subscribe<'a> {
        /// The tenant.
        org: &'a str where ORG,
        /// Which paths.
        filters: Vec<Filter<'a>> where FILTERS,
        /// The last position that the client has seen, to hear what came after it; absent is from now on.
        since: Option<Position>,
        /// Whether to hear of presence at these paths too.
        presence: bool = false,
    }
}

message! {
    /// Ends a subscription of this connection.
    #[derive(Copy)]
    Unsubscribe {
        /// Its number.
        subscription: u64,
    }
}

message! {
    /// Puts an event of the application's own into the stream.
    #[derive(Copy)]
    Publish<'a> {
        /// The tenant.
        org: &'a str where ORG,
        /// What it is about.
        path: &'a str where PATH,
        /// What the application calls it.
        event: &'a str where EVENT_NAME,
        /// What goes with it. Opaque to the server.
        payload: &'a [u8] where PAYLOAD = b"",
        /// Chosen by the client: an event with an id that the stream still remembers is not published again.
        event_id: Option<&'a str> where EVENT_ID,
        /// The session that it comes from: its typing at the path ends.
        session: Option<u64>,
    }
}

message! {
    /// Asks how an org's stream stands.
    #[derive(Copy)]
    StreamStats<'a> {
        /// The tenant.
        org: &'a str where ORG,
        /// Count only who listens to this path.
        path: Option<&'a str> where PATH,
    }
}

message! {
    /// Says that a session is at a path; again, that it still is.
    #[derive(Copy)]
    Enter<'a> {
        /// Who is there.
        session: u64,
        /// Where.
        path: &'a str where PATH,
        /// What it does.
        activity: Activity = Activity::Viewing,
        /// Whether its typing is for members and higher alone; to observers it is viewing.
        internal: bool = false,
        /// Opaque to the server, shown to others with the viewer.
        metadata: &'a [u8] where VIEWER_METADATA = b"",
    }
}

message! {
    /// Says what a session does at a path that it has entered.
    #[derive(Copy)]
    Update<'a> {
        /// Who is there.
        session: u64,
        /// Where.
        path: &'a str where PATH,
        /// What it does.
        activity: Activity,
        /// Whether its typing is for members and higher alone; to observers it is viewing.
        internal: bool = false,
    }
}

message! {
    /// Says that a session is no longer at a path.
    #[derive(Copy)]
    Leave<'a> {
        /// Who was there.
        session: u64,
        /// Where.
        path: &'a str where PATH,
    }
}

message! {
    /// Asks who is at some paths, by path, a page at a time.
    #[derive(Copy)]
    ListViewers<'a> {
        /// The tenant.
        org: &'a str where ORG,
        /// Which paths.
        filter: Filter<'a> where FILTER,
        /// Goes on where the page before ended.
        cursor: Option<&'a str> where CURSOR,
        /// About so many viewers; those of one path are not cut in two.
        page: u32 where PAGE = 256,
    }
}

message! {
    /// Asks how many are where in an org.
    #[derive(Copy)]
    PresenceStats<'a> {
        /// The tenant.
        org: &'a str where ORG,
    }
}
