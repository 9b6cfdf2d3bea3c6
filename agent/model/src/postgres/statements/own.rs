//! Cost of the agent's own statements, by the collector that each of them names in its text.

use std::collections::BTreeMap;

use super::{Detail, StatementDelta};

/// Most bytes before the name of the collector in an own statement.
const MARK_WITHIN: usize = 64;
/// Most statements of the agent's role that are tracked. The agent has some dozens, but others may use the role.
const FOLLOWED_MAX: usize = 500;
/// Bytes of a block.
const BLOCK_BYTES: f64 = 8192.0;

/// Cost of own statements since the agent's start.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OwnCost {
    /// Number of executions.
    pub calls: u64,
    /// Execution time in seconds.
    pub seconds: f64,
    /// Rows returned.
    pub rows: u64,
    /// Shared and local blocks, found in the cache or read.
    pub blocks: u64,
    /// Bytes of temporary blocks written.
    pub temp_bytes: f64,
}

/// Statements of the agent's role. Their costs are known earlier than their texts.
#[derive(Debug, Default)]
pub struct OwnStatements(BTreeMap<i64, Followed>);

#[derive(Debug, Default)]
struct Followed {
    cost: OwnCost,
    /// Name of the collector; `None` until the text is known, and empty for a statement that is not the agent's.
    collector: Option<String>,
}

/// Name of the collector in an own statement; `mark` precedes the name in such texts.
fn collector_of<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let (before, rest) = text.split_once(mark)?;
    let (name, _) = rest.split_once(" */")?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte == b'_');
    (before.len() <= MARK_WITHIN && is_name).then_some(name)
}

impl OwnStatements {
    /// Adds the work of a statement of the agent's role.
    pub fn record(&mut self, delta: &StatementDelta) {
        let (queryid, counters) = (delta.key.queryid, &delta.counters);
        if self.0.len() >= FOLLOWED_MAX && !self.0.contains_key(&queryid) {
            return;
        }
        let cost = &mut self.0.entry(queryid).or_default().cost;
        cost.calls += counters.calls;
        cost.seconds += counters.seconds;
        cost.rows += counters.rows;
        let local = counters.details[Detail::LocalBlocksHit] + counters.details[Detail::LocalBlocksRead];
        cost.blocks += counters.shared_blocks_hit + counters.shared_blocks_read + local as u64;
        cost.temp_bytes += counters.temp_blocks_written as f64 * BLOCK_BYTES;
    }

    /// Reads the texts of statements whose collector is not known yet.
    pub fn recognise<'a>(&mut self, mark: &str, text: impl Fn(i64) -> Option<&'a str>) {
        for (queryid, followed) in self.0.iter_mut().filter(|(_, followed)| followed.collector.is_none()) {
            followed.collector = text(*queryid).map(|text| collector_of(text, mark).unwrap_or_default().to_owned());
        }
    }

    /// Query ids of statements whose text is not known yet.
    pub fn unknown(&self) -> impl Iterator<Item = i64> {
        self.0.iter().filter(|(_, followed)| followed.collector.is_none()).map(|(queryid, _)| *queryid)
    }

    /// Returns true if a statement of the agent's role is the agent's own.
    pub fn is_ours(&self, queryid: i64) -> bool {
        self.0.get(&queryid).and_then(|followed| followed.collector.as_ref()).is_some_and(|collector| !collector.is_empty())
    }

    /// Cost of each collector's statements. The costs never fall.
    pub fn by_collector(&self) -> BTreeMap<&str, OwnCost> {
        let mut costs: BTreeMap<&str, OwnCost> = BTreeMap::new();
        for Followed { cost, collector } in self.0.values() {
            let Some(collector) = collector.as_deref().filter(|collector| !collector.is_empty()) else { continue };
            let sum = costs.entry(collector).or_default();
            sum.calls += cost.calls;
            sum.seconds += cost.seconds;
            sum.rows += cost.rows;
            sum.blocks += cost.blocks;
            sum.temp_bytes += cost.temp_bytes;
        }
        costs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::statements::tests::key;
    use crate::postgres::statements::{Basis, StatementCounters};

    const MARK: &str = "/* pharos ";

    fn delta(name: &str, calls: u64) -> StatementDelta {
        let counters = StatementCounters { calls, seconds: 0.5 * calls as f64, temp_blocks_written: 1, ..StatementCounters::default() };
        StatementDelta { key: key(name), basis: Basis::Previous, counters, window: None }
    }

    #[test]
    fn an_own_statement_names_its_collector_near_its_beginning() {
        fn of(text: &str) -> Option<&str> {
            collector_of(text, MARK)
        }
        assert_eq!(of("SELECT /* pharos locks */ a.pid FROM pg_stat_activity a"), Some("locks"));
        assert_eq!(of("PREPARE /* pharos activity */ s AS SELECT 1"), Some("activity"));
        assert_eq!(of("SELECT 1"), None);
        assert_eq!(of("SELECT /* pharos x; DROP TABLE y */ 1"), None);
        assert_eq!(of(&format!("SELECT {} /* pharos locks */", "1, ".repeat(50))), None);
        assert_eq!(of("SELECT /* pharos locks"), None);
    }

    #[test]
    fn counts_from_before_the_text_is_known_are_not_lost() {
        let mut own = OwnStatements::default();
        for (name, calls) in [("a", 2), ("b", 1), ("a", 3), ("c", 7)] {
            own.record(&delta(name, calls));
        }
        assert_eq!(own.by_collector(), BTreeMap::new());
        assert_eq!(own.unknown().count(), 3);
        let text = |queryid| match queryid {
            97 | 98 => Some("SELECT /* pharos locks */ 1"),
            _ => Some("SELECT of another user of the role"),
        };
        own.recognise(MARK, text);
        let cost = OwnCost { calls: 6, seconds: 3.0, rows: 0, blocks: 0, temp_bytes: 3.0 * 8192.0 };
        assert_eq!(own.by_collector(), BTreeMap::from([("locks", cost)]));
        assert_eq!((own.unknown().count(), own.is_ours(97), own.is_ours(99)), (0, true, false));
    }

    #[test]
    fn a_role_that_others_use_is_not_followed_without_end() {
        let mut own = OwnStatements::default();
        for id in 0..2_000 {
            own.record(&StatementDelta { key: crate::postgres::statements::StatementKey { queryid: id, ..key("a") }, ..delta("a", 1) });
        }
        assert_eq!(own.unknown().count(), FOLLOWED_MAX);
    }
}
