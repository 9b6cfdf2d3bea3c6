//! Everything in which the worlds of the contract differ.

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use pharos_model::finding::RuleSpec;
use pharos_model::snapshot::Change;
use wasmtime::component::{InstancePre, Linker};

use crate::plugin::run::budget::Budget;
use crate::plugin::run::call_error::CallError;
use crate::plugin::run::generation::Generation;
use crate::plugin::run::instance::Usage;
use crate::plugin::run::linked::{InstanceState, Linked};

/// A world of the contract. The calls themselves are methods of [`Generation`] beside each implementation.
pub trait World: Debug + Send + Sync {
    /// Name in `wit/`, as it is served and measured: `alert-rule-plugin`. Unique.
    fn name(&self) -> &'static str;

    /// Interface of `pharos:plugin` whose export makes a component a plugin of this world: `alert-rule`.
    fn marker(&self) -> &'static str;

    /// Interfaces of `pharos:plugin` that a plugin may import. Any other one is refused at load.
    fn imports(&self) -> &'static [&'static str];

    /// Budget of one call, unless the config has another one.
    fn call_budget(&self) -> Budget;

    /// Calls of one plugin at the same time.
    fn calls_max(&self) -> usize;

    /// Adds the imports of this world to a linker that has those of WASI.
    fn add_imports(&self, linker: &mut Linker<InstanceState>) -> wasmtime::Result<()>;

    /// Finds the exports of this world in a component.
    fn link(&self, pre: InstancePre<InstanceState>) -> wasmtime::Result<Linked>;

    /// Whether a plugin runs once for each receiver, with the receiver's settings laid over its own.
    fn runs_per_receiver(&self) -> bool {
        false
    }

    /// Starts an instance with these settings, and returns the rules that the plugin declares.
    fn declare<'a>(&'a self, generation: &'a Generation, settings: Arc<str>) -> BoxFuture<'a, Result<Vec<RuleSpec>, CallError>> {
        async move {
            generation.blueprint.start(settings, &mut Usage::default()).await?;
            Ok(Vec::new())
        }
        .boxed()
    }

    /// Runs a generation that does not serve yet on a snapshot of a kind that it has rules for.
    fn try_on<'a>(&'a self, _generation: &'a Generation, _change: Arc<Change>) -> BoxFuture<'a, Result<(), CallError>> {
        ready(Ok(())).boxed()
    }
}

/// Worlds are equal by their names.
impl PartialEq for dyn World {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::plugin::world::WORLDS;

    /// Worlds are compared by their names, and a component is recognised by its marker.
    #[test]
    fn no_two_worlds_have_a_name_or_marker_in_common() {
        let names: BTreeSet<&str> = WORLDS.iter().map(|world| world.name()).collect();
        let markers: BTreeSet<&str> = WORLDS.iter().map(|world| world.marker()).collect();
        assert_eq!((names.len(), markers.len()), (WORLDS.len(), WORLDS.len()));
    }
}
