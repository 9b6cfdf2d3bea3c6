//! Checks whether the series of an alert is still there, when its rule found nothing and gave no reason.
//!
//! A dropped replication slot is no longer inactive, but it is not fine either: "nothing found" means "fine" only if the series was read.

use std::time::Duration;

use crate::catalogue::metrics::Metrics;
use crate::finding::{RuleSpec, checked_value};
use crate::snapshot::{Family, Part, PartState, Snapshot};
use crate::subject::{Label, Subject};

/// Whether a snapshot has a series with the labels of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Series {
    /// A sample has these labels.
    Present,
    /// The metrics that could have these labels were read, the newest at `read_at`, and no sample has them.
    Missing { read_at: Duration },
    /// The metrics that could have these labels were not read. The text names the part and the reason.
    Unreadable(String),
    /// The snapshot cannot show it, because the labels are the plugin's own or the rule reads no metric. `read_at` is the monotonic time of
    /// the newest reading of the rule's metrics; `None` if there is none or a metric was not read.
    Undetermined { read_at: Option<Duration> },
}

impl Series {
    /// Finds the series of an alert in a snapshot. `labels` are those of the alert.
    pub(super) fn of(rule: &RuleSpec, labels: &[Label], snapshot: &Snapshot) -> Self {
        let metrics: Vec<Metric<'_>> = rule.needs.iter().flat_map(|need| Metric::find_all(need, labels, snapshot)).collect();
        let carriers: Vec<&Metric<'_>> = metrics.iter().filter(|metric| metric.may_carry(labels)).collect();
        if carriers.is_empty() {
            return Self::Undetermined { read_at: newest(metrics.iter()) };
        }
        if carriers.iter().any(|metric| metric.has(labels)) {
            return Self::Present;
        }
        if let Some(metric) = carriers.iter().find(|metric| metric.may_hide(labels)) {
            return Self::Unreadable(format!(
                "part `{}` has no series of this alert, and does not report that the series is gone",
                metric.part_name
            ));
        }
        match newest(carriers.iter().copied()) {
            Some(read_at) => Self::Missing { read_at },
            None => Self::Unreadable(carriers.iter().find_map(|metric| metric.failure()).unwrap_or_default()),
        }
    }
}

/// Monotonic time of the newest reading. `None` if there are no metrics or one could not be read.
fn newest<'a>(metrics: impl Iterator<Item = &'a Metric<'a>>) -> Option<Duration> {
    let times: Option<Vec<Duration>> = metrics.map(|metric| metric.part.reading.as_ref().map(|reading| reading.at)).collect();
    times?.into_iter().max()
}

/// A metric that a rule needs, in a snapshot that should have it.
struct Metric<'a> {
    subject: &'a Subject,
    part_name: &'a str,
    part: &'a Part,
    labels: Vec<&'a str>,
    /// The samples. `None` if there are none, or if the part was not read.
    family: Option<&'a Family>,
}

impl<'a> Metric<'a> {
    /// All places in the snapshot that should have this metric. In a snapshot of a database this is the server that the labels name, else
    /// the primary, else (while no primary is known) every server.
    fn find_all(name: &str, labels: &[Label], snapshot: &'a Snapshot) -> Vec<Self> {
        let own = Self::find(name, snapshot);
        if own.is_some() || snapshot.members.is_empty() {
            return own.into_iter().collect();
        }
        let named = labels.iter().find(|label| label.name == "server").map(|label| label.value.as_str());
        let primary = || snapshot.primary().map(|primary| primary.snapshot.subject.id.as_str());
        let one = named.or_else(primary);
        let members = snapshot.members.iter().map(|member| &member.snapshot);
        members.filter(|member| one.is_none_or(|one| member.subject.id == one)).filter_map(|member| Self::find(name, member)).collect()
    }

    /// The metric in one snapshot. `None` if it is not collected for this kind of subject, or if the name is that of a table.
    fn find(name: &str, snapshot: &'a Snapshot) -> Option<Self> {
        let family_in = |part: &'a Part| part.reading.as_ref()?.families.iter().find(|family| family.metric == name);
        if let Some(spec) = Metrics::shipped().spec(name) {
            let part_name = Metrics::shipped().part_of(name, &snapshot.subject.kind)?;
            let (part_name, part) = snapshot.parts.get_key_value(part_name)?;
            let labels = spec.labels.iter().map(String::as_str).collect();
            return Some(Self { subject: &snapshot.subject, part_name, part, labels, family: family_in(part) });
        }
        // A metric of the user's own queries is known while its part has samples of it, or at least its columns.
        snapshot.parts.iter().find_map(|(part_name, part)| {
            let family = family_in(part)?;
            let labels = family.labels.iter().map(|column| column.name.as_str()).collect();
            Some(Self { subject: &snapshot.subject, part_name, part, labels, family: Some(family) })
        })
    }

    fn may_carry(&self, labels: &[Label]) -> bool {
        labels.iter().all(|label| self.labels.contains(&label.name.as_str()) || of_subject(self.subject, &label.name).is_some())
    }

    /// Whether a sample has these labels, perhaps with others. A label that a series does not have counts as the empty text.
    fn has(&self, labels: &[Label]) -> bool {
        let Some(family) = self.family else { return false };
        let mut columns = Vec::new();
        for label in labels {
            let Some(column) = family.labels.iter().find(|column| column.name == label.name) else {
                if of_subject(self.subject, &label.name).unwrap_or_default() != label.value {
                    return false;
                }
                continue;
            };
            // One comparison per word, not per row.
            let fits: Vec<bool> = column.values.words.iter().map(|word| is_value(&label.value, word)).collect();
            columns.push((&column.values.codes, fits));
        }
        let fits = |row: usize| columns.iter().all(|(codes, fits)| fits.get(codes[row] as usize).copied().unwrap_or(false));
        (0..family.values.len()).any(fits)
    }

    /// Whether the part left out series that may have these labels.
    fn may_hide(&self, labels: &[Label]) -> bool {
        let own: Vec<Label> = labels.iter().filter(|label| of_subject(self.subject, &label.name).is_none()).cloned().collect();
        self.part.reading.as_ref().is_some_and(|reading| reading.unlisted.may_have(&own))
    }

    fn failure(&self) -> Option<String> {
        let name = self.part_name;
        match &self.part.state {
            PartState::Present => None,
            PartState::Failed(why) => Some(format!("part `{name}` failed: {why}")),
            PartState::Unsupported(why) => Some(format!("part `{name}` is unsupported: {why}")),
            PartState::Stale(_) => Some(format!("part `{name}` is stale")),
        }
    }
}

fn of_subject<'a>(subject: &'a Subject, name: &str) -> Option<&'a str> {
    subject.labels.iter().find(|label| label.name == name).map(|label| label.value.as_str())
}

/// Compares a label value of an alert with a collected value. The check of reports changed the first if it was too long or unsafe to show.
fn is_value(kept: &str, word: &str) -> bool {
    kept == word || kept.contains('~') && checked_value(word) == kept
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::alert::stories::{SLOT_ACTIVE, rule, slots, snapshot};
    use crate::snapshot::Unlisted;
    use crate::snapshot::{Change, FamiliesBuilder, Reading};

    const READ_AT: Duration = Duration::from_secs(7);
    const MISSING: Series = Series::Missing { read_at: READ_AT };

    fn label(name: &str, value: &str) -> Vec<Label> {
        vec![Label::new(name, value)]
    }

    fn of(needs: &[&str], labels: &[Label], snapshot: &Snapshot) -> Series {
        let needs = needs.iter().map(|need| (*need).to_owned()).collect();
        Series::of(&RuleSpec { needs, ..rule(Duration::ZERO, Duration::ZERO) }, labels, snapshot)
    }

    #[test]
    fn a_series_may_have_more_labels_than_the_alert() {
        let snapshot = snapshot([("replication", slots(&["a"], READ_AT))]);
        let slot = |name: &str| of(&[SLOT_ACTIVE], &label("slot", name), &snapshot);
        assert_eq!((slot("a"), slot("b")), (Series::Present, MISSING));
        let both = |slot_type: &str| [label("slot", "a"), label("slot_type", slot_type)].concat();
        assert_eq!(of(&[SLOT_ACTIVE], &both("physical"), &snapshot), Series::Present);
        assert_eq!(of(&[SLOT_ACTIVE], &both("logical"), &snapshot), MISSING);
    }

    #[test]
    fn one_metric_with_the_series_is_enough_and_metrics_without_its_labels_do_not_count() {
        let snapshot = snapshot([("replication", slots(&["a"], READ_AT)), ("database", Part::failed("permission denied"))]);
        let commits = "pharos_postgres_commits_total";
        assert_eq!(of(&["pharos_postgres_slot_retained_bytes", SLOT_ACTIVE], &label("slot", "a"), &snapshot), Series::Present);
        assert_eq!(of(&[commits, SLOT_ACTIVE], &label("slot", "b"), &snapshot), MISSING, "no slot among what could not be read");
        let why = "part `database` failed: permission denied".to_owned();
        assert_eq!(of(&[commits, SLOT_ACTIVE], &label("datname", "app"), &snapshot), Series::Unreadable(why));
    }

    #[test]
    fn tables_and_metrics_that_are_not_collected_leave_it_undetermined() {
        let snapshot = snapshot([("replication", slots(&["a"], READ_AT))]);
        assert_eq!(of(&["lock_waits", "pharos_redis_keys"], &[], &snapshot), Series::Undetermined { read_at: None });
        assert_eq!(of(&["lock_waits", SLOT_ACTIVE], &label("kind", "odd"), &snapshot), Series::Undetermined { read_at: Some(READ_AT) });
    }

    #[test]
    fn metrics_of_servers_are_read_from_the_primary_of_a_database() {
        let server = |id: &str, slot: &str| {
            let mut server = snapshot([("replication", slots(&[slot], READ_AT))]);
            id.clone_into(&mut server.subject.id);
            Arc::new(Change::first(server))
        };
        let mut primary = FamiliesBuilder::new(&["member"], &["pharos_database_primary_info"]);
        primary.push(&["db2:5432"], &[Some(1.0)]);
        let topology = Reading { families: primary.finish(), ..Reading::default() };
        let mut database = Snapshot { members: vec![server("db1:5432", "a"), server("db2:5432", "b")], ..Snapshot::empty("database") };
        let slot = |name: &str, database: &Snapshot| of(&[SLOT_ACTIVE], &label("slot", name), database);
        assert_eq!((slot("a", &database), slot("b", &database), slot("c", &database)), (Series::Present, Series::Present, MISSING));
        database.parts.insert("topology".to_owned(), Part::present(Arc::new(topology)));
        assert_eq!((slot("a", &database), slot("b", &database)), (MISSING, Series::Present));
    }

    #[test]
    fn labels_of_the_subject_count_as_labels_of_the_series() {
        let mut snapshot = snapshot([("replication", slots(&["a"], READ_AT))]);
        snapshot.subject.labels = label("server", "db1:5432");
        assert_eq!(of(&[SLOT_ACTIVE], &label("server", "db1:5432"), &snapshot), Series::Present);
        assert_eq!(of(&[SLOT_ACTIVE], &label("server", "db2:5432"), &snapshot), MISSING);
    }

    #[test]
    fn a_metric_of_the_user_s_own_is_known_by_its_columns() {
        let mut rows = FamiliesBuilder::new(&["queue"], &["shop_queue_length"]);
        rows.push(&["mail"], &[Some(3.0)]);
        let reading = Reading { at: READ_AT, families: rows.finish(), ..Reading::default() };
        let snapshot = snapshot([("shop", Part::present(Arc::new(reading)))]);
        let queue = |name: &str| of(&["shop_queue_length"], &label("queue", name), &snapshot);
        assert_eq!((queue("mail"), queue("print")), (Series::Present, MISSING));
    }

    #[test]
    fn an_unlisted_series_is_not_gone() {
        let Part { reading, .. } = slots(&["a"], READ_AT);
        let named = Unlisted::of([[("slot", "b"), ("slot_type", "physical")]]);
        let reading = Reading { unlisted: named, ..reading.as_deref().cloned().unwrap() };
        let snapshot = snapshot([("replication", Part::present(Arc::new(reading)))]);
        let slot = |name: &str| of(&[SLOT_ACTIVE], &[label("slot", name), label("slot_type", "physical")].concat(), &snapshot);
        assert_eq!((slot("a"), slot("c")), (Series::Present, MISSING));
        assert!(matches!(slot("b"), Series::Unreadable(why) if why.contains("does not report that the series is gone")));
        let Part { reading, .. } = slots(&["a"], READ_AT);
        let reading = Reading { unlisted: Unlisted::of([[]]), ..reading.as_deref().cloned().unwrap() };
        let snapshot = self::snapshot([("replication", Part::present(Arc::new(reading)))]);
        assert_eq!(of(&[SLOT_ACTIVE], &label("slot", "b"), &snapshot), MISSING, "only what has no labels is said to be unlisted");
        let without_labels = of(&["pharos_postgres_replication_lag_seconds"], &[], &snapshot);
        assert!(matches!(without_labels, Series::Unreadable(_)), "{without_labels:?}");
    }

    #[test]
    fn a_label_value_that_the_check_changed_is_found_by_its_original() {
        let odd = "nightly\tcopy";
        let snapshot = snapshot([("replication", slots(&[odd], READ_AT))]);
        assert_eq!(of(&[SLOT_ACTIVE], &label("slot", &checked_value(odd)), &snapshot), Series::Present);
        assert_eq!(of(&[SLOT_ACTIVE], &label("slot", &checked_value("nightly\u{b}copy")), &snapshot), MISSING);
    }
}
