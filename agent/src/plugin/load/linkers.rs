//! Linkers: the imports of each world, ready for every component of it.

use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::plugin::run::linked::{InstanceState, Linked};
use crate::plugin::world::{WORLDS, World};

/// Linkers of all worlds, made once per engine.
pub struct Linkers {
    by_world: Vec<WorldLinker>,
}

struct WorldLinker {
    world: &'static dyn World,
    linker: Linker<InstanceState>,
}

impl Linkers {
    pub fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let linker = |world: &'static dyn World| {
            let mut linker = Linker::new(engine);
            wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
            world.add_imports(&mut linker)?;
            Ok(WorldLinker { world, linker })
        };
        Ok(Self { by_world: WORLDS.into_iter().map(linker).collect::<wasmtime::Result<_>>()? })
    }

    /// Links a component. An import that the world does not have is an error here.
    pub fn link(&self, world: &'static dyn World, component: &Component) -> wasmtime::Result<Linked> {
        let found = self.by_world.iter().find(|known| known.world == world);
        let WorldLinker { linker, .. } = found.expect("every world of the table has a linker");
        world.link(linker.instantiate_pre(component)?)
    }
}
