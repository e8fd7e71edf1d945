//! Chats that persist: a client of the companion (`tenure-chat`) over HTTP, on behalf of one person.
//!
//! ```no_run
//! # async fn run(token: &str, chat: tenure_client::chat::ChatId) -> Result<(), tenure_client::chat::Error> {
//! use tenure_client::chat::{ChatClient, Event};
//!
//! let client = ChatClient::connect("http://127.0.0.1:7430", token)?;
//! let mut events = client.events();
//!
//! // Returns at once. The message is sent once and in order, whatever happens to the connection.
//! let sending = client.send(chat, "Hello")?;
//! let sent = sending.await?;
//! println!("number {} of the chat, after {:?}", sent.message.seq, sent.took);
//!
//! while let Some(told) = events.next().await {
//!     match told.event {
//!         Event::MessageCreated(told) => println!("{:?}", told.message),
//!         event if event.is_loss() => println!("read anew what you show"),
//!         _ => {}
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! What it promises, and what it does when the connection ends, is told of [`ChatClient`]. The page `docs/chat-client.md` has
//! more code.

mod back_off;
mod breaker;
mod cache;
mod client;
mod connector;
mod error;
mod event;
mod events;
mod exporting;
mod feed;
mod figures;
mod limiter;
mod link;
mod marks;
mod options;
mod pages;
mod queue;
mod retry_after;
mod searching;
mod sending;
mod state;
mod types;
mod typing;

pub use client::{ChatClient, Page, Source};
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, MessageEvent, Recovery, Told, Viewer};
pub use events::Events;
pub use exporting::Export;
pub use figures::{Figures, Timing};
pub use limiter::Rate;
pub use marks::Marking;
pub use options::ChatOptions;
pub use pages::{Direction, History, Pages};
pub use searching::{Hit, Search};
pub use sending::{Sending, Sent};
pub use state::{ConnectionState, ConnectionStates};
pub use types::{
    Attachment, Audience, Chat, ChatHolder, ChatId, ChatLock, Marked, Member, Message, MessageId,
    NewChat, NewMessage, Participant, Receipts, Unread, Unsent,
};
