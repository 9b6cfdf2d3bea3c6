//! Identities within the dispatcher.

use crate::alert::Fingerprint;

/// Identity of an incident: the alert's fingerprint and the number of the incident.
pub type IncidentKey = (Fingerprint, u64);

/// Identity of a group: the receiver and the group key.
pub(super) type GroupId = (String, String);
