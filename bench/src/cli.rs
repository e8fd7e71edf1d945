//! The command line: flags and output, no measuring. Each sub-command is one file here and one variant of [`Command`].
//!
//! Rules: every command but the floor ends by itself; stdout has the figures alone, as a table or as JSON; stderr has the progress, and
//! only where a person watches.

mod client;
mod compare;
mod durability;
mod expiry;
mod fan_out;
mod floor;
mod idle;
mod keep;
mod load;
mod memory;
mod progress;
mod replay;
mod server;
mod storm;
mod systems;

use std::env;
use std::io::{Write, stderr};
use std::thread;

use anyhow::Result;
use serde::Serialize;

/// Put a lock server under load, and tell what it made of it
#[derive(Debug, clap::Parser)]
#[command(name = "tenure-bench", version)]
pub(crate) enum Command {
    Client(client::ClientArguments),
    Compare(compare::CompareArguments),
    Durability(durability::DurabilityArguments),
    Expiry(expiry::ExpiryArguments),
    FanOut(fan_out::FanOutArguments),
    Idle(idle::IdleArguments),
    Floor(floor::FloorArguments),
    Keep(keep::KeepArguments),
    Load(load::LoadArguments),
    Memory(memory::MemoryArguments),
    Replay(replay::ReplayArguments),
    Storm(storm::StormArguments),
}

impl Command {
    pub(crate) fn run(&self) -> Result<()> {
        if cfg!(debug_assertions) {
            writeln!(stderr(), "this is a debug build: measure with --release")?;
        }
        match self {
            Self::Client(arguments) => arguments.run(),
            Self::Compare(arguments) => arguments.run(),
            Self::Durability(arguments) => arguments.run(),
            Self::Expiry(arguments) => arguments.run(),
            Self::FanOut(arguments) => arguments.run(),
            Self::Idle(arguments) => arguments.run(),
            Self::Floor(arguments) => arguments.run(),
            Self::Keep(arguments) => arguments.run(),
            Self::Load(arguments) => arguments.run(),
            Self::Memory(arguments) => arguments.run(),
            Self::Replay(arguments) => arguments.run(),
            Self::Storm(arguments) => arguments.run(),
        }
    }
}

/// What was typed.
fn command_line() -> String {
    let typed: Vec<_> = env::args().skip(1).collect();
    format!("tenure-bench {}", typed.join(" "))
}

/// What was found, for machines.
fn write_json(out: &mut impl Write, report: &impl Serialize) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)?;
    Ok(())
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
