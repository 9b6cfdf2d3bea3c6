//! Checks of load: dropped snapshots, limits of the agent's own system, and steps of its clock.

use std::time::Duration;

use pharos_plugin::checks::{
    Case, Check, Direction, Explanation, Grading, Observation, Scope, Thresholds, each_increase, each_value, evidence,
};
use pharos_plugin::{Reading, SkipReason, Snapshot, text};

const SKIPPED: &str = "pharos_collect_skipped_total";
const PLUGIN_FAILURES: &str = "pharos_plugin_failures_total";
const OWN_LIMIT: &str = "pharos_own_limit_total";
const OPEN_FILES: &str = "process_open_fds";
const OPEN_FILES_MAX: &str = "process_max_fds";
const CLOCK_STEP: &str = "pharos_clock_step_seconds";
const CPU: &str = "process_cpu_seconds_total";

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "agent-overloaded",
        summary: "snapshots are dropped because judgement is late",
        category: "load",
        scope: Scope::Each,
        labels: &["server", "collector"],
        needs: &[SKIPPED],
        hold_off: Duration::ZERO,
        keep_firing: Duration::from_mins(5),
        grading: Grading::rising(1.0, 100.0, 0.0),
        observe: dropped_snapshots,
        explain: agent_overloaded,
    },
    Check {
        id: "own-limit",
        summary: "the agent's own operating system refuses it connections",
        category: "load",
        scope: Scope::Each,
        labels: &["part"],
        needs: &[OWN_LIMIT],
        hold_off: Duration::ZERO,
        keep_firing: Duration::from_mins(10),
        grading: Grading::rising(1.0, 10.0, 0.0),
        observe: own_limits,
        explain: own_limit,
    },
    Check {
        id: "clock-stepped",
        summary: "the wall clock was set",
        category: "clock",
        scope: Scope::Each,
        labels: &[],
        needs: &[CLOCK_STEP],
        hold_off: Duration::ZERO,
        // The step is visible in a single snapshot, but a person should have time to read the alert.
        keep_firing: Duration::from_mins(30),
        grading: Grading::Scale(Direction::Rising, Thresholds { info: None, warning: Some(10.0), critical: Some(3_600.0), clear: 1.0 }),
        observe: clock_steps,
        explain: clock_stepped,
    },
];

/// Observes the snapshots that were dropped because judgement was late, by server.
fn dropped_snapshots(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut skipped = each_increase(snapshot, SKIPPED)?;
    // Skipped runs of other collectors come from a slow server, not from a slow agent.
    skipped.retain(|skipped| skipped.labels.iter().any(|label| label.name == "collector" && label.value == "snapshot"));
    skipped.iter_mut().for_each(|skipped| skipped.labels.retain(|label| label.name == "server"));
    Ok(skipped)
}

fn agent_overloaded(case: &Case) -> Explanation {
    let server = case.label("server");
    let snapshots = text::counted(case.value, "snapshot", "snapshots");
    let interval = text::duration(case.snapshot.reading_seconds(SKIPPED));
    let busy = case.snapshot.samples(PLUGIN_FAILURES, &[], Reading::Value);
    let busy = busy.rows().filter(|row| row.label("reason") == Some("busy"));
    let cpu = case.snapshot.samples(CPU, &[], Reading::Rate).values.first().map(|cpu| evidence("CPU", text::percent(*cpu)));
    let waits = busy.map(|row| {
        evidence(&format!("calls of {} that waited too long", row.label("plugin").unwrap_or_default()), text::count(row.value()))
    });
    Explanation {
        title: format!("{snapshots} of {server} not judged"),
        detail: format!("In the last {interval} {snapshots} of {server} were dropped, because those before were not judged yet."),
        cause: "Plugins that take long, more servers than this machine can watch at these intervals, or a disk that is slow to write.".to_owned(),
        fix: "See which plugin takes the time (`pharos_plugin_call_seconds_total`), give the machine more CPU, or lengthen [collect.interval].".to_owned(),
        evidence: cpu.into_iter().chain(waits).collect(),
    }
}

/// Observes the connections that failed because of the agent's own system, by the part of the agent that needed them.
fn own_limits(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    each_increase(snapshot, OWN_LIMIT)
}

fn own_limit(case: &Case) -> Explanation {
    let times = text::counted(case.value, "connection", "connections");
    let (title, detail) = match case.label("part") {
        "http" => ("the API takes no connections", "Requests to the API are not answered. Monitoring is not affected by that alone."),
        "files" => return unreadable_files(case),
        _ => (
            "servers are not watched: no connections",
            "The state of the servers that the agent wanted to query is unknown. They are not reported as down, and their alerts stand \
             still.",
        ),
    };
    let number = |metric: &str| case.related(metric).map(text::count);
    let files = number(OPEN_FILES).zip(number(OPEN_FILES_MAX)).map(|(open, max)| evidence("open files", format!("{open} of {max}")));
    Explanation {
        title: title.to_owned(),
        detail: format!("The agent's own operating system refused it {times} since the previous collection. {detail}"),
        cause: "The limit of open files is reached, or memory or local ports are used up.".to_owned(),
        fix:
            "The log says which. For open files raise the limit of the agent's process: `LimitNOFILE=` in its systemd unit, or `ulimit -n`."
                .to_owned(),
        evidence: files.into_iter().collect(),
    }
}

/// Explains a password, certificate or key that the agent cannot read.
fn unreadable_files(case: &Case) -> Explanation {
    let times = text::counted(case.value, "session", "sessions");
    Explanation {
        title: "servers are not watched: a password or certificate cannot be read".to_owned(),
        detail: format!(
            "For {times} since the previous collection the agent could not read or use a password, a certificate or a key of its own, so \
             the servers were not queried. They are not reported as down, and their alerts stand still."
        ),
        cause: "A file was moved, its permissions changed, it is on a disk that hangs, or a variable of the environment is not set."
            .to_owned(),
        fix: "The log names the server and the file. `pharos check --config ...`, run as the agent's user, reads all of them.".to_owned(),
        evidence: Vec::new(),
    }
}

/// Observes the step of the wall clock in seconds, forward or back.
fn clock_steps(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut steps = each_value(snapshot, CLOCK_STEP)?;
    steps.iter_mut().for_each(|step| step.value = step.value.abs());
    Ok(steps)
}

fn clock_stepped(case: &Case) -> Explanation {
    let step = text::duration(case.value);
    let way = match case.related(CLOCK_STEP) {
        Some(seconds) if seconds < 0.0 => "back",
        _ => "ahead",
    };
    Explanation {
        title: format!("wall clock was set {way} by {step}"),
        detail: format!(
            "Between two collections the wall clock moved {step} {way} of the time that passed. Alerts use another clock and are not \
             affected; shown times and silences use this clock."
        ),
        cause: "A person or a time service set the clock, or the machine was suspended.".to_owned(),
        fix: "`timedatectl status`, `chronyc tracking`: a service that runs all the time corrects the clock in small steps and does not \
              need to set it."
            .to_owned(),
        evidence: Vec::new(),
    }
}
