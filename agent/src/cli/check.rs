//! `pharos check`: everything that `pharos run` would refuse or could not use, found as `run` finds it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::print;
use super::workbench::Workbench;
use crate::config;
use crate::config::files::FilesCheck;
use crate::plugin::Examination;

pub async fn check(named: Option<PathBuf>, no_files: bool) -> anyhow::Result<ExitCode> {
    let path = config::find(named.as_deref())?;
    let (config, source) = config::look(&path)?;
    let Some(config) = config else { return Err(source.refuse(&[]).into()) };
    let workbench = Workbench::of(&config)?;
    let shipped = super::shipped();
    let examination = Examination { loader: workbench.loader(), shipped: &shipped, dir: &config.plugins.dir };
    let mut mistakes = examination.of_everything().await;
    let FilesCheck { mistakes: files, mut notes } = if no_files { FilesCheck::default() } else { FilesCheck::of(&config) };
    mistakes.extend(files);
    // A plugin of the user's own may have labels and rules of its own, so with one of them these are guesses.
    let unknown = config::labels::unknown(&config);
    if examination.only_shipped().await {
        mistakes.extend(unknown)
    } else {
        notes.extend(unknown)
    }
    notes.extend(config::labels::strange_values(&config, &examination.ids().await));
    for note in source.locate(&notes) {
        // A closed pipe is no reason to fail.
        let _ = writeln!(std::io::stderr().lock(), "{}:{}:{}: note: {}", path.display(), note.line, note.column, note.message);
    }
    if !mistakes.is_empty() || !source.is_right() {
        return Err(source.refuse(&mistakes).into());
    }
    print(format_args!("{}: ok", path.display()));
    Ok(ExitCode::SUCCESS)
}
