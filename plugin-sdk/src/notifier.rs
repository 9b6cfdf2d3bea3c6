//! The world of notifiers: a plugin delivers one message to one receiver.

pub use crate::bindings::notifier::exports::pharos::plugin::notifier::{Alert, Message, Outcome, Reason, Retry};
use crate::{Failure, Plugin};

/// A plugin that delivers messages. Each instance serves one receiver. The host decides on a retry by the outcome and repeats `message.id`.
pub trait Notifier: Plugin {
    /// Delivers a message once, without retries of its own. Report a failure of the receiver as an [`Outcome`]. An error counts as a
    /// failure of the plugin.
    fn deliver(&self, message: &Message) -> Result<Outcome, Failure>;
}

/// The first line of the evidence that the host writes below a detail.
const EVIDENCE: &str = "Evidence:\n";

/// Splits the detail of an alert from its evidence, which is a list of names and values. The host writes the evidence below the detail: a
/// line `Evidence:`, then lines `- name: value`. A text in any other form is returned whole, without evidence.
pub fn detail_and_evidence(detail: &str) -> (&str, Vec<(&str, &str)>) {
    let parts = match detail.strip_prefix(EVIDENCE) {
        Some(lines) => Some(("", lines)),
        None => detail.rsplit_once("\n\nEvidence:\n"),
    };
    let line = |line| str::strip_prefix(line, "- ")?.split_once(": ");
    let read = parts.and_then(|(text, lines)| Some((text, lines.lines().map(line).collect::<Option<Vec<_>>>()?)));
    read.unwrap_or((detail, Vec::new()))
}

/// Exports a type that implements [`Notifier`] as the plugin of this component.
#[macro_export]
macro_rules! export_notifier {
    ($plugin:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            $crate::__export_plugin!($plugin);

            impl $crate::export::notifier::exports::pharos::plugin::notifier::Guest for Component {
                fn deliver(message: $crate::Message) -> ::core::result::Result<$crate::Outcome, $crate::Failure> {
                    PLUGIN.with(|plugin| plugin.call(|plugin| $crate::Notifier::deliver(plugin, &message)))
                }
            }

            $crate::export::notifier::export! { Component with_types_in $crate::export::notifier }
        };

        // Native tests export nothing. This reference prevents warnings about code that only the export uses.
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            #[used]
            static EXPORTED: fn(&$plugin, &$crate::Message) -> ::core::result::Result<$crate::Outcome, $crate::Failure> =
                <$plugin as $crate::Notifier>::deliver;
        };
    };
}

#[cfg(test)]
mod tests {
    use super::detail_and_evidence;

    #[test]
    fn evidence_is_read_from_below_the_detail() {
        let lines = "Evidence:\n- idle in transaction: 61 sessions\n- oldest: 3 min: `billing`";
        let read = vec![("idle in transaction", "61 sessions"), ("oldest", "3 min: `billing`")];
        assert_eq!(detail_and_evidence(lines), ("", read.clone()));
        assert_eq!(detail_and_evidence(&format!("Two\nlines.\n\n{lines}")), ("Two\nlines.", read.clone()));
        let twice = format!("Evidence:\n- of a plugin: 1\n\n{lines}");
        assert_eq!(detail_and_evidence(&twice).0, twice, "a detail that begins like evidence but has another form stays whole");
        for none in ["", "No evidence.", "Evidence:", "Text.\n\nEvidence:\nnot a line of it"] {
            assert_eq!(detail_and_evidence(none), (none, Vec::new()));
        }
    }
}
