//! Snapshots of every tick of a timeline, as collectors would have made them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ticks::tick_time;
use super::timeline::{PartStep, PartSteps, Timeline};
use crate::catalogue::metrics::{Metrics, UP_PART};
use crate::delta::Deltas;
use crate::snapshot::{Family, LabelColumn, Part, PartState, Reading, Snapshot, Table, TextColumnBuilder};

/// Milliseconds since 1970 at the first tick of every case: the first of January 2026. Times in the texts of alerts follow from it.
const BEGIN_MS: u64 = 1_767_225_600_000;

/// The reason in every part of a server that is down.
const DOWN: &str = "cannot reach the server: connection refused";

impl Timeline {
    /// Snapshots of all ticks from the first on. The iterator never ends.
    pub fn snapshots(&self) -> impl Iterator<Item = Snapshot> {
        let mut parts: BTreeMap<String, Part> = BTreeMap::new();
        let mut members: Vec<Box<dyn Iterator<Item = Snapshot> + '_>> =
            self.members.iter().map(|member| Box::new(member.snapshots()) as Box<dyn Iterator<Item = Snapshot>>).collect();
        let mut deltas = Deltas::default();
        (0..).map(move |tick| {
            let names = self.part_names(tick);
            let part = |name: String| {
                let earlier = parts.get(&name);
                self.part(&name, tick, earlier).map(|part| (name.clone(), part.after(earlier)))
            };
            let now: BTreeMap<String, Part> = names.into_iter().filter_map(part).collect();
            parts = now.clone();
            let members = members.iter_mut().filter_map(Iterator::next).map(|member| Arc::new(deltas.push(member))).collect();
            Snapshot { members, ..self.snapshot(tick, now) }
        })
    }

    fn snapshot(&self, tick: u32, parts: BTreeMap<String, Part>) -> Snapshot {
        let taken_at = tick_time(tick, self.interval);
        Snapshot {
            subject: self.subject.clone(),
            taken_at_ms: BEGIN_MS + u64::try_from(taken_at.as_millis()).unwrap_or_default(),
            taken_at,
            interval: self.interval,
            parts,
            members: Vec::new(),
        }
    }

    /// Names of the parts of the snapshot: those that the case mentions, and all parts of the kind while the server is down.
    fn part_names(&self, tick: u32) -> BTreeSet<String> {
        let of_series = self.series.iter().filter_map(|series| self.part_of(&series.metric));
        let of_tables = self.tables.iter().map(|table| table.part.as_str());
        let of_base = self.base.iter().flat_map(|base| base.parts.keys().map(String::as_str));
        let mut names: BTreeSet<&str> = self.parts.keys().map(String::as_str).chain(of_series).chain(of_tables).chain(of_base).collect();
        if self.subject.kind.is_server() {
            names.insert(UP_PART);
        }
        if !self.server.item(tick) {
            names.extend(Metrics::shipped().parts_of(&self.subject.kind));
        }
        names.into_iter().map(str::to_owned).collect()
    }

    /// The part at a tick; `None` before its first collection.
    fn part(&self, name: &str, tick: u32, earlier: Option<&Part>) -> Option<Part> {
        let is_up = *self.server.item(tick);
        if name == UP_PART
            && let Some(metric) = self.subject.kind.up_metric()
        {
            let up = Family::scalar(metric, if is_up { 1.0 } else { 0.0 });
            return Some(Part::present(Arc::new(Reading { families: vec![up], ..self.reading(name, tick) })));
        }
        if !is_up {
            return Some(Part::failed(DOWN));
        }
        let Some(PartSteps { states, why }) = self.parts.get(name) else {
            return Some(self.recorded_absence(name).unwrap_or_else(|| Part::present(Arc::new(self.reading(name, tick)))));
        };
        match states.item(tick) {
            PartStep::Present => Some(Part::present(Arc::new(self.reading(name, tick)))),
            PartStep::Failed => Some(Part::failed(why.clone())),
            PartStep::Unsupported => Some(Part::unsupported(why.clone())),
            PartStep::Stale => {
                let read_at = earlier.and_then(|earlier| earlier.last_read).unwrap_or_default();
                let age = tick_time(tick, self.interval).saturating_sub(read_at);
                Some(Part { state: PartState::Stale(age), ..Part::failed("") })
            }
            PartStep::Absent => None,
        }
    }

    /// The recorded part, if it could not be read then and the case mentions no fact of it.
    fn recorded_absence(&self, name: &str) -> Option<Part> {
        let recorded = self.base.as_ref()?.parts.get(name).filter(|part| part.reading.is_none())?;
        let has_series = self.series.iter().any(|series| self.part_of(&series.metric) == Some(name));
        let is_mentioned = has_series || self.tables.iter().any(|table| table.part == name);
        (!is_mentioned).then(|| Part { state: recorded.state.clone(), ..Part::failed("") })
    }

    /// The part that carries a metric of this subject.
    fn part_of(&self, metric: &str) -> Option<&'static str> {
        Metrics::shipped().part_of(metric, &self.subject.kind)
    }

    fn reading(&self, name: &str, tick: u32) -> Reading {
        let recorded = self.base.as_ref().and_then(|base| base.parts.get(name)?.reading.as_deref());
        let at = tick_time(tick, self.interval);
        let restarts = self.restarts.iter().filter(|restart| **restart <= tick).count();
        Reading {
            at,
            fresh_until: at + self.interval * 2,
            epoch: recorded.map_or(0, |recorded| recorded.epoch).wrapping_add(restarts as u64),
            families: self.families(name, tick, recorded),
            tables: self.tables(name, tick, recorded),
            unlisted: recorded.map(|recorded| recorded.unlisted.clone()).unwrap_or_default(),
        }
    }

    fn families(&self, part: &str, tick: u32, recorded: Option<&Reading>) -> Vec<Family> {
        let metrics: BTreeSet<&str> =
            self.series.iter().map(|series| series.metric.as_str()).filter(|metric| self.part_of(metric) == Some(part)).collect();
        let recorded = recorded.map_or(&[][..], |recorded| &recorded.families);
        let kept = recorded.iter().filter(|family| !metrics.contains(family.metric.as_str())).cloned();
        kept.chain(metrics.iter().map(|metric| self.family(metric, tick))).collect()
    }

    fn family(&self, metric: &str, tick: u32) -> Family {
        let names = Metrics::shipped().spec(metric).map_or(&[][..], |spec| &spec.labels);
        let mut columns: Vec<TextColumnBuilder> = names.iter().map(|_| TextColumnBuilder::default()).collect();
        let mut values = Vec::new();
        for series in self.series.iter().filter(|series| series.metric == metric) {
            let Some(value) = series.values.value(tick) else { continue };
            values.push(value);
            for (name, column) in names.iter().zip(&mut columns) {
                let label = series.labels.iter().find(|label| label.name == *name);
                column.push(Some(label.map_or("", |label| &label.value)));
            }
        }
        let labels = names.iter().zip(columns).map(|(name, column)| LabelColumn { name: name.clone(), values: column.finish() });
        Family { metric: metric.to_owned(), labels: labels.collect(), values }
    }

    fn tables(&self, part: &str, tick: u32, recorded: Option<&Reading>) -> Vec<Table> {
        let recorded = recorded.map_or(&[][..], |recorded| &recorded.tables);
        let mut tables: BTreeMap<&str, &Table> = recorded.iter().map(|table| (table.name.as_str(), table)).collect();
        let now = self.tables.iter().filter(|table| table.part == part && (table.from..table.to).contains(&tick));
        tables.extend(now.map(|now| (now.table.name.as_str(), &now.table)));
        tables.into_values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::time::Duration;

    use super::*;
    use crate::rule_case::{SeriesSteps, Steps, TableSteps};
    use crate::snapshot::{Change, Column, Quantity};
    use crate::subject::{Label, Subject};

    const COMMITS: &str = "pharos_postgres_commits_total";

    fn timeline() -> Timeline {
        Timeline {
            subject: Subject::new("postgres", "db1:5432"),
            interval: Duration::from_secs(10),
            base: None,
            server: Steps::always(true),
            restarts: Vec::new(),
            parts: BTreeMap::new(),
            series: Vec::new(),
            tables: Vec::new(),
            members: Vec::new(),
        }
    }

    fn series(metric: &str, datname: &str, values: &str) -> SeriesSteps {
        SeriesSteps { metric: metric.to_owned(), labels: vec![Label::new("datname", datname)], values: Steps::values(values).unwrap() }
    }

    fn part(states: &str) -> PartSteps {
        let known =
            [("present", PartStep::Present), ("failed", PartStep::Failed), ("stale", PartStep::Stale), ("absent", PartStep::Absent)];
        PartSteps { states: Steps::words(states, "", &known).unwrap(), why: "permission denied".to_owned() }
    }

    /// The part `database`, tick by tick.
    fn states(timeline: &Timeline, ticks: usize) -> Vec<String> {
        let state = |snapshot: Snapshot| match snapshot.parts.get("database") {
            Some(part) => format!("{:?} {:?}", part.state, part.last_read),
            None => "none".to_owned(),
        };
        timeline.snapshots().take(ticks).map(state).collect()
    }

    #[test]
    fn counters_have_the_rates_of_the_ticks_and_none_over_a_gap_a_reset_or_a_restart() {
        let mut timeline = timeline();
        timeline.series = vec![series(COMMITS, "app", "0+100x3 0+20x3 _ 100"), series(COMMITS, "shop", "5")];
        timeline.restarts = vec![5];
        let mut deltas = Deltas::default();
        let text = timeline.snapshots().take(8).fold(String::new(), |mut text, snapshot| {
            let change: Change = deltas.push(snapshot);
            let rates = change.samples(COMMITS, &[], Quantity::Rate);
            let names = rates.labels.first().map(|label| label.values.clone()).unwrap_or_default();
            let pairs: Vec<String> =
                rates.values.iter().enumerate().map(|(row, rate)| format!("{}={rate}", names.text(row).unwrap_or_default())).collect();
            writeln!(text, "{}", pairs.join(" ")).unwrap();
            text
        });
        assert_eq!(text, "\napp=10 shop=0\napp=10 shop=0\nshop=0\napp=2 shop=0\n\nshop=0\nshop=0\n");
    }

    #[test]
    fn a_part_has_the_state_of_the_case_and_the_time_of_its_last_reading() {
        let mut timeline = timeline();
        timeline.parts.insert("database".to_owned(), part("absent present stale x2 failed present"));
        let expected = [
            "none",
            "Present Some(10s)",
            "Stale(10s) Some(10s)",
            "Stale(20s) Some(10s)",
            "Failed(\"permission denied\") Some(10s)",
            "Present Some(50s)",
        ];
        assert_eq!(states(&timeline, 6), expected);
    }

    #[test]
    fn every_part_but_up_fails_while_the_server_is_down() {
        let mut timeline = timeline();
        timeline.server = Steps::words("up down", "", &[("up", true), ("down", false)]).unwrap();
        let ups: Vec<_> =
            timeline.snapshots().take(2).map(|snapshot| (snapshot.scalar("pharos_postgres_up"), snapshot.parts.len())).collect();
        assert_eq!(ups[0], (Some(1.0), 1));
        assert!(ups[1].0 == Some(0.0) && ups[1].1 > 5, "{ups:?}");
        assert_eq!(states(&timeline, 2)[1], "Failed(\"cannot reach the server: connection refused\") None");
    }

    #[test]
    fn the_agent_has_one_part_with_all_its_metrics_and_is_never_reached() {
        let own = |metric: &str, labels: Vec<Label>| SeriesSteps { metric: metric.to_owned(), labels, values: Steps::values("3").unwrap() };
        let series = vec![own("process_open_fds", Vec::new()), own("pharos_notifications_pending", vec![Label::new("receiver", "ops")])];
        let timeline = Timeline { subject: Subject::new("agent", "pharos"), series, ..timeline() };
        let snapshot = timeline.snapshots().next().unwrap();
        assert_eq!(snapshot.parts.keys().collect::<Vec<_>>(), [crate::catalogue::metrics::AGENT_PART]);
        assert_eq!(snapshot.scalar("process_open_fds"), Some(3.0));
        assert_eq!(snapshot.family("pharos_notifications_pending").unwrap().values, [3.0]);
    }

    #[test]
    fn a_table_is_there_for_its_ticks_and_a_later_one_covers_it() {
        let table = |from, to, rows: &[i64]| TableSteps {
            part: "locks".to_owned(),
            from,
            to,
            table: Table::new("lock_waits", vec![Column::integer("pid", rows.iter().copied().map(Some))]),
        };
        let timeline = Timeline { tables: vec![table(1, 4, &[1, 2]), table(2, 3, &[])], ..timeline() };
        let rows: Vec<Option<u32>> =
            timeline.snapshots().take(5).map(|snapshot| snapshot.table("lock_waits").map(|table| table.row_count)).collect();
        assert_eq!(rows, [None, Some(2), Some(0), Some(2), None]);
    }

    #[test]
    fn the_members_of_a_database_have_ticks_like_its_own() {
        let member = Timeline { series: vec![series("pharos_postgres_backends", "app", "1+1")], ..timeline() };
        let database = Timeline { subject: Subject::new("database", "app"), members: vec![member], ..timeline() };
        let seen = database.snapshots().take(3).map(|snapshot| snapshot.members[0].snapshot.scalar("pharos_postgres_backends"));
        assert_eq!(seen.collect::<Vec<_>>(), [Some(1.0), Some(2.0), Some(3.0)]);
    }

    #[test]
    fn facts_of_a_recorded_snapshot_are_valid_unless_the_case_replaces_them() {
        let mut recorded = timeline();
        recorded.series = vec![series(COMMITS, "app", "7"), series("pharos_postgres_backends", "app", "3")];
        recorded.parts.insert("locks".to_owned(), part("failed"));
        let base = recorded.snapshots().next();
        let timeline = Timeline { base, series: vec![series(COMMITS, "shop", "1+1")], ..timeline() };
        let second = timeline.snapshots().nth(1).unwrap();
        assert_eq!(second.family(COMMITS).unwrap().values, [2.0]);
        assert_eq!(second.family("pharos_postgres_backends").unwrap().values, [3.0]);
        assert_eq!(second.parts["locks"].state, PartState::Failed("permission denied".to_owned()));
        assert_eq!(second.parts["database"].last_read, Some(Duration::from_secs(10)));
    }
}
