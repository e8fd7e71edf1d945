//! `tenure watch`: what happens in an org, as it happens, until it is interrupted.
//! Says of everything that was missed that it was.

use tenure_client::{
    Client, ConnectionEvent, Error, Event, Happened, LostWhy, Position, StreamEvent, Subscription,
    ViewersChange,
};

use super::endpoint::Endpoint;
use super::happening::{self, Line};
use super::output::{self, Output};
use super::signals::Signals;
use super::{Exit, Shared, trouble};

/// Say what happens in an org, as it happens
///
/// Locks that are granted and end, who waits, and what applications publish. Goes on through a reconnect.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP)]
pub(super) struct Watch {
    /// The tenant
    org: String,

    /// Only here: a path, everything below one (ticket/**), or everything (**)
    #[arg(value_name = "FILTER", default_value = "**", value_parser = happening::filter)]
    filters: Vec<String>,

    /// Go on after this position, as told by an earlier watch or publish
    #[arg(long, value_name = "EPOCH:OFFSET", value_parser = happening::parse_position)]
    since: Option<Position>,

    /// Who is where too: who comes, what they do, who leaves
    #[arg(long)]
    presence: bool,

    /// Only events that applications have published by this name
    #[arg(long, value_name = "NAME")]
    event: Option<String>,

    /// End after so many
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

const AFTER_HELP: &str = "\
Examples:
  tenure watch acme
  tenure watch acme doc/quote-123 'ticket/**'
  tenure watch acme 'chat/**' --presence
  tenure watch acme doc/quote-123 -n 1 --json | jq .event
  tenure watch acme --event deploy -n 1 && ./warm-up.sh

The server keeps what has happened for some minutes. Ctrl-C says the position to go on from with --since; what it does
not keep any more is said to be lost.
--json has one object for each thing that happens; op says what it is: stream.event, presence.changed, as on the wire;
stream.recovered, stream.lost and presence.lost say whether something was missed. Bytes are hex digits.
Exit status: 0 interrupted, or --count is reached, 2 trouble";

impl Watch {
    pub(super) async fn run(self, shared: &Shared) -> anyhow::Result<Exit> {
        let mut signals = Signals::to_leave()?;
        let mut output = Output::new(shared);
        let endpoint = Endpoint::new(shared)?;
        let told = |error: Error| trouble::of_client(&endpoint, &error);
        let client = endpoint.options()?.connect().await.map_err(told)?;
        let mut events = self.subscribe(&client).await.map_err(told)?;
        let mut connection = client.events();
        let mut count = 0;
        while self.count.is_none_or(|most| count < most) {
            tokio::select! {
                _ = signals.next() => {
                    let position = events.position();
                    output::remark(&format!("to go on from here: --since {position}"));
                    break;
                }
                Some(event) = connection.next() => report(&event),
                event = events.next() => match event {
                    Some(StreamEvent::Ended { why }) => return Err(told(why)),
                    Some(event) => count += u64::from(self.tell(&event, &mut output)?),
                    None => break,
                },
            }
        }
        drop(events);
        client.close().await;
        Ok(Exit::Yes)
    }

    async fn subscribe(&self, client: &Client) -> Result<Subscription, Error> {
        let mut subscribe = client.subscribe(&*self.org, &self.filters);
        if let Some(position) = self.since {
            subscribe = subscribe.since(position);
        }
        if self.presence {
            subscribe = subscribe.with_presence();
        }
        subscribe.await
    }

    /// Says what has happened. True if it is something that counts.
    fn tell(&self, event: &StreamEvent, output: &mut Output) -> anyhow::Result<bool> {
        match event {
            StreamEvent::Happened(happened) if self.wants(&happened.event) => {
                self.happened(happened, output)?;
                return Ok(true);
            }
            StreamEvent::ViewersChanged(change) => {
                self.changed(change, output)?;
                return Ok(true);
            }
            StreamEvent::Recovered { position } => {
                if output.is_json() {
                    output.answer(&Line::recovered(*position), |_| String::new())?;
                } else {
                    output::remark("tenure: nothing was missed");
                }
            }
            StreamEvent::Lost { why, position } => lost(*why, *position, output)?,
            StreamEvent::ViewersLost => {
                if output.is_json() {
                    output.answer(&Line::PresenceLost {}, |_| String::new())?;
                } else {
                    output::remark(
                        "tenure: who came and left meanwhile was missed; see tenure who",
                    );
                }
            }
            // What is not wanted, and what only others ask for.
            StreamEvent::Happened(_)
            | StreamEvent::StateBegins(_)
            | StreamEvent::Holds(_)
            | StreamEvent::Viewers(_)
            | StreamEvent::StateWhole(_)
            | StreamEvent::Ended { .. }
            | _ => {}
        }
        Ok(false)
    }

    fn wants(&self, event: &Event) -> bool {
        let Some(wanted) = &self.event else {
            return true;
        };
        matches!(event, Event::Published { event, .. } if event == wanted)
    }

    fn happened(&self, happened: &Happened, output: &mut Output) -> anyhow::Result<()> {
        let Some(line) = Line::happened(&self.org, happened) else {
            return Ok(());
        };
        output.answer(&line, |_| {
            let at = happening::time(happened.at);
            let paths = happened.event.paths().join(", ");
            format!("{at}  {paths}  {}", happening::in_words(&happened.event))
        })
    }

    fn changed(&self, change: &ViewersChange, output: &mut Output) -> anyhow::Result<()> {
        output.answer(&Line::changed(&self.org, change), |_| {
            let at = happening::time(std::time::SystemTime::now());
            format!(
                "{at}  {}  {}",
                change.path,
                happening::change_in_words(change)
            )
        })
    }
}

fn lost(why: LostWhy, position: Position, output: &mut Output) -> anyhow::Result<()> {
    output.answer(&Line::lost(why, position), |paint| {
        let why = match why {
            LostWhy::Epoch => "the server has begun anew",
            LostWhy::Trimmed => "the server does not keep it any more",
            LostWhy::Ahead => "the position is not of this stream",
            LostWhy::SlowConnection | LostWhy::SlowReader | _ => "this end was too slow",
        };
        paint.no(&format!(
            "what happened before {position} was missed: {why}"
        ))
    })
}

/// Of the connection, on stderr: it is nothing that was asked for.
fn report(event: &ConnectionEvent) {
    if let ConnectionEvent::Disconnected { why } = event {
        output::remark(&format!(
            "tenure: the connection is gone ({why}); connecting again"
        ));
    }
}
