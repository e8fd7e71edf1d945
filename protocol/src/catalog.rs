//! The catalog: every request with its reply, and every push. Number, name, since which version, least role, one line.
//!
//! The single truth: the enums, the numbers, the decoding and the document follow from the table at the end. A number is
//! never used again. 54 to 59 and 153 to 159 are left for streams, 65 to 69 and 164 to 169 for presence.
//! Rule: nothing else in this crate names a number of an operation.

use serde::ser::SerializeMap;

use crate::fault::Fault;
use crate::message::{Body, ReadBody};
use crate::reader::Fields;
use crate::shape::Shape;
use crate::writer::Writer;
use crate::{Role, push, reply, request};

/// What the catalog says of a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestEntry {
    /// Which.
    pub kind: RequestKind,
    /// The version of the protocol that brought it.
    pub since: u32,
    /// The least role that may ask it. The server may want more for some of its options.
    pub least_role: Role,
    /// What it does.
    pub about: &'static str,
    /// The fields of the request, after op and id.
    pub request: Shape,
    /// The fields of the reply, after op and id.
    pub reply: Shape,
}

/// What the catalog says of a push.
#[derive(Debug, Clone, Copy)]
pub struct PushEntry {
    /// Which.
    pub kind: PushKind,
    /// The version of the protocol that brought it.
    pub since: u32,
    /// What it tells.
    pub about: &'static str,
    /// The fields, after op.
    pub push: Shape,
}

/// Every request, by number.
pub const REQUESTS: &[RequestEntry] = Request::ENTRIES;

/// Every push, by number.
pub const PUSHES: &[PushEntry] = Push::ENTRIES;

/// The fields of an error, after op 0 and id.
pub const ERROR: Shape = reply::Error::SHAPE;

/// An enum of messages, each with a kind, and what can be done with whichever it is.
macro_rules! messages {
    (
        $(#[$meta:meta])*
        $name:ident: $kind:ident {
            $($variant:ident $message:ty, $about:literal;)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name<'a> {
            $(#[doc = $about] $variant($message),)*
        }

        impl<'a> $name<'a> {
            /// Which it is.
            #[must_use]
            #[inline(always)]
            pub const fn kind(&self) -> $kind {
                match self {
                    $(Self::$variant(_) => $kind::$variant,)*
                }
            }

            /// With what is left of the fields.
            #[inline]
            pub(crate) fn read(
                kind: $kind,
                fields: Fields<'a>,
            ) -> Result<(Self, Fields<'a>), Fault> {
                match kind {
                    $($kind::$variant => {
                        let mut fields = fields;
                        let message = ReadBody::read_body(&mut fields)?;
                        Ok((Self::$variant(message), fields))
                    })*
                }
            }
        }

        impl Body for $name<'_> {
            /// Has no shape of its own: its kind decides.
            const SHAPE: Shape = Shape::Fields(&[]);

            #[inline(always)]
            fn count(&self) -> usize {
                match self {
                    $(Self::$variant(message) => message.count(),)*
                }
            }

            #[inline(always)]
            fn put_fields(&self, out: &mut Writer<'_>) {
                match self {
                    $(Self::$variant(message) => message.put_fields(out),)*
                }
            }

            fn entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                match self {
                    $(Self::$variant(message) => message.entries(map),)*
                }
            }

            fn check_body(&self) -> Result<(), Fault> {
                match self {
                    $(Self::$variant(message) => message.check_body(),)*
                }
            }
        }
    };
}

/// The kinds that [`messages`] distinguishes: their numbers and names.
macro_rules! kinds {
    (
        $(#[$meta:meta])*
        $kind:ident {
            $($number:literal $variant:ident $name:literal $about:literal;)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $kind {
            $(#[doc = $about] $variant = $number,)*
        }

        impl $kind {
            /// All of them, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its number on the wire.
            #[must_use]
            pub const fn number(self) -> u64 {
                self as u64
            }

            /// Its name: `noun.verb`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The one with this number.
            #[must_use]
            pub const fn from_number(number: u64) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

macro_rules! catalog {
    (
        requests {
            $($op:literal $request:ident $request_name:literal,
                $ask:ty => $answer:ty, since $since:literal, $role:ident,
                $about:literal;)*
        }
        pushes {
            $($push_op:literal $push:ident $push_name:literal,
                $tell:ty, since $push_since:literal,
                $push_about:literal;)*
        }
    ) => {
        kinds! {
            /// Which request, or the reply to which.
            RequestKind { $($op $request $request_name $about;)* }
        }

        kinds! {
            /// Which push.
            PushKind { $($push_op $push $push_name $push_about;)* }
        }

        messages! {
            /// What a client asks.
            Request: RequestKind { $($request $ask, $about;)* }
        }

        messages! {
            /// What a server answers, named after the request.
            Reply: RequestKind { $($request $answer, $about;)* }
        }

        messages! {
            /// What a server says unasked.
            Push: PushKind { $($push $tell, $push_about;)* }
        }

        impl<'a> Request<'a> {
            const ENTRIES: &'static [RequestEntry] = &[$(RequestEntry {
                kind: RequestKind::$request,
                since: $since,
                least_role: Role::$role,
                about: $about,
                request: <$ask as Body>::SHAPE,
                reply: <$answer as Body>::SHAPE,
            }),*];
        }

        impl<'a> Push<'a> {
            const ENTRIES: &'static [PushEntry] = &[$(PushEntry {
                kind: PushKind::$push,
                since: $push_since,
                about: $push_about,
                push: <$tell as Body>::SHAPE,
            }),*];
        }

        impl RequestKind {
            /// The least role that may ask it. The server may want more for some of its options.
            #[must_use]
            pub const fn least_role(self) -> Role {
                match self {
                    $(Self::$request => Role::$role,)*
                }
            }
        }
    };
}

catalog! {
    requests {
        1 Hello "hello", request::Hello<'a> => reply::Hello<'a>, since 1, Observer,
            "Introduces the client and shows its credentials.";
        2 Ping "ping", request::Ping => reply::Done, since 1, Observer,
            "Gives a sign of life.";

        10 SessionOpen "session.open", request::OpenSession<'a> => reply::Opened, since 1, Observer,
            "Opens a session, attached to this connection.";
        11 SessionResume "session.resume", request::ResumeSession<'a> => reply::Resumed<'a>, since 1, Observer,
            "Attaches a session to this connection, and says what it holds, awaits and has missed.";
        12 SessionRenew "session.renew", request::RenewSessions => reply::SessionsRenewed, since 1, Observer,
            "Renews every hold of some sessions.";
        13 SessionClose "session.close", request::CloseSession => reply::Done, since 1, Observer,
            "Ends a session: its holds are released, its waits cancelled.";

        20 LockAcquire "lock.acquire", request::Acquire<'a> => reply::Acquire<'a>, since 1, Member,
            "Asks for a lock.";
        21 LockAcquireAll "lock.acquire_all", request::AcquireAll<'a> => reply::AcquireAll<'a>, since 1, Member,
            "Asks for several locks, all or nothing.";
        22 LockRenew "lock.renew", request::Renew<'a> => reply::Renew<'a>, since 1, Member,
            "Extends a hold.";
        23 LockRelease "lock.release", request::Release<'a> => reply::Release<'a>, since 1, Member,
            "Lets go of a hold.";
        24 LockCancel "lock.cancel", request::Cancel => reply::Cancel<'a>, since 1, Member,
            "Ends a wait.";
        25 LockConvert "lock.convert", request::Convert<'a> => reply::Convert<'a>, since 1, Member,
            "Changes the mode of a hold without letting go.";
        26 LockHandOver "lock.hand_over", request::HandOver<'a> => reply::HandOver<'a>, since 1, Member,
            "Gives a hold to a waiter in one step.";
        27 LockDecline "lock.decline", request::Decline<'a> => reply::Decline<'a>, since 1, Member,
            "Tells a waiter who left a note that the answer is no.";
        28 LockForceRelease "lock.force_release", request::ForceRelease<'a> => reply::Forced<'a>, since 1, Admin,
            "Ends holds of others, or says which it would end.";
        29 LockStatus "lock.status", request::Status<'a> => reply::Status<'a>, since 1, Observer,
            "Asks for the truth about one path.";
        30 LockList "lock.list", request::List<'a> => reply::Page<'a>, since 1, Observer,
            "Asks for the holds of an org, a page at a time.";
        31 LockCheck "lock.check", request::Check<'a> => reply::Checked, since 1, Observer,
            "Asks whether a token is the current one of a held lock.";

        40 PolicySet "policy.set", request::SetPolicy<'a> => reply::Done, since 1, Admin,
            "Replaces one layer of policy.";
        41 PolicyGet "policy.get", request::GetPolicy<'a> => reply::PolicyInForce, since 1, Observer,
            "Asks for the policy in force.";
        42 AuditList "audit.list", request::ListAudit<'a> => reply::AuditPage<'a>, since 1, Admin,
            "Asks for the privileged acts in an org, a page at a time.";

        50 StreamSubscribe "stream.subscribe", request::Subscribe<'a> => reply::Subscribed, since 1, Observer,
            "Listens to what happens at some paths of an org.";
        51 StreamUnsubscribe "stream.unsubscribe", request::Unsubscribe => reply::Done, since 1, Observer,
            "Ends a subscription.";
        52 StreamPublish "stream.publish", request::Publish<'a> => reply::Published, since 1, Member,
            "Puts an event of the application's own into the stream.";
        53 StreamStats "stream.stats", request::StreamStats<'a> => reply::StreamStats, since 1, Observer,
            "Asks how an org's stream stands, and whether anybody listens.";

        60 PresenceEnter "presence.enter", request::Enter<'a> => reply::Entered, since 1, Observer,
            "Says that a session is at a path.";
        61 PresenceUpdate "presence.update", request::Update<'a> => reply::Updated, since 1, Observer,
            "Says what a session does at a path.";
        62 PresenceLeave "presence.leave", request::Leave<'a> => reply::Left, since 1, Observer,
            "Says that a session is no longer at a path.";
        63 PresenceList "presence.list", request::ListViewers<'a> => reply::Viewers<'a>, since 1, Observer,
            "Asks who is at some paths of an org, a page at a time.";
        64 PresenceStats "presence.stats", request::PresenceStats<'a> => reply::PresenceStats, since 1, Observer,
            "Asks how many are where in an org.";
    }
    pushes {
        128 ServerPing "server.ping", push::Ping, since 1,
            "Wants a sign of life.";
        129 ServerGoodbye "server.goodbye", push::Goodbye<'a>, since 1,
            "The connection ends.";
        130 SessionMoved "session.moved", push::Moved, since 1,
            "The session has been attached to another connection.";
        131 SessionClosed "session.closed", push::Closed, since 1,
            "The session is over.";

        140 LockGranted "lock.granted", push::Granted<'a>, since 1,
            "A wait has become a hold.";
        141 LockLost "lock.lost", push::Lost<'a>, since 1,
            "A hold is over.";
        142 LockChanged "lock.changed", push::Changed<'a>, since 1,
            "A hold goes on with another mode or token.";
        143 LockAsked "lock.asked", push::Asked<'a>, since 1,
            "Somebody would like to have the lock.";
        144 LockDeclined "lock.declined", push::Declined<'a>, since 1,
            "A holder has said no; the wait goes on.";
        145 LockWaitEnded "lock.wait_ended", push::WaitEnded, since 1,
            "A wait is over without a grant.";
        146 LockPlace "lock.place", push::Place, since 1,
            "Where a wait stands.";

        150 StreamEvent "stream.event", push::Happened<'a>, since 1,
            "Something has happened.";
        151 StreamPosition "stream.position", push::Reached<'a>, since 1,
            "Nothing that matches has happened up to here.";
        152 StreamGap "stream.gap", push::Gap<'a>, since 1,
            "Events have been left out, since the client was too slow.";

        160 PresenceChanged "presence.changed", push::ViewersChanged<'a>, since 1,
            "Who is at a path has changed.";
        161 PresenceCollision "presence.collision", push::Collision<'a>, since 1,
            "What others do at the path of a session has another level.";
        162 PresenceGap "presence.gap", push::ViewersLeftOut<'a>, since 1,
            "Changes of presence have been left out, since the client was too slow.";
        163 PresenceEnded "presence.ended", push::PresenceEnded<'a>, since 1,
            "A session has given no sign of life at a path for too long, and is no longer there.";
    }
}
