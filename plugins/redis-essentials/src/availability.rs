//! Whether clients are served.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Scope, each_increase, each_value, each_zero, evidence};
use pharos_plugin::{Severity, sql, text};

const UP: &str = "pharos_redis_up";
const CLIENTS: &str = "pharos_redis_clients";
const CLIENTS_MAX: &str = "pharos_redis_clients_max";
const CLIENTS_USED: &str = "pharos_redis_clients_used_ratio";
const CLIENTS_BLOCKED: &str = "pharos_redis_clients_blocked";
const REJECTED: &str = "pharos_redis_connections_rejected_total";

pub const CHECKS: &[Check] = &[
    Check {
        id: "server-down",
        summary: "the server does not answer",
        category: "availability",
        scope: Scope::Each,
        labels: &[],
        needs: &[UP],
        // A second look: one lost packet is not an outage.
        hold_off: Duration::from_secs(5),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Critical),
        observe: |snapshot| each_zero(snapshot, UP),
        explain: server_down,
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
        summary: "clients are turned away",
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
    let why = case.failure().unwrap_or_else(|| "no reason was given".to_owned());
    Explanation {
        title: "server does not answer".to_owned(),
        detail: format!("The last collection could not reach the server: {why}."),
        cause: "The process is gone or was killed for its memory, a slow command or a fork holds it up, or Pharos can no longer log in."
            .to_owned(),
        fix: "On the host: `redis-cli ping`, then `systemctl status redis` and `journalctl -k | grep -i oom`. If it answers but late, \
              `redis-cli slowlog get 10`. If only Pharos is refused, `ACL LIST`."
            .to_owned(),
        evidence: Vec::new(),
    }
}

fn clients_used(case: &Case) -> Explanation {
    let used = text::percent(case.value);
    let of_max = case.related(CLIENTS_MAX).map(|max| format!(" of {}", text::count(max))).unwrap_or_default();
    let clients = case.related(CLIENTS).map(|clients| evidence("clients", text::count(clients)));
    let blocked = case.related(CLIENTS_BLOCKED).map(|blocked| evidence("blocked in a command", text::count(blocked)));
    Explanation {
        title: format!("{used} of clients are connected"),
        detail: format!("Clients hold {used}{of_max} connections. At maxclients every new one is turned away."),
        cause: "Pools that together are larger than maxclients, or connections that are opened and never closed.".to_owned(),
        fix: format!(
            "See who holds them: `redis-cli client list | awk '{{print $2}}' | cut -d: -f1 | sort | uniq -c`. Make the pools smaller, close what \
             is forgotten (`CONFIG SET timeout 300`), or `CONFIG SET maxclients {}` with a file limit to match.",
            sql::raised(case.related(CLIENTS_MAX), 1_000.0)
        ),
        evidence: [clients, blocked].into_iter().flatten().collect(),
    }
}

fn rejected_connections(case: &Case) -> Explanation {
    let connections = text::counted(case.value, "connection", "connections");
    let interval = text::duration(case.snapshot.interval_seconds());
    let max = case.related(CLIENTS_MAX).map(|max| evidence("maxclients", text::count(max)));
    Explanation {
        title: format!("{connections} turned away"),
        detail: format!("In the last {interval} the server turned away {connections}, because maxclients was reached."),
        cause: "More clients than maxclients, or than the process may have open files.".to_owned(),
        fix: "Compare `CONFIG GET maxclients` with the file limit of the process (`LimitNOFILE` of its unit), and raise the smaller, or make \
              the pools of the clients smaller."
            .to_owned(),
        evidence: max.into_iter().collect(),
    }
}
