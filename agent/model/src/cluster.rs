//! Identity of the cluster that answers at an address, as far as it is known.

use serde::{Deserialize, Serialize};

/// System identifier of a cluster (`pg_control_system`), or `None` while unknown. Some services hide it, and a query for it can fail. An
/// unknown cluster may be any cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cluster(Option<String>);

impl Cluster {
    /// Creates an identity; `None` for an unknown cluster.
    pub fn new(system_identifier: Option<&str>) -> Self {
        Self(system_identifier.map(str::to_owned))
    }

    /// Returns true if both may be the same cluster.
    pub fn may_be(&self, other: &Self) -> bool {
        self.0.as_ref().zip(other.0.as_ref()).is_none_or(|(one, other)| one == other)
    }

    /// Copies the identifier of `other` if this one is unknown.
    pub fn fill_from(&mut self, other: &Self) {
        if self.0.is_none() {
            self.0.clone_from(&other.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_cluster_may_be_any_and_copies_the_first_identifier() {
        let [unknown, one, other] = [None, Some("7412"), Some("8")].map(Cluster::new);
        assert!(unknown.may_be(&one) && one.may_be(&unknown) && one.may_be(&one) && !one.may_be(&other));
        let mut known = unknown.clone();
        for observed in [&unknown, &one, &unknown] {
            known.fill_from(observed);
        }
        assert_eq!(known, one);
        assert!(!known.may_be(&other));
    }
}
