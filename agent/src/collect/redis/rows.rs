//! Rows of `INFO`: logical databases and replicas.

use std::collections::{BTreeMap, BTreeSet};

use pharos_model::snapshot::{Column, FamiliesBuilder, Family, Table};
use pharos_model::text::{LINE_BYTES_MAX, identity};

use super::fields::{Fields, LeftOut, pair, pair_text};

/// Most logical databases with series of their own. A server has 16 unless it is configured otherwise. The rest is summed up as `other`.
const DATABASES_MAX: usize = 100;
/// Most replicas with series of their own. Those with the greatest lag come first.
const REPLICAS_MAX: usize = 200;
/// Most values that are listed as left out. A server sends few of them, or thousands.
const LEFT_OUT_MAX: usize = 20;

/// Logical databases that once had keys. The server lists only those that have keys now.
pub(super) struct Keyspace {
    known: BTreeSet<u32>,
    has_others: bool,
}

impl Default for Keyspace {
    fn default() -> Self {
        Self { known: BTreeSet::from([0]), has_others: false }
    }
}

impl Keyspace {
    /// Reads fields like `db0:keys=3,expires=1,avg_ttl=0`. Also returns how many databases are in `other`.
    pub(super) fn read(&mut self, info: &Fields<'_>) -> (Vec<Family>, u64) {
        if !info.has_section("Keyspace") {
            return (Vec::new(), 0);
        }
        let named: BTreeMap<u32, &str> = info.numbered("db").into_iter().collect();
        for number in named.keys() {
            if self.known.len() < DATABASES_MAX {
                self.known.insert(*number);
            }
        }
        let others: Vec<&str> = named.iter().filter(|(number, _)| !self.known.contains(number)).map(|(_, value)| *value).collect();
        self.has_others |= !others.is_empty();
        let mut rows = FamiliesBuilder::new(&["db"], &["pharos_redis_keys", "pharos_redis_keys_expiring"]);
        for number in &self.known {
            let of = |key: &str| named.get(number).map_or(Some(0.0), |value| pair(value, key));
            rows.push(&[&format!("db{number}")], &[of("keys"), of("expires")]);
        }
        if self.has_others {
            let of = |key: &str| Some(others.iter().filter_map(|value| pair(value, key)).sum());
            rows.push(&["other"], &[of("keys"), of("expires")]);
        }
        (rows.finish(), others.len() as u64)
    }
}

/// Reads fields like `slave0:ip=127.0.0.1,port=6380,state=online,offset=14,lag=1`. Several replicas with one address count as one, with the
/// greatest lag. Also returns how many addresses were left out.
pub(super) fn replicas(info: &Fields<'_>) -> (Vec<Family>, u64) {
    let master = info.number("master_repl_offset");
    let mut behind: BTreeMap<String, f64> = BTreeMap::new();
    for (_, value) in info.numbered("slave") {
        let address = format!("{}:{}", pair_text(value, "ip").unwrap_or("unknown"), pair_text(value, "port").unwrap_or("0"));
        let Some((master, replica)) = master.zip(pair(value, "offset")) else { continue };
        let lag = behind.entry(identity(&address, LINE_BYTES_MAX).into_owned()).or_default();
        *lag = lag.max(master - replica);
    }
    let mut behind: Vec<(String, f64)> = behind.into_iter().collect();
    let folded = behind.len().saturating_sub(REPLICAS_MAX) as u64;
    if folded > 0 {
        behind.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        behind.truncate(REPLICAS_MAX);
    }
    let mut rows = FamiliesBuilder::new(&["replica"], &["pharos_redis_replica_lag_bytes"]);
    for (address, lag) in behind {
        rows.push(&[&address], &[Some(lag)]);
    }
    (rows.finish(), folded)
}

/// Makes the table of values that were left out, as the server sent them.
pub(super) fn left_out_table(left_out: &[LeftOut<'_>]) -> Table {
    let listed = || left_out.iter().take(LEFT_OUT_MAX);
    let columns = vec![
        Column::text("field", listed().map(|one| Some(one.field.as_str()))),
        Column::text("value", listed().map(|one| Some(one.value))),
        Column::integer("count", listed().map(|_| Some(left_out.len() as i64))),
    ];
    Table::new("numbers_left_out", columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Formats each series as `name labels value`.
    fn lines(families: &[Family]) -> Vec<String> {
        let of = |family: &Family| {
            let texts = |row| family.label_texts(row).collect::<Vec<_>>().join(",");
            family.values.iter().enumerate().map(|(row, value)| format!("{} {} {value}", family.metric, texts(row))).collect::<Vec<_>>()
        };
        families.iter().flat_map(of).collect()
    }

    #[test]
    fn replicas_with_one_address_are_one_with_the_greatest_lag_in_either_order() {
        for offsets in [[100, 7], [7, 100]] {
            let text = format!(
                "# Replication\nmaster_repl_offset:100\nslave0:ip=10.0.0.9,port=6379,state=online,offset={},lag=0\n\
                 slave1:ip=10.0.0.9,port=6379,state=online,offset={},lag=1\nslave2:ip=10.0.0.8,port=6379,state=online,offset=99,lag=1\n",
                offsets[0], offsets[1]
            );
            let (families, folded) = replicas(&Fields::parse(&text));
            let expected = ["pharos_redis_replica_lag_bytes 10.0.0.8:6379 1", "pharos_redis_replica_lag_bytes 10.0.0.9:6379 93"];
            assert_eq!((lines(&families), folded), (expected.map(ToOwned::to_owned).to_vec(), 0));
        }
    }

    #[test]
    fn the_replicas_with_the_greatest_lag_are_shown_when_there_are_too_many() {
        let line = |number| format!("slave{number}:ip=10.0.0.9,port={number},state=online,offset={number},lag=0\n");
        let text = (0..300).map(line).collect::<String>() + "master_repl_offset:300\n";
        let (families, folded) = replicas(&Fields::parse(&text));
        assert_eq!((families[0].values.len(), families[0].values[0], families[0].values[199], folded), (200, 300.0, 101.0, 100));
    }

    #[test]
    fn databases_are_listed_up_to_a_limit_and_the_rest_is_summed_up() {
        let mut keyspace = Keyspace::default();
        let line = |number| format!("db{number}:keys=2,expires=1,avg_ttl=0\n");
        let text = String::from("# Keyspace\n") + &(1..=150).map(line).collect::<String>();
        let (families, folded) = keyspace.read(&Fields::parse(&text));
        assert_eq!((families[0].values.len(), families[0].values[100], families[1].values[100], folded), (101, 102.0, 51.0, 51));
        // Databases that are empty now are still listed, and new ones add no series.
        let new_databases = String::from("# Keyspace\n") + &(1_000..9_000).map(line).collect::<String>();
        let (families, folded) = keyspace.read(&Fields::parse(&new_databases));
        assert_eq!((families[0].values.len(), families[0].values[99], folded), (101, 0.0, 8_000));
        let (families, folded) = keyspace.read(&Fields::parse("# Keyspace\n"));
        assert_eq!((families[0].values.len(), families[0].values.iter().sum::<f64>(), folded), (101, 0.0, 0));
    }

    #[test]
    fn a_server_without_a_keyspace_section_is_not_empty() {
        let (families, _) = Keyspace::default().read(&Fields::parse("# Memory\nused_memory:1\n"));
        assert!(families.is_empty());
    }

    #[test]
    fn values_that_are_no_numbers_are_left_out() {
        let (families, _) = Keyspace::default().read(&Fields::parse("# Keyspace\ndb0:keys=nan,expires=inf\ndb1:keys=1e400,expires=2\n"));
        assert_eq!(lines(&families), ["pharos_redis_keys_expiring db1 2"]);
    }
}
