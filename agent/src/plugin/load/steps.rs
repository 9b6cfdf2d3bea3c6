//! The loader's second half: a generation is tried with its settings and on the latest snapshots. Each step can refuse.

use std::sync::Arc;

use bytes::Bytes;
use pharos_model::snapshot::Change;

use super::blocking::run_blocking;
use super::canary::run_canaries;
use super::load_error::LoadError;
use super::loader::{Loader, Prepared};
use super::schema::Schema;
use super::settings::{self, SettingsError};
use super::trial::Refused;
use super::unmet_needs::warnings;
use crate::plugin::import::wrong_setting::IgnoredSetting;
use crate::plugin::run::generation::{Generation, UnusableSettings};
use crate::plugin::world::World;

/// A generation that may serve, and its world.
pub struct Tried {
    pub world: &'static dyn World,
    pub generation: Generation,
}

/// A receiver whose settings the plugin refuses.
struct RefusedReceiver {
    settings: String,
    place: String,
    err: LoadError,
}

impl Loader {
    /// Loads a plugin file and tries it on `latest` snapshots. An empty one stands in for a kind that was not collected yet.
    pub async fn load(&self, id: &str, bytes: &Bytes, digest: String, latest: &[Arc<Change>]) -> Result<Tried, LoadError> {
        let mut prepared = self.prepare(id, bytes, digest).await?;
        match prepared.world.runs_per_receiver() {
            true => self.try_receivers(id, &mut prepared).await?,
            false => self.try_own_settings(id, &mut prepared).await?,
        }
        run_canaries(&prepared, latest).await?;
        Ok(Tried { world: prepared.world, generation: prepared.generation })
    }

    async fn try_own_settings(&self, id: &str, prepared: &mut Prepared) -> Result<(), LoadError> {
        let section = format!("plugin.{id}.settings");
        let taken = self.try_settings(prepared, &prepared.settings).await.map_err(|refused| refused.into_error(&section))?;
        let generation = &mut prepared.generation;
        generation.rules = taken.rules;
        generation.ignored = taken.ignored.iter().map(|wrong| IgnoredSetting::below(&section, wrong)).collect();
        generation.warnings = warnings(&generation.rules);
        Ok(())
    }

    /// Tries the settings of each receiver. Messages of a receiver with wrong settings wait until they are right; other receivers get
    /// theirs. The file is refused only if no receiver is right.
    async fn try_receivers(&self, id: &str, prepared: &mut Prepared) -> Result<(), LoadError> {
        let mut refused = Vec::new();
        let receivers: Vec<_> = self.receivers.iter().filter(|receiver| receiver.plugin == id).collect();
        for receiver in &receivers {
            let place = format!("receiver \"{}\" settings", receiver.name);
            let merged = settings::overlay(prepared.settings.clone(), settings::to_json(&receiver.settings));
            match self.try_settings(prepared, &merged).await {
                Ok(taken) => {
                    let ignored = taken.ignored.iter().map(|wrong| IgnoredSetting::below(&place, wrong));
                    prepared.generation.ignored.extend(ignored);
                }
                Err(Refused::Init(err)) if err.is_offence() => return Err(LoadError::Init(err)),
                Err(err) => refused.push(RefusedReceiver { settings: merged.to_string(), err: err.into_error(&place), place }),
            }
        }
        if refused.len() == receivers.len() && !refused.is_empty() {
            return Err(refused.remove(0).err);
        }
        for RefusedReceiver { settings, place, err } in refused {
            let why = err.text();
            prepared.generation.ignored.push(IgnoredSetting { place, text: why.clone() });
            prepared.generation.unusable.push(UnusableSettings { settings, why });
        }
        // Without a receiver there is nothing to check, but the schema is stored.
        let schema = prepared.generation.description.settings_schema.clone();
        run_blocking(&self.tasks, move || Schema::parse(&schema).map(drop)).await.map_err(SettingsError::from)?;
        Ok(())
    }
}
