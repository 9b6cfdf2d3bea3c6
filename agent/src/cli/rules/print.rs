//! Results of the cases, for people and for programs.

use std::path::Path;

use pharos_model::rule_case::{ComparedLine, duration_text};
use serde::Serialize;

use super::play::Mismatch;
use super::player::CaseResult;
use crate::cli::terminal::{print, print_json};

/// Prints a line for the case, and below it everything that is wrong.
pub(super) fn text(result: &CaseResult<'_>) {
    let (file, case, played) = (result.file.display(), result.case, &result.played);
    if played.passed() {
        print(format_args!("ok    {file}: {}", case.name));
    } else {
        print(format_args!("FAIL  {file}:{}: {}", case.line, case.name));
    }
    for mismatch in &played.mismatches {
        print(format_args!("      {} at {} (line {}), - expected, + got:", mismatch.what, duration_text(mismatch.at), mismatch.line));
        if mismatch.lines.is_empty() {
            print("          (none)");
        }
        for line in &mismatch.lines {
            print(format_args!("        {} {}", line.mark.sign(), line.text));
        }
        for skipped in &mismatch.skipped {
            print(format_args!("        skipped {skipped}"));
        }
    }
    for text in played.failures.iter().chain(&played.notes) {
        print(format_args!("      {}", text.replace('\n', "\n          ")));
    }
}

pub(super) fn summary(results: &[CaseResult<'_>]) {
    let failed = results.iter().filter(|result| !result.played.passed()).count();
    let cases = if results.len() == 1 { "case" } else { "cases" };
    print(format_args!("{} {cases}, {} passed, {failed} failed", results.len(), results.len() - failed));
}

/// Everything that `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    cases: Vec<CaseReport<'a>>,
    passed: usize,
    failed: usize,
}

/// The result of a case.
#[derive(Serialize)]
struct CaseReport<'a> {
    file: &'a Path,
    line: usize,
    name: &'a str,
    passed: bool,
    mismatches: Vec<MismatchReport<'a>>,
    failures: &'a [String],
    notes: &'a [String],
}

/// An expectation that was not met.
#[derive(Serialize)]
struct MismatchReport<'a> {
    /// Time since the beginning of the case.
    at_seconds: f64,
    /// Line of the expectation in the file.
    line: usize,
    what: &'a str,
    lines: &'a [ComparedLine],
    skipped: &'a [String],
}

pub(super) fn json(results: &[CaseResult<'_>]) -> anyhow::Result<()> {
    let failed = results.iter().filter(|result| !result.played.passed()).count();
    print_json(&Report { cases: results.iter().map(case).collect(), passed: results.len() - failed, failed })
}

fn case<'a>(result: &'a CaseResult<'_>) -> CaseReport<'a> {
    let played = &result.played;
    CaseReport {
        file: result.file,
        line: result.case.line,
        name: &result.case.name,
        passed: played.passed(),
        mismatches: played.mismatches.iter().map(mismatch).collect(),
        failures: &played.failures,
        notes: &played.notes,
    }
}

fn mismatch(mismatch: &Mismatch) -> MismatchReport<'_> {
    MismatchReport {
        at_seconds: mismatch.at.as_secs_f64(),
        line: mismatch.line,
        what: mismatch.what,
        lines: &mismatch.lines,
        skipped: &mismatch.skipped,
    }
}
