//! Client of the Tenure lock server: who may edit this document, who has this chat, for how long, and who is told when
//! that changes.
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
//!
//! # The four things
//!
//! - A [`Client`] is one connection, shared by all its clones. A service needs one, or a few.
//! - A [`Session`] is one sitting of one owner: a browser tab, a device, a worker. A client has many. Sessions of one owner
//!   share what they hold, so nobody locks himself out with a second tab.
//! - A [`LockGuard`] is a lock that is held. It is renewed while it lives, and let go when it is dropped.
//! - An [`Error`] has a [`kind`](Error::kind), sorted by what you can do about it. That somebody else holds a lock is an
//!   answer, with who it is, since when and how many wait.
//!
//! # Waiting
//!
//! [`Session::acquire`] waits in a fair queue; dropping its future takes everything back, so it can stand in a `select!` or
//! a `timeout`. [`on_progress`](Acquire::on_progress) tells the place in line. A [`note`](Acquire::note) asks the holder,
//! who [hears it](LockGuard::next_ask), and hands over or declines.
//!
//! ```no_run
//! # async fn run(session: tenure_client::Session) -> Result<(), tenure_client::Error> {
//! use std::time::Duration;
//! use tenure_client::ErrorKind;
//!
//! let acquire = session.acquire("doc/quote-123").note("may I?").wait(Duration::from_secs(60));
//! match acquire.await {
//!     Ok(lock) => println!("mine, for {:?} at least", lock.remaining()),
//!     Err(error) if error.kind() == ErrorKind::Refused => println!("not this time: {error}"),
//!     Err(error) => return Err(error),
//! }
//! # Ok(()) }
//! ```
//!
//! # Losing a lock
//!
//! A lock is a lease, and can be lost: seized by a moderator, ended by an operator, run out. [`LockGuard::lost`] says by
//! whom and why:
//!
//! ```no_run
//! # async fn work() {}
//! # async fn run(lock: tenure_client::LockGuard) {
//! tokio::select! {
//!     () = work() => println!("done"),
//!     loss = lock.lost() => println!("stop: {loss}"),
//! }
//! # }
//! ```
//!
//! Time is counted from when the client *sent* what the server answered, so [`LockGuard::remaining`] never promises more
//! than the server does; a lock that was waited for is renewed before you get it, for the same reason. Still, no clock
//! stops a process that sleeps past its lease. The [fencing token](LockGuard::token) does: a resource that remembers the
//! highest token it has seen, and refuses a lower one, cannot be written by a holder of yesterday. `examples/fencing.rs`
//! shows it.
//!
//! # Hearing what happens
//!
//! A [`Subscription`] is a [`Stream`](futures_core::Stream) of what happens at some paths: locks that are granted and end,
//! and whatever applications [publish](Client::publish). It belongs to the client, not to a session, so a service hears of
//! an event once, however many of its people care. It goes on over reconnects, gives each event once and in order, and tells
//! [`Lost`](StreamEvent::Lost) wherever there may be a hole. [With state](Subscribe::with_state) it reads what there is
//! first, and anew after each loss, so that its reader knows the truth by listening alone.
//!
//! ```no_run
//! # async fn run(client: tenure_client::Client) -> Result<(), tenure_client::Error> {
//! use tenure_client::StreamEvent;
//!
//! let mut events = client.subscribe("acme", ["doc/**", "chat/42"]).with_state().await?;
//! while let Some(event) = events.next().await {
//!     match event {
//!         StreamEvent::Holds(holds) => println!("{} holds", holds.len()),
//!         StreamEvent::Happened(happened) => println!("{}: {:?}", happened.position, happened.event),
//!         StreamEvent::Lost { why, .. } => println!("the holds follow anew: {why}"),
//!         _ => {}
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! # Who is here
//!
//! A session [enters](Session::enter) a path and has a [`Presence`] there: others see the owner viewing, idle, typing or
//! editing, until the last presence of the owner is gone. It is told how near others come, and goes on over reconnects by
//! itself. [`Client::viewers`] lists who is where; a subscription [with presence](Subscribe::with_presence) keeps up with it.
//!
//! ```no_run
//! # async fn run(session: tenure_client::Session) -> Result<(), tenure_client::Error> {
//! let here = session.enter("chat/42").await?;
//! here.typing(); // with every key stroke
//! println!("others here: {}", here.collision().level.name());
//! # Ok(()) }
//! ```
//!
//! # When the connection ends
//!
//! The client connects again by itself, with growing pauses, and resumes its sessions. Until then requests fail at once with
//! [`Disconnected`](ErrorKind::Disconnected); none is queued behind your back.
//!
//! | what was under way | becomes |
//! | --- | --- |
//! | a hold | goes on under the same token, or is lost, with the cause |
//! | a wait | keeps its place, or gets the lock that it was granted meanwhile, or ends with the reason |
//! | an acquire or upgrade without an answer | gets what the server has: the lock, or a place in line; else `Disconnected`: it was not carried out |
//! | a release without an answer | is done again, if the server still has the hold |
//! | a guard or future that was dropped meanwhile | is let go, or cancelled |
//! | a session that the server has ended | is over, and its holds are lost; one that had nothing is opened again |
//! | a subscription | goes on from where it was, or tells what it has lost |
//! | a presence | is entered again, with what is done there by then |
//! | a read | fails with `Disconnected`; ask again |
//! | a hand-over without an answer | succeeded, if the hold is gone and was not lost otherwise |
//! | the opening of a session, a decline, a publish, a change of policy, a force release | fails with [`UnknownOutcome`](ErrorKind::UnknownOutcome); do it again |
//!
//! [`Client::events`] and [`Session::events`] tell what was kept and lost. A session's [ticket](Session::ticket) lets
//! another process [take it over](Client::take_over) with its locks, so that a deploy loses none.
//!
//! # Features
//!
//! - `chat`: a client of the companion, for chats that persist.
//! - `tls`: connections over TLS, with a `rustls::ClientConfig` of yours.
//! - `tower`: a layer that holds a lock while an HTTP request is handled, and answers 423 with the holder's name.
//!
//! The folder `examples/` has one program for each thing above.

#![forbid(unsafe_code)]

mod acquire;
mod admin;
mod ask;
mod attempt;
mod audit;
#[cfg(feature = "chat")]
pub mod chat;
mod client;
mod connection;
mod convert;
mod error;
mod events;
mod feed;
mod filters;
mod guard;
mod happened;
mod ledger;
mod opening;
mod options;
mod policy;
mod presence;
mod publish;
mod reconnect;
mod session;
mod shared;
mod snapshot;
mod standing;
mod subscribe;
mod ticket;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tower")]
pub mod tower;
mod types;
mod viewers;
mod viewing;
mod watch;

pub use acquire::{Acquire, AcquireAll, Attempted, DEFAULT_WAIT, TryAcquire};
pub use admin::{ForceRelease, ForceSteps, List, Pages};
pub use ask::Ask;
pub use audit::{Audit, AuditPages};
pub use client::Client;
pub use error::{Error, ErrorKind, Result};
pub use events::{ConnectionEvent, EndedSession, Events, Resumption, SessionEvent};
pub use guard::{HandedOver, LockGuard};
pub use happened::{Event, Happened, LostWhy, Position, StateOf, StreamEvent, WaitEnd};
pub use ledger::Renewal;
pub use opening::{OpenSession, TakenOver};
pub use options::Options;
pub use policy::{
    AuditedAct, AuditedLoss, Deed, EndedHold, ListedHold, Policy, PolicyInForce, PolicyLayer,
    Target, TokenCheck,
};
pub use presence::{Enter, Presence};
pub use publish::{Publish, Published, StreamStats};
pub use session::{ReleaseScope, Session};
pub use subscribe::{Subscribe, Subscription};
pub use ticket::SessionTicket;
pub use types::{
    Holder, Loss, LossCause, Mode, OnDisconnect, PathStatus, Refusal, RefusalReason, Released,
    Role, SessionEnd, WaitProgress, Who,
};
pub use viewers::{ListViewers, ViewerPages};
pub use viewing::{
    Activity, Collision, CollisionLevel, PathViewers, PresenceEvent, PresenceStats, Viewer,
    ViewerCounts, ViewersChange,
};
pub use watch::{HeldAs, HoldWatch};

/// The page about streams has code that has to compile.
#[cfg(doctest)]
#[doc = include_str!("../../docs/streams.md")]
mod streams_at_work {}

/// So has the page about the chat client.
#[cfg(all(doctest, feature = "chat"))]
#[doc = include_str!("../../docs/chat-client.md")]
mod chat_at_work {}
