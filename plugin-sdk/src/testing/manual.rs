//! Files that are generated from a plugin's checks: the schema of its settings and the tables of its README.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use super::Facts;
use crate::checks::{Case, Check, Explanation, Family, Grading, Thresholds};
use crate::{Label, Severity};

/// The heading above the tables of a README. The heading and all text after it are generated.
const GENERATED_FROM_HERE: &str = "## Checks and their defaults\n";

/// Compares `schema.json` and `README.md` in a plugin's folder with its checks. Panics if they differ. If the environment variable
/// `UPDATE_EXPECT` is set, the files are written instead.
#[track_caller]
pub fn check(folder: &str, id: &str, families: &[Family]) {
    let folder = Path::new(folder);
    compare(&folder.join("schema.json"), &schema(id, families));
    let readme = folder.join("README.md");
    let text = std::fs::read_to_string(&readme).expect("every plugin has a README.md");
    let (written, _) = text.split_once(GENERATED_FROM_HERE).expect("the README has the heading of the tables");
    compare(&readme, &format!("{written}{GENERATED_FROM_HERE}\n{}", tables(families)));
}

#[track_caller]
fn compare(file: &Path, expected: &str) {
    let found = std::fs::read_to_string(file).unwrap_or_default();
    if found == expected {
        return;
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        return std::fs::write(file, expected).expect("the file can be written");
    }
    let line = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    panic!("{} differs from the checks; UPDATE_EXPECT=1 writes it. The first line that differs: {line:#?}", file.display());
}

fn schema(id: &str, families: &[Family]) -> String {
    let lines: Vec<_> = Family::all(families)
        .map(|check| {
            let definition = if matches!(check.grading, Grading::Fact(_)) { "fact" } else { "scale" };
            format!(r##"        "{}": {{ "description": "{}.", "$ref": "#/$defs/{definition}" }}"##, check.id, capital(check.summary))
        })
        .collect();
    include_str!("schema.json").replace("PLUGIN", id).replace("        \"CHECKS\": {}", &lines.join(",\n"))
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn tables(families: &[Family]) -> String {
    let mut text =
        "A value that reaches a threshold is past it. If a severity says \"yes\", the check answers yes or no. `only`, `except` and\n\
                    `overrides` choose by the labels of the subject and those in the last column.\n\n\
                    | check | what is wrong | info | warning | critical | clear | for | judged | labels |\n|---|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for Family { subject_kind, checks } in families {
        for check in *checks {
            let [info, warning, critical, clear] = levels(check.grading);
            let (id, summary, hold_off, labels) = (check.id, check.summary, duration(check.hold_off), check.labels.join(", "));
            let judged = check.scope.as_str(subject_kind);
            writeln!(text, "| `{id}` | {summary} | {info} | {warning} | {critical} | {clear} | {hold_off} | {judged} | {labels} |")
                .expect("a string takes all");
        }
    }
    text.push_str(
        "\n## Causes and fixes\n\nThe texts of an alert without further facts, with the names of labels in place of their values.\n\n",
    );
    text.push_str("| check | usual cause | fix |\n|---|---|---|\n");
    for Family { subject_kind, checks } in families {
        for check in *checks {
            let Explanation { cause, fix, .. } = explained(subject_kind, check);
            writeln!(text, "| `{}` | {} | {} |", check.id, cell(&cause), cell(&fix)).expect("a string takes all");
        }
    }
    text
}

fn levels(grading: Grading) -> [String; 4] {
    match grading {
        Grading::Fact(severity) => {
            let column = |of: Severity| if of == severity { "yes".to_owned() } else { String::new() };
            [column(Severity::Info), column(Severity::Warning), column(Severity::Critical), String::new()]
        }
        Grading::Scale(_, Thresholds { info, warning, critical, clear }) => [info, warning, critical, Some(clear)].map(threshold),
    }
}

fn threshold(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Formats a duration in the form that settings use.
fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        0 => "0".to_owned(),
        seconds if seconds % 3_600 == 0 => format!("{}h", seconds / 3_600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

/// The explanation of a check without any facts. Each label has its own name as its value.
fn explained(subject_kind: &str, check: &Check) -> Explanation {
    let snapshot = Facts::new(subject_kind, "server", &[("database", "database"), ("server", "server")], "").snapshot();
    let labels: Vec<_> = check.labels.iter().map(|name| Label { name: (*name).to_owned(), value: (*name).to_owned() }).collect();
    (check.explain)(&Case { snapshot: &snapshot, labels: &labels, value: 1.0, severity: Severity::Warning, row: None })
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
