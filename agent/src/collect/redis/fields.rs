//! The text of `INFO` as fields.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use super::numbers::{range, range_of_pair};

/// Longest word of a server that becomes a label, such as a version, in bytes.
const WORD_BYTES_MAX: usize = 64;

/// The fields and section headings of an `INFO` text.
pub(super) struct Fields<'a> {
    by_name: HashMap<&'a str, &'a str>,
    sections: Vec<&'a str>,
}

impl<'a> Fields<'a> {
    /// Reads lines like `name:value`, below headings like `# Memory`.
    pub(super) fn parse(text: &'a str) -> Self {
        let sections = text.lines().filter_map(|line| line.strip_prefix('#')).map(str::trim).collect();
        Self { by_name: text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(':')).collect(), sections }
    }

    /// Whether the text has this section. If it has, fields that are missing in it do not exist on the server.
    pub(super) fn has_section(&self, name: &str) -> bool {
        self.sections.contains(&name)
    }

    pub(super) fn text(&self, field: &str) -> Option<&'a str> {
        self.by_name.get(field).copied()
    }

    /// Returns a value that is one plain word, so that it can be a label.
    pub(super) fn word(&self, field: &str) -> Option<&'a str> {
        self.text(field).filter(|text| !text.is_empty() && text.len() <= WORD_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()))
    }

    /// Returns the number of a field, if it is in the range of the field.
    pub(super) fn number(&self, field: &str) -> Option<f64> {
        within(self.text(field)?, &range(field)?)
    }

    /// Whether the value of the field is no number, or a number outside of its range.
    fn is_left_out(&self, field: &str) -> bool {
        range(field).is_some() && self.number(field).is_none()
    }

    /// Lists values that are left out, of fields that are read as numbers, sorted by field.
    pub(super) fn left_out(&self) -> Vec<LeftOut<'a>> {
        let single = self.by_name.iter().filter(|(field, _)| self.is_left_out(field));
        let mut left_out: Vec<LeftOut<'a>> =
            single.map(|(field, value)| LeftOut { field: (*field).to_owned(), value, is_pair: false }).collect();
        for prefix in ["db", "slave"] {
            for (number, value) in self.numbered(prefix) {
                let strange = pairs(value).filter(|(name, _)| range_of_pair(name).is_some() && pair(value, name).is_none());
                left_out.extend(strange.map(|(name, value)| LeftOut { field: format!("{prefix}{number} {name}"), value, is_pair: true }));
            }
        }
        left_out.sort_by(|one, other| one.field.cmp(&other.field));
        left_out
    }

    /// Returns the values of fields like `db0` and `db1`, with their numbers.
    pub(super) fn numbered(&self, prefix: &str) -> Vec<(u32, &'a str)> {
        let number = |name: &str| name.strip_prefix(prefix)?.parse::<u32>().ok();
        let mut fields: Vec<_> = self.by_name.iter().filter_map(|(name, value)| Some((number(name)?, *value))).collect();
        fields.sort_unstable();
        fields
    }
}

/// A value that the agent leaves out, because the field cannot mean it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut<'a> {
    /// The name of the field, such as `used_memory`, or `db0 keys` for one of the pairs of a field.
    pub field: String,
    pub value: &'a str,
    pub is_pair: bool,
}

/// Splits a value like `keys=3,expires=1` into its pairs.
fn pairs(value: &str) -> impl Iterator<Item = (&str, &str)> {
    value.split(',').filter_map(|pair| pair.split_once('='))
}

/// Returns the text of one of the pairs in a value like `keys=3,expires=1`.
pub(super) fn pair_text<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    pairs(value).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// Returns the number of one of the pairs in a value like `keys=3,expires=1`, if it is in its range.
pub(super) fn pair(value: &str, name: &str) -> Option<f64> {
    within(pair_text(value, name)?, &range_of_pair(name)?)
}

fn within(text: &str, range: &RangeInclusive<f64>) -> Option<f64> {
    text.parse().ok().filter(|value| range.contains(value))
}
