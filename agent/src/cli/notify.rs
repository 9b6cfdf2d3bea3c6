//! `pharos notify test RECEIVER`: sends a test message and prints whether the receiver accepted it.

use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;

use super::exit;
use super::reach::Reach;
use super::terminal::{print, shown};
use crate::api::client::EmptyBody;
use crate::api::receiver::{ReceiverTest, TestOutcome};

#[derive(Debug, Subcommand)]
pub(super) enum NotifyCommand {
    /// Send a test message to a receiver and print whether it was accepted
    Test {
        receiver: String,
        #[command(flatten)]
        reach: Reach,
    },
}

pub(super) async fn run(command: NotifyCommand) -> anyhow::Result<ExitCode> {
    let NotifyCommand::Test { receiver, reach } = command;
    let path = format!("/api/receivers/{receiver}/test");
    let ReceiverTest { outcome, why, .. } = reach.client()?.change(Method::POST, &path, &EmptyBody {}).await?;
    if outcome == TestOutcome::Accepted {
        print(format_args!("`{receiver}` accepted a test message"));
        return Ok(ExitCode::SUCCESS);
    }
    let why = shown(why.as_deref().unwrap_or_default());
    print(format_args!("`{receiver}` did not accept a test message ({}): {why}", outcome.as_str()));
    Ok(ExitCode::from(exit::FAILED))
}
