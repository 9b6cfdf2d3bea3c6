//! Checks of plugins: whether each plugin serves, and whether each rule can match.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope, each_value, evidence};
use pharos_plugin::{Label, Severity, SkipReason, Snapshot};

use crate::label;

const STATE: &str = "pharos_plugin_state";
/// The stage of an error about settings. Such an error does not mean that a file was refused.
const SETTINGS_IGNORED: &str = "settings-ignored";
const NEVER_MATCHED: &str = "pharos_rule_never_matched";

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "plugin-not-serving",
        summary: "a plugin does not serve",
        category: "plugins",
        scope: Scope::Each,
        labels: &["plugin_id"],
        needs: &[STATE],
        // The first pauses of a failed plugin are shorter than this.
        hold_off: Duration::from_secs(30),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Critical),
        observe: |snapshot| where_plugin(snapshot, |plugin| matches!(plugin.state.as_str(), "failed" | "quarantined")),
        explain: plugin_not_serving,
    },
    Check {
        id: "plugin-failing",
        summary: "a plugin serves and fails again and again",
        category: "plugins",
        scope: Scope::Each,
        labels: &["plugin_id"],
        needs: &[STATE],
        hold_off: Duration::from_secs(30),
        // A quarantined plugin is not called and cannot fail. The alert must outlast the longest pause of a quarantine.
        keep_firing: Duration::from_mins(10),
        grading: Grading::Fact(Severity::Warning),
        observe: |snapshot| where_plugin(snapshot, |plugin| plugin.state == "failing"),
        explain: plugin_failing,
    },
    Check {
        id: "plugin-refused",
        summary: "a plugin file was refused; the previous version still serves",
        category: "plugins",
        scope: Scope::Each,
        labels: &["plugin_id"],
        needs: &[STATE],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Warning),
        observe: |snapshot| where_plugin(snapshot, |plugin| plugin.serves() && plugin.refusal().is_some()),
        explain: plugin_refused,
    },
    Check {
        id: "plugin-settings-ignored",
        summary: "a plugin ignores wrong settings",
        category: "plugins",
        scope: Scope::Each,
        labels: &["plugin_id"],
        needs: &[STATE],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Warning),
        observe: |snapshot| where_plugin(snapshot, |plugin| plugin.serves() && plugin.ignored_settings.is_some()),
        explain: plugin_settings_ignored,
    },
    Check {
        id: "rule-never-matches",
        summary: "a rule has never matched anything",
        category: "plugins",
        scope: Scope::Each,
        labels: &["plugin_id", "rule_id"],
        needs: &[NEVER_MATCHED],
        // No delay is needed: the agent sets the metric only after a long time.
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Warning),
        observe: never_matched,
        explain: rule_never_matches,
    },
];

/// A row of the agent's table `plugins`.
struct Row {
    id: String,
    state: String,
    /// The stage and the reason of the latest error.
    error: Option<(String, String)>,
    /// The last output of the plugin before it was stopped, such as a panic or a traceback.
    last_words: Option<String>,
    /// Settings that the plugin left out.
    ignored_settings: Option<String>,
}

impl Row {
    fn serves(&self) -> bool {
        matches!(self.state.as_str(), "serving" | "failing")
    }

    /// The stage and the reason of a refused file. None for errors of calls and of settings.
    fn refusal(&self) -> Option<&(String, String)> {
        self.error.as_ref().filter(|(stage, _)| stage != "call" && stage != SETTINGS_IGNORED)
    }
}

fn rows(snapshot: &Snapshot) -> Vec<Row> {
    let Some(table) = snapshot.table("plugins") else { return Vec::new() };
    let (ids, states) = (table.texts("id"), table.texts("state"));
    let (stages, errors, ignored) = (table.texts("stage"), table.texts("error"), table.texts("ignored_settings"));
    let last_words = table.texts("last_words");
    let row = |row: usize| {
        Some(Row {
            id: ids[row].clone()?,
            state: states[row].clone().unwrap_or_default(),
            error: stages[row].clone().zip(errors[row].clone()),
            last_words: last_words.get(row).cloned().flatten(),
            ignored_settings: ignored.get(row).cloned().flatten(),
        })
    };
    (0..table.row_count()).filter_map(row).collect()
}

/// The end of the plugin's last output as evidence. The reason usually stands at the end.
fn last_words(row: Option<&Row>) -> Vec<Label> {
    /// Characters of the output that the evidence shows. The host cuts a value after 500 bytes, at the end, where the reason stands.
    const CHARS_MAX: usize = 400;
    let words = row.and_then(|row| row.last_words.as_deref()).unwrap_or_default();
    let skipped = words.chars().count().saturating_sub(CHARS_MAX);
    let end: String = words.chars().skip(skipped).collect();
    let end = if skipped > 0 { format!("...{end}") } else { end };
    Vec::from_iter((!words.is_empty()).then(|| evidence("last output", end)))
}

fn where_plugin(snapshot: &Snapshot, is_wrong: fn(&Row) -> bool) -> Result<Vec<Observation>, SkipReason> {
    let wrong = rows(snapshot).into_iter().filter(is_wrong);
    Ok(wrong.map(|plugin| Observation::new(label("plugin_id", &plugin.id), 1.0)).collect())
}

fn never_matched(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut rules = each_value(snapshot, NEVER_MATCHED)?;
    rules.retain(|rule| rule.value == 1.0);
    // The names `plugin` and `rule` mean the origin of an alert. These labels name the plugin and the rule that the alert is about.
    for label in rules.iter_mut().flat_map(|rule| &mut rule.labels) {
        label.name += "_id";
    }
    Ok(rules)
}

fn plugin_of_case(case: &Case) -> (String, Option<Row>) {
    let id = case.label("plugin_id").to_owned();
    let row = rows(case.snapshot).into_iter().find(|row| row.id == id);
    (id, row)
}

fn plugin_not_serving(case: &Case) -> Explanation {
    let (id, row) = plugin_of_case(case);
    let state = row.as_ref().map_or("failed", |row| row.state.as_str());
    let why = row.as_ref().and_then(|row| row.error.as_ref()).map(|(stage, why)| format!(" Last error, at {stage}: {why}."));
    Explanation {
        title: format!("plugin {id} is {state}"),
        detail: format!(
            "`{id}` does not serve: its rules are not judged and its alerts stand still, or nothing is delivered through it.{}",
            why.unwrap_or_default()
        ),
        cause: "Its file or its settings are wrong, or its calls trap, take too long or need too much memory.".to_owned(),
        fix: format!(
            "`pharos plugin inspect FILE` shows what is wrong with the file, `pharos plugin test` runs it on a recorded snapshot. If it \
             only needs more time or memory, raise [plugin.{id}.limits]; otherwise put a version that works into `plugins.dir`."
        ),
        evidence: last_words(row.as_ref()),
    }
}

fn plugin_failing(case: &Case) -> Explanation {
    let (id, row) = plugin_of_case(case);
    let why = row.as_ref().and_then(|row| row.error.as_ref()).map(|(_, why)| format!(" The last time it {why}."));
    Explanation {
        title: format!("plugin {id} fails again and again"),
        detail: format!(
            "A fifth of its last calls failed, or all calls about one server or receiver. These calls judged or delivered nothing, and are \
             repeated less and less often; alerts about their subjects stand still.{}",
            why.unwrap_or_default()
        ),
        cause: "A mistake in the plugin that shows only with some servers or messages or at some times, or limits that are too tight."
            .to_owned(),
        fix: format!(
            "`curl -s http://127.0.0.1:9465/readyz` says how it fails, and `last_error` in /api/plugins has its last error. `pharos plugin \
             test` runs it on a snapshot of that server. If it only needs more time or memory, raise [plugin.{id}.limits]; otherwise \
             correct it or go back to the previous version."
        ),
        evidence: last_words(row.as_ref()),
    }
}

fn plugin_refused(case: &Case) -> Explanation {
    let (id, row) = plugin_of_case(case);
    let refusal = row.as_ref().and_then(Row::refusal).map(|(stage, why)| format!(" Refused at {stage}: {why}."));
    Explanation {
        title: format!("new file of plugin {id} was refused"),
        detail: format!("The previous version still serves.{}", refusal.unwrap_or_default()),
        cause: "The file is damaged, was built for another contract, does not fit its settings, or failed on trial.".to_owned(),
        fix: format!(
            "`pharos plugin inspect {id}.wasm` inspects the file, `pharos plugin test {id}.wasm --snapshot FILE` runs it on facts. Replace \
             the file in `plugins.dir`, or remove it."
        ),
        evidence: last_words(row.as_ref()),
    }
}

fn plugin_settings_ignored(case: &Case) -> Explanation {
    let (id, row) = plugin_of_case(case);
    let ignored = row.as_ref().and_then(|row| row.ignored_settings.as_deref()).unwrap_or_default();
    Explanation {
        title: format!("plugin {id} ignores wrong settings"),
        detail: format!("It serves without them: a check uses its defaults, a wrong rule or receiver is off. {ignored}."),
        cause: "A key or a value is misspelt, or belongs to another version of the plugin.".to_owned(),
        fix: "`pharos check` shows each wrong setting with its line in the config file. Correct them there and start the agent again."
            .to_owned(),
        evidence: Vec::new(),
    }
}

fn rule_never_matches(case: &Case) -> Explanation {
    let (plugin, rule) = (case.label("plugin_id"), case.label("rule_id"));
    Explanation {
        title: format!("rule {rule} of {plugin} has never matched anything"),
        detail: format!(
            "`{rule}` was judged for longer than alerts.never_matched_after, and no subject had any data that matches it. It could not \
             report the problem that it was written for."
        ),
        cause: "A misspelt metric, label or value; a server or database that was renamed; or data that does not exist yet.".to_owned(),
        fix: format!(
            "Compare what the rule names with `curl -s http://127.0.0.1:9465/metrics`, label by label, in [plugin.{plugin}.settings]; or remove \
             the rule."
        ),
        evidence: Vec::new(),
    }
}
