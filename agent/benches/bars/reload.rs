//! From the moment a plugin file is replaced to the moment its new generation serves.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use pharos::config::plugins::PluginsConfig;
use pharos::plugin::compile::HELPER_COMMAND;
use pharos::plugin::digest;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::agent::{Place, Servers};
use super::table::{Table, Times};
use super::{pharos, shipped};

const ID: &str = "postgres-essentials";
const ROUNDS: u8 = 7;
/// The time that a reload may add to the compilation.
const BEYOND_COMPILING_MAX: Duration = Duration::from_millis(200);

pub async fn measure(table: &mut Table) -> anyhow::Result<()> {
    let servers = Servers::start().await?;
    let place = Place::new(&servers).await?;
    let process = place.start()?;
    place.settle().await?;
    let debounce = PluginsConfig::default().debounce;
    let plugin = shipped(ID)?;
    let (mut reloads, mut compiles) = (Times::default(), Times::default());
    for round in 0..ROUNDS {
        let (reloaded, compiled) = (build(&plugin, 2 * round), build(&plugin, 2 * round + 1));
        reloads.take(replace(&place, &reloaded)).await?;
        compiles.take(compile(&place, &compiled)).await?;
    }
    process.stop().await?;
    let (reload, compile) = (reloads.median().saturating_sub(debounce), compiles.median());
    let measured = format!("{reload:.0?}, of it compiling {compile:.0?}");
    table.plain(
        "plugin file replaced to serving, without debounce",
        "<= compile time + 200 ms",
        measured,
        reload <= compile + BEYOND_COMPILING_MAX,
    );
    Ok(())
}

/// The plugin with another content that means the same: a custom section at its end.
fn build(plugin: &[u8], number: u8) -> Vec<u8> {
    let mut bytes = plugin.to_vec();
    bytes.extend([0, 5, 3, b'b', b'a', b'r', number]);
    bytes
}

/// Replaces the file as an installer would, and waits until its content serves.
async fn replace(place: &Place, bytes: &[u8]) -> anyhow::Result<()> {
    let temporary = place.path().join("next");
    std::fs::write(&temporary, bytes)?;
    std::fs::rename(&temporary, place.plugins().join(format!("{ID}.wasm")))?;
    let digest = digest(bytes);
    let serves = |answer: &[u8]| {
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        answer["items"].as_array().is_some_and(|items| items.iter().any(|item| item["digest"] == digest.as_str()))
    };
    place.wait("/api/plugins", serves).await
}

/// Compiles as the agent does, and only that.
async fn compile(place: &Place, bytes: &[u8]) -> anyhow::Result<()> {
    let output = place.path().join("compiled");
    let _ = std::fs::remove_file(&output);
    let memory_max = PluginsConfig::default().compile_memory_max.as_u64().to_string();
    let mut helper = Command::new(pharos()).arg(HELPER_COMMAND).arg(output).arg(memory_max).env_clear().stdin(Stdio::piped()).spawn()?;
    let mut input = helper.stdin.take().context("the helper has an input")?;
    input.write_all(bytes).await?;
    drop(input);
    anyhow::ensure!(helper.wait().await?.success(), "the compile helper failed");
    Ok(())
}
