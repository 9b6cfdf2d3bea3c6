//! Exit codes: 0 done, 1 failed, 2 wrong usage (clap), 78 the configuration cannot be used (sysexits' EX_CONFIG).

use std::process::ExitCode;

use crate::agent::StartError;
use crate::config::LoadError;
use crate::lifecycle::Ending;
use crate::plugin::{compile, compile_helper};
use crate::store::StoreError;

pub(super) const FAILED: u8 = 1;
pub(super) const CONFIG: u8 = 78;

/// The code of a command that ran an agent to its end.
pub(super) fn code_of_ending(ending: Ending) -> ExitCode {
    match ending {
        Ending::Drained => ExitCode::SUCCESS,
        Ending::Cut | Ending::Failed => ExitCode::from(FAILED),
    }
}

/// The code of a command that failed.
pub(super) fn code_of(err: &anyhow::Error) -> ExitCode {
    if err.downcast_ref::<compile_helper::Unwritten>().is_some() {
        return ExitCode::from(compile::EXIT_UNWRITTEN);
    }
    let config = err.downcast_ref::<LoadError>().is_some()
        || matches!(
            err.downcast_ref::<StartError>(),
            Some(
                StartError::Listen(_) | StartError::Store(StoreError::Locked { .. } | StoreError::Directory { .. } | StoreError::Owner(_))
            )
        );
    ExitCode::from(if config { CONFIG } else { FAILED })
}
