//! Checks of the state store: whether it can preserve the state over a restart.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope};
use pharos_plugin::{Severity, SkipReason, Snapshot};

use crate::label;

const DAMAGED: &str = "pharos_store_damaged_files";
const DEGRADED: &str = "pharos_store_degraded";

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "store-damaged",
        summary: "a damaged state store was set aside",
        category: "state",
        scope: Scope::Each,
        labels: &["store"],
        needs: &[DAMAGED],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Warning),
        observe: damaged,
        explain: store_damaged,
    },
    Check {
        id: "store-degraded",
        summary: "the state store cannot store everything",
        category: "state",
        scope: Scope::Each,
        labels: &["store"],
        needs: &[DEGRADED],
        hold_off: Duration::ZERO,
        keep_firing: Duration::from_mins(1),
        grading: Grading::Fact(Severity::Critical),
        observe: degraded,
        explain: store_degraded,
    },
];

fn damaged(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let Some(table) = snapshot.table("damaged_stores") else { return Ok(Vec::new()) };
    Ok(table.texts("name").into_iter().flatten().map(|name| Observation::new(label("store", &name), 1.0)).collect())
}

fn store_damaged(case: &Case) -> Explanation {
    let name = case.label("store");
    let table = case.snapshot.table("damaged_stores");
    let row = table.as_ref().and_then(|table| table.texts("name").iter().position(|known| known.as_deref() == Some(name)));
    let path = row.and_then(|row| table.and_then(|table| table.texts("path").into_iter().nth(row)?)).unwrap_or_else(|| name.to_owned());
    Explanation {
        title: "damaged state store was set aside".to_owned(),
        detail: format!(
            "At a start the state store could not be read, so a new store was created; the damaged store is {path}. Open alerts began \
             again, and are sent again; waiting notifications, acknowledgements, silences and the earlier history are lost."
        ),
        cause: "A disk or file system that loses writes, another program that wrote to the file, or a copy made while the agent ran."
            .to_owned(),
        fix: format!(
            "Look at the disk (`dmesg | grep -i error`, `smartctl -a DEVICE`). To read the rest of the old store: `sqlite3 {path} \
             .recover`. Then remove {path} and, if they are there, {path}-wal and {path}-shm."
        ),
        evidence: Vec::new(),
    }
}

fn degraded(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let is_degraded = snapshot.value(DEGRADED)? == Some(1.0);
    Ok(is_degraded.then_some(Observation::new(Vec::new(), 1.0)).into_iter().collect())
}

fn store_degraded(case: &Case) -> Explanation {
    let parts = case.snapshot.table("parts");
    let row = parts.as_ref().and_then(|parts| parts.texts("name").iter().position(|name| name.as_deref() == Some("store")));
    let why = row.and_then(|row| parts.and_then(|parts| parts.texts("cause").into_iter().nth(row)?));
    Explanation {
        title: "state store cannot store everything".to_owned(),
        detail: format!("Alerts are still judged and sent.{}", why.map(|why| format!(" The store: {why}.")).unwrap_or_default()),
        cause: "The disk is full, read-only or failing.".to_owned(),
        fix: "See `df -h` and `df -i` of the folder `agent.data_dir`, and `dmesg`. Make room there: the agent recovers by itself."
            .to_owned(),
        evidence: Vec::new(),
    }
}
