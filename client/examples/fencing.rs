//! Fencing, end to end: a holder that slept past its lease writes nothing, though it believes to hold the lock.
//!
//! The table stands for one in a database, where the rule is part of the statement:
//! `UPDATE documents SET body = $body, fence = $token WHERE id = $id AND fence <= $token`.
//!
//! `cargo run -p tenure-client --example fencing` beside `tenure serve`.
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::collections::HashMap;

use tenure_client::Client;

#[derive(Default)]
struct Documents {
    rows: HashMap<&'static str, Row>,
}

#[derive(Default)]
struct Row {
    body: String,
    fence: u64,
}

impl Documents {
    /// Whether the row was written: not with a token that is older than one that has written before.
    fn write(&mut self, id: &'static str, token: u64, body: &str) -> bool {
        let row = self.rows.entry(id).or_default();
        if row.fence > token {
            return false;
        }
        row.fence = token;
        body.clone_into(&mut row.body);
        true
    }
}

#[tokio::main]
async fn main() -> Result<(), tenure_client::Error> {
    let address = std::env::args().nth(1);
    let client = Client::connect(address.unwrap_or_else(|| "127.0.0.1:7420".to_owned())).await?;
    let ada = client.session("acme", "ada").name("Ada").await?;
    let eve = client.session("acme", "eve").name("Eve").await?;
    let mut documents = Documents::default();

    let adas = ada.acquire("doc/quote-123").await?;
    let adas_token = adas.token();
    println!(
        "Ada writes: {}",
        documents.write("quote-123", adas_token, "10 %")
    );

    // Ada's laptop goes to sleep, here. Meanwhile the lock changes hands.
    let eves = eve.acquire("doc/quote-123").seize("it is due").await?;
    println!(
        "Eve writes: {}",
        documents.write("quote-123", eves.token(), "20 %")
    );

    // The laptop wakes up in the middle of a write, before any message has been read.
    println!(
        "Ada writes again: {}",
        documents.write("quote-123", adas_token, "11 %")
    );
    println!("the document says {}", documents.rows["quote-123"].body);

    // A resource that cannot compare tokens may ask; it narrows the window and does not close it.
    println!(
        "Ada's token is current: {}",
        client
            .check("acme", "doc/quote-123", adas_token)
            .await?
            .current
    );
    eves.release().await?;
    Ok(())
}
