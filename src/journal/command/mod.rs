//! Commands as the journal keeps them: arrays by position, each under a number of its own.
//!
//! A third set of types, beside those of the wire and the engine, since what is on disk has to be understood as long as
//! somebody may have it; `translation.rs` leads from the engine's to these and back. Rules: a number is never used twice;
//! fields are only ever appended, with a default; the golden bytes in `tests/journal/golden.txt` never change.

mod put;
mod translation;

use std::fmt;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use tenure_engine as engine;

pub(super) use self::put::{Put, RecordWriter};
pub(super) use self::translation::bytes_max;

/// One place for each command: its number, its name, its fields.
macro_rules! commands {
    ($($number:literal $name:ident($body:ty),)*) => {
        /// A command, or what else is part of history.
        #[derive(Debug)]
        pub(super) enum Command<'a> {
            $($name($body),)*
        }

        impl Put for Command<'_> {
            fn put(&self, out: &mut RecordWriter<'_>) {
                out.array(2);
                match self {
                    $(Self::$name(body) => {
                        out.number($number);
                        body.put(out);
                    })*
                }
            }
        }

        impl<'a> Visitor<'a> for Numbered {
            type Value = Command<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command: its number and its fields")
            }

            fn visit_seq<A: SeqAccess<'a>>(self, mut array: A) -> Result<Command<'a>, A::Error> {
                let number: u8 = array.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
                let command = match number {
                    $($number => array.next_element()?.map(Command::$name),)*
                    _ => return Err(de::Error::custom(format_args!("unknown command {number}"))),
                };
                command.ok_or_else(|| de::Error::invalid_length(1, &self))
            }
        }
    };
}

commands! {
    1 Started(()),
    2 Tick(()),
    3 Configure(Configure<'a>),
    4 Settle(Address<'a>),
    5 Tokens(Tokens),
    10 OpenSession(OpenSession<'a>),
    11 ResumeSession(ResumeSession<'a>),
    12 DetachSession(By),
    13 RenewSession(By),
    14 CloseSession(By),
    20 Acquire(Acquire<'a>),
    21 AcquireAll(AcquireAll<'a>),
    22 Renew(Renew<'a>),
    23 Release(Release<'a>),
    24 Cancel(Cancel),
    25 Convert(Convert<'a>),
    26 HandOver(HandOver<'a>),
    27 Decline(Decline<'a>),
    28 ForceRelease(ForceRelease<'a>),
}

/// Reads a command by its number.
struct Numbered;

impl<'de: 'a, 'a> Deserialize<'de> for Command<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Numbered)
    }
}

/// Sorts that are one number each.
macro_rules! numbered {
    ($($name:ident { $($number:literal $variant:ident,)* })*) => {$(
        #[derive(Debug, Clone, Copy)]
        struct $name(engine::$name);

        impl Put for $name {
            #[inline]
            fn put(&self, out: &mut RecordWriter<'_>) {
                out.number(match self.0 {
                    $(engine::$name::$variant => $number,)*
                });
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match u8::deserialize(deserializer)? {
                    $($number => Ok(Self(engine::$name::$variant)),)*
                    number => Err(de::Error::custom(format_args!(
                        "unknown {} {number}",
                        stringify!($name),
                    ))),
                }
            }
        }
    )*};
}

numbered! {
    Role { 1 Observer, 2 Member, 3 Moderator, 4 Admin, }
    Mode { 1 Shared, 2 Exclusive, }
    ReleaseScope { 1 Session, 2 Owner, }
}

/// What a command consists of: an array of its fields, by position.
macro_rules! kept {
    ($(
        $(#[$meta:meta])*
        $seen:vis struct $name:ident $(<$life:lifetime>)? {
            $($(#[$field_meta:meta])* $field_seen:vis $field:ident: $type:ty,)*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Deserialize)]
        $seen struct $name $(<$life>)? {
            $($(#[$field_meta])* $field_seen $field: $type,)*
        }

        impl $(<$life>)? Put for $name $(<$life>)? {
            #[inline]
            fn put(&self, out: &mut RecordWriter<'_>) {
                const FIELDS: &[&str] = &[$(stringify!($field)),*];
                out.array(FIELDS.len());
                $(self.$field.put(out);)*
            }
        }
    )*};
}

/// Bytes as they are, not as an array of numbers.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Bytes<'a>(#[serde(borrow)] &'a [u8]);

impl Put for Bytes<'_> {
    #[inline]
    fn put(&self, out: &mut RecordWriter<'_>) {
        out.bytes(self.0);
    }
}

kept! {
    /// From here on, tokens are given out from the first of these on, and below the second.
    #[derive(Clone, Copy)]
    pub(super) struct Tokens {
        pub(super) from: u64,
        pub(super) below: u64,
    }

    #[derive(Clone, Copy)]
    pub(super) struct By {
        session: u64,
        attach: u32,
    }

    pub(super) struct Configure<'a> {
        org: Option<&'a str>,
        kind: Option<&'a str>,
        layer: Layer,
        principal: &'a str,
    }

    /// In acts of the audit trail, too.
    #[derive(Clone, Copy, Serialize)]
    pub(super) struct Layer {
        ttl_default: Option<u64>,
        ttl_min: Option<u64>,
        ttl_max: Option<u64>,
        queue_max: Option<u32>,
        grace: Option<u64>,
        release_on_disconnect: Option<bool>,
        sessions_max: Option<u32>,
        holds_max: Option<u32>,
        session_holds_max: Option<u32>,
        session_waits_max: Option<u32>,
    }

    pub(super) struct Address<'a> {
        org: &'a str,
        path: &'a str,
    }

    pub(super) struct OpenSession<'a> {
        org: &'a str,
        owner: &'a str,
        name: &'a str,
        #[serde(borrow)]
        metadata: Bytes<'a>,
        role: Role,
        resume_key: u128,
        disconnect: Disconnect,
    }

    /// By policy, unless it says whether to keep; a grace is for what is not kept.
    #[derive(Clone, Copy)]
    struct Disconnect {
        keep: Option<bool>,
        grace: Option<u64>,
    }

    pub(super) struct ResumeSession<'a> {
        org: &'a str,
        session: u64,
        resume_key: u128,
        role: Role,
    }

    pub(super) struct Acquire<'a> {
        by: By,
        path: &'a str,
        mode: Mode,
        limit: Option<u32>,
        ttl: Option<u64>,
        wait: u64,
        note: Option<&'a str>,
        #[serde(borrow)]
        seize: Option<Seize<'a>>,
        #[serde(borrow)]
        metadata: Bytes<'a>,
    }

    struct Seize<'a> {
        reason: &'a str,
        principal: &'a str,
    }

    pub(super) struct AcquireAll<'a> {
        by: By,
        #[serde(borrow)]
        items: Vec<Item<'a>>,
        ttl: Option<u64>,
        wait: u64,
        metadata: Bytes<'a>,
    }

    struct Item<'a> {
        path: &'a str,
        mode: Mode,
        limit: Option<u32>,
    }

    pub(super) struct Renew<'a> {
        by: By,
        path: &'a str,
        ttl: Option<u64>,
        token: Option<u64>,
    }

    pub(super) struct Release<'a> {
        by: By,
        path: &'a str,
        scope: ReleaseScope,
        token: Option<u64>,
    }

    pub(super) struct Cancel {
        by: By,
        wait: u64,
    }

    pub(super) struct Convert<'a> {
        by: By,
        path: &'a str,
        mode: Mode,
        limit: Option<u32>,
        wait: u64,
    }

    pub(super) struct HandOver<'a> {
        by: By,
        path: &'a str,
        to: Option<u64>,
    }

    pub(super) struct Decline<'a> {
        by: By,
        path: &'a str,
        to: u64,
    }

    pub(super) struct ForceRelease<'a> {
        org: &'a str,
        #[serde(borrow)]
        target: Target<'a>,
        after: Option<&'a str>,
        reason: &'a str,
        principal: &'a str,
    }

    /// The first of these that is there; all, if none is.
    struct Target<'a> {
        path: Option<&'a str>,
        prefix: Option<&'a str>,
        owner: Option<&'a str>,
        session: Option<u64>,
    }
}
