//! Plays the cases of one file with the plugin that the file names.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use bytes::Bytes;

use super::play::{Played, play};
use super::suite::{Case, Suite};
use crate::cli::terminal::print_last_words;
use crate::cli::workbench::{Workbench, plugin_id, read_plugin};
use crate::config;
use crate::config::shape::did_you_mean;
use crate::plugin::ALERT_RULE;
use crate::plugin::{LoadError, LoadedPlugin, SettingsError, embedded};

/// A case and its result.
pub(super) struct CaseResult<'a> {
    pub file: &'a Path,
    pub case: &'a Case,
    pub played: Played,
}

/// Plays the cases of one file with its plugin, loaded once for each set of settings.
pub(super) struct Player<'a> {
    suite: &'a Suite,
    workbench: &'a mut Workbench,
    id: String,
    bytes: Bytes,
    loaded: BTreeMap<String, LoadedPlugin>,
}

impl<'a> Player<'a> {
    pub(super) fn new(suite: &'a Suite, plugins: Option<&Path>, workbench: &'a mut Workbench) -> anyhow::Result<Self> {
        let (id, bytes) = plugin(suite, plugins)?;
        Ok(Self { suite, workbench, id, bytes, loaded: BTreeMap::new() })
    }

    /// Plays the case with this index.
    pub(super) async fn play(&mut self, index: usize) -> anyhow::Result<Played> {
        let case = &self.suite.cases[index];
        let settings = case.settings.to_string();
        if !self.loaded.contains_key(&settings) {
            let loaded = self.workbench.load(&self.id, &self.bytes, case.settings.clone()).await;
            print_last_words(loaded.as_ref().err().and_then(LoadError::last_words));
            let loaded = loaded.map_err(|err| refusal(self.suite, index, &self.id, err))?;
            self.loaded.insert(settings.clone(), loaded);
        }
        let plugin = self.loaded.get(&settings).context("it was just loaded")?;
        self.check(index, plugin)?;
        Ok(play(case, plugin).await)
    }

    /// Checks a case against the rules of the plugin, which are known only once it is loaded.
    fn check(&self, index: usize, plugin: &LoadedPlugin) -> Result<(), config::LoadError> {
        let rules: Vec<&str> = plugin.rules().iter().map(|rule| rule.id.as_str()).collect();
        let mut problems = self.suite.unknown_rules(index, &rules);
        let kind = &self.suite.cases[index].timeline.subject.kind;
        if !plugin.rules().iter().any(|rule| rule.subject_kind == *kind) {
            problems.push((format!("case[{index}]"), format!("no rule of `{}` is about {}", self.id, kind.described())));
        }
        if problems.is_empty() { Ok(()) } else { Err(self.suite.refuse(problems)) }
    }
}

/// The plugin that a file names: its id and its bytes.
fn plugin(suite: &Suite, plugins: Option<&Path>) -> anyhow::Result<(String, Bytes)> {
    let named = suite.plugin_file().or_else(|| Some(plugins?.join(format!("{}.wasm", suite.plugin))).filter(|file| file.is_file()));
    if let Some(file) = named {
        if !file.is_file() {
            return Err(suite.refuse(vec![("plugin".to_owned(), format!("there is no file {}", file.display()))]).into());
        }
        let (bytes, inspection) = read_plugin(&file)?;
        if inspection.world != ALERT_RULE {
            let world = inspection.world.name();
            return Err(suite.refuse(vec![("plugin".to_owned(), format!("{} is a {world}, and has no rules", file.display()))]).into());
        }
        return Ok((plugin_id(&file)?.to_owned(), bytes));
    }
    if let Some((id, bytes)) = embedded::SHIPPED.iter().find(|(id, _)| *id == suite.plugin) {
        return Ok(((*id).to_owned(), Bytes::from_static(bytes)));
    }
    let hint = did_you_mean(&suite.plugin, embedded::SHIPPED.iter().map(|(id, _)| *id));
    let message = format!("no shipped plugin is named `{}`{hint}; a file of your own is a path ending in `.wasm`", suite.plugin);
    Err(suite.refuse(vec![("plugin".to_owned(), message)]).into())
}

/// The error of a plugin that does not load with a case's settings. A mistake in the settings is reported at its place in the file.
fn refusal(suite: &Suite, case: usize, id: &str, err: LoadError) -> anyhow::Error {
    let section = format!("plugin.{id}.settings");
    match &err {
        LoadError::Settings(SettingsError::Invalid(problems)) => {
            let place = |problem: &String| {
                let problem = problem.strip_prefix(&section).unwrap_or(problem);
                let (path, why) = problem.split_once(": ").unwrap_or(("", problem));
                (suite.settings_path(case, path), format!("`settings{path}`: {why}"))
            };
            suite.refuse(problems.iter().map(place).collect()).into()
        }
        LoadError::Init(_) => suite.refuse(vec![(suite.settings_path(case, ""), format!("`{id}`: {}", err.text()))]).into(),
        _ => anyhow::Error::new(err).context(format!("loading `{id}` for {}", suite.path.display())),
    }
}
