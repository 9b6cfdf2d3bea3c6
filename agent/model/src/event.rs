//! Events: records of what happened, in the form in which the store and the API have them.
//!
//! The code that causes an event builds it, in one place per kind. The store writes [`Event::kind`] and [`Event::stored_detail`], and reads
//! them back with [`Event::from_stored`]. An event that this version cannot read stays [`EventDetail::Unknown`]: it is shown, not lost.

use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::alert::Transition;
use crate::dispatch::HoldReason;
use crate::postgres::topology::NewsKind;

/// The version of stored details. Details of version 1 have no field `version`. A later version must write its number, because this version
/// would misread the details otherwise.
pub const DETAIL_VERSION: u64 = 1;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Wall clock of the event, milliseconds since 1970.
    pub at_ms: u64,
    /// The id of a plugin, the fingerprint of an alert, the name of a database or the id of a server, depending on the kind.
    pub subject: String,
    /// Kind of the event, with its stored detail.
    pub detail: EventDetail,
}

/// The kind of an event, with its stored detail.
#[derive(Debug, Clone, PartialEq)]
pub enum EventDetail {
    /// The state of a plugin changed: it was loaded, refused or removed, for example.
    Plugin(PluginChange),
    /// An alert changed its state.
    Alert(Box<Transition>),
    /// A receiver was not notified of an alert.
    Withheld(WithheldNotice),
    /// The roles of the servers of a database changed.
    Role(RoleChange),
    /// A setting of a server changed.
    Setting(SettingUpdate),
    /// Another version of Pharos stored this event.
    Unknown { kind: String, detail: Value },
}

/// The kinds of events that this version reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// See [`EventDetail::Plugin`].
    Plugin,
    /// See [`EventDetail::Alert`].
    Alert,
    /// See [`EventDetail::Withheld`].
    Withheld,
    /// See [`EventDetail::Role`].
    Role,
    /// See [`EventDetail::Setting`].
    Setting,
}

/// The error for a text that is not the name of a kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no kind of event has this name")]
pub struct UnknownKind;

/// Stored detail of a change of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginChange {
    /// Kind of the change.
    pub what: PluginEventKind,
    /// The sentence of the log line.
    pub text: String,
}

/// Kind of a change of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginEventKind {
    /// A generation began to serve. Its subjects must be judged again.
    Loaded,
    /// A file was refused. The generation before it continues to serve.
    Refused,
    /// A generation failed its probation. The generation before it serves again.
    RolledBack,
    /// Calls are paused after too many failures.
    Quarantined,
    /// Calls succeed again.
    Recovered,
    /// No generation serves under this id any more.
    Removed,
}

/// Stored detail of a notification that was held back from a receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithheldNotice {
    /// Name of the receiver.
    pub receiver: String,
    /// Number of the incident.
    pub incident: u64,
    /// Kind of the reason.
    pub reason: HoldReason,
    /// The reason as a sentence.
    pub text: String,
    /// True if the incident is over, so that the receiver will never be notified of it.
    pub for_good: bool,
}

/// Stored detail of a change of roles in a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleChange {
    /// Kind of the change.
    pub what: NewsKind,
    /// The sentence of the log line.
    pub text: String,
}

/// Stored detail of a changed setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingUpdate {
    /// Name of the setting.
    pub setting: String,
    /// The value before, without secrets; `None` if the setting did not exist.
    pub before: Option<String>,
    /// The value after the change, without secrets; `None` if the setting does not exist any more.
    pub after: Option<String>,
}

impl EventKind {
    /// All kinds that this version reads.
    pub const ALL: [Self; 5] = [Self::Plugin, Self::Alert, Self::Withheld, Self::Role, Self::Setting];

    /// The kind as it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Alert => "alert",
            Self::Withheld => "withheld",
            Self::Role => "role",
            Self::Setting => "setting",
        }
    }
}

impl FromStr for EventKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownKind)
    }
}

impl PluginEventKind {
    /// The kind as it is stored and served.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Refused => "refused",
            Self::RolledBack => "rolled-back",
            Self::Quarantined => "quarantined",
            Self::Recovered => "recovered",
            Self::Removed => "removed",
        }
    }
}

impl Event {
    /// Restores an event from its row. `detail` is the JSON text.
    pub fn from_stored(at_ms: u64, kind: String, subject: String, detail: String) -> Self {
        let detail = serde_json::from_str(&detail).unwrap_or(Value::String(detail));
        Self { at_ms, subject, detail: EventDetail::from_stored(kind, detail) }
    }

    /// The kind as it is stored.
    pub fn kind(&self) -> &str {
        match &self.detail {
            EventDetail::Plugin(_) => EventKind::Plugin.as_str(),
            EventDetail::Alert(_) => EventKind::Alert.as_str(),
            EventDetail::Withheld(_) => EventKind::Withheld.as_str(),
            EventDetail::Role(_) => EventKind::Role.as_str(),
            EventDetail::Setting(_) => EventKind::Setting.as_str(),
            EventDetail::Unknown { kind, .. } => kind,
        }
    }

    /// The detail as it is stored.
    pub fn stored_detail(&self) -> Value {
        let json = match &self.detail {
            EventDetail::Plugin(change) => serde_json::to_value(change),
            EventDetail::Alert(transition) => serde_json::to_value(transition),
            EventDetail::Withheld(notice) => serde_json::to_value(notice),
            EventDetail::Role(change) => serde_json::to_value(change),
            EventDetail::Setting(update) => serde_json::to_value(update),
            EventDetail::Unknown { detail, .. } => Ok(detail.clone()),
        };
        // Every map in these types has texts as keys, so nothing can fail.
        json.unwrap_or_default()
    }
}

impl EventDetail {
    fn from_stored(kind: String, detail: Value) -> Self {
        let is_known_version = detail.get("version").is_none_or(|version| *version == DETAIL_VERSION);
        let read = EventKind::from_str(&kind).ok().filter(|_| is_known_version).and_then(|kind| match kind {
            EventKind::Plugin => parse(&detail).map(Self::Plugin),
            EventKind::Alert => parse(&detail).map(Box::new).map(Self::Alert),
            EventKind::Withheld => parse(&detail).map(Self::Withheld),
            EventKind::Role => parse(&detail).map(Self::Role),
            EventKind::Setting => parse(&detail).map(Self::Setting),
        });
        read.unwrap_or(Self::Unknown { kind, detail })
    }
}

fn parse<T: DeserializeOwned>(detail: &Value) -> Option<T> {
    T::deserialize(detail).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One stored event of each kind, as versions before this module wrote them.
    const STORED: [(&str, &str); 6] = [
        ("plugin", r#"{"text":"generation 2 of `a` serves","what":"loaded"}"#),
        ("alert", include_str!("event/transition.json")),
        ("alert", include_str!("event/severity_changed.json")),
        (
            "withheld",
            r#"{"for_good":true,"incident":7,"reason":"silenced","receiver":"ops","text":"silenced by ann (3f): upgrade until noon"}"#,
        ),
        ("role", r#"{"text":"the primary is now `b`, no longer `a`","what":"primary-changed"}"#),
        ("setting", r#"{"after":"8192","before":null,"setting":"work_mem"}"#),
    ];

    fn stored(kind: &str, detail: &str) -> Event {
        Event::from_stored(1_000, kind.to_owned(), "a".to_owned(), detail.trim_end().to_owned())
    }

    #[test]
    fn stored_events_are_read_and_written_as_they_were() {
        for (kind, detail) in STORED {
            let event = stored(kind, detail);
            assert!(!matches!(event.detail, EventDetail::Unknown { .. }), "{kind}: {detail}");
            assert_eq!((event.kind(), event.stored_detail().to_string().as_str()), (kind, detail.trim_end()));
        }
    }

    #[test]
    fn events_that_this_version_cannot_read_stay_as_they_are() {
        let strangers = [
            ("plan", r#"{"plan":"changed"}"#),
            ("plugin", r#"{"text":"","what":"renamed"}"#),
            ("setting", r#"{"after":"1","before":"2","setting":"jit","version":2}"#),
            ("role", r#""no object""#),
        ];
        for (kind, detail) in strangers {
            let event = stored(kind, detail);
            assert!(matches!(event.detail, EventDetail::Unknown { .. }), "{kind}: {detail}");
            assert_eq!((event.kind(), event.stored_detail().to_string().as_str()), (kind, detail));
        }
        assert_eq!(stored("plugin", "no JSON").stored_detail(), Value::String("no JSON".to_owned()));
    }

    #[test]
    fn names_of_plugin_changes_equal_their_stored_form() {
        use PluginEventKind::{Loaded, Quarantined, Recovered, Refused, Removed, RolledBack};
        for kind in [Loaded, Refused, RolledBack, Quarantined, Recovered, Removed] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }
}
