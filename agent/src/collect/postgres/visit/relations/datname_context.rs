//! The settings and times that apply to all relations of a datname.

use pharos_model::postgres::vacuum::VacuumSettings;
use pharos_model::snapshot::PartId;

use crate::collect::postgres::rights::{self, Right};
use crate::collect::postgres::row::Fields;
use crate::collect::{CollectError, Missing};
use crate::postgres::monitor::Session;

/// Settings and times that apply to all relations of a datname.
#[derive(Debug, Clone)]
pub(crate) struct DatnameContext {
    pub datname: String,
    pub datname_oid: u32,
    pub block_size: i64,
    pub vacuum: VacuumSettings,
    /// Whether the planner's statistics can be read.
    pub reads_statistics: bool,
    /// Time by the server's clock, in seconds since 1970.
    pub asked_at: f64,
    /// For how long scans are counted, in seconds, if that is known.
    pub statistics_age: Option<f64>,
    /// Time of the last reset of the counters by the server's clock, in seconds since 1970.
    pub reset_at: Option<f64>,
}

impl DatnameContext {
    /// Returns a number that is unique for a relation on this server.
    pub(crate) fn id(&self, relation: u32) -> u64 {
        u64::from(self.datname_oid) << 32 | u64::from(relation)
    }

    /// Reads the context of the datname of this session.
    pub(crate) async fn read(session: &Session, collector: PartId) -> Result<Self, CollectError> {
        let rows = rights::query(session, collector, Right::Stats, include_str!("../../sql/relation_settings.sql")).await?;
        let Some(row) = rows.first().map(|row| Fields::new(collector, row)) else {
            return Err(CollectError::Unsupported(Missing::new("the datname was dropped or renamed meanwhile")));
        };
        let number = |column: &str| row.number(column).map(|number| number.unwrap_or(0.0));
        let vacuum = VacuumSettings {
            is_enabled: row.field("autovacuum")?,
            vacuum_threshold: number("vacuum_threshold")?,
            vacuum_scale_factor: number("vacuum_scale_factor")?,
            vacuum_threshold_max: row.number("vacuum_threshold_max")?,
            insert_threshold: number("insert_threshold")?,
            insert_scale_factor: number("insert_scale_factor")?,
            analyze_threshold: number("analyze_threshold")?,
            analyze_scale_factor: number("analyze_scale_factor")?,
            ..VacuumSettings::default()
        };
        Ok(Self {
            datname: row.text("datname")?.to_owned(),
            datname_oid: row.field("datname_oid")?,
            block_size: row.field("block_size")?,
            vacuum,
            reads_statistics: row.field("reads_statistics")?,
            asked_at: number("asked_at")?,
            statistics_age: row.number("statistics_age")?,
            reset_at: row.number("reset_at")?,
        })
    }
}
