//! What the agent's own statements cost, by the collector that each of them names in its text.

use std::collections::BTreeMap;

use super::{Detail, StatementDelta};

/// Our statements name their collector within so many bytes of their texts.
const MARK_WITHIN: usize = 64;
/// Bytes of a block.
const BLOCK_BYTES: f64 = 8192.0;

/// Since the agent started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OwnCost {
    pub calls: u64,
    pub seconds: f64,
    pub rows: u64,
    /// Shared and local, found or read.
    pub blocks: u64,
    pub temp_bytes: f64,
}

/// By collector.
#[derive(Debug, Default)]
pub struct OwnStatements(BTreeMap<String, OwnCost>);

/// The collector whose statement this is; `mark` is what such texts hold before its name.
pub fn collector_of<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    let (before, rest) = text.split_once(mark)?;
    let (name, _) = rest.split_once(" */")?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte == b'_');
    (before.len() <= MARK_WITHIN && is_name).then_some(name)
}

impl OwnStatements {
    pub fn record(&mut self, collector: &str, delta: &StatementDelta) {
        let counters = &delta.counters;
        let cost = self.0.entry(collector.to_owned()).or_default();
        cost.calls += counters.calls;
        cost.seconds += counters.seconds;
        cost.rows += counters.rows;
        let local = counters.details[Detail::LocalBlocksHit] + counters.details[Detail::LocalBlocksRead];
        cost.blocks += counters.shared_blocks_hit + counters.shared_blocks_read + local as u64;
        cost.temp_bytes += counters.temp_blocks_written as f64 * BLOCK_BYTES;
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &OwnCost)> {
        self.0.iter().map(|(collector, cost)| (collector.as_str(), cost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_of_ours_names_its_collector_near_its_beginning() {
        fn of(text: &str) -> Option<&str> {
            collector_of(text, "/* pharos ")
        }
        assert_eq!(of("SELECT /* pharos locks */ a.pid FROM pg_stat_activity a"), Some("locks"));
        assert_eq!(of("PREPARE /* pharos activity */ s AS SELECT 1"), Some("activity"));
        assert_eq!(of("SELECT 1"), None);
        assert_eq!(of("SELECT /* pharos x; DROP TABLE y */ 1"), None);
        assert_eq!(of(&format!("SELECT {} /* pharos locks */", "1, ".repeat(50))), None);
        assert_eq!(of("SELECT /* pharos locks"), None);
    }
}
