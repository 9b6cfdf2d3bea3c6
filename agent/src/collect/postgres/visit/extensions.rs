//! Extensions that are installed in each datname, and the newer versions that the server offers.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::snapshot::{Column, FamiliesBuilder, PartId, Table};
use tokio_postgres::types::Type;

use super::datname_visit::{SERIES_MAX, Visit};
use super::round::Round;
use crate::collect::postgres::row::{Fields, query_with};
use crate::collect::{CollectError, Facts, Missing};
use crate::postgres::monitor::Session;

pub(super) const PART: PartId = PartId::Extensions;

/// Most extensions read in one datname.
const READ_MAX: i64 = 200;
/// Most extensions listed of all datnames together. Outdated ones come first.
const LISTED_MAX: usize = 2_000;

/// Reads the extensions of every datname.
pub(super) struct Extensions {
    interval: Duration,
    /// Readings of the round that is under way.
    datnames: Vec<String>,
    read: Vec<Extension>,
}

/// An extension that is installed in a datname.
#[derive(Debug)]
struct Extension {
    datname: String,
    name: String,
    installed: String,
    available: Option<String>,
}

impl Extension {
    fn is_outdated(&self) -> bool {
        self.available.as_ref().is_some_and(|available| *available != self.installed)
    }
}

impl Extensions {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, datnames: Vec::new(), read: Vec::new() }
    }

    async fn visit(&mut self, session: &Session) -> Result<(), CollectError> {
        let rows = query_with(session, PART, include_str!("../sql/extensions.sql"), &[(&READ_MAX, Type::INT8)]).await?;
        let Some(first) = rows.first().map(|row| Fields::new(PART, row)) else {
            return Err(CollectError::Unsupported(Missing::new("the datname was dropped or renamed meanwhile")));
        };
        let datname = first.text("datname")?.to_owned();
        for row in &rows {
            let row = Fields::new(PART, row);
            let Some(name) = row.field::<Option<String>>("extension")? else { continue };
            self.read.push(Extension {
                datname: datname.clone(),
                name,
                installed: row.text("installed")?.to_owned(),
                available: row.field("available")?,
            });
        }
        self.datnames.push(datname);
        Ok(())
    }
}

impl Visit for Extensions {
    fn part(&self) -> PartId {
        PART
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn visit<'a>(&'a mut self, session: &'a mut Session, _: Now) -> BoxFuture<'a, Result<(), CollectError>> {
        self.visit(session).boxed()
    }

    fn finish(&mut self, round: &Round, _: Now) -> Facts {
        let mut read = std::mem::take(&mut self.read);
        let datnames = std::mem::take(&mut self.datnames);
        let mut counts = FamiliesBuilder::new(&["datname"], &["pharos_postgres_extensions_outdated"]);
        for datname in datnames.iter().take(SERIES_MAX) {
            let outdated = read.iter().filter(|extension| extension.datname == *datname && extension.is_outdated()).count();
            counts.push(&[datname], &[Some(outdated as f64)]);
        }
        read.sort_by_key(|extension| !extension.is_outdated());
        read.truncate(LISTED_MAX);
        let table = Table::new(
            "extensions",
            vec![
                Column::text("datname", read.iter().map(|row| Some(row.datname.as_str()))),
                Column::text("extension", read.iter().map(|row| Some(row.name.as_str()))),
                Column::text("installed", read.iter().map(|row| Some(row.installed.as_str()))),
                Column::text("available", read.iter().map(|row| row.available.as_deref())),
            ],
        );
        Facts { epoch: round.epoch, families: counts.finish(), tables: vec![table], ..Facts::default() }
    }
}
