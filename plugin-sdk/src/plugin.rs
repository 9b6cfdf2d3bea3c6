//! What every plugin has, whatever its world: a description, settings, and one instance of itself.

use std::cell::RefCell;

use serde::de::DeserializeOwned;

use crate::bindings::plugin::exports::pharos::plugin::plugin as contract;
use crate::bindings::plugin::pharos::plugin::config;
use crate::{Failure, settings};

/// A plugin of any world.
pub trait Plugin: Sized {
    /// What the operator writes under `[plugin.ID.settings]`. Deny unknown fields: the error then says what was meant.
    type Settings: DeserializeOwned;

    const DESCRIPTION: Description;

    /// Checks what serde cannot; the error is shown to the operator, so it names the key and how to mend it.
    fn new(settings: Self::Settings) -> Result<Self, Failure>;
}

/// How a plugin presents itself before it has settings.
pub struct Description {
    /// The file's stem; `env!("CARGO_PKG_NAME")`.
    pub id: &'static str,
    /// `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
    pub summary: &'static str,
    /// JSON Schema (2020-12) of the settings; `include_str!("../schema.json")`.
    pub settings_schema: &'static str,
    /// Grants it wants, each with the reason shown to the operator.
    pub wants: &'static [(&'static str, &'static str)],
}

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

/// The one plugin of a component instance; empty until the host calls `init`.
pub struct Instance<P>(RefCell<Option<P>>);

impl<P: Plugin> Instance<P> {
    #[expect(clippy::new_without_default, reason = "a const is needed to start a static")]
    pub const fn new() -> Self {
        Self(RefCell::new(None))
    }

    pub fn init(&self) -> Result<(), Failure> {
        let plugin = P::new(settings::parse(&config::settings())?)?;
        self.0.replace(Some(plugin));
        Ok(())
    }

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
