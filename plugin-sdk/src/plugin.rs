//! The common part of all plugins: a description, settings, and one instance per component.

use std::cell::RefCell;

use serde::de::DeserializeOwned;

use crate::bindings::plugin::exports::pharos::plugin::plugin as contract;
use crate::bindings::plugin::pharos::plugin::config;
use crate::{Failure, settings};

/// A plugin of any world. Implement [`AlertRule`](crate::AlertRule) or [`Notifier`](crate::Notifier) as well.
pub trait Plugin: Sized {
    /// The type of `[plugin.ID.settings]` in the configuration. Use `#[serde(deny_unknown_fields)]`: an error then suggests the nearest
    /// key.
    type Settings: DeserializeOwned;

    /// The description that the host reads before it passes any settings.
    const DESCRIPTION: Description;

    /// Creates the plugin and checks what serde cannot check. The operator reads the error: the text must name the key and its correction.
    fn new(settings: Self::Settings) -> Result<Self, Failure>;
}

/// The facts about a plugin that the host can read without settings.
pub struct Description {
    /// The name of the component's file without `.wasm`, usually `env!("CARGO_PKG_NAME")`.
    pub id: &'static str,
    /// The version of the plugin, usually `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    /// The purpose of the plugin, in one line.
    pub summary: &'static str,
    /// The JSON Schema (2020-12) of the settings, usually `include_str!("../schema.json")`.
    pub settings_schema: &'static str,
    /// The grants that the plugin asks for, each with its reason. The operator sees both.
    pub wants: &'static [(&'static str, &'static str)],
}

/// Converts the description of a plugin into the type of the contract.
pub fn describe<P: Plugin>() -> contract::Description {
    let own = P::DESCRIPTION;
    contract::Description {
        id: own.id.to_owned(),
        version: own.version.to_owned(),
        summary: own.summary.to_owned(),
        settings_schema: own.settings_schema.to_owned(),
        wants: own.wants.iter().map(|(grant, reason)| ((*grant).to_owned(), (*reason).to_owned())).collect(),
    }
}

/// The single plugin value of a component instance. The value is missing until the host calls `init`.
pub struct Instance<P>(RefCell<Option<P>>);

impl<P: Plugin> Instance<P> {
    /// An instance without its plugin.
    #[expect(clippy::new_without_default, reason = "a const is needed to start a static")]
    pub const fn new() -> Self {
        Self(RefCell::new(None))
    }

    /// Reads the settings from the host and creates the plugin. An error means that the host must not use the instance.
    pub fn init(&self) -> Result<(), Failure> {
        let plugin = P::new(settings::parse(&config::settings())?)?;
        self.0.replace(Some(plugin));
        Ok(())
    }

    /// Runs a call on the plugin. Fails with `Failure::Internal` before `init`.
    pub fn call<T>(&self, call: impl FnOnce(&P) -> Result<T, Failure>) -> Result<T, Failure> {
        match &*self.0.borrow() {
            Some(plugin) => call(plugin),
            None => Err(Failure::Internal("called before `init`".to_owned())),
        }
    }
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_plugin {
    ($plugin:ty) => {
        struct Component;

        ::std::thread_local! {
            static PLUGIN: $crate::export::Instance<$plugin> = const { $crate::export::Instance::new() };
        }

        impl $crate::export::plugin::exports::pharos::plugin::plugin::Guest for Component {
            fn describe() -> $crate::export::plugin::exports::pharos::plugin::plugin::Description {
                $crate::export::describe::<$plugin>()
            }

            fn init() -> ::core::result::Result<(), $crate::Failure> {
                PLUGIN.with(|plugin| plugin.init())
            }
        }

        $crate::export::plugin::export! { Component with_types_in $crate::export::plugin }
    };
}
