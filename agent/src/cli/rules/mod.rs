//! `pharos rules test`: facts written as text go through a plugin and an alert book, and what becomes of them is compared with what the
//! author expects. Plugin host, rates and alerts are those of the agent; only the clock is the case's.

mod facts;
mod file;
mod play;
mod print;
mod suite;
mod tables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Subcommand;

use self::play::{Played, play};
use self::suite::{Case, Suite};
use super::workbench::{Workbench, plugin_id, read_plugin};
use super::{EXIT_CONFIG, EXIT_FAILED, complain, print_last_words};
use crate::config;
use crate::config::shape::did_you_mean;
use crate::plugin::ALERT_RULE;
use crate::plugin::{LoadError, LoadedPlugin, SettingsError, embedded};

#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Play the cases of these TOML files: facts over time, and the alerts that they should lead to
    Test {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Only cases whose name contains this
        #[arg(long, value_name = "TEXT")]
        case: Option<String>,
        /// Folder of plugin files, ID.wasm, that go before the shipped ones
        #[arg(long, value_name = "DIR")]
        plugins: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// A case and what came of it.
pub struct Result<'a> {
    pub file: &'a Path,
    pub case: &'a Case,
    pub played: Played,
}

pub async fn run(command: RulesCommand) -> anyhow::Result<ExitCode> {
    let RulesCommand::Test { files, case, plugins, json } = command;
    let (mut suites, mut refused) = (Vec::new(), Vec::new());
    for file in &files {
        match Suite::load(file) {
            Ok(suite) => suites.push(suite),
            Err(err) => refused.push(err.into()),
        }
    }
    let mut workbench = Workbench::open()?;
    let mut results = Vec::new();
    for suite in suites.iter().filter(|_| refused.is_empty()) {
        let mut player = Player::of(suite, plugins.as_deref(), &mut workbench)?;
        for (index, wanted) in suite.cases.iter().enumerate() {
            if case.as_ref().is_some_and(|part| !wanted.name.contains(part)) {
                continue;
            }
            let result = Result { file: &suite.path, case: wanted, played: player.play(index).await? };
            if !json {
                print::text(&result);
            }
            results.push(result);
        }
    }
    if !refused.is_empty() {
        refused.iter().for_each(complain);
        return Ok(ExitCode::from(EXIT_CONFIG));
    }
    if let Some(part) = case.filter(|_| results.is_empty()) {
        bail!("no case has \"{part}\" in its name");
    }
    if json {
        print::json(&results)
    } else {
        print::summary(&results)
    }
    let passed = results.iter().all(|result| result.played.passed());
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

/// Plays the cases of one file with its plugin, loaded once for each set of settings.
struct Player<'a> {
    suite: &'a Suite,
    workbench: &'a mut Workbench,
    id: String,
    bytes: Bytes,
    loaded: BTreeMap<String, LoadedPlugin>,
}

impl<'a> Player<'a> {
    fn of(suite: &'a Suite, plugins: Option<&Path>, workbench: &'a mut Workbench) -> anyhow::Result<Self> {
        let (id, bytes) = plugin(suite, plugins)?;
        Ok(Self { suite, workbench, id, bytes, loaded: BTreeMap::new() })
    }

    async fn play(&mut self, index: usize) -> anyhow::Result<Played> {
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

    /// What only the plugin's rules can tell to be wrong with a case.
    fn check(&self, index: usize, plugin: &LoadedPlugin) -> std::result::Result<(), config::LoadError> {
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

/// Why the plugin does not load with a case's settings; a mistake in these is one of the file.
fn refusal(suite: &Suite, case: usize, id: &str, err: LoadError) -> anyhow::Error {
    let section = format!("plugin.{id}.settings");
    match &err {
        LoadError::Settings(SettingsError::Invalid(problems)) => {
            let place = |problem: &String| {
                let said = problem.strip_prefix(&section).unwrap_or(problem);
                let (path, why) = said.split_once(": ").unwrap_or(("", said));
                (suite.settings_path(case, path), format!("`settings{path}`: {why}"))
            };
            suite.refuse(problems.iter().map(place).collect()).into()
        }
        LoadError::Init(_) => suite.refuse(vec![(suite.settings_path(case, ""), format!("`{id}`: {}", err.text()))]).into(),
        _ => anyhow::Error::new(err).context(format!("loading `{id}` for {}", suite.path.display())),
    }
}
