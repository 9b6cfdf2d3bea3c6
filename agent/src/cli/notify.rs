//! `pharos notify test RECEIVER`: whether messages arrive.

use std::process::ExitCode;

use clap::Subcommand;
use hyper::Method;
use serde_json::{Value, json};

use super::reach::{Reach, shown};
use super::{EXIT_FAILED, print};

#[derive(Debug, Subcommand)]
pub enum NotifyCommand {
    /// Send a message that says nothing but that it arrived
    Test {
        receiver: String,
        #[command(flatten)]
        reach: Reach,
    },
}

pub async fn run(command: NotifyCommand) -> anyhow::Result<ExitCode> {
    let NotifyCommand::Test { receiver, reach } = command;
    let answer = reach.client()?.change::<Value>(Method::POST, &format!("/api/receivers/{receiver}/test"), &json!({})).await?;
    let (outcome, why) = (shown(&answer["outcome"]), shown(&answer["why"]));
    if outcome == "accepted" {
        print(format_args!("`{receiver}` accepted a test message"));
        return Ok(ExitCode::SUCCESS);
    }
    print(format_args!("`{receiver}` did not accept a test message ({outcome}): {why}"));
    Ok(ExitCode::from(EXIT_FAILED))
}
