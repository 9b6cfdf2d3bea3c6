//! Generations of one id: loading the next one, and the plugin inside the binary that stands in where a file was refused.

use std::sync::Arc;

use bytes::Bytes;
use pharos_model::snapshot::Change;
use tracing::info;

use super::reloader::Reloader;
use crate::plugin::load::blocking::run_blocking;
use crate::plugin::load::loader::digest;
use crate::plugin::slot::{Origin, Slot};
use crate::plugin::stage::Stage;

impl Reloader {
    pub(super) async fn load(&self, id: &str, bytes: Bytes, origin: Origin) {
        let digest = self.digest(&bytes).await;
        if self.is_known(id, &digest, origin) {
            return;
        }
        let latest = self.latest();
        match self.loader.load(id, &bytes, digest, &latest).await {
            Ok(tried) => match self.host.loses_settings(id, &tried.generation) {
                Some(lost) => {
                    let why = format!("this version leaves out settings that the previous version accepts: {lost}");
                    self.host.refuse(id, Stage::Settings, why, None).await;
                }
                None => self.host.publish(id, tried, origin).await,
            },
            Err(err) => {
                self.host.refuse(id, err.stage(), err.text(), err.last_words()).await;
                if origin == Origin::File {
                    self.stand_in(id, &latest).await;
                }
            }
        }
    }

    async fn digest(&self, bytes: &Bytes) -> String {
        let bytes = bytes.clone();
        run_blocking(&self.loader.tasks, move || digest(&bytes)).await
    }

    /// Loads the embedded plugin if its file was refused and no version serves.
    pub(super) async fn stand_in(&self, id: &str, latest: &[Arc<Change>]) {
        let refused = self.host.slots().get(id).filter(|slot| slot.active.is_none()).and_then(|slot| slot.last_error.clone());
        let shipped = self.shipped.iter().find(|(shipped, _)| shipped == id);
        let (Some(refused), Some((_, bytes))) = (refused, shipped) else { return };
        let digest = self.digest(bytes).await;
        if let Ok(tried) = self.loader.load(id, bytes, digest, latest).await {
            self.host.publish(id, tried, Origin::Embedded).await;
            self.host.slots().entry(id.to_owned()).and_modify(|slot| slot.last_error = Some(refused));
        }
    }

    /// Whether this content serves already, or failed in service. So touching a file changes nothing.
    fn is_known(&self, id: &str, digest: &str, origin: Origin) -> bool {
        let mut slots = self.host.slots();
        let slot = slots.entry(id.to_owned()).or_insert_with(|| Slot { enabled: true, loading: true, ..Slot::default() });
        if slot.known_bad.contains(digest) {
            info!(plugin = id, "not loading `{id}` {}: it failed in service before", &digest[..12]);
            return true;
        }
        match &mut slot.active {
            Some(active) if active.generation.digest == digest => {
                active.origin = origin;
                // What was refused or taken back is no longer there.
                slot.last_error = slot.last_error.take_if(|err| matches!(err.stage, Stage::Call | Stage::SettingsIgnored));
                true
            }
            _ => false,
        }
    }

    /// Loads the embedded plugin of a removed file. Without one the id is removed.
    pub(super) async fn file_removed(&self, id: &str) {
        match self.shipped.iter().find(|(shipped, _)| shipped == id) {
            Some((_, bytes)) => self.load(id, bytes.clone(), Origin::Embedded).await,
            None => self.host.remove(id).await,
        }
    }
}
