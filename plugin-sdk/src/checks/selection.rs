//! Selection of subjects and series by their labels: the settings `only` and `except` of a check.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Label;
use crate::settings::nearest;

/// Accepted values of each label: `{ datname = ["app", "shop_*"] }`. Every named label must have an accepted value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Labels(BTreeMap<String, Vec<String>>);

/// The series that a setting selects: those that fit `only`, without those that fit `except`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Selection {
    only: Option<Labels>,
    except: Option<Labels>,
}

impl Selection {
    /// A selection of all that fits `only` and does not fit `except`. None for `only` selects everything.
    pub(crate) fn new(only: Option<Labels>, except: Option<Labels>) -> Self {
        Self { only, except }
    }

    /// This selection without the condition under a key, `only` or `except`.
    pub(crate) fn without(self, key: &str) -> Self {
        Self { only: self.only.filter(|_| key != "only"), except: self.except.filter(|_| key != "except") }
    }

    /// Whether a series that has these labels and perhaps more may be selected. A missing label counts in favour of selection.
    pub(crate) fn may_select(&self, labels: &[&[Label]]) -> bool {
        let is_outside = self.only.as_ref().is_some_and(|only| !only.fit(labels, true));
        !is_outside && !self.except.as_ref().is_some_and(|except| except.fit(labels, false))
    }

    /// Whether every series that has these labels is selected, whatever its other labels.
    pub(crate) fn selects_all(&self, labels: &[&[Label]]) -> bool {
        let is_outside = self.only.as_ref().is_some_and(|only| !only.fit(labels, false));
        !is_outside && !self.except.as_ref().is_some_and(|except| except.fit(labels, true))
    }

    /// Whether a series with exactly these labels is selected.
    pub(crate) fn selects(&self, labels: &[&[Label]]) -> bool {
        let is_outside = self.only.as_ref().is_some_and(|only| !only.fit(labels, false));
        !is_outside && !self.except.as_ref().is_some_and(|except| except.fit(labels, false))
    }

    /// The key (`only` or `except`) that names a label outside `known`, with an explanation for the operator. None if all labels are known.
    pub(crate) fn unknown_label(&self, known: &[&str]) -> Option<(&'static str, String)> {
        [("only", &self.only), ("except", &self.except)].into_iter().find_map(|(key, labels)| {
            let name = labels.as_ref()?.0.keys().find(|name| !known.contains(&name.as_str()))?;
            let hint = match nearest(name, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("it has {}", known.join(", ")),
            };
            Some((key, format!("`{name}` is no label of this check; {hint}")))
        })
    }
}

impl Labels {
    /// Whether the labels have an accepted value for every name. `if_missing` is the answer for a name that the labels do not have.
    fn fit(&self, labels: &[&[Label]], if_missing: bool) -> bool {
        self.0.iter().all(|(name, values)| {
            let label = labels.iter().copied().flatten().find(|label| label.name == *name);
            label.map_or(if_missing, |label| values.iter().any(|value| fits(value, &label.value)))
        })
    }
}

/// Whether a value fits a pattern. A star at the end of the pattern stands for any text.
fn fits(pattern: &str, value: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == value, |start| value.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::label;

    #[track_caller]
    fn check(only: &str, except: &str, selected: &[&str]) {
        let read = |json: &str| (!json.is_empty()).then(|| serde_json::from_str(json).expect("well-formed"));
        let selection = Selection::new(read(only), read(except));
        let server = [label("server", "db1:5432")];
        let datnames = ["app", "shop_eu", "shop_us"];
        let is_selected = |datname: &&str| selection.selects(&[&server, &[label("datname", *datname)]]);
        assert_eq!(datnames.into_iter().filter(is_selected).collect::<Vec<_>>(), selected);
    }

    #[test]
    fn all_names_have_to_fit_and_one_value_of_each() {
        check("", "", &["app", "shop_eu", "shop_us"]);
        check(r#"{"datname":["app","shop_us"]}"#, "", &["app", "shop_us"]);
        check(r#"{"datname":["shop_*"]}"#, r#"{"datname":["shop_us"]}"#, &["shop_eu"]);
        check("", r#"{"datname":["app"],"server":["db2:5432"]}"#, &["app", "shop_eu", "shop_us"]);
        check("", r#"{"datname":["app"],"server":["db*"]}"#, &["shop_eu", "shop_us"]);
        check(r#"{"user":["app"]}"#, "", &[]);
    }

    #[test]
    fn an_unknown_label_may_be_selected() {
        let only = Selection::new(serde_json::from_str(r#"{"server":["db1:5432"],"datname":["app"]}"#).expect("well-formed"), None);
        let (one, two) = ([label("server", "db1:5432")], [label("server", "db2:5432")]);
        assert_eq!([only.may_select(&[&one]), only.may_select(&[&two]), only.selects(&[&one])], [true, false, false]);
        let except = Selection::new(None, serde_json::from_str(r#"{"server":["db1:5432"]}"#).expect("well-formed"));
        assert_eq!([except.may_select(&[&one]), except.may_select(&[&two])], [false, true]);
    }
}
