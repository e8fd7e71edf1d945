//! A board of who holds what that keeps up with the truth: the state first, then what changes it, over reconnects.
//!
//! `cargo run -p tenure-client --example watch` beside `tenure serve`; then take locks elsewhere, or restart the server.
#![allow(
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "an example shows what happens"
)]

use std::collections::BTreeMap;

use tenure_client::{Client, Event, StateOf, StreamEvent};

/// Who holds what: names by path and owner, since a lock may be shared.
type Board = BTreeMap<(String, String), String>;

#[tokio::main]
async fn main() -> Result<(), tenure_client::Error> {
    let address = std::env::args().nth(1);
    let client = Client::connect(address.unwrap_or_else(|| "127.0.0.1:7420".to_owned())).await?;
    let mut events = client.subscribe("acme", ["**"]).with_state().await?;
    let mut board = Board::new();
    let mut is_whole = false;
    while let Some(event) = events.next().await {
        match event {
            StreamEvent::StateBegins(StateOf::Holds) => {
                board.clear();
                is_whole = false;
            }
            StreamEvent::Holds(holds) => {
                let held = holds.into_iter().map(|hold| {
                    let name = hold.holder.display_name().to_owned();
                    ((hold.path, hold.holder.owner), name)
                });
                board.extend(held);
            }
            StreamEvent::StateWhole(StateOf::Holds) => is_whole = true,
            StreamEvent::Happened(happened) => {
                change(&mut board, &happened.event);
                print!("{} ", happened.position);
            }
            // The state is read anew by itself. Without `with_state` this is where to do it.
            StreamEvent::Lost { why, .. } => println!("some of it was lost ({why})"),
            StreamEvent::Recovered { position } => println!("went on from {position}"),
            StreamEvent::Ended { why } => return Err(why),
            // Others may be added.
            _ => {}
        }
        if is_whole {
            println!("{board:?}");
        }
    }
    Ok(())
}

/// What has happened says everything about itself, so the board needs nothing else.
fn change(board: &mut Board, event: &Event) {
    match event {
        Event::LockGranted { path, who, .. } | Event::LockConverted { path, who, .. } => {
            board.insert((path.clone(), who.owner.clone()), who.to_string());
        }
        Event::LockEnded { who, loss, .. } => {
            board.remove(&(loss.path.clone(), who.owner.clone()));
        }
        // Who waits, who has lost the connection, and what others have published.
        _ => {}
    }
}
