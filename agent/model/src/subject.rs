//! What a snapshot, a finding or an alert is about, and the labels that tell several of them apart.

use serde::{Deserialize, Serialize};

/// A name and a value. Mirrors the WIT record `label`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Label {
    pub name: String,
    pub value: String,
}

impl Label {
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// What a snapshot is about. Mirrors the WIT record `subject`.
///
/// Only `kind` and `id` identify it: the version changes with an upgrade and labels with the configuration, while
/// alerts about the subject go on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    /// Open on purpose: `postgres`, `redis` (one server), `database` (a primary with its replicas), `pool`, `cache`, `agent`.
    pub kind: String,
    /// `host:port` of a server, else the configured name.
    pub id: String,
    /// As the server says it; empty where there is none.
    pub version: String,
    pub labels: Vec<Label>,
}

impl Subject {
    pub fn new(kind: impl Into<String>, id: impl Into<String>) -> Self {
        Self { kind: kind.into(), id: id.into(), version: String::new(), labels: Vec::new() }
    }

    /// Its identity, without what may change during its life.
    pub fn key(&self) -> SubjectKey {
        SubjectKey { kind: self.kind.clone(), id: self.id.clone() }
    }
}

/// The identity of a [`Subject`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubjectKey {
    pub kind: String,
    pub id: String,
}

impl std::fmt::Display for SubjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.id)
    }
}
