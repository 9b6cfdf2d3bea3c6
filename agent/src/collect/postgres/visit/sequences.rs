//! How much of each sequence is used, up to its own limit or that of the column it fills.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::postgres::privilege::sql::identifier;
use pharos_model::postgres::sequences::{Bounds, ReadableSequence, Turns};
use pharos_model::row_selection::interleaved;
use pharos_model::snapshot::{Column, FailureReason, FamiliesBuilder, PartId, Table};
use pharos_model::unjudged::{self, Unjudged};
use tokio_postgres::types::Type;

use super::datname_visit::{SERIES_MAX, Visit};
use super::round::Round;
use crate::collect::postgres::row::{Fields, query_with};
use crate::collect::{CollectError, Facts, Hidden, Missing};
use crate::postgres::monitor::{Row, Session};

pub(super) const PART: PartId = PartId::Sequences;

/// Most sequences read from the catalogue of one datname.
const READ_MAX: i64 = 10_000;
/// Most sequences whose value is read in one visit of a datname. The others wait for their turn in a later visit.
const ASKED_MAX: usize = 2_000;
/// Sequences whose values one statement reads. The statement locks each until it ends, and all sessions share the lock table.
const BATCH: usize = 100;
/// Batches of a visit that may fail because they waited too long for a lock.
const LOCKED_BATCHES_MAX: usize = 3;
/// Most sequences that are listed, of all datnames together. Only listed sequences have series.
const LISTED_MAX: usize = 500;
/// Smallest used share of a sequence with a series. Thousands of sequences are used less, and do not run out soon.
const SERIES_FROM: f64 = 0.5;

/// Reads how much of each sequence is used, in every datname.
pub(super) struct Sequences {
    interval: Duration,
    /// Which sequences are read next in each datname, by the number (oid) of the datname.
    turns: HashMap<u32, Turns>,
    /// Readings of the round that is under way.
    datnames: Vec<Datname>,
    read: Vec<Sequence>,
}

/// Numbers of sequences in one datname.
struct Datname {
    name: String,
    total: i64,
    /// Number of sequences whose value was not read yet.
    unasked: i64,
}

/// A sequence with its limits and its last known value.
#[derive(Debug)]
struct Sequence {
    oid: u32,
    datname: String,
    schema: String,
    sequence: String,
    relation: Option<String>,
    relation_schema: Option<String>,
    /// The type of the sequence, which limits its values as the type of the column does.
    data_type: Option<String>,
    column: Option<String>,
    column_type: Option<String>,
    bounds: Bounds,
    last_value: Option<i64>,
    used_ratio: Option<f64>,
    cycles: bool,
    state: SequenceState,
}

/// Whether the value of a sequence is known, or the reason why it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SequenceState {
    Known,
    NeverUsed,
    /// The role may not select from the sequence.
    NoPrivilege,
    /// Another session locks the sequence.
    Locked,
    /// A standby does not have the values of unlogged sequences.
    Unlogged,
    /// The turn of the sequence has not come yet.
    NotAsked,
}

impl SequenceState {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::NeverUsed => "never-used",
            Self::NoPrivilege => "no-privilege",
            Self::Locked => "locked",
            Self::Unlogged => "unlogged",
            Self::NotAsked => "not-asked",
        }
    }

    /// Reads the state that the catalogue alone shows. The value of a sequence in any other state can be read.
    fn from_catalogue(text: &str) -> Self {
        match text {
            "no-privilege" => Self::NoPrivilege,
            "unlogged" => Self::Unlogged,
            "locked" => Self::Locked,
            _ => Self::Known,
        }
    }
}

impl Sequences {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, turns: HashMap::new(), datnames: Vec::new(), read: Vec::new() }
    }

    async fn visit(&mut self, session: &Session) -> Result<(), CollectError> {
        let rows = query_with(session, PART, include_str!("../sql/sequences.sql"), &[(&READ_MAX, Type::INT8)]).await?;
        let Some(first) = rows.first().map(|row| Fields::new(PART, row)) else {
            return Err(CollectError::Unsupported(Missing::new("the datname was dropped or renamed meanwhile")));
        };
        let (datname, datname_oid) = (first.text("datname")?.to_owned(), first.field("datname_oid")?);
        let total: i64 = first.field("total")?;
        // A datname without sequences has one row without a name.
        let described = rows.iter().filter(|_| total > 0).map(|row| Sequence::read(row, &datname));
        let mut sequences = described.collect::<Result<Vec<_>, _>>()?;
        let turns = self.turns.entry(datname_oid).or_default();
        let locked = read_due(session, turns, &sequences).await?;
        sequences.iter_mut().for_each(|sequence| sequence.apply_value(turns, &locked));
        let asked = sequences.iter().filter(|sequence| sequence.state != SequenceState::NotAsked).count();
        self.datnames.push(Datname { name: datname, total, unasked: total.saturating_sub_unsigned(asked as u64) });
        self.read.extend(sequences);
        Ok(())
    }
}

/// Reads the values of the sequences that are due, in batches. Returns the sequences that another session locked.
async fn read_due(session: &Session, turns: &mut Turns, sequences: &[Sequence]) -> Result<HashSet<u32>, CollectError> {
    let can_be_asked = |sequence: &&Sequence| sequence.state == SequenceState::Known;
    let readable = |sequence: &Sequence| ReadableSequence { oid: sequence.oid, is_narrow: sequence.bounds.column_max.is_some() };
    let readable: Vec<ReadableSequence> = sequences.iter().filter(can_be_asked).map(readable).collect();
    let due = turns.begin(&readable, ASKED_MAX);
    let mut batches: Vec<Vec<u32>> = due.chunks(BATCH).rev().map(<[u32]>::to_vec).collect();
    let mut locked = HashSet::new();
    let mut locked_batches = 0;
    while let Some(mut batch) = batches.pop() {
        match values(session, &batch).await {
            Ok(answers) => batch.iter().for_each(|oid| turns.record_turn(*oid, answers.get(oid).copied())),
            Err(err) if err.ends_session() => return Err(err),
            // The server is busy, so the other sequences wait for a later visit.
            Err(err) if err.reason() == FailureReason::StatementTimeout => break,
            Err(err) if err.reason() == FailureReason::LockTimeout => {
                batch.iter().for_each(|oid| turns.record_turn(*oid, None));
                locked.extend(batch);
                locked_batches += 1;
                if locked_batches == LOCKED_BATCHES_MAX {
                    break;
                }
            }
            // One of the sequences was dropped meanwhile, or is broken. Halves of the batch are tried, since the others can be read.
            Err(_) if batch.len() > 1 => {
                let half = batch.split_off(batch.len() / 2);
                batches.extend([half, batch]);
            }
            Err(_) => batch.iter().for_each(|oid| turns.record_turn(*oid, None)),
        }
    }
    Ok(locked)
}

/// Reads the values of some sequences. Each statement is a transaction of its own, so its locks end with it.
async fn values(session: &Session, oids: &[u32]) -> Result<HashMap<u32, Option<i64>>, CollectError> {
    let rows = query_with(session, PART, include_str!("../sql/sequence_values.sql"), &[(&oids, Type::OID_ARRAY)]).await?;
    let value = |row| {
        let row = Fields::new(PART, row);
        Ok((row.field("oid")?, row.field("last_value")?))
    };
    rows.iter().map(value).collect()
}

impl Sequence {
    fn read(row: &Row, datname: &str) -> Result<Self, CollectError> {
        let row = Fields::new(PART, row);
        Ok(Self {
            oid: row.field("oid")?,
            datname: datname.to_owned(),
            schema: row.text("schema")?.to_owned(),
            sequence: row.text("sequence")?.to_owned(),
            relation: row.field("relation")?,
            relation_schema: row.field("relation_schema")?,
            data_type: row.field("data_type")?,
            column: row.field("column_name")?,
            column_type: row.field("column_type")?,
            bounds: Bounds {
                rises: row.field("rises")?,
                value_min: row.field("value_min")?,
                value_max: row.field("value_max")?,
                column_max: row.field("column_max")?,
            },
            last_value: None,
            used_ratio: None,
            cycles: row.field("cycles")?,
            state: SequenceState::from_catalogue(row.text("state")?),
        })
    }

    /// Sets the value that was read now, or when it was the turn of the sequence last.
    fn apply_value(&mut self, turns: &Turns, locked: &HashSet<u32>) {
        if self.state != SequenceState::Known {
            return;
        }
        self.state = match turns.answer(self.oid) {
            _ if locked.contains(&self.oid) => SequenceState::Locked,
            None => SequenceState::NotAsked,
            Some(None) => SequenceState::NeverUsed,
            Some(Some(last_value)) => {
                self.last_value = Some(last_value);
                self.used_ratio = self.bounds.used_ratio(last_value);
                SequenceState::Known
            }
        };
    }

    /// Rank in the list: the fullest sequences first, then those that cannot be read, then the rest, which may be thousands.
    fn rank(&self) -> f64 {
        match self.state {
            SequenceState::Known => self.used_ratio.unwrap_or(0.0),
            SequenceState::NoPrivilege | SequenceState::Locked => 0.0,
            SequenceState::NeverUsed | SequenceState::Unlogged | SequenceState::NotAsked => -1.0,
        }
    }
}

impl Visit for Sequences {
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
        if let Some(listed) = &round.listed {
            self.turns.retain(|datname_oid, _| listed.contains(datname_oid));
        }
        let mut read = std::mem::take(&mut self.read);
        let hidden = hidden(&read);
        read.sort_by(|a, b| b.rank().total_cmp(&a.rank()));
        let mut read = interleaved(read, |sequence| sequence.datname.clone());
        let datnames = std::mem::take(&mut self.datnames);
        let total: i64 = datnames.iter().map(|datname| datname.total).sum();
        let others = read.split_off(read.len().min(LISTED_MAX));
        let unjudged = Table::new("unjudged_sequences", unjudged::columns(left_out(&others)));
        let mut counts = FamiliesBuilder::new(&["datname"], &["pharos_postgres_sequences", "pharos_postgres_sequences_unasked"]);
        for Datname { name, total, unasked } in datnames.iter().take(SERIES_MAX) {
            counts.push(&[name], &[Some(*total as f64), Some(*unasked as f64)]);
        }
        let mut series = FamiliesBuilder::new(&["datname", "schema", "sequence"], &["pharos_postgres_sequence_used_ratio"]);
        let full: Vec<&Sequence> = read.iter().filter(|sequence| sequence.rank() >= SERIES_FROM).collect();
        for sequence in &full {
            series.push(&[&sequence.datname, &sequence.schema, &sequence.sequence], &[sequence.used_ratio]);
        }
        let mut families = counts.finish();
        families.extend(series.finish());
        let folded = u64::try_from(total).unwrap_or(0).saturating_sub(full.len() as u64);
        Facts { epoch: round.epoch, families, tables: vec![table(&read), unjudged], folded, hidden, ..Facts::default() }
    }
}

/// Describes the sequences of each datname that are not listed, with their highest used ratio. There is none where one is unknown.
fn left_out(others: &[Sequence]) -> Vec<Unjudged> {
    let mut by_datname: BTreeMap<&str, (usize, Option<f64>)> = BTreeMap::new();
    for sequence in others {
        let is_unknown = matches!(sequence.state, SequenceState::NoPrivilege | SequenceState::Locked | SequenceState::NotAsked);
        let used = (!is_unknown).then(|| sequence.used_ratio.unwrap_or(0.0));
        let (count, fullest) = by_datname.entry(&sequence.datname).or_insert((0, Some(0.0)));
        *count += 1;
        *fullest = fullest.zip(used).map(|(fullest, used)| fullest.max(used));
    }
    let unjudged = |(datname, (count, fullest)): (&str, (usize, Option<f64>))| {
        let why = format!("{count} more sequences of {datname} are not listed");
        Unjudged::of_datname("sequences", "used_ratio", datname, fullest, why)
    };
    by_datname.into_iter().map(unjudged).collect()
}

/// Lists, by datname, how many sequences the role may not read, with one of them as an example.
fn hidden(read: &[Sequence]) -> Vec<Hidden> {
    let mut by_datname: BTreeMap<&str, (usize, &Sequence)> = BTreeMap::new();
    for sequence in read.iter().filter(|sequence| sequence.state == SequenceState::NoPrivilege) {
        by_datname.entry(&sequence.datname).or_insert((0, sequence)).0 += 1;
    }
    let hidden = |(datname, (count, first)): (&str, (usize, &Sequence))| Hidden {
        datname: datname.to_owned(),
        why: format!(
            "{count} sequences may run out unseen, such as {}.{}: the role may not SELECT from them",
            identifier(&first.schema),
            identifier(&first.sequence)
        ),
        is_grave: true,
    };
    by_datname.into_iter().map(hidden).collect()
}

fn table(rows: &[Sequence]) -> Table {
    let texts = |value: fn(&Sequence) -> Option<&str>| rows.iter().map(value);
    Table::new(
        "sequences",
        vec![
            Column::text("datname", texts(|row| Some(&row.datname))),
            Column::text("schema", texts(|row| Some(&row.schema))),
            Column::text("sequence", texts(|row| Some(&row.sequence))),
            Column::text("relation", texts(|row| row.relation.as_deref())),
            Column::text("column", texts(|row| row.column.as_deref())),
            Column::text("column_type", texts(|row| row.column_type.as_deref())),
            Column::integer("last_value", rows.iter().map(|row| row.last_value)),
            Column::integer("max_value", rows.iter().map(|row| Some(row.bounds.last_possible()))),
            Column::float("used_ratio", "ratio", rows.iter().map(|row| row.used_ratio)),
            Column::boolean("cycles", rows.iter().map(|row| Some(row.cycles))),
            Column::text("state", texts(|row| Some(row.state.as_str()))),
            Column::text("relation_schema", texts(|row| row.relation_schema.as_deref())),
            Column::text("data_type", texts(|row| row.data_type.as_deref())),
            Column::boolean("rises", rows.iter().map(|row| Some(row.bounds.rises))),
            Column::integer("column_max", rows.iter().map(|row| row.bounds.column_max)),
        ],
    )
}
