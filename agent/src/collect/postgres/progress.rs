//! Commands that report their progress: vacuum, analyze, create index, cluster, copy and base backups (pg_stat_progress_*).

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::snapshot::{Column, FamiliesBuilder, PartId, Table};

use super::rights::{Right, query, query_planned};
use super::row::{Columns, Fields};
use crate::collect::{CollectError, Facts};
use crate::postgres::monitor::{Session, Versioned};

const PART: PartId = PartId::Progress;

const PROGRESS: Versioned = Versioned::new(&[(14, include_str!("sql/progress.sql")), (17, include_str!("sql/progress.17.sql"))]);

pub(super) fn collect(session: &Session) -> BoxFuture<'_, Result<Facts, CollectError>> {
    read(session).boxed()
}

async fn read(session: &Session) -> Result<Facts, CollectError> {
    let commands = query_planned(session, PART, Right::Stats, include_str!("sql/commands.sql")).await?;
    let mut families = FamiliesBuilder::new(&["command"], &["pharos_postgres_commands_in_progress"]);
    let mut any = false;
    for row in commands.iter().map(|row| Fields::new(PART, row)) {
        let running = row.number("running")?;
        any |= running.is_some_and(|running| running > 0.0);
        families.push(&[row.text("command")?], &[running]);
    }
    let rows = if any { query(session, PART, Right::Stats, PROGRESS.sql(session.major())).await? } else { Vec::new() };
    Ok(Facts { epoch: session.epoch(), families: families.finish(), tables: vec![table(&Columns::new(PART, &rows))?], ..Facts::default() })
}

fn table(rows: &Columns<'_>) -> Result<Table, CollectError> {
    let [done, total] = [rows.numbers("done")?, rows.numbers("total")?];
    // Rows that are added while the command runs can make `done` greater than `total`.
    let ratio = done.iter().zip(&total).map(|(done, total)| total.filter(|total| *total > 0.0).zip(*done));
    let ratio = Column::float("ratio", "ratio", ratio.map(|both| both.map(|(total, done)| (done / total).min(1.0))));
    let columns = vec![
        rows.text("command")?,
        rows.text("statement")?,
        rows.integer("pid")?,
        rows.text("datname")?,
        rows.text("relation")?,
        rows.text("phase")?,
        Column { unit: None, ..rows.float("done", "")? },
        Column { unit: None, ..rows.float("total", "")? },
        // The unit of `done` and `total`, which differs between rows.
        rows.text("unit")?,
        ratio,
        rows.float("seconds", "seconds")?,
    ];
    Ok(Table::new("progress", columns))
}
