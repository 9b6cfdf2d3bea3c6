//! Examination of the config with the help of plugins: their schemas, their `init`, and the references in their settings.
//!
//! The start asks the plugins inside the binary, since the config file and the binary alone decide what they answer. `pharos check` asks the
//! files in `plugins.dir` as well. Those may change while the agent runs, so a mistake there costs that plugin alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use pharos_model::error_chain::chain;
use pharos_model::finding::unmet;
use serde_json::Value;
use tokio::time::timeout;

use super::blocking::run_blocking;
use super::folder::{self, DISK_MAX, Shipped, is_id};
use super::load_error::LoadError;
use super::loader::{Loader, Prepared, digest};
use super::references::{self, Reference, Target};
use super::settings::{self, dotted};
use super::trial::Refused;
use super::unmet_needs::with_hint;
use super::validate::inspect;
use crate::config::Mistake;
use crate::config::plugins::Grants;
use crate::config::shape::did_you_mean;
use crate::plugin::import::egress::EgressPolicy;
use crate::plugin::import::wrong_setting::WrongSetting;
use crate::plugin::run::call_error::CallError;
use crate::plugin::world::notifier::NOTIFIER;

/// Finds mistakes in the config, with the loader of an agent or with a loader that is made for this.
pub(crate) struct Examination<'a> {
    pub loader: &'a Loader,
    pub shipped: &'a Shipped,
    /// `plugins.dir`.
    pub dir: &'a Path,
}

impl Examination<'_> {
    /// Mistakes that the config file and this binary alone decide.
    pub(crate) async fn examine_shipped(&self) -> Vec<Mistake> {
        // If the folder does not answer, it is unclear which plugins are replaced by files.
        let Ok(files) = self.files().await else { return Vec::new() };
        let mut mistakes = Vec::new();
        for (id, bytes) in self.shipped.iter().filter(|(id, _)| !files.contains_key(id)) {
            mistakes.extend(self.examine_plugin(id, bytes).await.unwrap_or_default());
        }
        mistakes
    }

    /// Mistakes that the config, this binary and the present plugin files decide.
    pub(crate) async fn examine_everything(&self) -> Vec<Mistake> {
        let files = match self.files().await {
            Ok(files) => files,
            Err(why) => return vec![Mistake::at("plugins.dir", why)],
        };
        let mut mistakes = self.unknown(&files);
        let files = match self.writable_by_all().await {
            // None of them is loaded, so the shipped ones serve.
            Some(why) => {
                mistakes.push(Mistake::at("plugins.dir", why));
                BTreeMap::new()
            }
            None => files,
        };
        for (id, bytes) in self.shipped.iter().filter(|(id, _)| !files.contains_key(id)) {
            match self.examine_plugin(id, bytes).await {
                Ok(found) => mistakes.extend(found),
                Err(err) => mistakes.push(Mistake::at(format!("plugin.{id}"), err.text())),
            }
        }
        for (id, path) in &files {
            let from = path.clone();
            let found = match timeout(DISK_MAX, run_blocking(&self.loader.tasks, move || folder::read(&from))).await {
                Ok(Ok(bytes)) => self.examine_plugin(id, &bytes).await.map_err(|err| format!("{}: {}", path.display(), err.text())),
                Ok(Err(err)) => Err(chain(&err)),
                Err(_) => Err(format!("{} was not read within {DISK_MAX:?}", path.display())),
            };
            mistakes.extend(
                found.unwrap_or_else(|why| vec![Mistake { paths: vec![format!("plugin.{id}"), "plugins.dir".to_owned()], message: why }]),
            );
        }
        mistakes
    }

    /// Whether every plugin is one of the binary's, or a file in the place of one.
    pub(crate) async fn only_shipped(&self) -> bool {
        self.files().await.is_ok_and(|files| files.keys().all(|id| self.shipped.iter().any(|(shipped, _)| shipped == id)))
    }

    /// Every plugin that the agent would load.
    pub(crate) async fn ids(&self) -> Vec<String> {
        let files = self.files().await.unwrap_or_default();
        self.shipped.iter().map(|(id, _)| id.clone()).chain(files.into_keys()).collect()
    }

    /// Plugin files that the agent would load, by id.
    async fn files(&self) -> Result<BTreeMap<String, PathBuf>, String> {
        let dir = self.dir.to_owned();
        let entries = timeout(DISK_MAX, run_blocking(&self.loader.tasks, move || folder::entries(&dir))).await;
        let entries = entries.map_err(|_| format!("{} was not read within {DISK_MAX:?}", self.dir.display()))?;
        Ok(entries.into_iter().filter(|entry| is_id(&entry.id)).map(|entry| (entry.id, entry.path)).collect())
    }

    /// Reason why no file of the folder is loaded, if every user of the machine may put files there.
    async fn writable_by_all(&self) -> Option<String> {
        let dir = self.dir.to_owned();
        let place = timeout(DISK_MAX, run_blocking(&self.loader.tasks, move || folder::open_place(&dir))).await.ok()??;
        Some(format!("no plugin file is loaded from {}, since {place}", self.dir.display()))
    }

    /// Sections and receivers of plugins that are not there.
    fn unknown(&self, files: &BTreeMap<String, PathBuf>) -> Vec<Mistake> {
        let known: Vec<&str> = self.shipped.iter().map(|(id, _)| id.as_str()).chain(files.keys().map(String::as_str)).collect();
        let sections = self.loader.plugins.keys().map(|id| (format!("plugin.{id}"), id));
        let receivers =
            self.loader.receivers.iter().enumerate().map(|(index, receiver)| (format!("receiver[{index}].plugin"), &receiver.plugin));
        let missing = sections.chain(receivers).filter(|(_, id)| !known.contains(&id.as_str()));
        let mistake = |(path, id): (String, &String)| {
            let hint = did_you_mean(id, known.iter().copied());
            Mistake::at(
                path,
                format!("there is no plugin `{id}`, neither shipped nor as {}{hint}", self.dir.join(format!("{id}.wasm")).display()),
            )
        };
        missing.map(mistake).collect()
    }

    /// Mistakes in the settings of one plugin and of its receivers. A shipped plugin without settings was tried before it was shipped.
    async fn examine_plugin(&self, id: &str, bytes: &Bytes) -> Result<Vec<Mistake>, LoadError> {
        let config = self.loader.plugins.get(id).cloned().unwrap_or_default();
        let receivers: Vec<usize> = (0..self.loader.receivers.len()).filter(|index| self.loader.receivers[*index].plugin == id).collect();
        let is_shipped = self.shipped.iter().any(|(shipped, known)| shipped == id && known == bytes);
        if !config.enabled || (is_shipped && config.settings.is_empty() && receivers.is_empty()) {
            return Ok(Vec::new());
        }
        let inspected = bytes.clone();
        let world = run_blocking(&self.loader.tasks, move || inspect(&inspected)).await?.world;
        let mut mistakes = Vec::new();
        if world != NOTIFIER {
            let why = format!("`{id}` is no notifier but an {}, and delivers no messages", world.name());
            mistakes.extend(receivers.iter().map(|index| Mistake::at(format!("receiver[{index}].plugin"), why.clone())));
        }
        let prepared = self.loader.prepare(id, bytes, digest(bytes)).await?;
        let own = &prepared.settings;
        if !world.runs_per_receiver() {
            let sections = [format!("plugin.{id}.settings")];
            add_unknown(&mut mistakes, self.examine_settings(&prepared, own, &sections).await?);
        }
        for index in receivers.into_iter().filter(|_| world.runs_per_receiver()) {
            let merged = settings::overlay(own.clone(), settings::to_json(&self.loader.receivers[index].settings));
            let sections = [format!("receiver[{index}].settings"), format!("plugin.{id}.settings")];
            add_unknown(&mut mistakes, self.examine_settings(&prepared, &merged, &sections).await?);
        }
        Ok(mistakes)
    }

    /// Mistakes in one set of settings, which may stand in several sections.
    async fn examine_settings(&self, prepared: &Prepared, wanted: &Value, sections: &[String]) -> Result<Vec<Mistake>, LoadError> {
        let wrong: Vec<WrongSetting> = match self.loader.try_settings(prepared, wanted).await {
            Ok(taken) => {
                let needs = unmet(&taken.rules);
                let place = |need: &Option<String>| need.as_ref().and_then(|need| place_of(wanted, need)).unwrap_or_default();
                let never = needs.iter().map(|unmet| WrongSetting { path: place(&unmet.need), why: with_hint(unmet) });
                taken.ignored.into_iter().chain(never).collect()
            }
            Err(Refused::Settings(wrong)) => wrong,
            Err(refused @ Refused::Init(CallError::Refused(_))) => {
                vec![WrongSetting { path: String::new(), why: refused.into_error("settings").text() }]
            }
            // No mistake of the settings: a machine that is too busy, or a plugin that fails.
            Err(refused) => return Err(refused.into_error(&sections[0])),
        };
        let description = &prepared.generation.description;
        let schema: Value = serde_json::from_str(&description.settings_schema).unwrap_or_default();
        let grants = self.loader.plugins.get(&description.id).map(|config| config.grants.clone()).unwrap_or_default();
        let egress = EgressPolicy::new(&description.id, &grants, &self.loader.secrets, self.loader.tasks.clone(), self.loader.clock);
        let referred = references::find(&schema, wanted).into_iter().filter_map(|reference| {
            let why = self.missing_target(&description.id, &reference, &grants, &egress)?;
            Some(WrongSetting { path: dotted(&reference.pointer), why })
        });
        let mistake = |wrong: WrongSetting| Mistake {
            paths: sections.iter().map(|section| format!("{section}{}", wrong.path)).collect(),
            message: wrong.why,
        };
        Ok(wrong.into_iter().chain(referred).map(mistake).collect())
    }

    /// Reason why the target of a reference is missing or not granted.
    fn missing_target(&self, plugin: &str, reference: &Reference, grants: &Grants, egress: &EgressPolicy) -> Option<String> {
        let ungranted = |what: &str, key: &str, name: &str| {
            format!("the {what} \"{name}\" is not granted; add to [plugin.{plugin}]: grants = {{ {key} = [\"{name}\"] }}")
        };
        match &reference.to {
            Target::Secret(name) if !self.loader.secrets.contains_key(name) => {
                let hint = did_you_mean(name, self.loader.secrets.keys().map(String::as_str));
                Some(format!("there is no secret \"{name}\" under [secret]{hint}"))
            }
            Target::Secret(name) => (!grants.secrets.contains(name)).then(|| ungranted("secret", "secrets", name)),
            Target::Relay(name) if !self.loader.relays.contains_key(name) => {
                let hint = did_you_mean(name, self.loader.relays.keys().map(String::as_str));
                Some(format!("there is no [relay.{name}]{hint}"))
            }
            Target::Relay(name) => (!grants.mail.contains(name)).then(|| ungranted("relay", "mail", name)),
            Target::Url(url) => egress.refusal(url),
            Target::Metric(metric) => references::unknown_metric(metric),
            Target::Label { metric, label } => references::unknown_label(metric, label),
        }
    }
}

/// Adds mistakes at places that have none yet: a mistake in the plugin's own section is found once for each receiver.
fn add_unknown(mistakes: &mut Vec<Mistake>, found: Vec<Mistake>) {
    for mistake in found {
        if !mistakes.iter().any(|known| known.paths == mistake.paths) {
            mistakes.push(mistake);
        }
    }
}

/// Place of a text in the settings: `.rules[0].metric`.
fn place_of(settings: &Value, text: &str) -> Option<String> {
    match settings {
        Value::String(found) if found == text => Some(String::new()),
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| Some(format!("[{index}]{}", place_of(item, text)?))),
        Value::Object(table) => table.iter().find_map(|(key, value)| Some(format!(".{key}{}", place_of(value, text)?))),
        _ => None,
    }
}
