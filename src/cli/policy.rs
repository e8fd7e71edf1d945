//! `tenure policy`: what is in force for an org or a kind of path, and how to change it.
//!
//! The wire replaces a layer as a whole; `set` reads it first and changes what was named.

use std::time::Duration;

use anyhow::bail;
use clap::{Subcommand, ValueEnum};
use tenure_protocol::{Message as _, PolicyLayer, Reply, Request, reply, request};

use super::duration::{self, ms};
use super::output::Output;
use super::table::Table;
use super::wire::{Message, Wire};
use super::{Exit, Shared, words};
