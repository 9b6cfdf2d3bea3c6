//! The world of notifiers: deliver one message to one receiver.

pub use crate::bindings::notifier::exports::pharos::plugin::notifier::{Alert, Message, Outcome, Reason, Retry};
use crate::{Failure, Plugin};

/// A plugin that delivers. One instance serves one receiver; the host retries by the outcome and repeats `message.id` when it does.
pub trait Notifier: Plugin {
    fn deliver(&self, message: &Message) -> Result<Outcome, Failure>;
}

/// Makes a type that implements [`Notifier`] the component's export.
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

        // Tests run natively, where nothing is exported, yet what serves the export should count as used.
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            #[used]
            static EXPORTED: fn(&$plugin, &$crate::Message) -> ::core::result::Result<$crate::Outcome, $crate::Failure> =
                <$plugin as $crate::Notifier>::deliver;
        };
    };
}
