//! `pharos silence add|list|expire`: alerts that match a silence are sent to no receiver for a while.

use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;

use super::reach::{Reach, author};
use super::terminal::{print, print_json, print_note, shown, shown_list};
use crate::api::client::EmptyBody;
use crate::api::list::List;
use crate::api::silence::{AddedSilence, NewSilence, SilenceItem};

#[derive(Debug, Subcommand)]
pub(super) enum SilenceCommand {
    /// Add a silence: alerts that match it are sent to no receiver for a while
    Add {
        /// Matchers such as rule="lag", server!=db1, database=~"app.*"; all must hold
        #[arg(required = true)]
        matchers: Vec<String>,
        /// Length of the silence, such as 2h
        #[arg(long = "for", value_parser = duration, required_unless_present = "ends", conflicts_with = "ends")]
        duration: Option<String>,
        /// Start of the silence, such as 2026-11-25T22:00:00Z [default: now]
        #[arg(long)]
        starts: Option<String>,
        /// End of the silence, instead of --for
        #[arg(long)]
        ends: Option<String>,
        /// Reason of the silence
        #[arg(long)]
        comment: String,
        /// Author of the silence [default: the token's name, or $USER]
        #[arg(long)]
        author: Option<String>,
        #[command(flatten)]
        reach: Reach,
    },
    /// List silences, including those that are over
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

/// Checks a duration, so that the error of a wrong one names the option.
fn duration(text: &str) -> Result<String, humantime::DurationError> {
    humantime::parse_duration(text).map(|_| text.to_owned())
}

pub(super) async fn run(command: SilenceCommand) -> anyhow::Result<ExitCode> {
    match command {
        SilenceCommand::Add { matchers, duration, starts, ends, comment, author: named, reach } => {
            let new = NewSilence { matchers, starts_at: starts, ends_at: ends, duration, author: author(named), comment };
            let added: AddedSilence = reach.client()?.change(Method::POST, "/api/silences", &new).await?;
            print_added(&added);
        }
        SilenceCommand::List { json, reach } => {
            let silences: List<SilenceItem> = reach.client()?.get("/api/silences", &()).await?;
            match json {
                true => print_json(&silences)?,
                false if silences.items.is_empty() => print("no silences"),
                false => silences.items.iter().for_each(|silence| print(line(silence))),
            }
        }
        SilenceCommand::Expire { id, reach } => {
            let path = format!("/api/silences/{id}");
            let silence: SilenceItem = reach.client()?.change(Method::DELETE, &path, &EmptyBody {}).await?;
            print(format_args!("silence {} is over", shown(&silence.id)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_added(added: &AddedSilence) {
    let hidden = match added.open_alerts_that_match {
        0 => "no open alert matches".to_owned(),
        1 => "1 open alert matches".to_owned(),
        count => format!("{count} open alerts match"),
    };
    print(format_args!("silence {} until {}; {hidden}", shown(&added.silence.id), shown(&added.silence.ends_at.0)));
    added.notes.iter().for_each(|note| print_note(&shown(note)));
}

fn line(silence: &SilenceItem) -> String {
    let state = silence.state.as_str();
    let matchers = shown_list(&silence.matchers, ",");
    let [id, starts, ends, author, comment] =
        [&silence.id, &silence.starts_at.0, &silence.ends_at.0, &silence.author, &silence.comment].map(|text| shown(text));
    let problem = silence.problem.as_deref().map(|why| format!("  hides nothing: {why}")).unwrap_or_default();
    format!("{id}  {state:7}  {starts} to {ends}  {{{matchers}}}  {author}: {comment}{problem}")
}
