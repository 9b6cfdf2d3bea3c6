//! Schemas of the model's names, since the model has no schemas itself. Each schema lists the names as they are served.

use pharos_model::alert::{AlertState, Reason};
use pharos_model::dispatch::{HoldReason, SilenceState};
use pharos_model::finding::Severity;
use pharos_model::outbox::{IncidentPart, OutboxState};
use schemars::{Schema, SchemaGenerator, json_schema};

fn names<const N: usize>(names: [&str; N]) -> Schema {
    json_schema!({ "type": "string", "enum": names.as_slice() })
}

pub(super) fn severity(_: &mut SchemaGenerator) -> Schema {
    names(Severity::ALL.map(Severity::as_str))
}

pub(super) fn alert_state(_: &mut SchemaGenerator) -> Schema {
    use AlertState::{Firing, Inactive, Pending, Recovering, Resolved};
    names([Inactive, Pending, Firing, Recovering, Resolved].map(AlertState::as_str))
}

pub(super) fn transition_reason(_: &mut SchemaGenerator) -> Schema {
    names(Reason::NAMES)
}

pub(super) fn silence_state(_: &mut SchemaGenerator) -> Schema {
    names([SilenceState::Pending, SilenceState::Active, SilenceState::Expired].map(SilenceState::as_str))
}

pub(super) fn tells(_: &mut SchemaGenerator) -> Schema {
    names([IncidentPart::Begin, IncidentPart::Change, IncidentPart::End].map(IncidentPart::as_str))
}

pub(super) fn notification_state(_: &mut SchemaGenerator) -> Schema {
    names(OutboxState::ALL.map(OutboxState::as_str))
}

pub(super) fn hold_reason(_: &mut SchemaGenerator) -> Schema {
    use HoldReason::{Acknowledged, Behind, Inhibited, Silenced, Unrouted};
    names([Silenced, Inhibited, Acknowledged, Behind, Unrouted].map(HoldReason::as_str))
}
