//! The state of each member of a database, read from its snapshot.

use std::time::Duration;

use pharos_model::postgres::lsn_history::Course;
use pharos_model::postgres::topology::{Identity, Report};
use pharos_model::snapshot::{PartId, Reading, Snapshot};

/// Whether the state of the server is unknown.
pub(super) fn is_unknown(snapshot: &Snapshot) -> bool {
    snapshot.part(PartId::Up).is_some_and(|part| part.reading.is_none())
}

/// Reads the state of a member from its latest snapshot. Parts that are stale at `now` are left out.
pub(super) fn report(snapshot: &Snapshot, now: Duration) -> Report {
    let up = snapshot.is_reachable() == Some(true);
    let reading = snapshot.part(PartId::Server).and_then(|part| part.reading.as_deref()).filter(|reading| reading.fresh_until >= now);
    Report { member: snapshot.subject.id.clone(), up, identity: reading.and_then(identity), is_asked: true }
}

/// Repeats the last report of a member that could not be asked, if there is one.
pub(super) fn report_before(reports: &[Report], member: &str) -> Option<Report> {
    let before = reports.iter().find(|report| report.member == member)?;
    Some(Report { is_asked: false, ..before.clone() })
}

fn identity(reading: &Reading) -> Option<Identity> {
    let table = reading.tables.iter().find(|table| table.name == "identity")?;
    let lsn = |column: &str| table.integer(column, 0).map(i64::unsigned_abs);
    Some(Identity {
        at: reading.at,
        system_identifier: table.text("system_identifier", 0).map(str::to_owned),
        in_recovery: table.boolean("in_recovery", 0)?,
        course: Course { epoch: reading.epoch, timeline: table.integer("timeline", 0).unwrap_or_default() },
        lsn: lsn("lsn_bytes"),
        received_lsn: lsn("received_lsn_bytes"),
    })
}
