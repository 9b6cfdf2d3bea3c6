//! The text of `INFO` as fields.

use std::collections::HashMap;

/// Longest word of a server that becomes a label, such as a version.
const WORD_BYTES_MAX: usize = 64;

pub struct Fields<'a> {
    by_name: HashMap<&'a str, &'a str>,
    sections: Vec<&'a str>,
}

impl<'a> Fields<'a> {
    /// Reads lines like `name:value`, below headings like `# Memory`.
    pub fn parse(text: &'a str) -> Self {
        let sections = text.lines().filter_map(|line| line.strip_prefix('#')).map(str::trim).collect();
        Self { by_name: text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(':')).collect(), sections }
    }

    /// Whether the server spoke of this at all: where it did, what is missing below is not there.
    pub fn has_section(&self, name: &str) -> bool {
        self.sections.contains(&name)
    }

    pub fn text(&self, field: &str) -> Option<&'a str> {
        self.by_name.get(field).copied()
    }

    /// A value that is one plain word, fit for a label.
    pub fn word(&self, field: &str) -> Option<&'a str> {
        self.text(field).filter(|text| !text.is_empty() && text.len() <= WORD_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()))
    }

    pub fn number(&self, field: &str) -> Option<f64> {
        finite(self.text(field)?)
    }

    /// Fields like `db0`, `db1`, by their number.
    pub fn numbered(&self, prefix: &str) -> Vec<(u32, &'a str)> {
        let number = |name: &str| name.strip_prefix(prefix)?.parse::<u32>().ok();
        let mut fields: Vec<_> = self.by_name.iter().filter_map(|(name, value)| Some((number(name)?, *value))).collect();
        fields.sort_unstable();
        fields
    }
}

/// One of the pairs in a value like `keys=3,expires=1`.
pub fn pair_text<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(',').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

pub fn pair(value: &str, name: &str) -> Option<f64> {
    finite(pair_text(value, name)?)
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}
