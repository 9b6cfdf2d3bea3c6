//! Sizes on disk: datnames, tablespaces, WAL, temporary files, WAL that waits for its archive.
//!
//! For the size of a datname the server reads the size of each of its files. So sizes are read one by one, as many as a run has time for.
//! Those that had to wait come first in the next run. A datname that is being dropped, or takes too long, is left out. If all data is in
//! the default tablespace, its size is the sum of its datnames. Then the server need not read the files a second time.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::snapshot::{FailureReason, PartId, Unlisted};
use pharos_model::snapshot::{FamiliesBuilder, Family};
use pharos_model::top::{Candidate, Fold, Top};
use tokio::time::Instant;
use tokio_postgres::types::Type;
use tracing::debug;

use super::rights::{self, Right};
use super::row::{Fields, other, query, query_with};
use crate::collect::{CollectError, Collector, Facts};
use crate::postgres::monitor::Session;

const PART: PartId = PartId::Sizes;

/// Most datnames, and most tablespaces, with series of their own.
const SERIES_MAX: usize = 100;
/// Most datnames and tablespaces that are listed.
const NAMED_MAX: usize = 1_000;

/// Metrics, each with the column that has its value.
const COLUMNS: [(&str, &str); 3] = [
    ("pharos_postgres_wal_directory_size_bytes", "wal"),
    ("pharos_postgres_temporary_files_size_bytes", "temporary_files"),
    ("pharos_postgres_archive_pending_files", "archive_pending"),
];

/// Reads sizes on disk, as many as one run has time for.
pub(super) struct Sizes {
    interval: Duration,
    /// Time after which a run begins no further size, so that the statement timeout ends before the deadline of the run.
    patience: Duration,
    sized: HashMap<(Kind, u32), SizeAnswer>,
    runs: u64,
    datnames: Top<0, 1>,
    tablespaces: Top<0, 1>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Datname,
    Tablespace,
}

/// The last answer about a size, and the run that asked for it.
#[derive(Debug, Clone, Copy)]
struct SizeAnswer {
    run: u64,
    bytes: Option<f64>,
}

/// A datname or tablespace whose size can be read.
struct Named {
    kind: Kind,
    oid: u32,
    name: String,
}

impl Sizes {
    pub(super) fn new(interval: Duration, patience: Duration) -> Self {
        let top = || Top::new(SERIES_MAX, [Fold::Sum]);
        Self { interval, patience, sized: HashMap::new(), runs: 0, datnames: top(), tablespaces: top() }
    }

    async fn read(&mut self, session: &Session) -> Result<Facts, CollectError> {
        let started = Instant::now();
        let mut families = Vec::new();
        for row in &query(session, PART, include_str!("sql/sizes.sql")).await? {
            families.extend(Fields::new(PART, row).scalars(&COLUMNS)?);
        }
        let sql = include_str!("sql/size_names.sql");
        let rows = rights::query_with(session, PART, Right::Stats, sql, &[(&(NAMED_MAX as i64), Type::INT8)]).await?;
        let named = rows.iter().map(|row| Named::read(&Fields::new(PART, row))).collect::<Result<Vec<_>, _>>()?;
        self.size(session, &named, started).await?;
        self.add_up(&named);
        let (mut folded, mut unlisted) = (0, Unlisted::None);
        for (kind, label, metric, top) in [
            (Kind::Datname, "datname", "pharos_postgres_datname_size_bytes", &mut self.datnames),
            (Kind::Tablespace, "tablespace", "pharos_postgres_tablespace_size_bytes", &mut self.tablespaces),
        ] {
            let of_kind: Vec<(&Named, f64)> = named
                .iter()
                .filter(|named| named.kind == kind)
                .filter_map(|named| Some((named, self.sized.get(&(kind, named.oid))?.bytes?)))
                .collect();
            let ranked = ranked(label, metric, top, &of_kind);
            families.extend(ranked.families);
            (folded, unlisted) = (folded + ranked.folded, unlisted.and(ranked.unlisted));
        }
        Ok(Facts { epoch: session.epoch(), families, folded, unlisted, ..Facts::default() })
    }

    /// Computes the size of the default tablespace, if the sizes of all its datnames are known.
    fn add_up(&mut self, named: &[Named]) {
        let Some(tablespace) = default_tablespace(named) else { return };
        let datnames = named.iter().filter(|named| named.kind == Kind::Datname);
        let bytes: Option<f64> = datnames.map(|named| self.sized.get(&(Kind::Datname, named.oid))?.bytes).sum();
        // If a datname was dropped meanwhile, the sum of the run before is still shown. An older sum is not.
        let key = (Kind::Tablespace, tablespace.oid);
        let is_of_last_run = self.sized.get(&key).is_some_and(|sized| sized.run + 1 >= self.runs);
        if bytes.is_some() || !is_of_last_run {
            self.sized.insert(key, SizeAnswer { run: self.runs, bytes });
        }
    }

    /// Reads as many sizes as there is time for. Those that have waited longest come first.
    async fn size(&mut self, session: &Session, named: &[Named], started: Instant) -> Result<(), CollectError> {
        self.runs += 1;
        self.sized.retain(|(kind, oid), _| named.iter().any(|named| named.kind == *kind && named.oid == *oid));
        let in_one = default_tablespace(named).map(|named| named.oid);
        let is_asked = |named: &&Named| named.kind == Kind::Datname || Some(named.oid) != in_one;
        let mut turns: Vec<&Named> = named.iter().filter(is_asked).collect();
        turns.sort_by_key(|named| self.sized.get(&(named.kind, named.oid)).map_or(0, |sized| sized.run));
        for named in turns {
            if started.elapsed() >= self.patience {
                debug!("the other sizes are read in the next run");
                break;
            }
            // This is set before the answer: a size that ends the session must not be the first again.
            let sized = self.sized.entry((named.kind, named.oid)).or_insert(SizeAnswer { run: 0, bytes: None });
            sized.run = self.runs;
            sized.bytes = match named.size(session).await {
                Ok(bytes) => bytes,
                // A size that the role may no longer read is an error. Left out, it would make `other` smaller.
                Err(err) if err.ends_session() || err.reason() == FailureReason::Unsupported => return Err(err),
                Err(err) => {
                    debug!(name = named.name, error = err.text(), "no size of `{}`", named.name);
                    None
                }
            };
        }
        Ok(())
    }
}

/// Returns the default tablespace, if users made no other tablespace and all datnames are listed.
fn default_tablespace(named: &[Named]) -> Option<&Named> {
    if named.len() >= NAMED_MAX {
        return None;
    }
    let mut tablespaces = named.iter().filter(|named| named.kind == Kind::Tablespace);
    let built_in = |named: &Named| ["pg_default", "pg_global"].contains(&named.name.as_str());
    tablespaces.clone().all(built_in).then(|| tablespaces.find(|named| named.name == "pg_default")).flatten()
}

impl Named {
    fn read(row: &Fields<'_>) -> Result<Self, CollectError> {
        let kind = if row.text("kind")? == "datname" { Kind::Datname } else { Kind::Tablespace };
        Ok(Self { kind, oid: row.field("oid")?, name: row.text("name")?.to_owned() })
    }

    async fn size(&self, session: &Session) -> Result<Option<f64>, CollectError> {
        let sql = match self.kind {
            Kind::Datname => include_str!("sql/size_datname.sql"),
            Kind::Tablespace => include_str!("sql/size_tablespace.sql"),
        };
        let rows = query_with(session, PART, sql, &[(&self.oid, Type::OID)]).await?;
        rows.first().map_or(Ok(None), |row| Fields::new(PART, row).number("size"))
    }
}

/// The series of objects with their sizes, and what is known of the rest.
struct Ranked {
    families: Vec<Family>,
    folded: u64,
    unlisted: Unlisted,
}

fn ranked(label: &str, metric: &'static str, top: &mut Top<0, 1>, sized: &[(&Named, f64)]) -> Ranked {
    let candidates: Vec<Candidate<0, 1>> = sized
        .iter()
        .map(|(named, bytes)| Candidate { id: u64::from(named.oid), score: *bytes, counters: [], gauges: [Some(*bytes)] })
        .collect();
    let ranked = top.rank(&candidates);
    let unlisted = ranked.unlisted(&[label], |index| vec![sized[index].0.name.as_str()]);
    let mut families = FamiliesBuilder::new(&[label], &[metric]);
    for index in ranked.members {
        let (named, bytes) = &sized[index];
        families.push(&[&named.name], &[Some(*bytes)]);
    }
    if ranked.folded > 0 {
        families.push(&[other(sized.iter().map(|(named, _)| named.name.as_str()))], &ranked.other_gauges);
    }
    Ranked { families: families.finish(), folded: ranked.folded as u64, unlisted }
}

impl Collector<Session> for Sizes {
    fn part(&self) -> PartId {
        PART
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect<'a>(&'a mut self, session: &'a mut Session, _: Now) -> BoxFuture<'a, Result<Facts, CollectError>> {
        self.read(session).boxed()
    }
}
