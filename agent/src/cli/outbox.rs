//! `pharos outbox list|retry|drop`: notifications that wait, were delivered, or were given up.

use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;
use pharos_model::outbox::OutboxState;
use serde_json::{Value, json};

use super::print;
use super::reach::{Reach, items, shown};
use crate::http::outbox_item;
use crate::store::StoreReader;

#[derive(Debug, Subcommand)]
pub enum OutboxCommand {
    /// List notifications, the youngest first
    List {
        /// Of this receiver alone
        #[arg(long)]
        receiver: Option<String>,
        /// waiting, sending, delivered or dead
        #[arg(long)]
        state: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 100)]
        limit: u32,
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Try notifications again that were given up
    Retry {
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        reach: Reach,
    },
    /// Give up notifications that wait, and forget those that were given up
    Drop {
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        reach: Reach,
    },
}

/// Which notifications.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub struct Chosen {
    /// By their numbers, as `outbox list` shows them
    ids: Vec<u64>,
    /// Those of this receiver
    #[arg(long)]
    receiver: Option<String>,
    /// All
    #[arg(long)]
    all: bool,
}

impl Chosen {
    fn body(&self) -> Value {
        let ids = (!self.ids.is_empty()).then_some(&self.ids);
        json!({ "ids": ids, "receiver": self.receiver, "all": self.all })
    }
}

pub async fn run(command: OutboxCommand) -> anyhow::Result<ExitCode> {
    match command {
        OutboxCommand::List { receiver, state, limit, json, reach } => {
            let query = json!({ "receiver": receiver, "state": state, "limit": limit });
            let client = reach.client()?;
            let read = |store: &StoreReader| {
                let rows = match state.as_deref().map(str::parse::<OutboxState>).transpose() {
                    Ok(state) => store.outbox(receiver.as_deref(), state, limit)?,
                    Err(_) => Vec::new(),
                };
                Ok(json!({ "items": rows.iter().map(outbox_item).collect::<Vec<_>>() }))
            };
            let answer = reach.ask_or_read(async { Ok(client.get("/api/outbox", &query).await?) }, read).await?;
            if json {
                print(&answer);
            } else if items(&answer).is_empty() {
                print("no notifications");
            }
            items(&answer).iter().filter(|_| !json).for_each(|row| print(line(row)));
        }
        OutboxCommand::Retry { chosen, reach } => {
            let answer = reach.client()?.change::<Value>(Method::POST, "/api/outbox/retry", &chosen.body()).await?;
            print(format_args!("{} notifications are tried again", answer["retried"].as_array().map_or(0, Vec::len)));
        }
        OutboxCommand::Drop { chosen, reach } => {
            let answer = reach.client()?.change::<Value>(Method::POST, "/api/outbox/drop", &chosen.body()).await?;
            print(format_args!("{} notifications were dropped", shown(&answer["dropped"])));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One notification.
pub fn line(row: &Value) -> String {
    let [id, receiver, state, tells, severity, title, created, attempts, reason, why] =
        ["id", "receiver", "state", "tells", "severity", "title", "created_at", "attempts", "reason", "why"].map(|key| shown(&row[key]));
    let failure = match (reason.as_str(), why.as_str()) {
        ("", "") => String::new(),
        ("", why) => format!("  ({why})"),
        (reason, why) => format!("  ({reason} after {attempts} attempts: {why})"),
    };
    format!("#{id}  {receiver}  {state}  {tells}  {created}  {severity}: {title}{failure}")
}
