//! Commands of people and their tools: silences and acknowledgements.

use std::collections::BTreeSet;

use super::dispatcher::Dispatcher;
use super::key::IncidentKey;
use super::silence::check_signed;
use super::silence::{Acknowledgement, SILENCES_BYTES_MAX, SILENCES_MAX, Silence, SilenceError, SilenceState};
use crate::alert::{Fingerprint, Now};

/// Time in milliseconds after which an expired silence is removed. Until then it explains why an alert was not sent.
const OVER_KEPT_MS: u64 = 5 * 24 * 3_600_000;

/// Why an acknowledgement is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcknowledgeError {
    #[error("no alert that fires has the fingerprint {0}")]
    Unknown(Fingerprint),
    #[error(transparent)]
    Text(#[from] SilenceError),
}

impl Dispatcher {
    /// Every silence, expired ones included.
    pub fn silences(&self) -> impl Iterator<Item = &Silence> {
        self.silences.values()
    }

    /// Adds a silence, or replaces the silence with the same id. It has an effect from the next release. Fails for a silence that the
    /// checks refuse, that the config owns, or that has no room.
    pub fn silence(&mut self, silence: Silence, now: Now) -> Result<(), SilenceError> {
        silence.check(now.wall_ms)?;
        if self.silences.get(&silence.id).is_some_and(|known| known.configured) {
            return Err(SilenceError::Configured(silence.id));
        }
        self.remove_expired_silences(now.wall_ms);
        if self.silences.len() >= SILENCES_MAX && !self.silences.contains_key(&silence.id) {
            return Err(SilenceError::TooMany);
        }
        if !self.has_room_for(&silence, now.wall_ms) {
            return Err(SilenceError::TooLarge);
        }
        self.touched.silences.insert(silence.id.clone());
        self.silences.insert(silence.id.clone(), silence);
        self.recheck = true;
        Ok(())
    }

    /// Ends a silence now, and returns it. Fails for an unknown id and for silences of the config.
    pub fn expire_silence(&mut self, id: &str, now: Now) -> Result<Silence, SilenceError> {
        let silence = self.silences.get_mut(id).ok_or_else(|| SilenceError::Unknown(id.to_owned()))?;
        if silence.configured {
            return Err(SilenceError::Configured(id.to_owned()));
        }
        silence.over = true;
        silence.matchers.release();
        silence.ends_at_ms = silence.ends_at_ms.min(now.wall_ms);
        self.touched.silences.insert(id.to_owned());
        self.recheck = true;
        Ok(silence.clone())
    }

    /// Records that a person takes care of an alert. The acknowledgement is valid until the incident ends or becomes graver. Fails if no
    /// alert that fires has the fingerprint, or if author or comment is empty or too long.
    pub fn acknowledge(
        &mut self,
        fingerprint: Fingerprint,
        author: &str,
        comment: &str,
        now: Now,
    ) -> Result<IncidentKey, AcknowledgeError> {
        check_signed(author, comment)?;
        let key = self.open_incident(fingerprint)?;
        let Some(incident) = self.incidents.get_mut(&key) else { return Err(AcknowledgeError::Unknown(fingerprint)) };
        let severity = incident.alert.severity;
        incident.acknowledgement =
            Some(Acknowledgement { author: author.to_owned(), comment: comment.to_owned(), at_ms: now.wall_ms, severity });
        self.touched.acknowledgements.insert(key);
        Ok(key)
    }

    /// Removes the acknowledgement of an alert. Fails if no alert that fires has the fingerprint.
    pub fn unacknowledge(&mut self, fingerprint: Fingerprint) -> Result<IncidentKey, AcknowledgeError> {
        let key = self.open_incident(fingerprint)?;
        if let Some(incident) = self.incidents.get_mut(&key) {
            incident.acknowledgement = None;
        }
        self.touched.acknowledgements.insert(key);
        self.recheck = true;
        Ok(key)
    }

    /// Acknowledgement of an incident, if there is one.
    pub fn acknowledgement(&self, key: IncidentKey) -> Option<&Acknowledgement> {
        self.incidents.get(&key)?.acknowledgement.as_ref()
    }

    /// All acknowledgements, each with its alert.
    pub fn acknowledgements(&self) -> impl Iterator<Item = (Fingerprint, &Acknowledgement)> {
        self.incidents.iter().filter_map(|(key, incident)| Some((key.fingerprint, incident.acknowledgement.as_ref()?)))
    }

    fn open_incident(&self, fingerprint: Fingerprint) -> Result<IncidentKey, AcknowledgeError> {
        let incidents = self.incidents.range(IncidentKey { fingerprint, incident: 0 }..=IncidentKey { fingerprint, incident: u64::MAX });
        let open = incidents.filter(|(_, incident)| !incident.ended).map(|(key, _)| *key).next_back();
        open.ok_or(AcknowledgeError::Unknown(fingerprint))
    }

    /// Marks silences that expired. Requests a recheck when a silence began or ended on the wall clock, which may also be set.
    pub(super) fn update_silences(&mut self, now_ms: u64) {
        for silence in self.silences.values_mut() {
            if !silence.over && silence.state(now_ms) == SilenceState::Expired {
                silence.over = true;
                silence.matchers.release();
                self.recheck = true;
                if !silence.configured {
                    self.touched.silences.insert(silence.id.clone());
                }
            }
        }
        let is_active = |silence: &&Silence| silence.state(now_ms) == SilenceState::Active;
        let active = || self.silences.values().filter(is_active).map(|silence| &silence.id);
        if !active().eq(&self.active_silences) {
            self.active_silences = active().cloned().collect();
            self.recheck = true;
        }
    }

    /// Returns true if all silences together stay within [`SILENCES_BYTES_MAX`]. Expired silences are removed for that, earliest end first.
    fn has_room_for(&mut self, silence: &Silence, now_ms: u64) -> bool {
        let others = self.silences.values().filter(|known| known.id != silence.id);
        let mut bytes = silence.bytes() + others.map(Silence::bytes).sum::<usize>();
        for id in self.over(now_ms) {
            if bytes <= SILENCES_BYTES_MAX {
                break;
            }
            if let Some(gone) = self.silences.remove(&id) {
                bytes = bytes.saturating_sub(gone.bytes());
                self.touched.silences.insert(id);
            }
        }
        bytes <= SILENCES_BYTES_MAX
    }

    /// Ids of the expired silences, earliest end first.
    fn over(&self, now_ms: u64) -> Vec<String> {
        let over = self.silences.values().filter(|silence| !silence.configured && silence.state(now_ms) == SilenceState::Expired);
        let mut over: Vec<(u64, String)> = over.map(|silence| (silence.ends_at_ms, silence.id.clone())).collect();
        over.sort();
        over.into_iter().map(|(_, id)| id).collect()
    }

    /// Removes silences that ended long ago. At the limit, further expired silences go, earliest end first.
    fn remove_expired_silences(&mut self, now_ms: u64) {
        let full = (self.silences.len() + 1).saturating_sub(SILENCES_MAX);
        let is_old = |id: &String| self.silences.get(id).is_some_and(|silence| silence.ends_at_ms.saturating_add(OVER_KEPT_MS) < now_ms);
        let over = self.over(now_ms);
        let old = over.iter().filter(|id| is_old(id)).count();
        let gone: BTreeSet<String> = over.into_iter().take(full.max(old)).collect();
        self.silences.retain(|id, _| !gone.contains(id));
        self.touched.silences.extend(gone);
    }
}
