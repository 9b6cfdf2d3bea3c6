//! Samples of the sessions that work or wait, summed up between two runs.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use pharos_model::alert::Now;
use pharos_model::postgres::active_sessions::{
    ActiveSession, ActivityWindow, Identity, LockSigns, Sample, Sampler, Slice, Wait, WaitRow, Work,
};
use pharos_model::snapshot::{Column, FamiliesBuilder, Family, PartId, Table};
use pharos_model::top::{Candidate, Top};

use super::wait_classes::WAITS;
use crate::collect::CollectError;
use crate::collect::postgres::rights::{Right, query_planned};
use crate::collect::postgres::row::Fields;
use crate::postgres::monitor::{Row, Session};

const PART: PartId = PartId::Activity;

/// Most rows of `activity_waits`. The rest is summed up in one more row.
const LISTED_MAX: usize = 200;
/// Most waits with a series of their own.
const SERIES_MAX: usize = 60;
/// Number of working sessions from which on it costs less to read all sessions at once than one by one.
const MANY: usize = 30;

/// Samples of active sessions since the last report.
pub(super) struct History {
    sampler: Sampler,
    series: Top<1, 0>,
    /// Number of active sessions in the last sample. It decides how the next sample is read.
    working: usize,
    epoch: u64,
}

impl History {
    pub(super) fn new(interval: Duration) -> Self {
        Self { sampler: Sampler::new(interval), series: Top::new(SERIES_MAX, []), working: 0, epoch: 0 }
    }

    /// Takes one sample. Returns what it shows about waits for locks.
    pub(super) async fn sample(&mut self, session: &Session, now: Now) -> Result<LockSigns, CollectError> {
        if std::mem::replace(&mut self.epoch, session.epoch()) != session.epoch() {
            self.sampler.remove_sessions();
        }
        let sql =
            if self.working < MANY { include_str!("../sql/active_sessions_each.sql") } else { include_str!("../sql/active_sessions.sql") };
        let rows = query_planned(session, PART, Right::Stats, sql).await?;
        let sessions = rows.iter().map(active_session).collect::<Result<Vec<_>, _>>()?;
        let active = rows.first().map(|row| Fields::new(PART, row).field::<i64>("active")).transpose()?.unwrap_or(0);
        self.working = sessions.len();
        Ok(self.sampler.observe(&Sample { at: now.monotonic, sessions, active: active.unsigned_abs() }))
    }

    /// Whether a sample is due. A run directly after a sample needs no sample of its own.
    pub(super) fn is_due(&self, now: Now) -> bool {
        self.sampler.is_due(now.monotonic)
    }

    /// Reports the samples since the last report.
    pub(super) fn report(&mut self) -> (Vec<Family>, Table, u64) {
        let mut window = self.sampler.report();
        window.truncate(LISTED_MAX);
        let mut families = averages(&window);
        let (seconds, folded) = self.seconds();
        families.extend(seconds);
        families.extend([
            Family::scalar("pharos_postgres_activity_samples_total", self.sampler.samples as f64),
            Family::scalar("pharos_postgres_activity_samples_missed_total", self.sampler.missed as f64),
            Family::scalar("pharos_postgres_activity_samples_cut_total", self.sampler.cut as f64),
        ]);
        (families, waits(&window), folded)
    }

    fn seconds(&mut self) -> (Vec<Family>, u64) {
        let totals: Vec<(&Wait, f64)> = self.sampler.totals().iter().map(|(wait, seconds)| (wait, *seconds)).collect();
        let candidate = |(wait, seconds): &(&Wait, f64)| Candidate { id: id(wait), score: *seconds, counters: [*seconds], gauges: [] };
        let ranked = self.series.rank(&totals.iter().map(candidate).collect::<Vec<_>>());
        let mut families = FamiliesBuilder::new(&["wait_event_type", "wait_event"], &["pharos_postgres_wait_seconds_total"]);
        for (wait, seconds) in ranked.members.iter().map(|member| totals[*member]) {
            families.push(&[&wait.class, &wait.event], &[Some(seconds)]);
        }
        families.push(&["other", "other"], &[Some(ranked.other[0])]);
        (families.finish(), ranked.folded as u64)
    }
}

fn id(wait: &Wait) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&wait.class, &wait.event).hash(&mut hasher);
    hasher.finish()
}

fn active_session(row: &Row) -> Result<ActiveSession, CollectError> {
    let row = Fields::new(PART, row);
    let text = |column: &str| row.field::<Option<String>>(column);
    Ok(ActiveSession {
        identity: Identity { pid: row.field("pid")?, backend_start_us: row.field::<Option<i64>>("backend_start_us")?.unwrap_or(0) },
        slice: Slice::of(row.text("backend_type")?),
        leader_pid: row.field("leader_pid")?,
        work: Work { datname: text("datname")?, user: text("user")?, query_id: row.field("query_id")? },
        wait: Wait::new(row.field("wait_event_type")?, row.field("wait_event")?),
        state_change_us: row.field("state_change_us")?,
        state_seconds: row.number("state_seconds")?,
    })
}

/// Counts sessions by kind of wait: a kind without sessions is 0, and without a sample there are no counts.
fn averages(window: &ActivityWindow) -> Vec<Family> {
    if window.samples == 0 {
        return Vec::new();
    }
    let mut by_class: BTreeMap<&str, f64> = WAITS.iter().chain(&["CPU"]).map(|class| (*class, 0.0)).collect();
    by_class.extend(window.average_by_class.iter().map(|(class, average)| (class.as_str(), *average)));
    let mut active = FamiliesBuilder::new(&["wait_event_type"], &["pharos_postgres_active_sessions"]);
    for (class, average) in by_class {
        active.push(&[class], &[Some(average)]);
    }
    let mut background = FamiliesBuilder::new(&["backend_type"], &["pharos_postgres_background_active_sessions"]);
    for slice in Slice::BACKGROUND {
        background.push(&[slice.name()], &[Some(window.average_by_slice.get(&slice).copied().unwrap_or(0.0))]);
    }
    let mut families = active.finish();
    families.extend(background.finish());
    families
}

/// Lists the waits of user sessions, the longest first. Waits beyond the limit are summed up in the row `other`.
fn waits(window: &ActivityWindow) -> Table {
    let other = (
        Work::default(),
        Wait { class: "other".to_owned(), event: "other".to_owned() },
        WaitRow { seconds: window.other_seconds, ..WaitRow::default() },
    );
    let rows: Vec<_> = window.waits.iter().chain((window.other_seconds > 0.0).then_some(&other)).collect();
    let work = |text: fn(&Work) -> &Option<String>| rows.iter().map(move |(work, _, _)| text(work).as_deref());
    let number = |value: fn(&WaitRow) -> f64| rows.iter().map(move |(_, _, row)| Some(value(row)));
    Table::new(
        "activity_waits",
        vec![
            Column::text("datname", work(|work| &work.datname)),
            Column::text("user", work(|work| &work.user)),
            Column::integer("query_id", rows.iter().map(|(work, _, _)| work.query_id)),
            Column::text("wait_event_type", rows.iter().map(|(_, wait, _)| Some(wait.class.as_str()))),
            Column::text("wait_event", rows.iter().map(|(_, wait, _)| Some(wait.event.as_str()))),
            Column::float("seconds", "seconds", number(|row| row.seconds)),
            Column::float("sessions_max", "sessions", number(|row| row.sessions_max)),
            Column::float("longest_seconds", "seconds", number(|row| row.longest_seconds)),
        ],
    )
}
