//! Write Pharos plugins in Rust.
//!
//! A plugin is a type with settings. Implement [`Plugin`] and the trait of its world ([`AlertRule`] or [`Notifier`]), then export the type.
//!
//! ```ignore
//! impl Plugin for TooManyKeys { … }
//! impl AlertRule for TooManyKeys { … }
//! pharos_plugin::export_alert_rule!(TooManyKeys);
//! ```
//!
//! A rule reads a [`Snapshot`]: from the host inside a component, from [`testing::Facts`] in a native test. `cargo test` therefore
//! covers a rule without a host. Calls to the host itself (`egress`, `mail`, `state`, `telemetry`, `log`) work only inside a component.

mod alert_rule;
#[doc(hidden)]
pub mod bindings;
pub mod checks;
pub mod civil_date;
mod duration;
pub mod log;
mod notifier;
pub mod own_role;
mod plugin;
pub mod settings;
mod snapshot;
pub mod sql;
mod table;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod text;

pub use self::alert_rule::{AlertRule, Finding, Report, Rule, SkipReason, Skipped, Strength};
pub use self::bindings::plugin::pharos::plugin::types::{Failure, Label, Severity, Subject, TransientFailure};
pub use self::bindings::plugin::pharos::plugin::{egress, mail, state, telemetry};
pub use self::duration::HumanDuration;
pub use self::notifier::{Alert, Message, Notifier, Outcome, Reason, Retry, detail_and_evidence};
pub use self::plugin::{Description, Plugin};
pub use self::snapshot::{Columns, Matcher, Part, PartState, Pattern, Reading, Row, Samples, Snapshot, Source};
pub use self::table::Table;

/// Names that the export macros expand to. Plugins must not use them directly.
#[doc(hidden)]
pub mod export {
    pub use crate::alert_rule::evaluate;
    pub use crate::bindings::{alert_rule, notifier, plugin};
    pub use crate::plugin::{Instance, describe};
}
