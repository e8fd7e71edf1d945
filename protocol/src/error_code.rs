//! The table of error codes: number, name, sentence, and the class that the number tells.
//!
//! A refusal is not an error: that somebody else holds a lock is an answer and has no code.
//! Rule: a number is never used again for something else, and never moves to another class.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::fault::Fault;
use crate::messagepack::{Read, Value};
use crate::reader::Reader;
use crate::shape::{Shape, Type};
use crate::writer::Writer;

/// What to do about an error. It can be read off the code's number, also off one that is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// 1xx: the same may be sent again, after a pause that grows.
    Retry,
    /// 2xx: the connection ends; connect again, after a pause that grows, and resume the sessions.
    Reconnect,
    /// 3xx: what was sent is wrong and will be wrong again.
    FixRequest,
    /// 4xx: the principal may not do this.
    NotAllowed,
    /// 5xx: the server has failed; the operator should know.
    ServerFault,
}

impl Class {
    /// The class of the code with this number. What lies outside the ranges counts as a fault of the server.
    #[must_use]
    pub const fn of(number: u16) -> Self {
        match number / 100 {
            1 => Self::Retry,
            2 => Self::Reconnect,
            3 => Self::FixRequest,
            4 => Self::NotAllowed,
            _ => Self::ServerFault,
        }
    }

    /// Whether a client that got a goodbye of this class should connect again by itself. Otherwise the next connection
    /// would end in the same way.
    #[must_use]
    pub const fn reconnects(self) -> bool {
        match self {
            Self::Retry | Self::Reconnect | Self::ServerFault => true,
            Self::FixRequest | Self::NotAllowed => false,
        }
    }

    /// Its name, as in the document.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Reconnect => "reconnect",
            Self::FixRequest => "fix_request",
            Self::NotAllowed => "not_allowed",
            Self::ServerFault => "server_fault",
        }
    }
}

macro_rules! error_codes {
    ($($number:literal $variant:ident $name:literal $sentence:literal;)*) => {
        /// Why a request fails or a connection ends.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(#[doc = $sentence] $variant = $number,)*
        }

        impl ErrorCode {
            /// All of them, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name, as in the document and in JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it means, in one sentence.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self {
                    $(Self::$variant => $sentence,)*
                }
            }

            const fn from_number(number: u16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    101 Unavailable "unavailable" "The server cannot do this at the moment.";
    102 TooManyInFlight "too_many_in_flight" "The connection has as many unanswered requests as it may.";
    103 TooManySessions "too_many_sessions" "The org or the connection has as many sessions as it may.";
    104 TooManyHolds "too_many_holds" "The org has as many holds as its policy allows.";
    105 TooManySessionHolds "too_many_session_holds" "The session has as many holds as the policy allows.";
    106 TooManySessionWaits "too_many_session_waits" "The session has as many waits as the policy allows.";
    107 TooManySubscriptions "too_many_subscriptions" "The connection has as many subscriptions or filters as it may.";
    108 TooManyPresences "too_many_presences" "The session is at as many paths as it may, or the path has as many viewers.";

    201 ShuttingDown "shutting_down" "The server is about to stop.";
    202 SlowReader "slow_reader" "The client did not read what it was sent: the server's buffer for it is full, or it took nothing for 10 s.";
    203 Silent "silent" "The client gave no sign of life for too long.";
    204 HelloTimeout "hello_timeout" "The client did not introduce itself in time.";
    205 TooManyConnections "too_many_connections" "The server has as many connections as it may.";

    301 BadFrame "bad_frame" "The bytes are not a frame.";
    302 FrameTooLarge "frame_too_large" "The frame is larger than this side takes in this state.";
    303 BadMessage "bad_message" "The frame is not a message, or a field is missing or of the wrong type.";
    304 UnknownCommand "unknown_command" "There is no command with this number.";
    305 BadValue "bad_value" "A field is out of its bounds, or fields contradict each other.";
    306 HelloExpected "hello_expected" "The first request must be a hello.";
    307 HelloRepeated "hello_repeated" "The connection has been introduced already.";
    308 VersionUnsupported "version_unsupported" "The server does not speak this version of the protocol.";
    309 UnknownSession "unknown_session" "There is no such session, or not any more, or the resume key is another.";
    310 NotAttached "not_attached" "The session is not attached to this connection.";
    311 UnknownWait "unknown_wait" "There is no such wait, or not any more.";
    312 NotGrantable "not_grantable" "The waiter cannot be granted the lock in this step.";
    313 UnknownSubscription "unknown_subscription" "The connection has no such subscription, or not any more.";
    314 NotEntered "not_entered" "The session is not at this path, or not any more.";

    401 BadCredentials "bad_credentials" "The credentials are missing, unknown or no longer valid.";
    402 RoleTooLow "role_too_low" "The role of the principal or of the session does not suffice.";
    403 OrgNotAllowed "org_not_allowed" "The principal has nothing to do with this org.";

    501 Internal "internal" "The server has a defect, and has logged it.";
    502 TokensExhausted "tokens_exhausted" "All fencing tokens have been used: this history is at its end.";
}

impl ErrorCode {
    /// Its number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// What to do about it.
    #[must_use]
    pub const fn class(self) -> Class {
        Class::of(self.number())
    }
}

/// A code as it was received, which may be one that this side does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(u16);

impl Code {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// What to do about it, also when it is unknown.
    #[must_use]
    pub const fn class(self) -> Class {
        Class::of(self.0)
    }

    /// The code, if this side knows it.
    #[must_use]
    pub const fn known(self) -> Option<ErrorCode> {
        ErrorCode::from_number(self.0)
    }
}

impl From<ErrorCode> for Code {
    fn from(code: ErrorCode) -> Self {
        Self(code.number())
    }
}

impl PartialEq<ErrorCode> for Code {
    fn eq(&self, other: &ErrorCode) -> bool {
        self.0 == other.number()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some(code) => f.write_str(code.name()),
            None => write!(f, "code {}", self.0),
        }
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Value for Code {
    const TYPE: &'static Type = &Type::Named("Code", &Shape::Code);

    fn put(&self, out: &mut Writer<'_>) {
        out.number(self.0.into());
    }

    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }
}

impl<'a> Read<'a> for Code {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let number = reader.number("an error code")?;
        u16::try_from(number)
            .map(Self)
            .map_err(|_| Fault::shape("an error code up to 65535", number.to_string()))
    }
}
