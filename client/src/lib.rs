//! Client of the Tenure lock server.
//!
//! ```no_run
//! # async fn run() -> Result<(), tenure_client::Error> {
//! use tenure_client::{Attempted, Client};
//!
//! let client = Client::connect("127.0.0.1:7420").await?;
//! let session = client.session("acme", "user-17").name("Ada").await?;
//!
//! match session.try_acquire("doc/quote-123").await? {
//!     Attempted::Granted(lock) => {
//!         // Hand the token to the database with every write: `... WHERE fence <= $token`.
//!         println!("yours, with token {}", lock.token());
//!         lock.release().await?;
//!     }
//!     Attempted::Held(refusal) => {
//!         let holder = refusal.holder().map_or("nobody", |holder| holder.display_name());
//!         println!("{holder} is at it, {} wait", refusal.status.waiters);
//!     }
//! }
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod acquire;
mod admin;
mod ask;
mod attempt;
mod client;
mod connection;
mod convert;
mod error;
mod events;
mod guard;
mod ledger;
mod opening;
mod options;
mod policy;
mod reconnect;
mod session;
mod shared;
mod standing;
mod ticket;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tower")]
pub mod tower;
mod types;
mod watch;

pub use acquire::{Acquire, AcquireAll, Attempted, DEFAULT_WAIT, TryAcquire};
pub use admin::{ForceRelease, ForceSteps, List, Pages};
pub use ask::Ask;
pub use client::Client;
pub use error::{Error, ErrorKind, Result};
pub use events::{ConnectionEvent, EndedSession, Events, Resumption, SessionEvent};
pub use guard::{HandedOver, LockGuard};
pub use ledger::Renewal;
pub use opening::{OpenSession, TakenOver};
pub use options::Options;
pub use policy::{EndedHold, ListedHold, Policy, PolicyInForce, PolicyLayer, Target, TokenCheck};
pub use session::{ReleaseScope, Session};
pub use ticket::SessionTicket;
pub use types::{
    Holder, Loss, LossCause, Mode, OnDisconnect, PathStatus, Refusal, RefusalReason, Released,
    Role, SessionEnd, WaitProgress, Who,
};
pub use watch::{HeldAs, HoldWatch};
