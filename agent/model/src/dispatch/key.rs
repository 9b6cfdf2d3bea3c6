//! Identities within the dispatcher.

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, Fingerprint};
use crate::outbox::NewRow;

/// Identity of an incident: an alert that fires again is a new incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IncidentKey {
    pub fingerprint: Fingerprint,
    /// The number of the incident.
    pub incident: u64,
}

impl From<&Alert> for IncidentKey {
    fn from(alert: &Alert) -> Self {
        Self { fingerprint: alert.fingerprint, incident: alert.incident }
    }
}

impl From<&NewRow> for IncidentKey {
    fn from(row: &NewRow) -> Self {
        Self { fingerprint: row.fingerprint, incident: row.incident }
    }
}

/// Identity of a group: alerts that share messages to one receiver.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupId {
    pub receiver: String,
    pub group_key: String,
}
