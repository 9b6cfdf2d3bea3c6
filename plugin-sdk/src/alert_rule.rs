//! The world of alert rules: a plugin judges a snapshot and returns what is wrong now.

use std::fmt::Display;

pub use crate::bindings::alert_rule::exports::pharos::plugin::alert_rule::{Finding, Report, Rule, SkipReason, Skipped, Strength};
use crate::bindings::plugin::pharos::plugin::snapshots as host;
use crate::{Failure, Label, Plugin, Severity, Snapshot};

/// A plugin that judges snapshots. Each call reports the present state and needs no memory: the host turns findings over time into alerts.
pub trait AlertRule: Plugin {
    /// The rules that this plugin checks with its present settings. The host drops a finding of any other rule.
    fn rules(&self) -> Vec<Rule>;

    /// Judges one snapshot. A rule that lacks data must report `skipped`. Otherwise the host reads the absence of a finding as "fine" and
    /// resolves the alert. An error means that no rule was judged. The host counts only `Failure::Internal` as a fault of the plugin.
    fn evaluate(&self, snapshot: &Snapshot) -> Result<Report, Failure>;
}

/// Calls the plugin with the host's snapshot. The macro [`export_alert_rule!`](crate::export_alert_rule) expands to this call.
pub fn evaluate<P: AlertRule>(plugin: &P, at: host::Snapshot) -> Result<Report, Failure> {
    plugin.evaluate(&Snapshot::new(at))
}

/// Exports a type that implements [`AlertRule`] as the plugin of this component.
#[macro_export]
macro_rules! export_alert_rule {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            $crate::__export_plugin!($plugin);

            impl $crate::export::alert_rule::exports::pharos::plugin::alert_rule::Guest for Component {
                fn rules() -> ::core::result::Result<::std::vec::Vec<$crate::Rule>, $crate::Failure> {
                    PLUGIN.with(|plugin| plugin.call(|plugin| Ok($crate::AlertRule::rules(plugin))))
                }

                fn evaluate(
                    at: $crate::export::plugin::pharos::plugin::snapshots::Snapshot,
                ) -> ::core::result::Result<$crate::Report, $crate::Failure> {
                    PLUGIN.with(|plugin| plugin.call(|plugin| $crate::export::evaluate(plugin, at)))
                }
            }

            $crate::export::alert_rule::export! { Component with_types_in $crate::export::alert_rule }
        };

        // Native tests export nothing. This reference prevents warnings about code that only the export uses.
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            #[used]
            static EXPORTED: fn(&$plugin, &$crate::Snapshot) -> ::core::result::Result<$crate::Report, $crate::Failure> =
                <$plugin as $crate::AlertRule>::evaluate;
        };
    };
}

impl Finding {
    /// A finding of strength `Raise`, without labels, numbers and texts. The other methods fill them in.
    pub fn new(rule: &str, severity: Severity, title: impl Into<String>) -> Self {
        Self {
            rule: rule.to_owned(),
            labels: Vec::new(),
            severity,
            strength: Strength::Raise,
            score: None,
            value: None,
            raise_at: None,
            clear_at: None,
            title: title.into(),
            detail: String::new(),
            cause: None,
            fix: None,
            evidence: Vec::new(),
        }
    }

    /// `Raise` starts an alert. `Hold` only prolongs an alert that exists: the value lies between the raise and the clear threshold.
    pub fn strength(self, strength: Strength) -> Self {
        Self { strength, ..self }
    }

    /// The labels that distinguish this finding from others of its rule and subject. Labels of the subject itself do not belong here.
    pub fn labels(self, labels: Vec<Label>) -> Self {
        Self { labels, ..self }
    }

    /// The measured value, in the unit of its metric.
    pub fn value(self, value: f64) -> Self {
        Self { value: Some(value), ..self }
    }

    /// The threshold that raises and the threshold that clears, in the unit of the value.
    pub fn thresholds(self, raise_at: f64, clear_at: f64) -> Self {
        Self { raise_at: Some(raise_at), clear_at: Some(clear_at), ..self }
    }

    /// The share in the health score, from 0 (fine) to 1 (red band).
    pub fn score(self, score: f64) -> Self {
        Self { score: Some(score), ..self }
    }

    /// The observation in full sentences, below the title.
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    /// The probable reason, as a sentence.
    pub fn cause(self, cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    /// A statement or a setting that solves the problem.
    pub fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }

    /// Adds a line of evidence. The host cuts a name after 100 bytes and a value after 500 bytes.
    pub fn evidence(mut self, name: &str, value: impl Display) -> Self {
        self.evidence.push(Label { name: name.to_owned(), value: value.to_string() });
        self
    }
}

impl Report {
    /// A report without findings and skips: everything was judged and is fine.
    pub const fn empty() -> Self {
        Self { findings: Vec::new(), skipped: Vec::new() }
    }

    /// Adds the findings of a rule, or the reason why the rule could not judge this subject at all.
    pub fn judged(&mut self, rule: &str, result: Result<Vec<Finding>, SkipReason>) {
        match result {
            Ok(findings) => self.findings.extend(findings),
            Err(reason) => self.skip(rule, Vec::new(), reason),
        }
    }

    /// Reports that a rule could not judge the series with these labels. Their alerts stay as they are. Empty labels mean the whole
    /// subject.
    pub fn skip(&mut self, rule: &str, labels: Vec<Label>, reason: SkipReason) {
        self.skipped.push(Skipped { rule: rule.to_owned(), labels, reason });
    }
}
