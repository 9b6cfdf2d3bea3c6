//! Checks of topology: the primary of a database, and the agreement of its servers.

use std::time::Duration;

use pharos_plugin::checks::{
    Case, Check, Direction, Explanation, Grading, Observation, Scope, Thresholds, each_increase, each_one, each_value, evidence,
};
use pharos_plugin::{Label, Severity, SkipReason, Snapshot, text};

const PRIMARIES: &str = "pharos_database_primaries";
pub(crate) const MEMBERS: &str = "pharos_database_members";
const SPLIT_BRAIN: &str = "pharos_database_split_brain";
const CLUSTERS: &str = "pharos_database_clusters";
const PRIMARY_CHANGES: &str = "pharos_database_primary_changes_total";
const SENDERS: &str = "pharos_postgres_replication_lag_bytes";
const RECEIVER_UP: &str = "pharos_postgres_standby_receiver_up";

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "split-brain",
        summary: "two primaries take writes",
        category: "replication",
        scope: Scope::Each,
        labels: &[],
        needs: &[SPLIT_BRAIN],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Critical),
        observe: |snapshot| each_one(snapshot, SPLIT_BRAIN),
        explain: split_brain,
    },
    Check {
        id: "no-primary",
        summary: "no server takes writes",
        category: "replication",
        scope: Scope::Each,
        labels: &[],
        needs: &[PRIMARIES, "members"],
        // A planned failover has no primary for a short time.
        hold_off: Duration::from_secs(30),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Critical),
        observe: without_primary,
        explain: no_primary,
    },
    Check {
        id: "clusters-differ",
        summary: "servers of one database are of different clusters",
        category: "replication",
        scope: Scope::Each,
        labels: &[],
        needs: &[CLUSTERS],
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::ZERO,
        grading: Grading::Scale(Direction::Rising, Thresholds { info: None, warning: None, critical: Some(2.0), clear: 1.0 }),
        observe: |snapshot| each_value(snapshot, CLUSTERS),
        explain: clusters_differ,
    },
    Check {
        id: "primary-changed",
        summary: "another server became the primary",
        category: "replication",
        scope: Scope::Each,
        labels: &[],
        needs: &[PRIMARY_CHANGES],
        hold_off: Duration::ZERO,
        keep_firing: Duration::from_hours(1),
        grading: Grading::rising_info(1.0, 0.0),
        observe: |snapshot| each_increase(snapshot, PRIMARY_CHANGES),
        explain: primary_changed,
    },
    Check {
        id: "standby-not-connected",
        summary: "a standby reports that it receives WAL, but no server sends to it",
        category: "replication",
        scope: Scope::Each,
        labels: &[],
        needs: &[MEMBERS, "members"],
        hold_off: Duration::from_mins(2),
        keep_firing: Duration::ZERO,
        grading: Grading::rising_warning(1.0, 0.0),
        observe: standbys_without_sender,
        explain: standby_not_connected,
    },
];

pub(crate) struct Member {
    pub server: String,
    role: String,
    pub is_up: bool,
    /// Whether these facts are current. False if they date from before the server became unreachable.
    is_asked: bool,
    timeline: Option<f64>,
    system: Option<String>,
    was_primary: bool,
}

/// The servers of the database. A server with several addresses is listed once, by the first address.
pub(crate) fn members(snapshot: &Snapshot) -> Vec<Member> {
    let Some(table) = snapshot.table("members") else { return Vec::new() };
    let member = |row: usize| Member {
        server: table.text("member", row).unwrap_or_default(),
        role: table.text("role", row).unwrap_or_else(|| "unknown".to_owned()),
        is_up: table.is("up", row),
        is_asked: table.number("is_asked", row) != Some(0.0),
        timeline: table.number("timeline", row),
        system: table.text("system_identifier", row),
        was_primary: table.is("was_primary", row),
    };
    (0..table.row_count()).filter(|row| table.text("same_as", *row).is_none()).map(member).collect()
}

impl Member {
    pub(crate) fn is_primary(&self) -> bool {
        self.role == "primary"
    }

    pub(crate) fn is_standby(&self) -> bool {
        self.role == "standby"
    }

    fn line(&self) -> Label {
        let timeline = self.timeline.map(|timeline| format!(", timeline {timeline}")).unwrap_or_default();
        let up = if self.is_up { "" } else { ", down" };
        evidence(&self.server, format!("{}{timeline}{up}", self.role))
    }
}

fn names<'a>(members: impl Iterator<Item = &'a Member>) -> String {
    let names: Vec<_> = members.map(|member| member.server.as_str()).collect();
    match names.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => names.concat(),
    }
}

/// Observes a database without a primary. A primary that is down does not count, since it takes no writes. Skipped while any server is
/// unreachable, since that server may be the primary. Standbys that receive from another site need no primary of their own.
fn without_primary(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let members = members(snapshot);
    if members.is_empty() {
        return Err(SkipReason::NoData);
    }
    if members.iter().any(|member| member.is_primary() && member.is_up && member.is_asked) {
        return Ok(Vec::new());
    }
    if let Some(unasked) = members.iter().find(|member| !member.is_asked) {
        return Err(SkipReason::PartFailed(format!("Pharos could not query {}, which may be the primary", unasked.server)));
    }
    if let Some(unknown) = members.iter().find(|member| member.is_up && !member.is_primary() && member.role != "standby") {
        return Err(SkipReason::PartFailed(format!("{} has not reported yet whether it is the primary", unknown.server)));
    }
    Ok(if is_site_of_standbys(snapshot, &members) { Vec::new() } else { vec![Observation::new(Vec::new(), 0.0)] })
}

fn is_site_of_standbys(snapshot: &Snapshot, members: &[Member]) -> bool {
    !members.iter().any(|member| member.is_primary() || member.was_primary) && fed_from_elsewhere(snapshot, members)
}

pub(crate) fn receives(snapshot: &Snapshot, member: &Member) -> bool {
    member.is_up && snapshot.member(&member.server).is_some_and(|facts| facts.value(RECEIVER_UP).ok().flatten() == Some(1.0))
}

/// Whether more standbys receive than the members send to. A server outside the configuration, or an unreachable server, then sends to
/// the rest.
fn fed_from_elsewhere(snapshot: &Snapshot, members: &[Member]) -> bool {
    let receivers = members.iter().filter(|member| receives(snapshot, member)).count();
    let up = members.iter().filter(|member| member.is_up);
    let senders: usize = up.filter_map(|member| count_senders(snapshot.member(&member.server)?.as_ref()).ok()).sum();
    receivers > senders
}

/// Observes the number of standbys without a sender. Standbys and senders are counted, since the names of a sender may differ from the
/// configuration. A standby may send as well (cascade). A standby that reports no reception has an alert of its own and is left out.
fn standbys_without_sender(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let members = members(snapshot);
    let reports_no_reception =
        |member: &Member| snapshot.member(&member.server).is_some_and(|facts| facts.value(RECEIVER_UP).ok().flatten() == Some(0.0));
    let standbys = members.iter().filter(|member| member.is_standby() && member.is_up && !reports_no_reception(member)).count();
    if standbys == 0 || is_site_of_standbys(snapshot, &members) {
        return Ok(Vec::new());
    }
    let mut senders = 0;
    for member in &members {
        senders += count_senders(snapshot.member(&member.server).ok_or(SkipReason::NoData)?.as_ref())?;
    }
    Ok(vec![Observation::new(Vec::new(), standbys.saturating_sub(senders) as f64)])
}

/// The number of standbys that a server sends to. Subscribers and backups are not counted: a backup replays nothing.
pub(crate) fn count_senders(member: &Snapshot) -> Result<usize, SkipReason> {
    member.readable(SENDERS)?;
    let table = member.table("standbys").ok_or(SkipReason::NoData)?;
    let sends = |row: &usize| table.has("state", *row, "streaming") || table.has("state", *row, "catchup");
    let to_standby = |row: &usize| !table.is("logical", *row) && table.number("lag_bytes", *row).is_some();
    Ok((0..table.row_count()).filter(sends).filter(to_standby).count())
}

fn split_brain(case: &Case) -> Explanation {
    let members = members(case.snapshot);
    let primaries = || members.iter().filter(|member| member.is_primary() && member.is_up);
    let names = names(primaries());
    // A promotion begins a new timeline. The primary on the older timeline should not run.
    let newest = primaries().filter_map(|member| member.timeline).fold(f64::NEG_INFINITY, f64::max);
    let old: Vec<_> = primaries().filter(|member| member.timeline.is_some_and(|timeline| timeline < newest)).collect();
    let new = primaries().find(|member| member.timeline == Some(newest) && !old.is_empty());
    let source = new.map_or_else(|| "host=<new_primary> port=<port>".to_owned(), |member| conninfo(&member.server));
    let whom = old.first().map_or_else(|| "the one that should not be primary".to_owned(), |member| member.server.clone());
    Explanation {
        title: format!("split brain: {names} are primaries"),
        detail: format!(
            "{names} are primaries of one cluster and both take writes. The writes of one of them are lost when it becomes a standby."
        ),
        cause: "A standby was promoted while the old primary still ran or came back: its start was not prevented.".to_owned(),
        fix: format!(
            "At once, on {whom}: stop it, `pg_ctl stop -m fast -D <data_directory>`, and prevent another start. Save the data that only it \
             has, then `pg_rewind --target-pgdata=<data_directory> --source-server='{source} user=postgres dbname=postgres'` and start it \
             as a standby."
        ),
        evidence: primaries().map(Member::line).collect(),
    }
}

/// Splits the address of a server into host and port, for a connection string of PostgreSQL.
fn conninfo(server: &str) -> String {
    let (host, port) = server.rsplit_once(':').unwrap_or((server, "5432"));
    format!("host={} port={port}", host.trim_start_matches('[').trim_end_matches(']'))
}

fn no_primary(case: &Case) -> Explanation {
    let members = members(case.snapshot);
    let old = names(members.iter().filter(|member| member.is_primary()));
    let what = if old.is_empty() { String::new() } else { format!(" {old}, the primary so far, does not answer.") };
    let idle = members.iter().find(|member| member.role == "standby" && member.is_up && !receives(case.snapshot, member));
    let receiver = members.iter().find(|member| receives(case.snapshot, member));
    Explanation {
        title: "no server takes writes".to_owned(),
        detail: format!(
            "None of the {} is a primary that can be reached, so every write fails.{what}",
            text::counted(members.len() as f64, "server", "servers")
        ),
        cause: "The primary is down or cut off and no standby was promoted, or it was demoted by mistake.".to_owned(),
        fix: match (receiver.filter(|_| fed_from_elsewhere(case.snapshot, &members)), idle) {
            (Some(receiver), _) => format!(
                "Promote nothing: {} still receives WAL, so a primary exists. `BEGIN; SET LOCAL search_path = pg_catalog; SELECT \
                 sender_host, sender_port FROM pg_stat_wal_receiver; COMMIT;` on it names the server: let the agent reach it, or list it \
                 in `replicas` of `[[database]]`.",
                receiver.server
            ),
            (None, Some(standby)) => {
                format!(
                    "Bring the primary back; or, once it is certain that it stays down, on {}: `SELECT pg_catalog.pg_promote();`.",
                    standby.server
                )
            }
            (None, None) => {
                "Bring the primary back: on its host, `systemctl status postgresql` and the end of the server's log.".to_owned()
            }
        },
        evidence: members.iter().map(Member::line).collect(),
    }
}

fn clusters_differ(case: &Case) -> Explanation {
    let members = members(case.snapshot);
    let line = |member: &Member| evidence(&member.server, format!("system identifier {}", member.system.as_deref().unwrap_or("unknown")));
    Explanation {
        title: format!("servers of {} different clusters", text::count(case.value)),
        detail:
            "Servers that the configuration calls one database were created by different runs of initdb. They do not replicate each other, \
             so none can take over for another."
                .to_owned(),
        cause: "A wrong address in the configuration, or a new server at the address of an old one.".to_owned(),
        fix: "`BEGIN; SET LOCAL search_path = pg_catalog; SELECT system_identifier FROM pg_control_system(); COMMIT;` on each. Correct \
              `replicas` of `[[database]]`, or rebuild the wrong server with pg_basebackup from the primary."
            .to_owned(),
        evidence: members.iter().map(line).collect(),
    }
}

fn primary_changed(case: &Case) -> Explanation {
    let members = members(case.snapshot);
    let primary = names(members.iter().filter(|member| member.is_primary() && member.is_up));
    Explanation {
        title: if primary.is_empty() { "the primary changed".to_owned() } else { format!("{primary} is the primary now") },
        detail: "Another server than before takes writes. What the old primary had not sent is lost.".to_owned(),
        cause: "A failover or switchover, by hand or by a manager such as Patroni.".to_owned(),
        fix: "If the change was not planned, look for the reason in the failover manager. Make the old primary a standby: `pg_rewind`, \
              then start it with standby.signal. After an unplanned change, `BEGIN; SET LOCAL search_path = pg_catalog; SELECT count(*) \
              FROM pg_replication_slots; COMMIT;`: slots do not move along before PostgreSQL 17."
            .to_owned(),
        evidence: members.iter().map(Member::line).collect(),
    }
}

fn standby_not_connected(case: &Case) -> Explanation {
    let members = members(case.snapshot);
    let standbys = text::counted(case.value, "standby is", "standbys are");
    Explanation {
        title: format!("{standbys} without a sender"),
        detail: format!(
            "{standbys} up without a report of a missing sender, but the servers of the database send WAL to fewer: reads from it grow \
             older, and it cannot take over."
        ),
        cause:
            "The connection between them is broken and neither end has noticed, or its primary_conninfo leads to a server that is not in \
             `[[database]]`."
                .to_owned(),
        fix: "On each standby: `BEGIN; SET LOCAL search_path = pg_catalog; SELECT status, sender_host, sender_port FROM \
              pg_stat_wal_receiver; COMMIT;`; where there is no row, its log says why. If it is fed by a server that is not listed, add \
              that to `replicas`, or: `standby-not-connected = { enabled = false }`."
            .to_owned(),
        evidence: members.iter().map(Member::line).collect(),
    }
}
