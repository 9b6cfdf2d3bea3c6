//! Plugins: every judgement of the agent runs here, in a sandbox.
//!
//! | room | holds |
//! |---|---|
//! | [`host`] | which plugin serves under which id, and all calls into plugins; [`accounting`], [`publishing`] and [`status`] are its parts
//! |
//! | [`world`] | one file per world: what its plugins import, export and may use |
//! | [`load`] | from a file to a generation: validation, compilation, settings, grants, canaries |
//! | [`reload`] | files that appear, change and vanish |
//! | [`run`] | one call: engine, budget, turns, instances, quarantine |
//! | [`import`] | the host's side of what plugins import, with its limits and grants |
//! | [`contract`] | `wit/` as Rust; its types stay inside `plugin/` |

mod accounting;
mod contract;
pub(crate) mod embedded;
mod event;
mod host;
mod import;
mod load;
mod publishing;
mod reload;
mod run;
mod slot;
mod stage;
mod standalone;
mod status;
mod world;

pub(crate) use self::event::PluginEvent;
pub(crate) use self::host::Judgement;
pub use self::host::PluginHost;
pub use self::import::egress;
pub use self::import::state::StateAccess;
pub(crate) use self::load::examine::Examination;
pub(crate) use self::load::folder::Shipped;
pub use self::load::linkers::Linkers;
pub use self::load::load_error::LoadError;
pub use self::load::loader::{Loader, digest};
pub(crate) use self::load::settings::SettingsError;
pub use self::load::{compile, settings, validate};
pub(crate) use self::load::{compile_helper, folder};
pub use self::reload::Reloader;
pub use self::run::call_error::CallError;
pub use self::run::engine::Ticker;
pub use self::run::{engine, quarantine};
pub(crate) use self::slot::Origin;
pub use self::slot::PluginState;
pub use self::standalone::LoadedPlugin;
pub(crate) use self::status::PluginStatus;
pub use self::world::alert_rule::ALERT_RULE;
