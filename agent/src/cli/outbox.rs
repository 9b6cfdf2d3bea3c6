//! `pharos outbox list|retry|drop`: notifications that wait, were delivered, or were given up.

use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;
use pharos_model::outbox::OutboxState;

use super::reach::Reach;
use super::terminal::{print, print_json, shown};
use crate::api::list::List;
use crate::api::outbox::{ChosenNotifications, Dropped, NotificationItem, OutboxQuery, Retried};
use crate::http::routes::outbox::item;
use crate::store::StoreReader;

#[derive(Debug, Subcommand)]
pub(super) enum OutboxCommand {
    /// List notifications, newest first
    List {
        /// Only notifications for this receiver
        #[arg(long)]
        receiver: Option<String>,
        /// Only notifications in this state: waiting, sending, delivered or dead
        #[arg(long)]
        state: Option<String>,
        /// Most notifications to list
        #[arg(long, default_value_t = 100)]
        limit: u32,
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Retry notifications that were given up
    Retry {
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        reach: Reach,
    },
    /// Give up notifications that wait, and remove those that were given up
    Drop {
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        reach: Reach,
    },
}

/// The notifications that a command applies to. Given together, all conditions must hold.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Chosen {
    /// Numbers of the notifications, as `outbox list` shows them
    ids: Vec<u64>,
    /// Only notifications for this receiver
    #[arg(long)]
    receiver: Option<String>,
    /// All notifications
    #[arg(long)]
    all: bool,
}

impl From<Chosen> for ChosenNotifications {
    fn from(Chosen { ids, receiver, all }: Chosen) -> Self {
        Self { ids: (!ids.is_empty()).then_some(ids), receiver, all }
    }
}

pub(super) async fn run(command: OutboxCommand) -> anyhow::Result<ExitCode> {
    match command {
        OutboxCommand::List { receiver, state, limit, json, reach } => {
            let client = reach.client()?;
            let query = OutboxQuery { receiver, state, limit: Some(limit.into()), cursor: None };
            let answer = async { Ok(client.get("/api/outbox", &query).await?) };
            let read = |store: &StoreReader| {
                // A state that does not exist has no notifications.
                let rows = match query.state.as_deref().map(str::parse::<OutboxState>).transpose() {
                    Ok(state) => store.outbox(query.receiver.as_deref(), state, limit)?,
                    Err(_) => Vec::new(),
                };
                Ok(List { items: rows.iter().map(item).collect(), next_cursor: None })
            };
            let notifications: List<NotificationItem> = reach.ask_or_read(answer, read).await?;
            match json {
                true => print_json(&notifications)?,
                false if notifications.items.is_empty() => print("no notifications"),
                false => notifications.items.iter().for_each(|row| print(line(row))),
            }
        }
        OutboxCommand::Retry { chosen, reach } => {
            let chosen = ChosenNotifications::from(chosen);
            let Retried { retried } = reach.client()?.change(Method::POST, "/api/outbox/retry", &chosen).await?;
            print(format_args!("{} notifications are tried again", retried.len()));
        }
        OutboxCommand::Drop { chosen, reach } => {
            let chosen = ChosenNotifications::from(chosen);
            let Dropped { dropped } = reach.client()?.change(Method::POST, "/api/outbox/drop", &chosen).await?;
            print(format_args!("{dropped} notifications were dropped"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The line of a notification.
pub(super) fn line(row: &NotificationItem) -> String {
    let [receiver, title, created] = [&row.receiver, &row.title, &row.created_at.0].map(|text| shown(text));
    let [reason, why] = [&row.reason, &row.why].map(|text| shown(text.as_deref().unwrap_or_default()));
    let failure = match (reason.as_str(), why.as_str()) {
        ("", "") => String::new(),
        ("", why) => format!("  ({why})"),
        (reason, why) => format!("  ({reason} after {} attempts: {why})", row.attempts),
    };
    let (id, state, tells, severity) = (row.id, row.state.as_str(), row.tells.as_str(), row.severity);
    format!("#{id}  {receiver}  {state}  {tells}  {created}  {severity}: {title}{failure}")
}
