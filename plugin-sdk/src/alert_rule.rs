//! The world of alert rules: judge a snapshot, say what is wrong now.

use std::fmt::Display;

pub use crate::bindings::alert_rule::exports::pharos::plugin::alert_rule::{Finding, Report, Rule, SkipReason, Skipped, Strength};
use crate::bindings::plugin::pharos::plugin::snapshots as host;
use crate::{Failure, Label, Plugin, Severity, Snapshot};

/// A plugin that judges. It is level-triggered and keeps no memory: the host turns findings over time into alerts.
pub trait AlertRule: Plugin {
    /// What it watches with its present settings.
    fn rules(&self) -> Vec<Rule>;

    /// Everything that is wrong in this snapshot. A rule that cannot look must say `skipped`: silence means "fine".
    fn evaluate(&self, snapshot: &Snapshot) -> Result<Report, Failure>;
}

pub fn evaluate<P: AlertRule>(plugin: &P, at: host::Snapshot) -> Result<Report, Failure> {
    plugin.evaluate(&Snapshot::new(at))
}

/// Makes a type that implements [`AlertRule`] the component's export.
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

        // Tests run natively, where nothing is exported, yet what serves the export should count as used.
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            #[used]
            static EXPORTED: fn(&$plugin, &$crate::Snapshot) -> ::core::result::Result<$crate::Report, $crate::Failure> =
                <$plugin as $crate::AlertRule>::evaluate;
        };
    };
}

impl Finding {
    /// A finding past its raise threshold, without numbers yet.
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

    pub fn strength(self, strength: Strength) -> Self {
        Self { strength, ..self }
    }

    pub fn labels(self, labels: Vec<Label>) -> Self {
        Self { labels, ..self }
    }

    pub fn value(self, value: f64) -> Self {
        Self { value: Some(value), ..self }
    }

    pub fn thresholds(self, raise_at: f64, clear_at: f64) -> Self {
        Self { raise_at: Some(raise_at), clear_at: Some(clear_at), ..self }
    }

    /// 0 is fine, 1 is the red band of the health score.
    pub fn score(self, score: f64) -> Self {
        Self { score: Some(score), ..self }
    }

    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    pub fn cause(self, cause: impl Into<String>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    pub fn fix(self, fix: impl Into<String>) -> Self {
        Self { fix: Some(fix.into()), ..self }
    }

    pub fn evidence(mut self, name: &str, value: impl Display) -> Self {
        self.evidence.push(Label { name: name.to_owned(), value: value.to_string() });
        self
    }
}

impl Report {
    /// Nothing found, nothing skipped.
    pub const fn empty() -> Self {
        Self { findings: Vec::new(), skipped: Vec::new() }
    }

    /// Takes what a rule found, or notes that it could not look at this subject at all.
    pub fn judged(&mut self, rule: &str, result: Result<Vec<Finding>, SkipReason>) {
        match result {
            Ok(findings) => self.findings.extend(findings),
            Err(reason) => self.skip(rule, Vec::new(), reason),
        }
    }

    /// Notes that a rule could not look at the series with these labels.
    pub fn skip(&mut self, rule: &str, labels: Vec<Label>, reason: SkipReason) {
        self.skipped.push(Skipped { rule: rule.to_owned(), labels, reason });
    }
}
