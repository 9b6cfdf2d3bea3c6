//! The plugin host: every judgement of the agent runs here, in a sandbox.
//!
//! Reading order: [`load::validate`] (what a file is), [`load`] (from bytes to a generation), [`run`] (one call and its limits),
//! [`host`] (which generation serves an id), [`reload`] (files that change). WIT types stay inside this folder.
//!
//! Invariant: no plugin can hang, crash, fill or spy on the agent, nor delay another plugin.

mod contract;
pub mod embedded;
mod host;
mod import;
mod load;
mod message;
mod reload;
mod run;
mod slot;
mod standalone;
mod status;

pub use self::host::{Judgement, PluginEvent, PluginHost};
pub use self::import::egress;
pub use self::import::state::StateAccess;
pub use self::load::examine::Examination;
pub use self::load::folder::Shipped;
pub use self::load::loader::{LoadError, Loader, digest};
pub use self::load::settings::SettingsError;
pub use self::load::{compile, compile_helper, folder, settings, validate};
pub use self::reload::Reloader;
pub use self::run::call_error::CallError;
pub use self::run::engine::Ticker;
pub use self::run::generation::Linkers;
pub use self::run::{engine, quarantine};
pub use self::slot::Origin;
pub use self::standalone::LoadedPlugin;
pub use self::status::PluginStatus;
