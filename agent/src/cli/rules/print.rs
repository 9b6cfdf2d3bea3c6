//! What came of the cases, for people and for programs.

use pharos_model::rule_case::duration_text;
use serde_json::{Value, json};

use super::Result;
use crate::cli::print;

/// One line a case, and what is wrong with it below.
pub fn text(result: &Result<'_>) {
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
    for said in played.failures.iter().chain(&played.notes) {
        print(format_args!("      {}", said.replace('\n', "\n          ")));
    }
}

pub fn summary(results: &[Result<'_>]) {
    let failed = results.iter().filter(|result| !result.played.passed()).count();
    let cases = if results.len() == 1 { "case" } else { "cases" };
    print(format_args!("{} {cases}, {} passed, {failed} failed", results.len(), results.len() - failed));
}

pub fn json(results: &[Result<'_>]) {
    let failed = results.iter().filter(|result| !result.played.passed()).count();
    let cases: Vec<Value> = results.iter().map(case).collect();
    print(json!({ "cases": cases, "passed": results.len() - failed, "failed": failed }));
}

fn case(result: &Result<'_>) -> Value {
    let played = &result.played;
    let mismatches: Vec<Value> = played
        .mismatches
        .iter()
        .map(|mismatch| {
            json!({
                "at_seconds": mismatch.at.as_secs_f64(),
                "line": mismatch.line,
                "what": mismatch.what,
                "lines": mismatch.lines,
                "skipped": mismatch.skipped,
            })
        })
        .collect();
    json!({
        "file": result.file,
        "line": result.case.line,
        "name": result.case.name,
        "passed": played.passed(),
        "mismatches": mismatches,
        "failures": played.failures,
        "notes": played.notes,
    })
}
