//! The stored form of the book: what the store writes after each evaluation and reads at the start.

use std::collections::BTreeSet;
use std::mem;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::book::AlertBook;
use super::book::{GroupKey, Touched, touch};
use super::fingerprint::Fingerprint;
use super::group::Effects;
use super::key::AlertKey;
use super::now::Now;
use super::record::Alert;

/// The whole book as it is stored. A new process continues from it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedBook {
    /// Open alerts, and ended alerts that are stored because they may flap.
    pub alerts: Vec<Alert>,
    /// Number of the next incident.
    pub next_incident: u64,
}

/// What to write so that the store equals the book.
///
/// An alert whose value or texts alone changed is not written: the next evaluation reports them again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Alerts to insert or replace.
    pub upserts: Vec<Alert>,
    /// Alerts to delete.
    pub removed: Vec<Fingerprint>,
    /// Number of the next incident.
    pub next_incident: u64,
    touched: Touched,
}

impl Changes {
    /// True if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }
}

impl AlertBook {
    /// Returns what changed since the last call.
    pub fn take_changes(&mut self) -> Changes {
        let touched = mem::take(&mut self.touched);
        let mut changes = Changes { next_incident: self.next_incident, ..Changes::default() };
        for (key, fingerprints) in &touched {
            let alerts = self.groups.get(key).into_iter().flat_map(|group| group.all());
            let upserts: Vec<Alert> = alerts.filter(|alert| fingerprints.contains(&alert.fingerprint)).cloned().collect();
            let kept: BTreeSet<Fingerprint> = upserts.iter().map(|alert| alert.fingerprint).collect();
            changes.removed.extend(fingerprints.difference(&kept));
            changes.upserts.extend(upserts);
        }
        changes.touched = touched;
        changes
    }

    /// Returns changes that could not be written to the book. The next [`take_changes`](Self::take_changes) contains them again.
    pub fn give_back(&mut self, changes: Changes) {
        for (key, fingerprints) in changes.touched {
            touch(&mut self.touched, &key, fingerprints);
        }
    }

    /// The number of the next incident.
    pub fn next_incident(&self) -> u64 {
        self.next_incident
    }

    /// The whole book in its stored form.
    pub fn export(&self) -> SavedBook {
        let alerts = self.groups.values().flat_map(|group| group.all());
        SavedBook { alerts: alerts.cloned().collect(), next_incident: self.next_incident }
    }

    /// Restores the book of an earlier process. Each alert is frozen until its rule is next evaluated. The time in between counts neither
    /// towards firing nor towards resolving.
    pub fn restore(saved: SavedBook, now: Now) -> Self {
        let mut book = Self::new(saved.next_incident);
        for mut alert in saved.alerts {
            let key = AlertKey::new(&alert.rule, &alert.labels);
            let subject = alert.subject.key();
            alert.labels.clone_from(&key.labels);
            alert.fingerprint = Fingerprint::of(&alert.plugin, &alert.rule, &subject, &alert.labels);
            book.next_incident = book.next_incident.max(alert.incident.saturating_add(1));
            let group_key = GroupKey { plugin: alert.plugin.clone(), subject };
            if alert.state.is_open() {
                alert.restore(now);
                book.groups.entry(group_key).or_default().alerts.insert(key, Arc::new(alert));
            } else if alert.verdicts.has_changes() {
                book.groups.entry(group_key).or_default().ended.insert(key, alert);
            } else {
                // Its end was not stored, so the store still has to remove it.
                touch(&mut book.touched, &group_key, BTreeSet::from([alert.fingerprint]));
            }
        }
        for (key, group) in &mut book.groups {
            let mut effects = Effects::default();
            group.remove_calmest_ended(&mut effects);
            group.measure();
            touch(&mut book.touched, key, effects.touched);
        }
        book
    }
}
