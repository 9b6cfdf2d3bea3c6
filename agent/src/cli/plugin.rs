//! `pharos plugin inspect|test`: lets authors check a plugin file before an agent loads it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Subcommand;
use pharos_model::finding::{Finding, Skipped};

use super::terminal::{print, print_last_words};
use super::workbench::{Workbench, plugin_id, read_plugin, read_snapshot};

use crate::plugin::validate::Demand;
use crate::plugin::{ALERT_RULE, CallError, LoadError, LoadedPlugin, digest, validate};

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Print world, imports, wants and rules of a plugin file
    Inspect {
        file: PathBuf,
        /// TOML file with the plugin's settings, as under [plugin.ID.settings]
        #[arg(long)]
        settings: Option<PathBuf>,
    },
    /// Run an alert plugin on a recorded snapshot and print what it reports
    Test {
        file: PathBuf,
        /// A snapshot recorded by `pharos snapshot`
        #[arg(long)]
        snapshot: PathBuf,
        /// TOML file with the plugin's settings, as under [plugin.ID.settings]
        #[arg(long)]
        settings: Option<PathBuf>,
    },
}

pub(super) async fn run(command: PluginCommand) -> anyhow::Result<ExitCode> {
    match command {
        PluginCommand::Inspect { file, settings } => inspect(&file, settings.as_deref()).await,
        PluginCommand::Test { file, snapshot, settings } => test(&file, &snapshot, settings.as_deref()).await,
    }
}

async fn inspect(file: &Path, settings: Option<&Path>) -> anyhow::Result<ExitCode> {
    let (bytes, inspection) = read_plugin(file)?;
    print(format_args!("file     {} ({}, sha256 {})", file.display(), bytesize::ByteSize::b(bytes.len() as u64), digest(&bytes)));
    print(format_args!("world    {}, contract {}", inspection.world.name(), inspection.contract));
    for import in &inspection.imports {
        let is_inert = validate::INERT.iter().any(|(package, _)| validate::is_of(import, package));
        print(format_args!("import   {import}{}", if is_inert { " (inert)" } else { "" }));
    }
    for (package, why) in validate::INERT {
        if inspection.imports.iter().any(|import| validate::is_of(import, package)) {
            print(format_args!("inert    imports {package}: inert, since {why}"));
        }
    }
    let Demand { core_instances, memories, tables } = inspection.demand;
    print(format_args!("size     {core_instances} core module instances, {memories} memories, {tables} tables in each instance"));
    let plugin = load(file, &bytes, settings).await?;
    let description = plugin.description();
    print(format_args!("plugin   {} {}: {}", description.id, description.version, description.summary));
    for (want, reason) in &description.wants {
        print(format_args!("wants    {want}: {reason}"));
    }
    for rule in plugin.rules() {
        print(format_args!(
            "rule     {} ({}, {}): {}{}{}; needs {}",
            rule.id,
            rule.subject_kind,
            rule.category,
            rule.summary,
            time("for", rule.for_),
            time("keeps firing", rule.keep_firing),
            if rule.needs.is_empty() { "nothing".to_owned() } else { rule.needs.join(", ") }
        ));
    }
    for warning in plugin.warnings() {
        print(format_args!("warning  {warning}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Text of a time of a rule, such as `; for 5m`. Empty if the time is zero.
fn time(what: &str, time: Duration) -> String {
    if time.is_zero() { String::new() } else { format!("; {what} {}", humantime::format_duration(time)) }
}

async fn test(file: &Path, snapshot: &Path, settings: Option<&Path>) -> anyhow::Result<ExitCode> {
    let (bytes, inspection) = read_plugin(file)?;
    if inspection.world != ALERT_RULE {
        bail!("{} is a {}; only alert rules can be tested on a snapshot", file.display(), inspection.world.name());
    }
    let change = read_snapshot(snapshot)?;
    let subject = change.snapshot.subject.key();
    let plugin = load(file, &bytes, settings).await?;
    let (usage, judged) = plugin.evaluate(Arc::new(change)).await;
    print_last_words(judged.as_ref().err().and_then(CallError::last_words));
    let report = judged.with_context(|| format!("`{}` failed on {subject}", plugin.description().id))?;
    for finding in &report.report.findings {
        print(finding_line(finding));
    }
    for skipped in &report.report.skipped {
        print(skipped_line(skipped));
    }
    for repair in &report.repairs {
        print(format_args!("repaired {repair}"));
    }
    print(format_args!(
        "{} findings, {} skipped, on {subject}; {:.2?} of CPU time, {:.2?} in all, {} of memory",
        report.report.findings.len(),
        report.report.skipped.len(),
        usage.cpu,
        usage.wall,
        bytesize::ByteSize::b(usage.memory_peak_bytes)
    ));
    Ok(ExitCode::SUCCESS)
}

fn finding_line(finding: &Finding) -> String {
    let labels: Vec<String> = finding.labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
    let strength = match finding.strength {
        pharos_model::finding::Strength::Raise => "",
        pharos_model::finding::Strength::Hold => " (hold)",
    };
    let fix = finding.fix.as_deref().map(|fix| format!("\n           fix: {fix}")).unwrap_or_default();
    format!(
        "{:8} {}{{{}}}{strength}: {}\n           {}{fix}",
        finding.severity,
        finding.rule,
        labels.join(","),
        finding.title,
        finding.detail
    )
}

fn skipped_line(skipped: &Skipped) -> String {
    format!("skipped  {}: {}", skipped.rule, skipped.reason)
}

/// Loads a plugin file with the settings of the file `settings`, or with none.
async fn load(file: &Path, bytes: &Bytes, settings: Option<&Path>) -> anyhow::Result<LoadedPlugin> {
    let settings = match settings {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            toml::from_str(&text).with_context(|| path.display().to_string())?
        }
        None => toml::Table::new(),
    };
    let loaded = Workbench::open()?.load(plugin_id(file)?, bytes, settings).await;
    print_last_words(loaded.as_ref().err().and_then(LoadError::last_words));
    loaded.with_context(|| file.display().to_string())
}
