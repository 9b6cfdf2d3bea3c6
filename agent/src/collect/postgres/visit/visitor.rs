//! The visitor: the session that goes through the datnames, and the reports that come of it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::postgres::index_facts::UsageSettings;
use pharos_model::snapshot::{Column, FamiliesBuilder, PartId, Table};
use tokio::time::Instant;

use super::accept::Accept;
use super::datname_visit::{SERIES_MAX, Visit};
use super::going::Going;
use super::itinerary::Itinerary;
use super::relations::SharedRelations;
use super::round::{Failure, Visited};
use super::{extensions, indexes, sequences, subscription_tables, tables};
use crate::clock::Clock;
use crate::collect::postgres::ServerAccess;
use crate::collect::schedule::{Background, BackgroundRead, Expense, Spending};
use crate::collect::{Facts, Hidden, Notebook};
use crate::config::collect::CollectConfig;

/// Rows of the table that says who was visited: room for each of a thousand datnames in each of five visits, since alerts about a datname
/// that is not in it would resolve.
const LISTED_MAX: usize = 5_000;

/// Every visit, in the order in which they are made in a datname.
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

pub struct Visitor {
    access: ServerAccess,
    accept: Accept,
    /// When the visitor began: visits that were never made are due since then.
    since: Instant,
    accept_due: Instant,
    planned: Vec<Planned>,
    going: Option<Going>,
    itinerary: Itinerary,
    /// The datnames of each visit's latest round.
    visited: BTreeMap<PartId, Vec<Visited>>,
    /// Facts that were kept from the role, by visit, in its latest round.
    hidden: BTreeMap<PartId, Vec<Hidden>>,
    /// Datnames beyond those that the latest round could list.
    unlisted: u64,
    clock: Clock,
    spending: Spending,
    /// Whether all of it became due while a round was under way, which has to be made once more.
    is_hurried: bool,
}

struct Planned {
    visit: Box<dyn Visit>,
    /// When the latest round began that made it; none: it is due.
    begun: Option<Instant>,
}

impl Planned {
    /// When the visit is due by the interval in force now, which may differ from that at its last round.
    fn due(&self, spending: &Spending) -> Option<Instant> {
        Some(self.begun? + spending.interval(self.visit.part(), self.visit.interval()))
    }

    fn is_due(&self, spending: &Spending, now: Instant) -> bool {
        self.due(spending).is_none_or(|due| due <= now)
    }
}

impl Visitor {
    pub fn new(access: ServerAccess, notebook: &Notebook, clock: Clock, spending: Spending) -> Self {
        let now = Instant::now();
        let planned = visits(&access.collect, notebook).into_iter().map(|visit| Planned { visit, begun: None }).collect();
        Self {
            accept: Accept::new(access.connector.clone()),
            access,
            since: now,
            accept_due: now,
            planned,
            going: None,
            itinerary: Itinerary::default(),
            visited: BTreeMap::new(),
            hidden: BTreeMap::new(),
            unlisted: 0,
            clock,
            spending,
            is_hurried: false,
        }
    }

    async fn knock(&mut self) -> BackgroundRead {
        let interval = self.access.collect.interval.of(PartId::Accept.as_str());
        let started = Instant::now();
        let outcome = self.accept.knock().await;
        self.accept_due = started + interval;
        BackgroundRead { part: PartId::Accept, outcome, interval, took: started.elapsed() }
    }

    /// Goes one datname further, with those visits whose time has come; at the end of the round there is something to tell.
    async fn go_on(&mut self) -> Vec<BackgroundRead> {
        let going = match self.going.take() {
            None => {
                let now = Instant::now();
                let mut due: Vec<&mut dyn Visit> = self
                    .planned
                    .iter_mut()
                    .filter(|planned| planned.is_due(&self.spending, now))
                    .map(|planned| &mut *planned.visit as _)
                    .collect();
                Going::begin(&self.access, &mut due, &mut self.itinerary, self.clock.now()).await
            }
            Some(mut going) => {
                let is_made = |planned: &&mut Planned| going.made.iter().any(|made| made.part == planned.visit.part());
                let mut due: Vec<&mut dyn Visit> =
                    self.planned.iter_mut().filter(is_made).map(|planned| &mut *planned.visit as _).collect();
                going.step(&self.access, &mut due, &mut self.itinerary).await;
                going
            }
        };
        // What the end cut short is told to nobody as if it were whole.
        if !going.is_done() || self.access.connector.stop.is_cancelled() {
            self.going = Some(going);
            return Vec::new();
        }
        self.finish(&going)
    }

    fn finish(&mut self, going: &Going) -> Vec<BackgroundRead> {
        let mut reads = Vec::new();
        for planned in &mut self.planned {
            let (part, interval) = (planned.visit.part(), planned.visit.interval());
            let Some(made) = going.made.iter().find(|made| made.part == part) else { continue };
            self.spending.charge(Expense { part, is_essential: false, cost: made.cost, interval });
            planned.begun = Some(going.started).filter(|_| !self.is_hurried);
            let outcome = made.round.whole_failure().map_or_else(|| Ok(planned.visit.finish(&made.round, going.now)), Err);
            self.hidden.insert(part, outcome.as_ref().map_or_else(|_| Vec::new(), |facts| facts.hidden.clone()));
            self.visited.insert(part, made.round.visited.clone());
            self.unlisted = made.round.unlisted;
            reads.push(BackgroundRead { part, outcome, interval, took: made.took });
        }
        self.is_hurried = false;
        reads.push(self.report(going.started.elapsed()));
        reads
    }

    /// The part that says who was visited.
    fn report(&self, took: Duration) -> BackgroundRead {
        let mut rows: Vec<(PartId, &Visited)> =
            self.visited.iter().flat_map(|(part, visited)| visited.iter().map(|visited| (*part, visited))).collect();
        rows.sort_by_key(|(_, visited)| visited.failure.is_none());
        let mut seen: BTreeMap<&str, bool> = BTreeMap::new();
        for (_, visited) in &rows {
            *seen.entry(&visited.datname).or_insert(true) &= visited.failure.is_none();
        }
        let folded = seen.len().saturating_sub(SERIES_MAX) as u64 + self.unlisted;
        let mut families = FamiliesBuilder::new(&["datname"], &["pharos_postgres_datname_visited"]);
        // Those that were not visited first, of which an alert is made.
        let mut seen: Vec<(&str, bool)> = seen.into_iter().collect();
        seen.sort_by_key(|(_, is_visited)| *is_visited);
        for (datname, is_visited) in seen.into_iter().take(SERIES_MAX) {
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
                // Whom a right that is missing would be granted to.
                Column::text("user", rows.iter().map(|_| Some(self.access.user()))),
            ],
        );
        let facts = Facts { families: families.finish(), tables: vec![table, self.hidden_facts()], folded, ..Facts::default() };
        let interval = self.planned.iter().map(|planned| self.spending.interval(planned.visit.part(), planned.visit.interval())).max();
        BackgroundRead { part: VISITS, outcome: Ok(facts), interval: interval.unwrap_or_default(), took }
    }
}

impl Visitor {
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

/// The part that says who was visited.
const VISITS: PartId = PartId::Visits;

impl Background for Visitor {
    fn parts(&self) -> Vec<PartId> {
        let visits = self.planned.iter().map(|planned| planned.visit.part());
        let report = (!self.planned.is_empty()).then_some(VISITS);
        [PartId::Accept].into_iter().chain(visits).chain(report).collect()
    }

    fn is_under_way(&self) -> bool {
        self.going.is_some() && !self.access.connector.stop.is_cancelled()
    }

    fn due(&self) -> Instant {
        if let Some(going) = &self.going {
            return going.started;
        }
        let planned = self.planned.iter().map(|planned| planned.due(&self.spending).unwrap_or(self.since));
        planned.chain([self.accept_due]).min().unwrap_or(self.accept_due)
    }

    fn read(&mut self) -> BoxFuture<'_, Vec<BackgroundRead>> {
        async {
            let now = Instant::now();
            let mut reads = Vec::new();
            if self.accept_due <= now {
                reads.push(self.knock().await);
            }
            // What was heard at the door is not kept back for as long as it takes to go further.
            if reads.is_empty() && (self.going.is_some() || self.planned.iter().any(|planned| planned.is_due(&self.spending, now))) {
                reads.extend(self.go_on().await);
            }
            reads
        }
        .boxed()
    }

    fn hurry(&mut self) {
        let now = Instant::now();
        self.accept_due = now;
        self.planned.iter_mut().for_each(|planned| planned.begun = None);
        self.is_hurried = self.going.is_some();
    }
}
