//! What is counted, and how: a case is got ready, warmed up, and then run inside of [`counted`], the one function in
//! which callgrind collects. What comes before and after costs time and no instruction.
//!
//! A case is a batch of commands, as the server applies them, so that what a batch costs once is shared by all of it.

use crate::{codec, engine};

/// Commands of one batch: as many as one hold of a shard's mutex takes.
pub(crate) const BATCH: usize = 64;
/// Batches before those that are counted: tables have their size by then.
pub(crate) const WARM_UP: usize = 64;
/// Batches that are counted: enough for what is done only now and then to have its share.
pub(crate) const COUNTED: usize = 256;

/// One figure: what it is called, and how it is come by.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What one batch does of that which the case is called after.
    pub(crate) operations: usize,
    /// Gives the batch, ready to be run [`WARM_UP`] and then [`COUNTED`] times.
    prepare: fn() -> Box<dyn FnMut()>,
}

pub(crate) const ALL: [Case; 15] = [
    Case {
        name: "engine: acquire and release, 1,600 held",
        operations: BATCH / 2,
        prepare: engine::acquire_and_release,
    },
    Case {
        name: "engine: acquire and release, 20,000 held",
        operations: BATCH / 2,
        prepare: engine::acquire_and_release_among_many,
    },
    Case {
        name: "engine: renew a hold",
        operations: BATCH,
        prepare: engine::renew,
    },
    Case {
        name: "engine: renew a session",
        operations: engine::SESSIONS,
        prepare: engine::renew_session,
    },
    Case {
        name: "engine: refuse an acquire",
        operations: BATCH,
        prepare: engine::refuse,
    },
    Case {
        name: "engine: queue an acquire, grant it by a release",
        operations: BATCH / 2,
        prepare: engine::hand_off,
    },
    Case {
        name: "engine: expire a hold by a tick, and tell of it",
        operations: BATCH,
        prepare: engine::expire,
    },
    Case {
        name: "engine: acquire a hold, expire it young by a tick, and tell of it",
        operations: BATCH,
        prepare: engine::acquire_and_expire,
    },
    Case {
        name: "codec: decode acquire",
        operations: BATCH,
        prepare: codec::decode_acquire,
    },
    Case {
        name: "codec: decode release",
        operations: BATCH,
        prepare: codec::decode_release,
    },
    Case {
        name: "codec: decode renew",
        operations: BATCH,
        prepare: codec::decode_renew,
    },
    Case {
        name: "codec: encode granted",
        operations: BATCH,
        prepare: codec::encode_granted,
    },
    Case {
        name: "codec: encode released",
        operations: BATCH,
        prepare: codec::encode_released,
    },
    Case {
        name: "codec: encode refused",
        operations: BATCH,
        prepare: codec::encode_refused,
    },
    Case {
        name: "codec: encode lock.lost",
        operations: BATCH,
        prepare: codec::encode_lost,
    },
];

impl Case {
    /// Operations that are counted.
    pub(crate) const fn operations_counted(&self) -> usize {
        self.operations * COUNTED
    }
}

/// Callgrind knows this function by its name, [`callgrind::CASE`](crate::callgrind::CASE): it has to stay one.
#[inline(never)]
pub(crate) fn run(case: &Case) {
    let mut batch = (case.prepare)();
    for _ in 0..WARM_UP {
        batch();
    }
    counted(&mut *batch);
}

/// Callgrind knows this one, too, as [`callgrind::COUNTED`](crate::callgrind::COUNTED).
#[inline(never)]
fn counted(batch: &mut dyn FnMut()) {
    for _ in 0..COUNTED {
        batch();
    }
}
