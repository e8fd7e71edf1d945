//! Long tests of a file, run at the same time: they wait far more than they work, and the harness would run as many at a
//! time as there are cores.

use std::any::Any;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{LazyLock, Mutex};

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// One test, not yet begun.
pub(crate) type Scenario = (&'static str, Pin<Box<dyn Future<Output = ()> + Send>>);

/// The tests of one file. The first that is waited for begins them all.
pub(crate) struct Together {
    runtime: Runtime,
    running: Mutex<HashMap<&'static str, JoinHandle<()>>>,
}

impl Together {
    pub(crate) fn begin(scenarios: Vec<Scenario>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let running = scenarios
            .into_iter()
            .map(|(name, scenario)| (name, runtime.spawn(scenario)))
            .collect();
        Self {
            runtime,
            running: Mutex::new(running),
        }
    }

    /// Waits for one, and fails as it fails.
    pub(crate) fn join(&self, name: &str) {
        let scenario = self.running.lock().unwrap().remove(name).unwrap();
        if let Err(failed) = self.runtime.block_on(scenario) {
            panic!("{}", message(&*failed.into_panic()));
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_default()
}

/// Makes a test of each async function that is named, all of which run at the same time.
macro_rules! together {
    ($($name:ident),* $(,)?) => {
        mod together {
            static ALL: std::sync::LazyLock<$crate::support::Together> =
                std::sync::LazyLock::new(|| {
                    $crate::support::Together::begin(vec![
                        $((stringify!($name), Box::pin(super::$name()))),*
                    ])
                });

            $(#[test]
            fn $name() {
                ALL.join(stringify!($name));
            })*
        }
    };
}

pub(crate) use together;
