//! Events and audit entries for decisions of the pipeline, and for requests of people.

use pharos_model::alert::{Fingerprint, Transition};
use pharos_model::audit::{AGENT_ACTOR, AcknowledgementDetail, AlertChange, AuditAction, AuditEntry, DroppedNotifications};
use pharos_model::dispatch::{IncidentKey, Silence, Withheld};
use pharos_model::event::{Event, EventDetail, PluginChange, WithheldNotice};

use super::desk::SignedComment;
use crate::plugin::PluginEvent;
use crate::store::RowFilter;

/// Subject of audit entries about notifications. An entry may be about many of them.
const OUTBOX: &str = "outbox";

/// Event for a transition of an alert.
pub(super) fn transition_event(transition: &Transition) -> Event {
    Event {
        at_ms: transition.at.wall_ms,
        subject: transition.fingerprint.to_string(),
        detail: EventDetail::Alert(Box::new(transition.clone())),
    }
}

/// Event for a receiver that is not notified.
pub(super) fn withheld_event(withheld: &Withheld, now_ms: u64) -> Event {
    let IncidentKey { fingerprint, incident } = withheld.key;
    let notice = WithheldNotice {
        receiver: withheld.receiver.clone(),
        incident,
        reason: withheld.why.reason(),
        text: withheld.why.to_string(),
        for_good: withheld.for_good,
    };
    Event { at_ms: now_ms, subject: fingerprint.to_string(), detail: EventDetail::Withheld(notice) }
}

/// Event for a plugin that was loaded, refused, removed or the like.
pub(super) fn plugin_event(PluginEvent { plugin, kind, text }: PluginEvent, now_ms: u64) -> Event {
    Event { at_ms: now_ms, subject: plugin, detail: EventDetail::Plugin(PluginChange { what: kind, text }) }
}

/// Audit entry for a transition of an alert.
pub(super) fn transition_entry(transition: &Transition) -> AuditEntry {
    let change = AlertChange {
        incident: transition.incident,
        from: transition.from,
        to: transition.to,
        severity: transition.severity,
        title: transition.alert.title.clone(),
    };
    AuditEntry {
        at_ms: transition.at.wall_ms,
        actor: AGENT_ACTOR.to_owned(),
        action: AuditAction::AlertChanged(transition.reason.kind(), change),
        subject: transition.fingerprint.to_string(),
    }
}

/// Action of one person at one instant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Act<'a> {
    /// Name of the person's token.
    pub actor: &'a str,
    /// Wall clock, milliseconds since 1970.
    pub at_ms: u64,
}

impl Act<'_> {
    /// Audit entry for a silence that the person added.
    pub(super) fn silence_added(self, silence: &Silence) -> AuditEntry {
        self.entry(silence.id.clone(), AuditAction::SilenceAdded(silence.clone()))
    }

    /// Audit entry for a silence that the person ended.
    pub(super) fn silence_expired(self, silence: &Silence) -> AuditEntry {
        self.entry(silence.id.clone(), AuditAction::SilenceExpired(silence.clone()))
    }

    /// Audit entry for an alert that the person acknowledged.
    pub(super) fn acknowledged(self, fingerprint: Fingerprint, signed: &SignedComment) -> AuditEntry {
        let detail = AcknowledgementDetail { author: signed.author.clone(), comment: signed.comment.clone() };
        self.entry(fingerprint.to_string(), AuditAction::AlertAcknowledged(detail))
    }

    /// Audit entry for an acknowledgement that the person removed.
    pub(super) fn unacknowledged(self, fingerprint: Fingerprint) -> AuditEntry {
        self.entry(fingerprint.to_string(), AuditAction::AlertUnacknowledged)
    }

    /// `numbers` are those of the notifications that are sent again.
    pub(super) fn retried(self, numbers: &[u64]) -> AuditEntry {
        self.entry(OUTBOX.to_owned(), AuditAction::OutboxRetried(numbers.to_vec()))
    }

    /// Audit entry for notifications that the person dropped; `count` is their number.
    pub(super) fn dropped(self, wanted: RowFilter, count: usize) -> AuditEntry {
        let dropped = DroppedNotifications { receiver: wanted.receiver, ids: wanted.seqs, count };
        self.entry(OUTBOX.to_owned(), AuditAction::OutboxDropped(dropped))
    }

    fn entry(self, subject: String, action: AuditAction) -> AuditEntry {
        AuditEntry { at_ms: self.at_ms, actor: self.actor.to_owned(), action, subject }
    }
}
