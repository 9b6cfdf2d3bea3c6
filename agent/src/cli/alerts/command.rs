//! `pharos alerts list|show|explain|history|ack`

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use hyper::Method;
use pharos_model::alert::Fingerprint;

use super::{explain, line, show};
use crate::api::alert::{Acknowledged, AlertItem, AlertsQuery, NewAcknowledgement, Unacknowledged};
use crate::api::client::{Client, EmptyBody};
use crate::api::decision::{AlertExplanation, HistoryItem};
use crate::api::list::List;
use crate::cli::reach::{Reach, author};
use crate::cli::terminal::{print, print_json, shown};
use crate::http::routes::alerts::history_item;
use crate::store::StoreReader;

/// Entries that are read of a stopped agent's store.
const HISTORY_MAX: u32 = 200;

#[derive(Debug, Subcommand)]
pub enum AlertsCommand {
    /// List open alerts, the gravest first
    List {
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Show what is wrong, why, and what to do: detail, cause, fix and evidence of an alert
    Show {
        /// Its fingerprint, or how it begins
        fingerprint: String,
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Explain who was told of an alert, who was not, and why
    Explain {
        /// Its fingerprint, or how it begins
        fingerprint: String,
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// What happened to an alert, newest first; # numbers each time that it was wrong, over all alerts of the agent
    History {
        /// Its fingerprint, or how it begins
        fingerprint: String,
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Say that somebody takes care: nobody is reminded, until it ends or becomes graver
    Ack {
        /// Its fingerprint, or how that of an open one begins
        fingerprint: String,
        /// What is done
        #[arg(long, required_unless_present = "undo")]
        comment: Option<String>,
        /// Who [default: the token's name, or $USER]
        #[arg(long)]
        author: Option<String>,
        /// Nobody takes care any more
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        reach: Reach,
    },
}

pub async fn run(command: AlertsCommand) -> anyhow::Result<ExitCode> {
    match command {
        AlertsCommand::List { json, reach } => {
            let alerts = open(&reach.client()?).await?;
            match json {
                true => print_json(&alerts)?,
                false if alerts.items.is_empty() => print("no alerts"),
                false => alerts.items.iter().for_each(|alert| print(line::alert(alert))),
            }
        }
        AlertsCommand::Show { fingerprint, json, reach } => {
            let alert = whole(&reach.client()?, &fingerprint).await?.alert;
            if json { print_json(&alert)? } else { print(show::text(&alert)) }
        }
        AlertsCommand::Explain { fingerprint, json, reach } => {
            let answer = whole(&reach.client()?, &fingerprint).await?;
            if json { print_json(&answer)? } else { print(explain::text(&answer)) }
        }
        AlertsCommand::History { fingerprint, json, reach } => {
            let history = history(&fingerprint, &reach).await?;
            if json { print_json(&history)? } else { history.iter().for_each(|entry| print(line::history(entry))) }
        }
        AlertsCommand::Ack { fingerprint, comment, author: named, undo, reach } => {
            let client = reach.client()?;
            let fingerprint = complete(&client, &fingerprint).await?;
            let path = format!("/api/alerts/{fingerprint}/acknowledgement");
            // The command line asks for a comment unless the acknowledgement is undone.
            match comment.filter(|_| !undo) {
                Some(comment) => {
                    let new = NewAcknowledgement { author: author(named), comment };
                    let answer: Acknowledged = client.change(Method::PUT, &path, &new).await?;
                    print(format_args!("{} takes care of {fingerprint}", shown(&answer.author)));
                }
                None => {
                    let _: Unacknowledged = client.change(Method::DELETE, &path, &EmptyBody {}).await?;
                    print(format_args!("nobody takes care of {fingerprint} any more"));
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn open(client: &Client) -> anyhow::Result<List<AlertItem>> {
    Ok(client.get("/api/alerts", &AlertsQuery::default()).await?)
}

async fn whole(client: &Client, fingerprint: &str) -> anyhow::Result<AlertExplanation> {
    check(fingerprint)?;
    Ok(client.get(&format!("/api/alerts/{fingerprint}"), &()).await?)
}

/// The history in the running agent, or in the store of a stopped one.
async fn history(fingerprint: &str, reach: &Reach) -> anyhow::Result<Vec<HistoryItem>> {
    let client = reach.client()?;
    let answer = async { Ok(whole(&client, fingerprint).await?.history) };
    let read = |store: &StoreReader| {
        let meant = store.fingerprints(fingerprint, HISTORY_MAX)?;
        if meant.len() > 1 {
            bail!("{} alerts have fingerprints that begin with `{fingerprint}`: {}; give more of it", meant.len(), meant.join(", "));
        }
        let fingerprint = meant.first().map_or(fingerprint, String::as_str);
        Ok(store.alert_history(fingerprint, HISTORY_MAX)?.iter().map(history_item).collect())
    };
    reach.ask_or_read(answer, read).await
}

fn check(begins: &str) -> anyhow::Result<()> {
    if begins.is_empty() || !begins.bytes().all(|byte| byte.is_ascii_hexdigit()) || begins.len() > Fingerprint::DIGITS {
        bail!("`{begins}` is no fingerprint; `pharos alerts list` shows those of open alerts");
    }
    Ok(())
}

/// The fingerprint that is meant: all of its digits, or the first ones of an alert that is open.
async fn complete(client: &Client, begins: &str) -> anyhow::Result<String> {
    check(begins)?;
    if begins.len() == Fingerprint::DIGITS {
        return Ok(begins.to_owned());
    }
    let begins_so = |alert: &AlertItem| alert.fingerprint.starts_with(&begins.to_ascii_lowercase());
    let meant: Vec<AlertItem> = open(client).await?.items.into_iter().filter(begins_so).collect();
    match meant.as_slice() {
        [one] => Ok(one.fingerprint.clone()),
        [] => bail!("no open alert has a fingerprint that begins with `{begins}`"),
        _ => bail!("{} open alerts have fingerprints that begin with `{begins}`; give more of it", meant.len()),
    }
}
