//! Repairs of a plugin's reports. Each is logged when it begins and not with every report. A name that is too long stays so, and a plugin
//! reports every few seconds.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;
use pharos_model::finding::{Repair, RepairKind};

/// Repairs of the latest report about each subject.
#[derive(Default)]
pub(super) struct Repairs {
    by_subject: Mutex<HashMap<String, BTreeSet<(String, RepairKind)>>>,
}

impl Repairs {
    /// Records the repairs of a report about a subject, and returns those that the previous report did not need.
    pub(super) fn begun<'a>(&self, about: &str, repairs: &'a [Repair]) -> Vec<&'a Repair> {
        let kind = |repair: &Repair| (repair.rule.clone(), repair.kind);
        let mut by_subject = self.by_subject.lock();
        let before = by_subject.remove(about).unwrap_or_default();
        if !repairs.is_empty() {
            by_subject.insert(about.to_owned(), repairs.iter().map(kind).collect());
        }
        repairs.iter().filter(|repair| !before.contains(&kind(repair))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repair(rule: &str, kind: RepairKind) -> Repair {
        Repair { rule: rule.to_owned(), kind, count: 1, example: "evidence tx".to_owned() }
    }

    #[test]
    fn a_repair_is_new_until_a_report_about_the_subject_did_not_need_it() {
        let repairs = Repairs::default();
        let (text, labels) = (repair("forgotten", RepairKind::Text), repair("forgotten", RepairKind::Labels));
        let both = [text.clone(), labels.clone()];
        assert_eq!(repairs.begun("postgres a", &both[..1]), [&text]);
        assert!(repairs.begun("postgres a", &both[..1]).is_empty(), "the same again");
        assert_eq!(repairs.begun("postgres a", &both), [&labels]);
        assert_eq!(repairs.begun("postgres b", &both[..1]), [&text], "another server");
        assert!(repairs.begun("postgres a", &[]).is_empty());
        assert_eq!(repairs.begun("postgres a", &both[..1]), [&text], "it was well in between");
    }
}
