//! Things that have no series of their own, because only the largest get one or because they were not read yet.
//!
//! A missing series can mean that its thing is gone, or that other things took its place. In the first case the alert ends as gone. In the
//! second case the state of the thing is unknown, and its alert freezes. So a reading records which things it counts in `other`.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::family::label_value;
use crate::finding::checked_value;
use crate::subject::Label;

/// Most things whose digests are stored. With more things, any thing may exist.
const NAMED_MAX: usize = 100_000;

/// Things of a reading without a series.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unlisted {
    /// No things: all have series.
    #[default]
    None,
    /// Digests of the things' labels.
    Some(HashSet<u64>),
    /// More things than were read.
    Any,
}

impl Unlisted {
    /// Creates the set from the labels that each thing's series would have.
    pub fn of<'a, L: IntoIterator<Item = (&'a str, &'a str)>>(things: impl IntoIterator<Item = L>) -> Self {
        let mut digests = HashSet::new();
        for thing in things {
            if digests.len() == NAMED_MAX {
                return Self::Any;
            }
            let labels = thing.into_iter().map(|(name, value)| (name, checked_value(&label_value(value)).into_owned()));
            digests.insert(digest(labels.collect()));
        }
        if digests.is_empty() { Self::None } else { Self::Some(digests) }
    }

    /// Union of both sets.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => Self::Any,
            (Self::None, one) | (one, Self::None) => one,
            (Self::Some(mut one), Self::Some(other)) => {
                one.extend(other);
                Self::Some(one)
            }
        }
    }

    /// Returns true if all things have series.
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Returns true if a thing with these labels, written as in an alert, may be in the set.
    pub fn may_have(&self, labels: &[Label]) -> bool {
        match self {
            Self::None => false,
            Self::Some(digests) => {
                digests.contains(&digest(labels.iter().map(|label| (label.name.as_str(), label.value.clone())).collect()))
            }
            Self::Any => true,
        }
    }
}

fn digest(mut labels: Vec<(&str, String)>) -> u64 {
    labels.sort_unstable();
    let mut hasher = DefaultHasher::new();
    labels.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Vec<Label> {
        pairs.iter().map(|(name, value)| Label::new(*name, *value)).collect()
    }

    #[test]
    fn things_are_found_by_their_labels_in_any_order() {
        let unlisted = Unlisted::of([[("datname", "app"), ("relation", "orders")], [("datname", "shop"), ("relation", "a\tb")]]);
        assert!(unlisted.may_have(&labels(&[("relation", "orders"), ("datname", "app")])));
        assert!(
            unlisted.may_have(&labels(&[("datname", "shop"), ("relation", &checked_value("a\tb"))])),
            "as the check of reports leaves it"
        );
        assert!(!unlisted.may_have(&labels(&[("datname", "shop"), ("relation", "orders")])));
        assert!(Unlisted::of(Vec::<[(&str, &str); 1]>::new()).is_none());
    }

    #[test]
    fn beyond_the_limit_any_thing_may_exist() {
        let names: Vec<String> = (0..=NAMED_MAX).map(|name| name.to_string()).collect();
        assert_eq!(Unlisted::of(names.iter().map(|name| [("relation", name.as_str())])), Unlisted::Any);
        let one = || Unlisted::of([[("datname", "app")]]);
        assert_eq!([Unlisted::None.and(one()), one().and(Unlisted::Any), one().and(one())], [one(), Unlisted::Any, one()]);
    }
}
