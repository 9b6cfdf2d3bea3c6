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

/// Most entries that are read from the store of a stopped agent.
const HISTORY_MAX: u32 = 200;

#[derive(Debug, Subcommand)]
pub(crate) enum AlertsCommand {
    /// List open alerts, the gravest first
    List {
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Show what is wrong, why, and what to do: detail, cause, fix and evidence of an alert
    Show {
        /// Fingerprint of the alert, or its first digits
        fingerprint: String,
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Explain which receivers were notified of an alert, which were not, and why
    Explain {
        /// Fingerprint of the alert, or its first digits
        fingerprint: String,
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// List what happened to an alert, newest first; the number after # is the incident, counted over all alerts of the agent
    History {
        /// Fingerprint of the alert, or its first digits
        fingerprint: String,
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// Acknowledge an alert: no receiver is reminded of it until it ends or becomes graver
    Ack {
        /// Fingerprint of the alert, or its first digits if the alert is open
        fingerprint: String,
        /// What is done about the alert
        #[arg(long, required_unless_present = "undo")]
        comment: Option<String>,
        /// Name of the person who takes care of the alert [default: the token's name, or $USER]
        #[arg(long)]
        author: Option<String>,
        /// Withdraw the acknowledgement
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        reach: Reach,
    },
}

pub(crate) async fn run(command: AlertsCommand) -> anyhow::Result<ExitCode> {
    match command {
        AlertsCommand::List { json, reach } => {
            let alerts = open_alerts(&reach.client()?).await?;
            match json {
                true => print_json(&alerts)?,
                false if alerts.items.is_empty() => print("no alerts"),
                false => alerts.items.iter().for_each(|alert| print(line::alert(alert))),
            }
        }
        AlertsCommand::Show { fingerprint, json, reach } => {
            let alert = explanation(&reach.client()?, &fingerprint).await?.alert;
            if json { print_json(&alert)? } else { print(show::text(&alert)) }
        }
        AlertsCommand::Explain { fingerprint, json, reach } => {
            let answer = explanation(&reach.client()?, &fingerprint).await?;
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
                    print(format_args!("{} acknowledged {fingerprint}", shown(&answer.author)));
                }
                None => {
                    let _: Unacknowledged = client.change(Method::DELETE, &path, &EmptyBody {}).await?;
                    print(format_args!("{fingerprint} is no longer acknowledged"));
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn open_alerts(client: &Client) -> anyhow::Result<List<AlertItem>> {
    Ok(client.get("/api/alerts", &AlertsQuery::default()).await?)
}

async fn explanation(client: &Client, fingerprint: &str) -> anyhow::Result<AlertExplanation> {
    check_digits(fingerprint)?;
    Ok(client.get(&format!("/api/alerts/{fingerprint}"), &()).await?)
}

/// The history in the running agent, or in the store of a stopped one.
async fn history(fingerprint: &str, reach: &Reach) -> anyhow::Result<Vec<HistoryItem>> {
    let client = reach.client()?;
    let answer = async { Ok(explanation(&client, fingerprint).await?.history) };
    let read = |store: &StoreReader| {
        let matching = store.fingerprints(fingerprint, HISTORY_MAX)?;
        if matching.len() > 1 {
            bail!("{} alerts have fingerprints that begin with `{fingerprint}`: {}; give more digits", matching.len(), matching.join(", "));
        }
        let fingerprint = matching.first().map_or(fingerprint, String::as_str);
        Ok(store.alert_history(fingerprint, HISTORY_MAX)?.iter().map(history_item).collect())
    };
    reach.ask_or_read(answer, read).await
}

fn check_digits(prefix: &str) -> anyhow::Result<()> {
    if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) || prefix.len() > Fingerprint::DIGITS {
        bail!("`{prefix}` is no fingerprint; `pharos alerts list` shows those of open alerts");
    }
    Ok(())
}

/// Completes a fingerprint. Fewer than all digits must be the first digits of exactly one open alert.
async fn complete(client: &Client, prefix: &str) -> anyhow::Result<String> {
    check_digits(prefix)?;
    if prefix.len() == Fingerprint::DIGITS {
        return Ok(prefix.to_owned());
    }
    let matches = |alert: &AlertItem| alert.fingerprint.starts_with(&prefix.to_ascii_lowercase());
    let matching: Vec<AlertItem> = open_alerts(client).await?.items.into_iter().filter(matches).collect();
    match matching.as_slice() {
        [one] => Ok(one.fingerprint.clone()),
        [] => bail!("no open alert has a fingerprint that begins with `{prefix}`"),
        _ => bail!("{} open alerts have fingerprints that begin with `{prefix}`; give more digits", matching.len()),
    }
}
