//! Checks of availability: whether the server accepts and serves clients.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope, each_increase, each_value, each_zero, evidence};
use pharos_plugin::{Severity, SkipReason, Snapshot, civil_date, text};

use crate::persistence::is_data_lost;
use crate::server::cli;

const UP: &str = "pharos_redis_up";
const CLIENTS: &str = "pharos_redis_clients";
const CLIENTS_MAX: &str = "pharos_redis_clients_max";
const CLIENTS_USED: &str = "pharos_redis_clients_used_ratio";
const CLIENTS_BLOCKED: &str = "pharos_redis_clients_blocked";
const REJECTED: &str = "pharos_redis_connections_rejected_total";
/// The agent's table of restarts in the last 15 minutes, oldest first.
const RESTARTS: &str = "restarts";
/// The agent's table of impossible values of `INFO`, as the server wrote them.
const LEFT_OUT: &str = "numbers_left_out";

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "server-down",
        summary: "the server does not answer",
        category: "availability",
        scope: Scope::Each,
        labels: &[],
        needs: &[UP],
        // A second collection confirms it: a single lost packet is not an outage.
        hold_off: Duration::from_secs(5),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Critical),
        observe: |snapshot| each_zero(snapshot, UP),
        explain: server_down,
    },
    Check {
        id: "server-restarted",
        summary: "the server restarted in the last 15 minutes",
        category: "availability",
        scope: Scope::Each,
        labels: &[],
        needs: &[RESTARTS],
        hold_off: Duration::ZERO,
        // The alert needs no extra time: the agent's table lists a restart for 15 minutes.
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Info),
        observe: restarted,
        explain: server_restarted,
    },
    Check {
        id: "numbers-impossible",
        summary: "the server sends impossible numbers, so a part of it is not judged",
        category: "availability",
        scope: Scope::Each,
        labels: &[],
        needs: &[LEFT_OUT],
        // A second collection confirms it: a counter may underflow for a moment.
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::from_mins(5),
        grading: Grading::Fact(Severity::Warning),
        observe: numbers_left_out,
        explain: numbers_impossible,
    },
    Check {
        id: "clients-used",
        summary: "few more clients can connect",
        category: "connections",
        scope: Scope::Each,
        labels: &[],
        needs: &[CLIENTS_USED],
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::from_mins(2),
        grading: Grading::rising(0.8, 0.9, 0.7),
        observe: |snapshot| each_value(snapshot, CLIENTS_USED),
        explain: clients_used,
    },
    Check {
        id: "rejected-connections",
        summary: "clients are refused",
        category: "connections",
        scope: Scope::Each,
        labels: &[],
        needs: &[REJECTED],
        hold_off: Duration::ZERO,
        keep_firing: Duration::from_mins(5),
        grading: Grading::rising(1.0, 100.0, 0.0),
        observe: |snapshot| each_increase(snapshot, REJECTED),
        explain: rejected_connections,
    },
];

fn server_down(case: &Case) -> Explanation {
    let table = case.snapshot.table("unreachable");
    let cell = |column| table.as_ref().and_then(|table| table.text(column, 0));
    let why = cell("why").or_else(|| case.failure()).unwrap_or_else(|| "no reason was given".to_owned());
    let Refused { title, cause, fix } = refused(&cell("reason").unwrap_or_default(), &cli(case.snapshot));
    Explanation {
        title: title.to_owned(),
        detail: format!("The last collection could not reach the server: {}.", why.trim_end_matches('.')),
        cause: cause.to_owned(),
        fix,
        evidence: Vec::new(),
    }
}

/// Observes the latest restart, with the number of restarts as value. The check `data-lost` reports a restart that lost data.
fn restarted(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let count = snapshot.table(RESTARTS).map_or(0, |restarts| restarts.row_count());
    let latest = count.checked_sub(1).filter(|_| !is_data_lost(snapshot));
    Ok(latest.map(|row| Observation::new(Vec::new(), count as f64).with_row(row)).into_iter().collect())
}

fn server_restarted(case: &Case) -> Explanation {
    let cells = case.cells(RESTARTS);
    let number = |column: &str| cells.as_ref().and_then(|cells| cells.number(column)).filter(|number| *number >= 0.0);
    let ago = number("seconds_ago").map(|seconds| format!(" {} ago", text::duration(seconds))).unwrap_or_default();
    let at = number("at").map(|at| format!(", at {}", civil_date::readable((at * 1_000.0) as u64))).unwrap_or_default();
    let others = if case.value > 1.0 { format!(" It was one of {} starts in 15 minutes.", text::count(case.value)) } else { String::new() };
    Explanation {
        title: "server restarted".to_owned(),
        detail: format!(
            "The server started{ago}{at}.{others} All connections, blocked commands and subscriptions ended. This alert ends by itself 15 \
             minutes after the start."
        ),
        cause: "An operator, an update or the service manager restarted it; the kernel killed the process because memory ran out; or it \
                crashed."
            .to_owned(),
        fix: "If the restart was planned, there is nothing to do. Else on the host: the end of the server's log before the start (`Received SIGTERM` \
              is an order, `BUG REPORT START` a crash), `journalctl -u 'redis*'`, and `journalctl -k | grep -i oom` for a process that the kernel \
              killed."
            .to_owned(),
        evidence: Vec::new(),
    }
}

/// Observes the number of impossible values, as a single observation.
fn numbers_left_out(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let count = snapshot.table(LEFT_OUT).filter(|table| table.row_count() > 0).and_then(|table| table.number("count", 0));
    Ok(count.map(|count| Observation::new(Vec::new(), count).with_row(0)).into_iter().collect())
}

fn numbers_impossible(case: &Case) -> Explanation {
    let table = case.snapshot.table(LEFT_OUT);
    let listed = table.as_ref().map_or(0, |table| table.row_count()).min(5);
    let line = |row: usize| table.as_ref().and_then(|table| Some(evidence(&table.text("field", row)?, table.text("value", row)?)));
    Explanation {
        title: format!("{} in INFO", text::counted(case.value, "impossible number", "impossible numbers")),
        detail: "The server sent impossible numbers: below zero, infinite, or larger than on any server. They are left out, and what \
                 depends on them is not judged."
            .to_owned(),
        cause: "A fault of the server or of a proxy in front of it: a counter that fell below zero, or a fork of Redis in which the field \
                has another meaning."
            .to_owned(),
        fix: format!("See them with `{} INFO everything`. Update the server; a restart ends an underflow.", cli(case.snapshot)),
        evidence: (0..listed).filter_map(line).collect(),
    }
}

/// The texts of an alert about a server that refuses a session.
struct Refused {
    title: &'static str,
    cause: &'static str,
    fix: String,
}

/// The texts for a reason from the agent's table `unreachable`.
fn refused(reason: &str, cli: &str) -> Refused {
    let refused = |title, cause, fix: &str| Refused { title, cause, fix: fix.to_owned() };
    match reason {
        "authentication" | "password" => refused(
            "Pharos cannot log in to the server",
            "The password of Pharos is missing, wrong or out of date, or its user is disabled.",
            "Correct `password_file` or `password_env` of the [[redis]]: it is read again at each try. `ACL LIST` on the server shows \
             which users are enabled, and `pharos doctor` tests it.",
        ),
        "protected-mode" => refused(
            "protected mode refuses Pharos",
            "The server has no password, and therefore accepts only programs on its own host.",
            "Give the server a password (`requirepass` in redis.conf) and Pharos the same with `password_file`, or run Pharos on that host.",
        ),
        "tls" => refused(
            "no encrypted session with the server",
            "The certificate of one side is not trusted by the other, has expired, or one of them does not encrypt.",
            "The detail says which certificate, and what to make. `tls = { ca, cert, key }` of the [[redis]] names the files of Pharos, \
             which are read again at each try.",
        ),
        "protocol" | "too-much" => refused(
            "the server at this address is not Redis",
            "Another program uses the address, or the server expects encryption there.",
            "Compare the address in `nodes` of the [[redis]] with `port` and `tls-port` of the server: rediss:// is for the second.",
        ),
        "busy" => Refused {
            title: "server is kept busy by a script",
            cause: "A script or function runs and blocks all other commands.",
            fix: format!(
                "`{cli} SCRIPT KILL` ends a script, `{cli} FUNCTION KILL` a function. A script that has written data cannot be ended: wait \
                 until it ends. Then make it shorter."
            ),
        },
        "closed" => Refused {
            title: "server ends connections at once",
            cause: "All connections that maxclients allows are in use, a proxy in between has no server, or the server is shutting down.",
            fix: format!(
                "On the host: `{cli} INFO clients`; if that is refused too, end clients that are not needed, and see `maxclients` in \
                 redis.conf. Then `systemctl status redis`."
            ),
        },
        _ => Refused {
            title: "server does not answer",
            cause: "The process has stopped or was killed for its memory, a slow command or a fork blocks it, or the network is down.",
            fix: format!(
                "On the host: `{cli} ping`, then `systemctl status redis` and `journalctl -k | grep -i oom`. If it answers slowly, `{cli} \
                 slowlog get 10`."
            ),
        },
    }
}

fn clients_used(case: &Case) -> Explanation {
    let used = text::percent(case.value);
    let cli = cli(case.snapshot);
    let of_max = case.related(CLIENTS_MAX).map(|max| format!(" of {}", text::count(max))).unwrap_or_default();
    let clients = case.related(CLIENTS).map(|clients| evidence("clients", text::count(clients)));
    let blocked = case.related(CLIENTS_BLOCKED).map(|blocked| evidence("blocked in a command", text::count(blocked)));
    // A step of half the limit is enough: above that, the limit is rarely the problem.
    let raise = case.related(CLIENTS_MAX).map(|max| {
        format!(
            " Last of all `CONFIG SET maxclients {}`; where the file limit of the process is lower, the server reports the highest \
             possible value.",
            (max * 1.5).ceil()
        )
    });
    Explanation {
        title: format!("{used} of clients are connected"),
        detail: format!("Clients hold {used}{of_max} connections. At maxclients every new connection is refused."),
        cause: "Pools that together are larger than maxclients, or connections that are opened and never closed.".to_owned(),
        fix: format!(
            "See which clients hold them: `{cli} CLIENT LIST | grep -o ' addr=[^ ]*' | sed 's/:[0-9]*$//' | sort | uniq -c | sort -rn | \
             head`. Make the pools smaller. Where `CONFIG GET timeout` says 0, forgotten connections stay open for ever: `CONFIG SET \
             timeout 3600` closes those that were idle for an hour.{}",
            raise.unwrap_or_default()
        ),
        evidence: [clients, blocked].into_iter().flatten().collect(),
    }
}

fn rejected_connections(case: &Case) -> Explanation {
    let connections = text::counted(case.value, "connection", "connections");
    let interval = text::duration(case.snapshot.reading_seconds(REJECTED));
    let max = case.related(CLIENTS_MAX).map(|max| evidence("maxclients", text::count(max)));
    Explanation {
        title: format!("{connections} refused"),
        detail: format!("In the last {interval} the server refused {connections}, because maxclients was reached."),
        cause: "More clients than maxclients, or than the process may have open files.".to_owned(),
        fix: "Make the pools of the clients smaller, or raise the limit: `CONFIG GET maxclients` shows the limit in force. At its start \
              the server lowers it to what the file limit of its process allows (`LimitNOFILE` of its unit)."
            .to_owned(),
        evidence: max.into_iter().collect(),
    }
}
