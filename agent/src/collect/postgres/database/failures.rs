//! Checksum failures that were counted before the server lost its statistics, stored across restarts of the agent.

use std::collections::BTreeMap;

use pharos_model::alert::Now;
use pharos_model::cluster::Cluster;
use pharos_model::postgres::resets::{Count, Losses, ResetTime};
use pharos_model::snapshot::{Column, PartId, Table};
use serde::{Deserialize, Serialize};

use super::counters::{COUNTERS, FAILURES};
use crate::collect::{NoteName, Notebook};

const NOTE: NoteName<'_> = NoteName { collector: PartId::Database, topic: "" };

/// Checksum failures that the server counted in each datname, and counts that it lost.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Failures {
    cluster: Cluster,
    losses: Losses,
    /// Whether the note of an earlier run of the agent was restored.
    #[serde(skip)]
    is_restored: bool,
    /// Whether the store has the latest state.
    #[serde(skip)]
    is_stored: bool,
    /// The first reading of this run, until the note is restored.
    #[serde(skip)]
    first: Option<BTreeMap<String, Count>>,
}

impl Failures {
    pub(super) async fn observe(&mut self, read: &[(&str, Count)], meaning: ResetTime, cluster: &Cluster, notebook: &Notebook, now: Now) {
        if !self.cluster.may_be(cluster) {
            (self.cluster, self.losses, self.first) = (Cluster::default(), Losses::default(), None);
        }
        self.cluster.fill_from(cluster);
        if !self.is_restored
            && let Ok(earlier) = notebook.read::<Self>(NOTE, now).await
        {
            self.restore(earlier, meaning);
        }
        if !self.is_restored && self.first.is_none() {
            self.first = Some(read.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect());
        }
        self.is_stored &= !self.losses.observe(read.iter().copied(), meaning);
        // Before the note was restored it may know more than this run, so it is not replaced.
        if self.is_restored && !self.is_stored {
            self.is_stored = notebook.write(NOTE, self, Vec::new(), now).await.is_ok();
        }
    }

    /// Restores the note of an earlier run of the agent, unless it is about another cluster.
    fn restore(&mut self, earlier: Option<Self>, meaning: ResetTime) {
        let first = self.first.take();
        (self.is_restored, self.is_stored) = (true, first.is_none());
        if let Some(earlier) = earlier.filter(|earlier| earlier.cluster.may_be(&self.cluster)) {
            self.cluster.fill_from(&earlier.cluster);
            self.losses.restore(earlier.losses, first.as_ref(), meaning);
        }
    }

    /// Lists the lost counts of each datname. A row without a datname means that any may have lost counts: the note is not restored yet.
    pub(super) fn table(&self) -> Table {
        let lost = self.losses.lost().map(|(datname, counted)| (Some(datname), Some(counted)));
        let rows: Vec<(Option<&str>, Option<f64>)> = lost.chain((!self.is_restored).then_some((None, None))).collect();
        Table::new(
            "lost_counters",
            vec![
                Column::text("metric", rows.iter().map(|_| Some(COUNTERS[FAILURES].0))),
                Column::text("datname", rows.iter().map(|(datname, _)| *datname)),
                Column::float("counted", "", rows.iter().map(|(_, counted)| *counted)),
            ],
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::Store;

    fn now(seconds: u64) -> Now {
        Now { monotonic: Duration::from_secs(seconds), wall_ms: (1_000_000 + seconds) * 1_000 }
    }

    /// Returns the rows of the table after a reading of one datname.
    async fn read(failures: &mut Failures, count: f64, notebook: &Notebook, seconds: u64) -> Vec<(Option<String>, Option<f64>)> {
        let counts = [("app", Count { count: Some(count), ..Count::default() })];
        failures.observe(&counts, ResetTime::OfReset, &Cluster::new(Some("7412")), notebook, now(seconds)).await;
        let table = failures.table();
        let row = |row: usize| (table.text("datname", row).map(str::to_owned), table.number("counted", row));
        (0..table.row_count as usize).map(row).collect()
    }

    fn app(lost: f64) -> Vec<(Option<String>, Option<f64>)> {
        vec![(Some("app".to_owned()), Some(lost))]
    }

    const ANY: (Option<String>, Option<f64>) = (None, None);

    #[tokio::test]
    async fn until_the_note_is_restored_any_datname_may_have_lost_its_count() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let notebook = Notebook::new(store.clone(), "db1:5432".to_owned());
        assert_eq!(read(&mut Failures::default(), 3.0, &notebook, 5).await, []);

        // The server crashes, the agent restarts, and its store does not answer for a while.
        let (mut failures, notebook) = (Failures::default(), Notebook::paused(store.clone(), "db1:5432", now(60)));
        assert_eq!(read(&mut failures, 0.0, &notebook, 10).await, [ANY]);
        assert_eq!(read(&mut failures, 0.0, &notebook, 59).await, [ANY]);
        assert_eq!(read(&mut failures, 0.0, &notebook, 60).await, app(3.0));

        // The agent restarts once more, and this run counts more before a second crash.
        let (mut failures, notebook) = (Failures::default(), Notebook::paused(store.clone(), "db1:5432", now(160)));
        assert_eq!(read(&mut failures, 0.0, &notebook, 110).await, [ANY]);
        assert_eq!(read(&mut failures, 5.0, &notebook, 120).await, [ANY]);
        assert_eq!(read(&mut failures, 0.0, &notebook, 130).await, [app(5.0), vec![ANY]].concat());
        assert_eq!(read(&mut failures, 0.0, &notebook, 160).await, app(5.0));
        let notebook = Notebook::new(store, "db1:5432".to_owned());
        assert_eq!(read(&mut Failures::default(), 0.0, &notebook, 170).await, app(5.0), "the note has it");
    }

    #[tokio::test]
    async fn a_note_about_another_cluster_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let notebook = Notebook::new(Store::open(folder.path()).unwrap(), "db1:5432".to_owned());
        read(&mut Failures::default(), 3.0, &notebook, 5).await;
        let (mut failures, other) = (Failures::default(), Cluster::new(Some("8")));
        failures.observe(&[("app", Count { count: Some(0.0), ..Count::default() })], ResetTime::OfReset, &other, &notebook, now(10)).await;
        assert_eq!(failures.table().row_count, 0);
    }
}
