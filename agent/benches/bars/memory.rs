//! The memory of the agent after a while of work, with the shipped plugins.

use std::time::Duration;

use bytesize::ByteSize;
use tokio::process::Command;
use tokio::time::sleep;

use super::agent::{Place, Process, Servers};
use super::pharos;
use super::table::Table;

const BAR: ByteSize = ByteSize::mib(64);
/// The time in which the demo starts its servers, and the time in which it ends.
const DEMO_EXTRA: Duration = Duration::from_secs(60);

pub async fn measure(table: &mut Table, time: Duration) -> anyhow::Result<()> {
    // Its servers and compile helpers are children, so the process is the agent, its small application and the receiver.
    let length = humantime::format_duration(time + DEMO_EXTRA).to_string();
    let mut demo = Process::start(Command::new(pharos()).args(["demo", "--for", &length]))?;
    sleep(time).await;
    if demo.has_ended()? {
        return beside_servers(table, time).await;
    }
    show(table, &format!("resident memory, {} of the demo", humantime::format_duration(time)), &demo)?;
    demo.stop().await
}

/// Without a demo: an agent beside servers that idle.
async fn beside_servers(table: &mut Table, time: Duration) -> anyhow::Result<()> {
    let servers = Servers::start().await?;
    let place = Place::new(&servers).await?;
    let process = place.start()?;
    place.settle().await?;
    sleep(time).await;
    show(table, &format!("resident memory, {} beside two servers", humantime::format_duration(time)), &process)?;
    process.stop().await
}

fn show(table: &mut Table, what: &str, process: &Process) -> anyhow::Result<()> {
    let (resident, anonymous) = process.resident()?;
    let measured = format!("{}, {} of it not backed by files", ByteSize::b(resident), ByteSize::b(anonymous));
    table.plain(what, &format!("<= {BAR}"), measured, resident <= BAR.as_u64());
    Ok(())
}
