//! Canaries: a new generation is tried on the latest snapshots before it serves.

use std::collections::BTreeSet;
use std::sync::Arc;

use pharos_model::finding::RuleSpec;
use pharos_model::snapshot::Change;
use pharos_model::snapshot::Snapshot;
use pharos_model::subject::SubjectKind;
use tracing::info;

use super::load_error::LoadError;
use super::loader::Prepared;

/// Tries a generation on every latest snapshot that its rules are about. A failure that counts against the plugin refuses it.
pub(super) async fn run_canaries(prepared: &Prepared, latest: &[Arc<Change>]) -> Result<(), LoadError> {
    let Prepared { world, generation, .. } = prepared;
    let id = generation.description.id.as_str();
    for change in canaries(&generation.rules, latest) {
        match world.try_on(generation, change).await {
            Ok(()) => {}
            Err(err) if err.is_offence() => return Err(LoadError::Canary(err)),
            Err(err) => info!(plugin = id, "the trial run of `{id}` {err}"),
        }
    }
    Ok(())
}

/// The latest snapshots that rules are about. An empty snapshot stands in for a kind that was not collected yet.
fn canaries(rules: &[RuleSpec], latest: &[Arc<Change>]) -> Vec<Arc<Change>> {
    let kinds: BTreeSet<&SubjectKind> = rules.iter().map(|rule| &rule.subject_kind).collect();
    let of_kind = |kind: &SubjectKind| {
        let real: Vec<_> = latest.iter().filter(|change| change.snapshot.subject.kind == *kind).cloned().collect();
        if real.is_empty() { vec![Arc::new(Change::first(Snapshot::empty(kind.clone())))] } else { real }
    };
    kinds.into_iter().flat_map(of_kind).collect()
}
