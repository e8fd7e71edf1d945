//! What operators do: see who holds what, find what is stale, free it with a reason, change the rules.
//!
//! `cargo run -p tenure-client --example admin` beside `tenure serve`.
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::time::Duration;

use tenure_client::{Client, PolicyLayer, Target};

#[tokio::main]
async fn main() -> Result<(), tenure_client::Error> {
    let address = std::env::args().nth(1);
    let client = Client::connect(address.unwrap_or_else(|| "127.0.0.1:7420".to_owned())).await?;
    println!("a round trip takes {:?}", client.ping().await?);

    let ada = client.session("acme", "ada").name("Ada").await?;
    let mut locks = Vec::new();
    for number in 1..=5 {
        locks.push(ada.acquire(format!("doc/quote-{number}")).await?);
    }

    let status = client.status("acme", "doc/quote-3").await?;
    println!(
        "doc/quote-3: held by {:?}",
        status.holder().map(|holder| holder.display_name())
    );
    println!(
        "its token is current: {}",
        client
            .check("acme", "doc/quote-3", locks[2].token())
            .await?
            .current
    );

    // Page by page: an organisation may have a million.
    let mut holds = client
        .list("acme")
        .target(Target::prefix("doc/"))
        .held_for_at_least(Duration::ZERO)
        .page_size(2)
        .pages();
    while let Some(hold) = holds.next().await? {
        println!(
            "{} by {} for {:?}",
            hold.path,
            hold.holder.display_name(),
            hold.holder.held_for
        );
    }

    // First a look at what would happen.
    let everything_of_ada = || client.force_release("acme", Target::owner("ada"), "has left us");
    println!("would end {}", everything_of_ada().dry_run().await?.len());
    println!("ended {}", everything_of_ada().await?.len());
    println!("Ada is told: {}", locks[0].lost().await);

    // Tickets are locked for ten minutes at most, from now on, without a restart.
    let layer = PolicyLayer {
        ttl_max: Some(Duration::from_secs(600)),
        ..PolicyLayer::default()
    };
    client.set_policy("acme", Some("ticket"), &layer).await?;
    let policy = client.policy("acme", Some("ticket")).await?.policy;
    println!(
        "tickets: {:?} by default, {:?} at most",
        policy.ttl_default, policy.ttl_max
    );
    client
        .set_policy("acme", Some("ticket"), &PolicyLayer::default())
        .await
}
