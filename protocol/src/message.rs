//! The three macros that messages are made with. A message is declared once: its names, types, bounds and defaults; from
//! that follow the struct, how it is read and written by position, how it looks in JSON, and its [`Shape`].
//!
//! - `message!`: an array of fields. `name: type where BOUND = default`, bound and default being optional; a bound is a
//!   constant of [`limits`](crate::limits), a default makes nil and absence mean that value.
//! - `choice!`: an array of a number and the fields that go with it.
//! - `names!`: a number that stands for a name.
//!
//! Rule: fields are only ever appended, numbers are only ever added.

use serde::ser::SerializeMap;

use crate::fault::Fault;
use crate::reader::Fields;
use crate::shape::Shape;
use crate::writer::Writer;

/// What a message consists of, without the array or object around it: a frame puts its own fields before.
pub(crate) trait Body {
    const SHAPE: Shape;

    /// How many fields there are.
    fn count(&self) -> usize;

    /// Writes the fields by position, for programs.
    fn put_fields(&self, out: &mut Writer<'_>);

    /// Writes the fields by name, for people.
    fn entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>;

    /// Looks whether the fields keep their bounds, one by one and together.
    fn check_body(&self) -> Result<(), Fault>;
}

/// A body that can be read.
pub(crate) trait ReadBody<'a>: Body + Sized {
    fn read_body(fields: &mut Fields<'a>) -> Result<Self, Fault>;
}

/// Reads one field, by type and default.
macro_rules! take {
    ($fields:ident, $field:ident, $type:ty) => {
        $fields.take::<$type>(stringify!($field))?
    };
    ($fields:ident, $field:ident, $type:ty, $default:expr) => {
        $fields
            .take::<Option<$type>>(stringify!($field))?
            .unwrap_or($default)
    };
}

/// Describes one field.
macro_rules! describe {
    ($field:ident, $type:ty, [$($rule:ident)?], [$($default:expr)?]) => {
        $crate::shape::Field {
            name: stringify!($field),
            type_: <$type as $crate::messagepack::Value>::TYPE,
            default: optional!($(stringify!($default))?),
            bounds: optional!($(|| $crate::limits::$rule.to_string())?),
        }
    };
}

macro_rules! optional {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

/// Looks whether one field keeps its own bounds and those that were declared for it.
macro_rules! check {
    ($value:expr, $field:ident, [$($rule:ident)?]) => {
        $($crate::limits::keeps(&$crate::limits::$rule, $value, stringify!($field))?;)?
        $crate::messagepack::Value::check($value)
            .map_err(|fault| fault.within(stringify!($field)))?;
    };
}

/// What every body needs to stand in a message and to be serialised by itself.
macro_rules! stands_alone {
    ($name:ident $(<$life:lifetime>)?) => {
        impl $(<$life>)? $crate::messagepack::Value for $name $(<$life>)? {
            const TYPE: &'static $crate::shape::Type = &$crate::shape::Type::Named(
                stringify!($name),
                &<Self as $crate::message::Body>::SHAPE,
            );

            fn put(&self, out: &mut $crate::writer::Writer<'_>) {
                use $crate::message::Body as _;
                out.array(self.count());
                self.put_fields(out);
            }

            fn write<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;
                use $crate::message::Body as _;
                let mut map = serializer.serialize_map(None)?;
                self.entries(&mut map)?;
                map.end()
            }

            fn check(&self) -> Result<(), $crate::fault::Fault> {
                $crate::message::Body::check_body(self)
            }
        }

        impl<'a> $crate::messagepack::Read<'a> for $name $(<$life>)? {
            fn read(
                reader: &mut $crate::reader::Reader<'a>,
            ) -> Result<Self, $crate::fault::Fault> {
                let mut fields = $crate::reader::Fields::open(*reader)?;
                let value = <Self as $crate::message::ReadBody<'a>>::read_body(&mut fields)?;
                *reader = fields.close()?;
                Ok(value)
            }
        }

        impl $(<$life>)? serde::Serialize for $name $(<$life>)? {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::messagepack::Value::write(self, serializer)
            }
        }
    };
}

macro_rules! message {
    (
        $(#[$meta:meta])*
        $name:ident $(<$life:lifetime>)? {
            $(
                $(#[$field_meta:meta])*
                $field:ident: $type:ty $(where $rule:ident)? $(= $default:expr)?,
            )*
        }
        $(and $together:path;)*
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name $(<$life>)? {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl $(<$life>)? $crate::message::Body for $name $(<$life>)? {
            const SHAPE: $crate::shape::Shape = $crate::shape::Shape::Fields(&[
                $(describe!($field, $type, [$($rule)?], [$($default)?]),)*
            ]);

            fn count(&self) -> usize {
                const FIELDS: &[&str] = &[$(stringify!($field)),*];
                FIELDS.len()
            }

            #[inline]
            fn put_fields(&self, out: &mut $crate::writer::Writer<'_>) {
                let _ = &out;
                $($crate::messagepack::Value::put(&self.$field, out);)*
            }

            fn entries<M: serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                let _ = &map;
                $(map.serialize_entry(
                    stringify!($field),
                    &$crate::messagepack::Wire(&self.$field),
                )?;)*
                Ok(())
            }

            #[inline]
            fn check_body(&self) -> Result<(), $crate::fault::Fault> {
                $(check!(&self.$field, $field, [$($rule)?]);)*
                $($together(self)?;)*
                Ok(())
            }
        }

        impl<'a> $crate::message::ReadBody<'a> for $name $(<$life>)? {
            #[inline(always)]
            fn read_body(
                fields: &mut $crate::reader::Fields<'a>,
            ) -> Result<Self, $crate::fault::Fault> {
                let _ = &fields;
                Ok(Self { $($field: take!(fields, $field, $type $(, $default)?),)* })
            }
        }

        stands_alone!($name $(<$life>)?);
    };
}

macro_rules! choice {
    (
        $(#[$meta:meta])*
        $name:ident $(<$life:lifetime>)? by $tag:ident {
            $(
                $(#[$variant_meta:meta])*
                $number:literal $variant:ident $label:literal $({
                    $(
                        $(#[$field_meta:meta])*
                        $field:ident: $type:ty $(where $rule:ident)? $(= $default:expr)?,
                    )*
                })?,
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name $(<$life>)? {
            $($(#[$variant_meta])* $variant $({ $($(#[$field_meta])* $field: $type,)* })?,)*
        }

        impl $(<$life>)? $crate::message::Body for $name $(<$life>)? {
            const SHAPE: $crate::shape::Shape = $crate::shape::Shape::Choice {
                tag: stringify!($tag),
                variants: &[$($crate::shape::Variant {
                    number: $number,
                    name: $label,
                    fields: &[
                        $($(describe!($field, $type, [$($rule)?], [$($default)?]),)*)?
                    ],
                },)*],
            };

            fn count(&self) -> usize {
                match self {
                    $(Self::$variant $({ $($field: _,)* })? => {
                        const FIELDS: &[&str] = &[$($(stringify!($field)),*)?];
                        1 + FIELDS.len()
                    })*
                }
            }

            #[inline]
            fn put_fields(&self, out: &mut $crate::writer::Writer<'_>) {
                match self {
                    $(Self::$variant $({ $($field,)* })? => {
                        out.number($number);
                        $($($crate::messagepack::Value::put($field, out);)*)?
                    })*
                }
            }

            fn entries<M: serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                match self {
                    $(Self::$variant $({ $($field,)* })? => {
                        map.serialize_entry(stringify!($tag), $label)?;
                        $($(map.serialize_entry(
                            stringify!($field),
                            &$crate::messagepack::Wire($field),
                        )?;)*)?
                    })*
                }
                Ok(())
            }

            fn check_body(&self) -> Result<(), $crate::fault::Fault> {
                match self {
                    $(Self::$variant $({ $($field,)* })? => {
                        $($(check!($field, $field, [$($rule)?]);)*)?
                    })*
                }
                Ok(())
            }
        }

        impl<'a> $crate::message::ReadBody<'a> for $name $(<$life>)? {
            fn read_body(
                fields: &mut $crate::reader::Fields<'a>,
            ) -> Result<Self, $crate::fault::Fault> {
                match fields.take::<u64>(stringify!($tag))? {
                    $($number => Ok(Self::$variant $({
                        $($field: take!(fields, $field, $type $(, $default)?),)*
                    })?),)*
                    other => Err($crate::message::unknown(
                        <Self as $crate::message::Body>::SHAPE,
                        other,
                    )
                    .within(stringify!($tag))),
                }
            }
        }

        stands_alone!($name $(<$life>)?);
    };
}

macro_rules! names {
    (
        $(#[$meta:meta])*
        $name:ident {
            $($(#[$variant_meta:meta])* $number:literal $variant:ident $label:literal,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* $variant = $number,)*
        }

        impl $name {
            /// All of them, by number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name, as in the document and in JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)*
                }
            }

            const SHAPE: $crate::shape::Shape =
                $crate::shape::Shape::Names(&[$(($number, $label)),*]);
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl $crate::messagepack::Value for $name {
            const TYPE: &'static $crate::shape::Type =
                &$crate::shape::Type::Named(stringify!($name), &Self::SHAPE);

            #[inline]
            fn put(&self, out: &mut $crate::writer::Writer<'_>) {
                out.number(*self as u64);
            }

            fn write<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'a> $crate::messagepack::Read<'a> for $name {
            #[inline(always)]
            fn read(
                reader: &mut $crate::reader::Reader<'a>,
            ) -> Result<Self, $crate::fault::Fault> {
                match reader.number("a number")? {
                    $($number => Ok(Self::$variant),)*
                    other => Err($crate::message::unknown(Self::SHAPE, other)),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::messagepack::Value::write(self, serializer)
            }
        }
    };
}

/// A number that stands for nothing here.
#[cold]
pub(crate) fn unknown(shape: Shape, found: u64) -> Fault {
    let known = match shape {
        Shape::Names(names) => names
            .iter()
            .map(|(number, name)| (*number, *name))
            .collect(),
        Shape::Choice { variants, .. } => variants
            .iter()
            .map(|variant| (variant.number, variant.name))
            .collect(),
        Shape::Fields(_) | Shape::Code => Vec::new(),
    };
    let known: Vec<_> = known
        .iter()
        .map(|(number, name)| format!("{number} ({name})"))
        .collect();
    Fault::value(format!("one of {}", known.join(", ")), found.to_string())
}
