//! `pharos silence add|list|expire`: alerts that nobody shall hear of for a while.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;
use serde_json::{Value, json};

use super::print;
use super::reach::{Reach, author, items, shown};

#[derive(Debug, Subcommand)]
pub enum SilenceCommand {
    /// Hide alerts that match for a while
    Add {
        /// Such as rule="lag", server!=db1, database=~"app.*"; all must hold
        #[arg(required = true)]
        matchers: Vec<String>,
        /// How long, like 2h
        #[arg(long = "for", value_parser = duration, required_unless_present = "ends", conflicts_with = "ends")]
        duration: Option<String>,
        /// From when on, like 2026-11-25T22:00:00Z [default: now]
        #[arg(long)]
        starts: Option<String>,
        /// Until when, instead of --for
        #[arg(long)]
        ends: Option<String>,
        /// Why
        #[arg(long)]
        comment: String,
        /// Who [default: the token's name, or $USER]
        #[arg(long)]
        author: Option<String>,
        #[command(flatten)]
        reach: Reach,
    },
    /// List silences, those that are over included
    List {
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reach: Reach,
    },
    /// End a silence now
    Expire {
        id: String,
        #[command(flatten)]
        reach: Reach,
    },
}

/// Checked here, so that the error names the option.
fn duration(text: &str) -> Result<String, humantime::DurationError> {
    humantime::parse_duration(text).map(|_| text.to_owned())
}

pub async fn run(command: SilenceCommand) -> anyhow::Result<ExitCode> {
    match command {
        SilenceCommand::Add { matchers, duration, starts, ends, comment, author: named, reach } => {
            let body = json!({
                "matchers": matchers, "duration": duration, "starts_at": starts, "ends_at": ends, "comment": comment, "author": author(named),
            });
            let silence = reach.client()?.change::<Value>(Method::POST, "/api/silences", &body).await?;
            let hidden = match silence["open_alerts_that_match"].as_u64() {
                Some(0) => "no open alert matches".to_owned(),
                Some(1) => "1 open alert matches".to_owned(),
                count => format!("{} open alerts match", count.unwrap_or_default()),
            };
            print(format_args!("silence {} until {}; {hidden}", shown(&silence["id"]), shown(&silence["ends_at"])));
            for note in silence["notes"].as_array().into_iter().flatten() {
                // A closed pipe is no reason to fail.
                let _ = writeln!(std::io::stderr().lock(), "note: {}", shown(note));
            }
        }
        SilenceCommand::List { json, reach } => {
            let answer = reach.client()?.get::<Value>("/api/silences", &()).await?;
            if json {
                print(&answer);
            } else if items(&answer).is_empty() {
                print("no silences");
            }
            for silence in items(&answer).iter().filter(|_| !json) {
                let matchers: Vec<String> = silence["matchers"].as_array().into_iter().flatten().map(shown).collect();
                let [id, state, starts, ends, author, comment] =
                    ["id", "state", "starts_at", "ends_at", "author", "comment"].map(|key| shown(&silence[key]));
                let problem = silence["problem"].as_str().map(|why| format!("  hides nothing: {why}")).unwrap_or_default();
                print(format_args!("{id}  {state:7}  {starts} to {ends}  {{{}}}  {author}: {comment}{problem}", matchers.join(",")));
            }
        }
        SilenceCommand::Expire { id, reach } => {
            let silence = reach.client()?.change::<Value>(Method::DELETE, &format!("/api/silences/{id}"), &json!({})).await?;
            print(format_args!("silence {} is over", shown(&silence["id"])));
        }
    }
    Ok(ExitCode::SUCCESS)
}
