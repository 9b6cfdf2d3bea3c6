//! Entries of the audit log: who did what to which object.
//!
//! The store chains the entries by hashes of their stored form ([`AuditAction::name`] and [`AuditAction::stored_detail`]). An entry that
//! this version would store differently stays [`AuditAction::Unknown`], so the log never shows it changed.

use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::alert::{AlertState, ReasonKind};
use crate::dispatch::Silence;
use crate::finding::Severity;

/// The actor of entries that the agent writes by itself. Other actors are names of tokens.
pub const AGENT_ACTOR: &str = "agent";

/// Entry of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Wall clock, milliseconds since 1970.
    pub at_ms: u64,
    /// [`AGENT_ACTOR`], or the name of a token.
    pub actor: String,
    /// Action with its stored detail.
    pub action: AuditAction,
    /// The fingerprint of an alert, the id of a silence, or the part of the agent that was changed.
    pub subject: String,
}

/// Action of an entry, with its stored detail.
#[derive(Debug, Clone, PartialEq)]
pub enum AuditAction {
    /// An alert changed its state.
    AlertChanged(ReasonKind, AlertChange),
    /// A person acknowledged an alert.
    AlertAcknowledged(AcknowledgementDetail),
    /// A person removed an acknowledgement.
    AlertUnacknowledged,
    /// A person added a silence.
    SilenceAdded(Silence),
    /// A person ended a silence.
    SilenceExpired(Silence),
    /// Numbers of the notifications that are sent again.
    OutboxRetried(Vec<u64>),
    /// A person dropped notifications.
    OutboxDropped(DroppedNotifications),
    /// The agent removed the oldest entries.
    EntriesRemoved(ChainEnd),
    /// The agent began a new store after a damaged one.
    StoreReplaced(ReplacedStore),
    /// Another version of Pharos stored this entry.
    Unknown {
        /// Stored name of the action.
        name: String,
        /// Stored detail of the action.
        detail: Value,
    },
}

/// Stored detail of an alert's transition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertChange {
    /// Number of the incident.
    pub incident: u64,
    /// State before the transition.
    pub from: AlertState,
    /// State after the transition.
    pub to: AlertState,
    /// Severity at the transition.
    pub severity: Severity,
    /// Title of the alert at the transition.
    pub title: String,
}

/// Stored detail of an acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcknowledgementDetail {
    /// Author as given by the person.
    pub author: String,
    /// Comment as given by the person.
    pub comment: String,
}

/// Stored detail of dropped notifications.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedNotifications {
    /// Receiver of the notifications; `None` if those of every receiver were dropped.
    pub receiver: Option<String>,
    /// Numbers of the notifications; `None` if the request named none.
    pub ids: Option<Vec<u64>>,
    /// Number of notifications that were dropped.
    pub count: usize,
}

/// End of the part of the chain that was removed: its last entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainEnd {
    /// Number of that entry.
    pub through: u64,
    /// Hash of that entry, in hexadecimal digits.
    pub hash: String,
}

/// Stored detail of a store that replaced a damaged one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplacedStore {
    /// End of the chain in the damaged store.
    #[serde(flatten)]
    pub end: ChainEnd,
    /// Path of the damaged store; `None` if it could not be moved aside.
    pub aside: Option<String>,
}

const ALERT_PREFIX: &str = "alert.";
const ACKNOWLEDGE: &str = "alert.acknowledge";
const UNACKNOWLEDGE: &str = "alert.unacknowledge";
const SILENCE_ADD: &str = "silence.add";
const SILENCE_EXPIRE: &str = "silence.expire";
const OUTBOX_RETRY: &str = "outbox.retry";
const OUTBOX_DROP: &str = "outbox.drop";
const FORGET: &str = "audit.forget";
const REPLACE: &str = "store.replace";

impl AuditAction {
    /// Restores an action from its row. `detail` is the JSON text.
    pub fn from_stored(name: String, detail: String) -> Self {
        let stored: Value = serde_json::from_str(&detail).unwrap_or(Value::String(detail));
        let read = Self::parse(&name, &stored).filter(|read| read.stored_detail() == stored);
        read.unwrap_or(Self::Unknown { name, detail: stored })
    }

    fn parse(name: &str, detail: &Value) -> Option<Self> {
        match name {
            ACKNOWLEDGE => parse(detail).map(Self::AlertAcknowledged),
            UNACKNOWLEDGE => Some(Self::AlertUnacknowledged),
            SILENCE_ADD => parse(detail).map(Self::SilenceAdded),
            SILENCE_EXPIRE => parse(detail).map(Self::SilenceExpired),
            OUTBOX_RETRY => parse(detail).map(Self::OutboxRetried),
            OUTBOX_DROP => parse(detail).map(Self::OutboxDropped),
            FORGET => parse(detail).map(Self::EntriesRemoved),
            REPLACE => parse(detail).map(Self::StoreReplaced),
            _ => Some(Self::AlertChanged(ReasonKind::from_str(name.strip_prefix(ALERT_PREFIX)?).ok()?, parse(detail)?)),
        }
    }

    /// Stored name, such as `alert.firing` or `silence.add`.
    pub fn name(&self) -> String {
        let name = match self {
            Self::AlertChanged(reason, _) => return format!("{ALERT_PREFIX}{}", reason.as_str()),
            Self::AlertAcknowledged(_) => ACKNOWLEDGE,
            Self::AlertUnacknowledged => UNACKNOWLEDGE,
            Self::SilenceAdded(_) => SILENCE_ADD,
            Self::SilenceExpired(_) => SILENCE_EXPIRE,
            Self::OutboxRetried(_) => OUTBOX_RETRY,
            Self::OutboxDropped(_) => OUTBOX_DROP,
            Self::EntriesRemoved(_) => FORGET,
            Self::StoreReplaced(_) => REPLACE,
            Self::Unknown { name, .. } => name,
        };
        name.to_owned()
    }

    /// Stored detail, as JSON.
    pub fn stored_detail(&self) -> Value {
        let json = match self {
            Self::AlertChanged(_, change) => serde_json::to_value(change),
            Self::AlertAcknowledged(detail) => serde_json::to_value(detail),
            Self::AlertUnacknowledged => Ok(Value::Null),
            Self::SilenceAdded(silence) | Self::SilenceExpired(silence) => serde_json::to_value(silence),
            Self::OutboxRetried(numbers) => serde_json::to_value(numbers),
            Self::OutboxDropped(dropped) => serde_json::to_value(dropped),
            Self::EntriesRemoved(end) => serde_json::to_value(end),
            Self::StoreReplaced(replaced) => serde_json::to_value(replaced),
            Self::Unknown { detail, .. } => Ok(detail.clone()),
        };
        // Every map in these types has texts as keys, so nothing can fail.
        json.unwrap_or_default()
    }

    /// Returns true for names of actions after which the chain does not begin at its first entry.
    pub fn moves_chain_start(name: &str) -> bool {
        matches!(name, FORGET | REPLACE)
    }

    /// End of the earlier chain, for actions that [move the start](Self::moves_chain_start); `None` for others.
    pub fn new_start(&self) -> Option<&ChainEnd> {
        match self {
            Self::EntriesRemoved(end) | Self::StoreReplaced(ReplacedStore { end, .. }) => Some(end),
            _ => None,
        }
    }
}

fn parse<T: DeserializeOwned>(detail: &Value) -> Option<T> {
    T::deserialize(detail).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stored entry of each action, as versions before this module wrote them.
    const STORED: [(&str, &str); 10] = [
        ("alert.firing", r#"{"from":"pending","incident":7,"severity":"critical","title":"db1 is down","to":"firing"}"#),
        ("alert.severity-changed", r#"{"from":"firing","incident":7,"severity":"warning","title":"db1 lags","to":"firing"}"#),
        ("alert.acknowledge", r#"{"author":"ann","comment":"I look at it"}"#),
        ("alert.unacknowledge", "null"),
        ("silence.add", include_str!("audit/silence.json")),
        ("silence.expire", include_str!("audit/silence.json")),
        ("outbox.retry", "[1,2]"),
        ("outbox.drop", r#"{"count":3,"ids":null,"receiver":"ops"}"#),
        ("audit.forget", r#"{"hash":"00ff","through":1000}"#),
        ("store.replace", r#"{"aside":null,"hash":"00ff","through":12}"#),
    ];

    #[test]
    fn stored_entries_are_read_and_written_as_they_were() {
        for (name, detail) in STORED {
            let action = AuditAction::from_stored(name.to_owned(), detail.trim_end().to_owned());
            assert!(!matches!(action, AuditAction::Unknown { .. }), "{name}: {detail}");
            assert_eq!((action.name().as_str(), action.stored_detail().to_string().as_str()), (name, detail.trim_end()));
        }
    }

    #[test]
    fn entries_that_this_version_would_write_differently_stay_unchanged() {
        let strangers = [
            ("config.reload", r#"{"file":"pharos.toml"}"#),
            ("alert.renamed", r#"{"from":"pending","incident":7,"severity":"critical","title":"x","to":"firing"}"#),
            ("alert.acknowledge", r#"{"author":"ann","comment":"mine","until":"noon"}"#),
            ("alert.unacknowledge", r#"{"author":"ann"}"#),
        ];
        for (name, detail) in strangers {
            let action = AuditAction::from_stored(name.to_owned(), detail.to_owned());
            assert!(matches!(action, AuditAction::Unknown { .. }), "{name}: {detail}");
            assert_eq!((action.name().as_str(), action.stored_detail().to_string().as_str()), (name, detail));
        }
    }
}
