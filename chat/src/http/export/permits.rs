//! How many exports there are at a time, of one person and of all.
//! Knows nothing of what they export. Rule: a permit is given back however its export ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::super::problem::{Answer, Code, Problem};
use crate::identity::Person;

/// Exports at a time of one person, and of all.
const OF_ONE_MAX: u32 = 4;
const OF_ALL_MAX: u32 = 64;

/// One more may ask again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Who exports at the moment.
#[derive(Default)]
pub(crate) struct Exports {
    running: Arc<Mutex<HashMap<(String, String), u32>>>,
}

/// One export; given back when it ends, however that is.
pub(super) struct Permit {
    running: Arc<Mutex<HashMap<(String, String), u32>>>,
    key: (String, String),
}

impl Exports {
    /// One more, or when to ask again.
    pub(super) fn begin(&self, person: &Person) -> Answer<Permit> {
        let key = (person.org.clone(), person.id.clone());
        let mut running = self.running.lock();
        let all: u32 = running.values().sum();
        let own = running.get(&key).copied().unwrap_or(0);
        if own >= OF_ONE_MAX || all >= OF_ALL_MAX {
            let detail = format!(
                "expected fewer than {OF_ONE_MAX} exports of yours and {OF_ALL_MAX} of all at a time, \
                 found {own} and {all}; come back when one has ended"
            );
            return Err(Problem::new(Code::TooManyRequests, detail).retry_after(AGAIN_AFTER));
        }
        running.insert(key.clone(), own + 1);
        drop(running);
        Ok(Permit {
            running: Arc::clone(&self.running),
            key,
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut running = self.running.lock();
        if let Some(own) = running.get_mut(&self.key) {
            *own -= 1;
            if *own == 0 {
                running.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_at_a_time_are_bounded_for_one_and_for_all() {
        let exports = Exports::default();
        let person = |id: String| Person {
            org: "acme".into(),
            id,
            name: String::new(),
            role: crate::store::Role::Member,
            expires: 0,
        };
        let ada = person("ada".to_owned());
        let own: Vec<_> = (0..OF_ONE_MAX)
            .map(|_| exports.begin(&ada).map_err(|_| ()).expect("there is room"))
            .collect();
        let full = exports.begin(&ada).err().expect("no more of one");
        assert_eq!(full.code(), Code::TooManyRequests);
        let others: Vec<_> = (OF_ONE_MAX..OF_ALL_MAX)
            .map(|at| exports.begin(&person(at.to_string())).map_err(|_| ()))
            .collect();
        assert!(others.iter().all(Result::is_ok));
        assert!(
            exports.begin(&person("eve".to_owned())).is_err(),
            "no more of all"
        );
        drop(own);
        exports
            .begin(&ada)
            .map_err(|_| ())
            .expect("there is room again");
        drop(others);
        assert!(exports.running.lock().is_empty());
    }
}
