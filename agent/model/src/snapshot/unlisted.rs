//! Things that are or may be there and have no series of their own: others have them, or what is known of them was not read yet.
//!
//! A series that goes away says that its thing is gone, or that others took its place. Of the first, the alert ends as gone. Of the second,
//! nobody knows how the thing is, and its alert stands still. So a reading says which things it counts in `other`.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::family::label_value;
use crate::finding::kept_value;
use crate::subject::Label;

/// Things that are told apart. Of more, any may be there.
const NAMED_MAX: usize = 100_000;

/// What a reading has no series for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unlisted {
    #[default]
    None,
    /// Digests of their labels.
    Some(HashSet<u64>),
    /// More than were read.
    Any,
}

impl Unlisted {
    /// Things by their labels, as their series would have them.
    pub fn of<'a, L: IntoIterator<Item = (&'a str, &'a str)>>(things: impl IntoIterator<Item = L>) -> Self {
        let mut digests = HashSet::new();
        for thing in things {
            if digests.len() == NAMED_MAX {
                return Self::Any;
            }
            let labels = thing.into_iter().map(|(name, value)| (name, kept_value(&label_value(value)).into_owned()));
            digests.insert(digest(labels.collect()));
        }
        if digests.is_empty() { Self::None } else { Self::Some(digests) }
    }

    /// All of both.
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

    pub fn is_none(&self) -> bool {
        *self == Self::None
    }

    /// Whether a thing with these labels, as an alert has them, may be among them.
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
        assert!(unlisted.may_have(&labels(&[("datname", "shop"), ("relation", &kept_value("a\tb"))])), "as the check of reports leaves it");
        assert!(!unlisted.may_have(&labels(&[("datname", "shop"), ("relation", "orders")])));
        assert!(Unlisted::of(Vec::<[(&str, &str); 1]>::new()).is_none());
    }

    #[test]
    fn of_too_many_any_may_be_there() {
        let names: Vec<String> = (0..=NAMED_MAX).map(|name| name.to_string()).collect();
        assert_eq!(Unlisted::of(names.iter().map(|name| [("relation", name.as_str())])), Unlisted::Any);
        let one = || Unlisted::of([[("datname", "app")]]);
        assert_eq!([Unlisted::None.and(one()), one().and(Unlisted::Any), one().and(one())], [one(), Unlisted::Any, one()]);
    }
}
