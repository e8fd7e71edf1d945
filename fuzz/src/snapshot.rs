//! Bytes to an engine. They are refused, or they are the one way to write a state, from which history goes on.
//! Must hold: no bytes lead to a panic, not even later, when time runs out for what they described.

use tenure_engine::{Command, Discard, Engine, Entry, LogTime, WallTime};

/// Steps in which time runs out for a restored state.
const STEPS: usize = 16;

/// The bytes are a snapshot, or not.
pub fn run(data: &[u8]) {
    let Ok(mut engine) = Engine::restore(data) else {
        return;
    };
    engine.check();
    assert!(written(&engine) == data, "equal states give equal bytes");
    for _ in 0..STEPS {
        let Some(at) = engine.next_deadline() else {
            return;
        };
        take(&mut engine, at, Command::Tick);
    }
    let now = engine.now();
    take(&mut engine, now, Command::Started);
}

fn written(engine: &Engine) -> Vec<u8> {
    let mut bytes = Vec::new();
    engine.snapshot(&mut bytes);
    bytes
}

fn take(engine: &mut Engine, at: LogTime, command: Command<'_>) {
    engine.apply(
        &Entry {
            at,
            wall: WallTime(0),
            command: &command,
        },
        &mut Discard,
    );
    engine.check();
}
