//! The series that a plugin requests: chosen by their labels, as values or as rates.

use super::change::Change;
use super::family::{Family, LabelColumn, NULL_CODE, TextColumn};

/// Choice between values and rates of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// The value as it was read.
    Value,
    /// Change per second since the part's previous reading.
    Rate,
}

/// Filter for series: the label must fit the pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesFilter {
    /// Name of the label.
    pub label: String,
    /// Pattern for the label's text.
    pub pattern: Pattern,
}

/// Pattern for a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// The text is equal.
    Equals(String),
    /// The text is equal to one of these.
    OneOf(Vec<String>),
    /// The text begins with this one.
    Prefix(String),
}

impl Pattern {
    fn fits(&self, text: &str) -> bool {
        match self {
            Self::Equals(wanted) => text == wanted,
            Self::OneOf(wanted) => wanted.iter().any(|wanted| text == wanted),
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
        }
    }
}

/// Series as a plugin gets them. The subject's labels come first, then the metric's own. All columns have equal length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// Columns of labels, each with one text per series.
    pub labels: Vec<LabelColumn>,
    /// Values or rates, one per series.
    pub values: Vec<f64>,
}

impl Change {
    /// The series of a metric that fit every filter. A missing label counts as the empty text.
    pub fn samples(&self, metric: &str, matching: &[SeriesFilter], quantity: Quantity) -> Samples {
        let Some(family) = self.snapshot.family(metric) else { return Samples::default() };
        let rates = self.rates_of(metric);
        let value = |row: usize| match quantity {
            Quantity::Value => Some(family.values[row]),
            Quantity::Rate => rates.and_then(|rates| rates.get(row).copied().flatten()),
        };
        let Some(wanted) = self.rows(family, matching) else { return Samples::default() };
        let rows: Vec<(usize, f64)> = match wanted {
            Rows::All => (0..family.values.len()).filter_map(|row| Some((row, value(row)?))).collect(),
            Rows::Some(rows) => rows.into_iter().filter_map(|row| Some((row, value(row)?))).collect(),
        };
        let whole = rows.len() == family.values.len();
        let subject = self.snapshot.subject.labels.iter().map(|label| LabelColumn {
            name: label.name.clone(),
            values: TextColumn { words: vec![label.value.clone()], codes: vec![0; rows.len()] },
        });
        let own = family.labels.iter().map(|label| LabelColumn {
            name: label.name.clone(),
            values: if whole { label.values.clone() } else { pick(&label.values, &rows) },
        });
        Samples { labels: subject.chain(own).collect(), values: rows.iter().map(|(_, value)| *value).collect() }
    }

    /// Rows that fit every filter; `None` if no row can.
    fn rows(&self, family: &Family, matching: &[SeriesFilter]) -> Option<Rows> {
        let mut columns = Vec::new();
        for matcher in matching {
            if let Some(column) = family.labels.iter().find(|column| column.name == matcher.label) {
                // Each word is compared once, not once per row.
                let fits: Vec<bool> = column.values.words.iter().map(|word| matcher.pattern.fits(word)).collect();
                columns.push((&column.values.codes, fits));
                continue;
            }
            let subject = self.snapshot.subject.label(&matcher.label);
            if !matcher.pattern.fits(subject.unwrap_or_default()) {
                return None;
            }
        }
        if columns.is_empty() {
            return Some(Rows::All);
        }
        let fits = |row: usize| columns.iter().all(|(codes, fits)| fits.get(codes[row] as usize).copied().unwrap_or(false));
        Some(Rows::Some((0..family.values.len()).filter(|row| fits(*row)).collect()))
    }
}

enum Rows {
    All,
    Some(Vec<usize>),
}

/// Texts of the rows with a dictionary of only their words. Codes are translated by index, because hashing every word would cost more than
/// the read.
fn pick(column: &TextColumn, rows: &[(usize, f64)]) -> TextColumn {
    let mut picked = TextColumn::default();
    let mut code_of = vec![NULL_CODE; column.words.len()];
    for (row, _) in rows {
        let old = column.codes[*row] as usize;
        // The code of null is outside every dictionary, and stays.
        let code = match code_of.get_mut(old) {
            None => NULL_CODE,
            Some(code) => {
                if *code == NULL_CODE {
                    // There are no more words than codes, so the number fits.
                    *code = picked.words.len() as u32;
                    picked.words.push(column.words[old].clone());
                }
                *code
            }
        };
        picked.codes.push(code);
    }
    picked
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::snapshot::{FamiliesBuilder, Part, Reading, Snapshot};
    use crate::subject::Label;

    const COMMITS: &str = "pharos_postgres_commits_total";
    const NONE: [f64; 0] = [];

    fn change(commits: &[(&str, f64)]) -> Change {
        let mut rows = FamiliesBuilder::new(&["datname"], &[COMMITS]);
        for (datname, value) in commits {
            rows.push(&[datname], &[Some(*value)]);
        }
        let mut snapshot = Snapshot::empty("postgres");
        snapshot.subject.labels = vec![Label::new("server", "db1:5432")];
        snapshot.parts.insert("database".into(), Part::present(Arc::new(Reading { families: rows.finish(), ..Reading::default() })));
        Change::first(snapshot)
    }

    #[test]
    fn filters_read_the_labels_of_the_metric_and_of_the_subject() {
        let change = change(&[("app", 1.0), ("shop", 2.0), ("apple", 3.0)]);
        let matching =
            |label: &str, pattern| change.samples(COMMITS, &[SeriesFilter { label: label.into(), pattern }], Quantity::Value).values;
        assert_eq!(matching("datname", Pattern::Equals("app".into())), [1.0]);
        assert_eq!(matching("datname", Pattern::Prefix("app".into())), [1.0, 3.0]);
        assert_eq!(matching("datname", Pattern::OneOf(vec!["shop".into(), "none".into()])), [2.0]);
        assert_eq!(matching("server", Pattern::Equals("db1:5432".into())), [1.0, 2.0, 3.0]);
        assert_eq!(matching("server", Pattern::Equals("db2:5432".into())), NONE);
    }

    #[test]
    fn picked_samples_carry_only_their_own_words() {
        let change = change(&[("app", 1.0), ("shop", 2.0)]);
        let matcher = SeriesFilter { label: "datname".into(), pattern: Pattern::Equals("shop".into()) };
        let samples = change.samples(COMMITS, &[matcher], Quantity::Value);
        assert_eq!(samples.labels[0].name, "server");
        assert_eq!(samples.labels[1].values.words, ["shop"]);
        assert_eq!(samples.labels[1].values.codes, [0]);
    }
}
