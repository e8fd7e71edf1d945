//! `tenure policy`: what is in force for an org or a kind of path, and how to change it.
//!
//! The wire replaces a layer as a whole; `set` reads it first and changes what was named.

use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use tenure_protocol::{Policy as InForce, PolicyLayer, Reply, Request, reply, request};

use super::duration::{self, ms};
use super::output::Output;
use super::table::Table;
use super::wire::{Message, Wire};
use super::{Exit, Shared, words};

/// Show or change the limits and defaults of an org, or of one kind of path in it
///
/// A kind is the first segment of a path: doc, in doc/quote-123. What its layer leaves open the org's decides, and what
/// that leaves open the server's configuration.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Policy {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Show(Layer),
    Set(Set),
}

/// Show what is in force, and what this layer decides of it
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP_OF_SHOW)]
struct Layer {
    /// The tenant
    org: String,

    /// First segment of the paths [default: the org's own layer]
    kind: Option<String>,
}

const AFTER_HELP_OF_SHOW: &str = "\
Examples:
  tenure policy show acme
  tenure policy show acme doc --json | jq .policy.ttl_max_ms

--json has the answer to policy.get.
Exit status: 0 shown, 2 trouble";

/// Change one layer: what is not named stays as it is
///
/// Holds and sessions that are there keep what they were given. Needs the role of an admin.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, after_help = AFTER_HELP_OF_SET)]
#[command(override_usage = "tenure policy set [OPTIONS] <ORG> [KIND] --SETTING VALUE...")]
struct Set {
    #[command(flatten)]
    layer: Layer,

    #[command(flatten)]
    change: Change,
}

const AFTER_HELP_OF_SET: &str = "\
Examples:
  tenure policy set acme --grace 30s --holds-max 100000
  tenure policy set acme doc --ttl-default 10m --ttl-max 1h
  tenure policy set acme doc --unset ttl-max
  tenure policy set acme doc --clear

The layer of a kind decides the --ttl-* and --queue-max alone.
--json has the answer to the policy.get that follows.
Exit status: 0 done, 2 trouble";

/// What is to be changed.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
#[command(next_help_heading = "What to change")]
struct Change {
    /// TTL of a hold whose acquire names none
    #[arg(long, value_name = "DURATION", value_parser = duration::ttl, allow_hyphen_values = true)]
    ttl_default: Option<Duration>,

    /// Shortest TTL; a shorter request gets this one
    #[arg(long, value_name = "DURATION", value_parser = duration::ttl, allow_hyphen_values = true)]
    ttl_min: Option<Duration>,

    /// Longest TTL; a longer request gets this one
    #[arg(long, value_name = "DURATION", value_parser = duration::ttl, allow_hyphen_values = true)]
    ttl_max: Option<Duration>,

    /// Waits on one path at most
    #[arg(long, value_name = "N")]
    queue_max: Option<u32>,

    /// How long a disconnected session may come back
    #[arg(long, value_name = "DURATION", value_parser = duration::grace, allow_hyphen_values = true)]
    grace: Option<Duration>,

    /// Whether a session that does not say gives its holds back when its grace is over
    #[arg(long, value_name = "BOOL")]
    release_on_disconnect: Option<bool>,

    /// Sessions of the org at most
    #[arg(long, value_name = "N")]
    sessions_max: Option<u32>,

    /// Holds of the org at most
    #[arg(long, value_name = "N")]
    holds_max: Option<u32>,

    /// Holds of one session at most
    #[arg(long, value_name = "N")]
    session_holds_max: Option<u32>,

    /// Waits of one session at most
    #[arg(long, value_name = "N")]
    session_waits_max: Option<u32>,

    /// Leave this to the layer below again; may be given more than once
    #[arg(long, value_name = "SETTING")]
    unset: Vec<Setting>,

    /// Leave everything to the layer below that is not set here
    #[arg(long)]
    clear: bool,
}

/// What a layer may decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Setting {
    TtlDefault,
    TtlMin,
    TtlMax,
    QueueMax,
    Grace,
    ReleaseOnDisconnect,
    SessionsMax,
    HoldsMax,
    SessionHoldsMax,
    SessionWaitsMax,
}

impl Policy {
    pub(super) async fn run(self, shared: &Shared) -> anyhow::Result<Exit> {
        let mut wire = Wire::connect(shared).await?;
        let layer = match &self.what {
            What::Show(layer) => layer,
            What::Set(set) => {
                let before = match set.change.clear {
                    true => PolicyLayer::default(),
                    false => in_force(&set.layer.get(&mut wire).await?)?.layer,
                };
                let layer = set.change.applied_to(before);
                wire.ask(&set.layer.set(layer)).await?;
                &set.layer
            }
        };
        let answer = layer.get(&mut wire).await?;
        tell(&in_force(&answer)?, &mut Output::new(shared))?;
        Ok(Exit::Yes)
    }
}

impl Layer {
    async fn get(&self, wire: &mut Wire) -> anyhow::Result<Message> {
        let (org, kind) = (&self.org, self.kind.as_deref());
        wire.ask(&Request::PolicyGet(request::GetPolicy { org, kind }))
            .await
    }

    fn set(&self, layer: PolicyLayer) -> Request<'_> {
        Request::PolicySet(request::SetPolicy {
            org: &self.org,
            kind: self.kind.as_deref(),
            layer,
        })
    }
}

fn in_force(answer: &Message) -> anyhow::Result<reply::PolicyInForce> {
    let Reply::PolicyGet(policy) = answer.reply()? else {
        return Err(answer.unexpected());
    };
    Ok(policy)
}

impl Change {
    fn applied_to(&self, mut layer: PolicyLayer) -> PolicyLayer {
        for setting in &self.unset {
            match setting {
                Setting::TtlDefault => layer.ttl_default_ms = None,
                Setting::TtlMin => layer.ttl_min_ms = None,
                Setting::TtlMax => layer.ttl_max_ms = None,
                Setting::QueueMax => layer.queue_max = None,
                Setting::Grace => layer.grace_ms = None,
                Setting::ReleaseOnDisconnect => layer.release_on_disconnect = None,
                Setting::SessionsMax => layer.sessions_max = None,
                Setting::HoldsMax => layer.holds_max = None,
                Setting::SessionHoldsMax => layer.session_holds_max = None,
                Setting::SessionWaitsMax => layer.session_waits_max = None,
            }
        }
        PolicyLayer {
            ttl_default_ms: self.ttl_default.map(ms).or(layer.ttl_default_ms),
            ttl_min_ms: self.ttl_min.map(ms).or(layer.ttl_min_ms),
            ttl_max_ms: self.ttl_max.map(ms).or(layer.ttl_max_ms),
            queue_max: self.queue_max.or(layer.queue_max),
            grace_ms: self.grace.map(ms).or(layer.grace_ms),
            release_on_disconnect: self.release_on_disconnect.or(layer.release_on_disconnect),
            sessions_max: self.sessions_max.or(layer.sessions_max),
            holds_max: self.holds_max.or(layer.holds_max),
            session_holds_max: self.session_holds_max.or(layer.session_holds_max),
            session_waits_max: self.session_waits_max.or(layer.session_waits_max),
        }
    }
}

fn tell(policy: &reply::PolicyInForce, output: &mut Output) -> anyhow::Result<()> {
    if output.is_json() {
        output.object(policy)?;
        return output.flush();
    }
    Table::new(["SETTING", "IN FORCE", "DECIDED HERE"])
        .write(output, &rows(&policy.policy, &policy.layer))
}

/// Named as the options of `set` are.
fn rows(policy: &InForce, layer: &PolicyLayer) -> [[String; 3]; 10] {
    let spans = |name, in_force, here: Option<u64>| row(name, in_force, here, words::span);
    let counts = |name, in_force: u32, here: Option<u32>| {
        let number = |n| words::number(u64::from(n));
        row(name, in_force, here, number)
    };
    [
        spans("ttl-default", policy.ttl_default_ms, layer.ttl_default_ms),
        spans("ttl-min", policy.ttl_min_ms, layer.ttl_min_ms),
        spans("ttl-max", policy.ttl_max_ms, layer.ttl_max_ms),
        counts("queue-max", policy.queue_max, layer.queue_max),
        spans("grace", policy.grace_ms, layer.grace_ms),
        row(
            "release-on-disconnect",
            policy.release_on_disconnect,
            layer.release_on_disconnect,
            |yes| yes.to_string(),
        ),
        counts("sessions-max", policy.sessions_max, layer.sessions_max),
        counts("holds-max", policy.holds_max, layer.holds_max),
        counts(
            "session-holds-max",
            policy.session_holds_max,
            layer.session_holds_max,
        ),
        counts(
            "session-waits-max",
            policy.session_waits_max,
            layer.session_waits_max,
        ),
    ]
}

fn row<T>(name: &str, in_force: T, here: Option<T>, show: impl Fn(T) -> String) -> [String; 3] {
    let here = here.map_or_else(String::new, &show);
    [String::from(name), show(in_force), here]
}
