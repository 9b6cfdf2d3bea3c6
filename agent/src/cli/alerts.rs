//! `pharos alerts list|show|explain|history|ack`: what is wrong, who was told of it, and why not.

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use hyper::Method;
use pharos_model::alert::Fingerprint;
use serde_json::{Value, json};

use super::reach::{Reach, author, items, shown};
use super::{explain, print, show};
use crate::api::client::Client;
use crate::http::history_item;
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
            let answer = reach.client()?.get::<Value>("/api/alerts", &()).await?;
            if json {
                print(&answer);
            } else if items(&answer).is_empty() {
                print("no alerts");
            }
            items(&answer).iter().filter(|_| !json).for_each(|alert| print(explain::line(alert)));
        }
        AlertsCommand::Show { fingerprint, json, reach } => {
            let answer = whole(&reach.client()?, &fingerprint).await?;
            if json { print(&answer["alert"]) } else { print(show::text(&answer["alert"])) }
        }
        AlertsCommand::Explain { fingerprint, json, reach } => {
            let answer = whole(&reach.client()?, &fingerprint).await?;
            if json { print(&answer) } else { print(explain::text(&answer)) }
        }
        AlertsCommand::History { fingerprint, json, reach } => {
            let history = history(&fingerprint, &reach).await?;
            if json { print(&history) } else { explain::history(&history).into_iter().for_each(print) }
        }
        AlertsCommand::Ack { fingerprint, comment, author: named, undo, reach } => {
            let client = reach.client()?;
            let fingerprint = complete(&client, &fingerprint).await?;
            let path = format!("/api/alerts/{fingerprint}/acknowledgement");
            if undo {
                client.change::<Value>(Method::DELETE, &path, &json!({})).await?;
                print(format_args!("nobody takes care of {fingerprint} any more"));
            } else {
                let answer = client.change::<Value>(Method::PUT, &path, &json!({ "author": author(named), "comment": comment })).await?;
                print(format_args!("{} takes care of {fingerprint}", shown(&answer["author"])));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn whole(client: &Client, fingerprint: &str) -> anyhow::Result<Value> {
    check(fingerprint)?;
    Ok(client.get(&format!("/api/alerts/{fingerprint}"), &()).await?)
}

/// From the running agent, or from the store of one that is stopped.
async fn history(fingerprint: &str, reach: &Reach) -> anyhow::Result<Value> {
    let client = reach.client()?;
    let answer = async { Ok(whole(&client, fingerprint).await?["history"].clone()) };
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
    let answer = client.get::<Value>("/api/alerts", &()).await?;
    let open: Vec<String> = items(&answer).iter().map(|alert| shown(&alert["fingerprint"])).collect();
    let meant: Vec<&String> = open.iter().filter(|fingerprint| fingerprint.starts_with(&begins.to_ascii_lowercase())).collect();
    match meant[..] {
        [one] => Ok(one.clone()),
        [] => bail!("no open alert has a fingerprint that begins with `{begins}`"),
        _ => bail!("{} open alerts have fingerprints that begin with `{begins}`; give more of it", meant.len()),
    }
}
