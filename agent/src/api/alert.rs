//! Alerts as lists show them, and acknowledgements.

use std::collections::BTreeMap;

use pharos_model::alert::AlertState;
use pharos_model::finding::Severity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::list::Timestamp;
use super::names;

/// A page of `GET /api/alerts` has at most this many alerts. A request without `limit` gets all of them.
pub(crate) const ALERTS_LIMIT_MAX: u32 = 10_000;

/// Which open alerts are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertsQuery {
    /// Name of a `[[database]]` or `[[redis]]` of the config file. All alerts if absent, those about the agent itself included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Alerts on one page. All of them if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = ALERTS_LIMIT_MAX))]
    pub limit: Option<i64>,
    /// `next_cursor` of the page before. Alerts that open or end between two requests cannot hide other alerts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// An alert: a finding of a plugin over time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AlertItem {
    /// Identity of the alert through all its incidents: sixteen hex digits.
    #[schemars(regex(pattern = "^[0-9a-f]{16}$"), example = "3f2a000000000001")]
    pub fingerprint: String,
    /// Number of the incident, which lasts from the first finding to the end of the alert. Incidents are numbered over all alerts of an
    /// agent.
    pub incident: u64,
    /// Id of the rule, as its plugin declares it.
    #[schemars(example = "replication-lag")]
    pub rule: String,
    /// Id of the plugin.
    #[schemars(example = "postgres-replication")]
    pub plugin: String,
    pub subject: SubjectItem,
    /// Labels of the subject and of the finding together.
    pub labels: BTreeMap<String, String>,
    #[schemars(schema_with = "names::severity")]
    pub severity: Severity,
    /// Open alerts are `pending`, `firing` or `recovering`. The other two states appear only if a single alert is read after its end.
    #[schemars(schema_with = "names::alert_state")]
    pub state: AlertState,
    /// Since when the alert is in this state.
    pub since: Timestamp,
    /// When the incident began.
    pub started_at: Timestamp,
    /// The value that was measured last, in the unit of the rule's metric. `raise_at` and `clear_at` have the same unit.
    pub value: Option<f64>,
    /// The value at which the rule raises the alert.
    pub raise_at: Option<f64>,
    /// The value at which the alert clears. Null: it clears as soon as the rule no longer raises it.
    pub clear_at: Option<f64>,
    /// A single line that says what is wrong.
    pub title: String,
    pub detail: String,
    pub cause: Option<String>,
    /// Steps that end the alert. SQL in them can be run as printed.
    pub fix: Option<String>,
    /// Address of a page with more help.
    pub runbook: Option<String>,
    /// Measurements besides the value. Present only if a single alert is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Vec<EvidenceItem>>,
    /// Why the alert cannot be judged at present and therefore stays as it is. Null while it is judged.
    pub frozen: Option<String>,
    /// Since when the alert cannot be judged.
    pub frozen_since: Option<Timestamp>,
    /// Evaluations in a row that could not judge the alert.
    pub frozen_evaluations: u32,
    /// Since when the alert begins and ends too often to be reported each time.
    pub flapping_since: Option<Timestamp>,
    /// The person who takes care of the alert. Null: this incident is not acknowledged.
    pub acknowledgement: Option<AcknowledgementItem>,
    /// Ids of the silences that hide the alert now.
    pub silenced_by: Vec<String>,
}

/// The subject of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SubjectItem {
    /// `postgres` or `redis` (one server), `database` (a primary with its replicas) or `agent`. Later versions may have more kinds.
    #[schemars(example = &"postgres")]
    pub kind: String,
    /// `host:port` of a server, else the configured name.
    #[schemars(example = "db1:5432")]
    pub id: String,
}

/// A measurement behind an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct EvidenceItem {
    pub name: String,
    /// Text with its unit, for people.
    pub value: String,
}

/// The acknowledgement of an alert: a person takes care of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AcknowledgementItem {
    pub author: String,
    pub comment: String,
    pub at: Timestamp,
}

/// A new acknowledgement of an open alert: no receiver is reminded of it until it ends or becomes graver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAcknowledgement {
    /// Name of the person, at most 100 characters. The name of the token if absent.
    pub author: Option<String>,
    /// Plan of the person, at most 2,000 bytes.
    #[schemars(example = "failing over at nine")]
    pub comment: String,
}

/// The acknowledgement as it was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Acknowledged {
    pub fingerprint: String,
    /// The author as others see it: a claimed name is shown together with the name of the token.
    pub author: String,
    pub comment: String,
}

/// The acknowledgement was withdrawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Unacknowledged {
    pub fingerprint: String,
    /// Always false.
    pub acknowledged: bool,
}
