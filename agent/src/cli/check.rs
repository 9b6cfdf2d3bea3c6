//! `pharos check`: reports everything that `pharos run` would refuse or could not use, and finds it in the same way.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pharos_model::error_chain::chain;

use super::shipped::shipped;
use super::terminal::print;
use super::workbench::Workbench;
use crate::config;
use crate::config::Mistake;
use crate::config::files::FilesCheck;
use crate::plugin::Examination;
use crate::store::{self, OwnerError};

const DATA_DIR: &str = "agent.data_dir";

pub(super) async fn check(named: Option<PathBuf>, no_files: bool) -> anyhow::Result<ExitCode> {
    let path = config::find(named.as_deref())?;
    let (config, source) = config::read_with_problems(&path)?;
    let Some(config) = config else { return Err(source.refuse(&[]).into()) };
    let workbench = Workbench::of(&config)?;
    let shipped = shipped();
    let examination = Examination { loader: workbench.loader(), shipped: &shipped, dir: &config.plugins.dir };
    let mut mistakes = examination.examine_everything().await;
    let FilesCheck { mistakes: mut files, mut notes } = if no_files { FilesCheck::default() } else { FilesCheck::of(&config) };
    let is_noted = files.iter().chain(&notes).any(|mistake| mistake.paths.iter().any(|path| path == DATA_DIR));
    if !no_files && !is_noted {
        check_data_dir(&config.agent.data_dir, &mut files, &mut notes);
    }
    mistakes.extend(files);
    // Plugins of the user may have labels and rules of their own, so with such a plugin these are notes and no mistakes.
    let unknown = config::labels::unknown(&config);
    if examination.only_shipped().await {
        mistakes.extend(unknown)
    } else {
        notes.extend(unknown)
    }
    notes.extend(config::labels::unmatched_values(&config, &examination.ids().await));
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

/// Adds why the agent would refuse an existing data directory. The refusal is certain if every user may write there. If only a group may,
/// it is a note, because the agent's user can be of that group.
fn check_data_dir(dir: &Path, mistakes: &mut Vec<Mistake>, notes: &mut Vec<Mistake>) {
    const WRITABLE_BY_ALL: u32 = 0o002;
    let Ok(found) = std::fs::metadata(dir) else { return };
    let Err(err) = store::inspect(dir) else { return };
    let is_certain = matches!(err, OwnerError::Withheld { .. } | OwnerError::Kind { .. });
    if is_certain || found.mode() & WRITABLE_BY_ALL != 0 {
        mistakes.push(Mistake::at(DATA_DIR, chain(&err)));
    } else {
        notes.push(Mistake::at(DATA_DIR, format!("{}; check as the agent's own user", chain(&err))));
    }
}
