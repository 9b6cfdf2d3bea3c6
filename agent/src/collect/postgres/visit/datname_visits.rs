//! The task that visits every datname of a server, one after the other, and reports the results of each round.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::postgres::index_facts::UsageSettings;
use pharos_model::snapshot::{Column, FamiliesBuilder, PartId, Table};
use tokio::time::Instant;

use super::accept::AcceptCheck;
use super::datname_visit::{SERIES_MAX, Visit};
use super::relations::SharedRelations;
use super::round::{Failure, Visited};
use super::running_round::RunningRound;
use super::visit_order::VisitOrder;
use super::{extensions, indexes, sequences, subscription_tables, tables};
use crate::clock::Clock;
use crate::collect::postgres::ServerAccess;
use crate::collect::schedule::{Background, BackgroundRead, Expense, Spending};
use crate::collect::{Facts, Hidden, Notebook};
use crate::config::collect::CollectConfig;

/// Most rows of the table `visits`: a thousand datnames in each of five visits. An alert about a datname without a row would resolve.
const LISTED_MAX: usize = 5_000;

/// Lists every visit, in the order in which a datname is visited.
fn visits(collect: &CollectConfig, notebook: &Notebook) -> Vec<Box<dyn Visit>> {
    let every = |part: PartId| collect.interval.of(part.as_str());
    let catalog_series = collect.catalog_series;
    let relations = SharedRelations::default();
    let usage = UsageSettings { statistics_age_min_seconds: collect.unused_after.as_secs_f64(), ..UsageSettings::default() };
    vec![
        Box::new(tables::Tables::new(every(PartId::Tables), relations.clone(), catalog_series)),
        Box::new(indexes::Indexes::new(every(PartId::Indexes), relations, usage, notebook.clone(), catalog_series)),
        Box::new(sequences::Sequences::new(every(PartId::Sequences))),
        Box::new(extensions::Extensions::new(every(PartId::Extensions))),
        Box::new(subscription_tables::SubscriptionTables::new(every(PartId::SubscriptionTables))),
    ]
}

/// Visits the datnames of one server, beside the session of the monitor. Reports a round when all its datnames were tried.
pub(crate) struct DatnameVisits {
    access: ServerAccess,
    accept: AcceptCheck,
    /// The start of the task: visits that were never made are due since then.
    since: Instant,
    accept_due: Instant,
    planned: Vec<PlannedVisit>,
    running: Option<RunningRound>,
    order: VisitOrder,
    /// The datnames of each visit's latest round.
    visited: BTreeMap<PartId, Vec<Visited>>,
    /// Facts that the role may not read, by visit, as of its latest round.
    hidden: BTreeMap<PartId, Vec<Hidden>>,
    /// Number of datnames beyond the limit of the list, as of the latest round.
    unlisted: u64,
    clock: Clock,
    spending: Spending,
    /// Whether all visits became due during a round. That round does not count then: all of its visits are made once more.
    must_repeat: bool,
}

/// A visit and the time of its latest round.
struct PlannedVisit {
    visit: Box<dyn Visit>,
    /// The start of the latest round with this visit. Without one the visit is due.
    begun: Option<Instant>,
}

impl PlannedVisit {
    /// Computes when the visit is due, with the interval that applies now. The interval may have changed since the last round.
    fn due(&self, spending: &Spending) -> Option<Instant> {
        Some(self.begun? + spending.interval(self.visit.part(), self.visit.interval()))
    }

    fn is_due(&self, spending: &Spending, now: Instant) -> bool {
        self.due(spending).is_none_or(|due| due <= now)
    }
}

impl DatnameVisits {
    pub(crate) fn new(access: ServerAccess, notebook: &Notebook, clock: Clock, spending: Spending) -> Self {
        let now = Instant::now();
        let planned = visits(&access.collect, notebook).into_iter().map(|visit| PlannedVisit { visit, begun: None }).collect();
        Self {
            accept: AcceptCheck::new(access.connector.clone()),
            access,
            since: now,
            accept_due: now,
            planned,
            running: None,
            order: VisitOrder::default(),
            visited: BTreeMap::new(),
            hidden: BTreeMap::new(),
            unlisted: 0,
            clock,
            spending,
            must_repeat: false,
        }
    }

    async fn check_accept(&mut self) -> BackgroundRead {
        let interval = self.access.collect.interval.of(PartId::Accept.as_str());
        let started = Instant::now();
        let outcome = self.accept.connect_once().await;
        self.accept_due = started + interval;
        BackgroundRead { part: PartId::Accept, outcome, interval, took: started.elapsed() }
    }

    /// Visits the next datname, or begins a round with the visits that are due. Returns reports only at the end of a round.
    async fn advance(&mut self) -> Vec<BackgroundRead> {
        let running = match self.running.take() {
            None => {
                let now = Instant::now();
                let mut due: Vec<&mut dyn Visit> = self
                    .planned
                    .iter_mut()
                    .filter(|planned| planned.is_due(&self.spending, now))
                    .map(|planned| &mut *planned.visit as _)
                    .collect();
                RunningRound::begin(&self.access, &mut due, &mut self.order, self.clock.now()).await
            }
            Some(mut running) => {
                let is_made = |planned: &&mut PlannedVisit| running.results.iter().any(|result| result.part == planned.visit.part());
                let mut due: Vec<&mut dyn Visit> =
                    self.planned.iter_mut().filter(is_made).map(|planned| &mut *planned.visit as _).collect();
                running.step(&self.access, &mut due, &mut self.order).await;
                running
            }
        };
        // A round that the end of the agent cut short is not reported, since it would look complete.
        if !running.is_done() || self.access.connector.stop.is_cancelled() {
            self.running = Some(running);
            return Vec::new();
        }
        self.finish(&running)
    }

    fn finish(&mut self, running: &RunningRound) -> Vec<BackgroundRead> {
        let mut reads = Vec::new();
        for planned in &mut self.planned {
            let (part, interval) = (planned.visit.part(), planned.visit.interval());
            let Some(result) = running.results.iter().find(|result| result.part == part) else { continue };
            self.spending.charge(Expense { part, is_essential: false, cost: result.cost, interval });
            planned.begun = Some(running.started).filter(|_| !self.must_repeat);
            let outcome = result.round.whole_failure().map_or_else(|| Ok(planned.visit.finish(&result.round, running.now)), Err);
            self.hidden.insert(part, outcome.as_ref().map_or_else(|_| Vec::new(), |facts| facts.hidden.clone()));
            self.visited.insert(part, result.round.visited.clone());
            self.unlisted = result.round.unlisted;
            reads.push(BackgroundRead { part, outcome, interval, took: result.took });
        }
        self.must_repeat = false;
        reads.push(self.report(running.started.elapsed()));
        reads
    }

    /// Makes the part `visits`: which datnames were visited, and why others were not.
    fn report(&self, took: Duration) -> BackgroundRead {
        let mut rows: Vec<(PartId, &Visited)> =
            self.visited.iter().flat_map(|(part, visited)| visited.iter().map(|visited| (*part, visited))).collect();
        rows.sort_by_key(|(_, visited)| visited.failure.is_none());
        let mut is_visited: BTreeMap<&str, bool> = BTreeMap::new();
        for (_, visited) in &rows {
            *is_visited.entry(&visited.datname).or_insert(true) &= visited.failure.is_none();
        }
        let folded = is_visited.len().saturating_sub(SERIES_MAX) as u64 + self.unlisted;
        let mut families = FamiliesBuilder::new(&["datname"], &["pharos_postgres_datname_visited"]);
        // Datnames that were not visited come first, since an alert reads their series.
        let mut datnames: Vec<(&str, bool)> = is_visited.into_iter().collect();
        datnames.sort_by_key(|(_, is_visited)| *is_visited);
        for (datname, is_visited) in datnames.into_iter().take(SERIES_MAX) {
            families.push(&[datname], &[Some(if is_visited { 1.0 } else { 0.0 })]);
        }
        rows.truncate(LISTED_MAX);
        let whys: Vec<Option<String>> = rows.iter().map(|(_, visited)| visited.failure.as_ref().map(Failure::text)).collect();
        let state = |visited: &Visited| visited.failure.as_ref().map_or("ok", |failure| failure.state());
        let table = Table::new(
            "visits",
            vec![
                Column::text("collector", rows.iter().map(|(part, _)| Some(part.as_str()))),
                Column::text("datname", rows.iter().map(|(_, visited)| Some(visited.datname.as_str()))),
                Column::text("state", rows.iter().map(|(_, visited)| Some(state(visited)))),
                Column::text("reason", rows.iter().map(|(_, visited)| visited.failure.as_ref().map(|failure| failure.reason.as_str()))),
                Column::text("why", whys.iter().map(Option::as_deref)),
                Column::text("cure", rows.iter().map(|(_, visited)| visited.failure.as_ref()?.cure.as_deref())),
                // The role that a missing right would be granted to.
                Column::text("user", rows.iter().map(|_| Some(self.access.user()))),
            ],
        );
        let facts = Facts { families: families.finish(), tables: vec![table, self.hidden_facts()], folded, ..Facts::default() };
        let interval = self.planned.iter().map(|planned| self.spending.interval(planned.visit.part(), planned.visit.interval())).max();
        BackgroundRead { part: VISITS, outcome: Ok(facts), interval: interval.unwrap_or_default(), took }
    }
}

impl DatnameVisits {
    /// Lists facts that were read in part, for want of a right.
    fn hidden_facts(&self) -> Table {
        let all = self.hidden.iter().flat_map(|(part, hidden)| hidden.iter().map(|hidden| (*part, hidden)));
        let rows: Vec<(PartId, &Hidden)> = all.take(LISTED_MAX).collect();
        Table::new(
            "hidden_facts",
            vec![
                Column::text("collector", rows.iter().map(|(part, _)| Some(part.as_str()))),
                Column::text("datname", rows.iter().map(|(_, hidden)| Some(hidden.datname.as_str()))),
                Column::text("why", rows.iter().map(|(_, hidden)| Some(hidden.why.as_str()))),
                Column::boolean("is_grave", rows.iter().map(|(_, hidden)| Some(hidden.is_grave))),
            ],
        )
    }
}

/// The part that lists which datnames were visited.
const VISITS: PartId = PartId::Visits;

impl Background for DatnameVisits {
    fn parts(&self) -> Vec<PartId> {
        let visits = self.planned.iter().map(|planned| planned.visit.part());
        let report = (!self.planned.is_empty()).then_some(VISITS);
        [PartId::Accept].into_iter().chain(visits).chain(report).collect()
    }

    fn is_under_way(&self) -> bool {
        self.running.is_some() && !self.access.connector.stop.is_cancelled()
    }

    fn due(&self) -> Instant {
        if let Some(running) = &self.running {
            return running.started;
        }
        let planned = self.planned.iter().map(|planned| planned.due(&self.spending).unwrap_or(self.since));
        planned.chain([self.accept_due]).min().unwrap_or(self.accept_due)
    }

    fn read(&mut self) -> BoxFuture<'_, Vec<BackgroundRead>> {
        async {
            let now = Instant::now();
            let mut reads = Vec::new();
            if self.accept_due <= now {
                reads.push(self.check_accept().await);
            }
            // The result of the accept check is reported at once, not after the next datname.
            if reads.is_empty() && (self.running.is_some() || self.planned.iter().any(|planned| planned.is_due(&self.spending, now))) {
                reads.extend(self.advance().await);
            }
            reads
        }
        .boxed()
    }

    fn make_all_due(&mut self) {
        let now = Instant::now();
        self.accept_due = now;
        self.planned.iter_mut().for_each(|planned| planned.begun = None);
        self.must_repeat = self.running.is_some();
    }
}
