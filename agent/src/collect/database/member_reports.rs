//! What a member's snapshot reports to its database.

use std::time::Duration;

use pharos_model::postgres::lsn_history::Course;
use pharos_model::postgres::topology::{Identity, Report};
use pharos_model::snapshot::{PartId, Reading, Snapshot};

/// Whether nobody knows if the server is up.
pub fn is_unknown(snapshot: &Snapshot) -> bool {
    snapshot.part(PartId::Up).is_some_and(|part| part.reading.is_none())
}

/// What a member's latest snapshot says at `now`: nothing that is stale by then.
pub fn report(snapshot: &Snapshot, now: Duration) -> Report {
    let up = snapshot.scalar("pharos_postgres_up") == Some(1.0);
    let reading = snapshot.part(PartId::Server).and_then(|part| part.reading.as_deref()).filter(|reading| reading.fresh_until >= now);
    Report { member: snapshot.subject.id.clone(), up, identity: reading.and_then(identity), is_asked: true }
}

/// What is taken for true of a member that could not be asked: what it said last. None where it never said anything.
pub fn report_before(looked_at: &[Report], member: &str) -> Option<Report> {
    let before = looked_at.iter().find(|report| report.member == member)?;
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
