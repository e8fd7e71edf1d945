//! How the rooms of the engine name things to each other. None of these leaves the engine, and none is in a snapshot but
//! the age of a hold. A key says where something lies, in four bytes: it orders nothing, and is given out again.

macro_rules! keys {
    ($($(#[$about:meta])* $key:ident),*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $key(core::num::NonZeroU32);

        impl $key {
            /// The key of what lies in this place.
            pub(crate) fn at(place: usize) -> Self {
                let number = u32::try_from(place + 1).ok().and_then(core::num::NonZeroU32::new);
                Self(number.expect("memory is full long before there are so many"))
            }

            pub(crate) const fn place(self) -> usize {
                self.0.get() as usize - 1
            }
        }
    )*};
}
pub(crate) use keys;

keys!(
    /// An org.
    OrgKey,
    /// A lock.
    LockKey,
    /// A session.
    SessionKey,
    /// An owner, among those of its org.
    OwnerKey,
    /// A list of locks whose timers come up together.
    SlotKey
);

/// Numbers holds by age. Stays inside the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HoldId(pub(crate) u64);
