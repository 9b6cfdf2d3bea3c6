//! Demand of a component: the places in the engine's pool that each instance takes, counted in the file before it is compiled.
//!
//! Compiling a component of a script language takes seconds and hundreds of megabytes, and the engine refuses one that is too large only
//! afterwards. Components inside components count as often as they are instantiated. Parts from outside and the adapters between components cannot
//! be counted here. The engine itself still refuses those.

use std::ops::AddAssign;

use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExport, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, Encoding, Instance, Parser, Payload,
};

use crate::plugin::run::engine::{CORE_INSTANCES_MAX, MEMORIES_MAX, TABLES_MAX};

/// Parts of one instance of a module or component.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    pub core_instances: u64,
    pub memories: u64,
    pub tables: u64,
}

impl Demand {
    /// Counts the demand of the outermost component of a file.
    pub fn count(bytes: &[u8]) -> Result<Self, BinaryReaderError> {
        let mut open: Vec<Scope> = Vec::new();
        let mut outermost = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::Version { encoding, .. } => open.push(Scope::new(encoding)),
                Payload::End(_) => {
                    let Some(closed) = open.pop() else { continue };
                    outermost = closed.demand;
                    match open.last_mut() {
                        Some(parent) if closed.encoding == Encoding::Module => parent.modules.push(closed.demand),
                        Some(parent) => parent.components.push(closed.demand),
                        None => {}
                    }
                }
                payload => count_section(&payload, &mut open)?,
            }
        }
        Ok(outermost)
    }

    /// The first number that is too large, its name, and the largest that is allowed.
    pub fn excess(&self) -> Option<(u64, &'static str, u32)> {
        let counted = [
            (self.core_instances, "core module instances", CORE_INSTANCES_MAX),
            (self.memories, "memories", MEMORIES_MAX),
            (self.tables, "tables", TABLES_MAX),
        ];
        counted.into_iter().find(|(number, _, max)| *number > u64::from(*max))
    }
}

impl AddAssign for Demand {
    /// Saturates: ten levels of ten instances each would overflow anything.
    fn add_assign(&mut self, other: Self) {
        self.core_instances = self.core_instances.saturating_add(other.core_instances);
        self.memories = self.memories.saturating_add(other.memories);
        self.tables = self.tables.saturating_add(other.tables);
    }
}

/// A module or component that is being read, with its index spaces.
struct Scope {
    encoding: Encoding,
    demand: Demand,
    /// Demand of an instance of each core module.
    modules: Vec<Demand>,
    components: Vec<Demand>,
}

impl Scope {
    fn new(encoding: Encoding) -> Self {
        let core_instances = u64::from(encoding == Encoding::Module);
        let demand = Demand { core_instances, ..Demand::default() };
        Self { encoding, demand, modules: Vec::new(), components: Vec::new() }
    }

    fn module(&self, index: u32) -> Demand {
        self.modules.get(index as usize).copied().unwrap_or(UNKNOWN_MODULE)
    }

    fn component(&self, index: u32) -> Demand {
        self.components.get(index as usize).copied().unwrap_or_default()
    }

    /// Modules and components from outside take a place in the index spaces.
    fn import(&mut self, import: ComponentTypeRef) {
        match import {
            ComponentTypeRef::Module(_) => self.modules.push(UNKNOWN_MODULE),
            ComponentTypeRef::Component(_) => self.components.push(Demand::default()),
            _ => {}
        }
    }

    /// An alias names a part of an instance, or a module or component of a scope around this one.
    fn alias(&mut self, alias: &ComponentAlias<'_>, outer: &[Self]) {
        match *alias {
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. } => self.modules.push(UNKNOWN_MODULE),
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => self.components.push(Demand::default()),
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, count, index } => {
                let module = enclosing(self, outer, count).map_or(UNKNOWN_MODULE, |around| around.module(index));
                self.modules.push(module);
            }
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Component, count, index } => {
                let component = enclosing(self, outer, count).map(|around| around.component(index));
                self.components.push(component.unwrap_or_default());
            }
            _ => {}
        }
    }

    /// An exported module or component has a second index from then on.
    fn export(&mut self, export: &ComponentExport<'_>) {
        match export.kind {
            ComponentExternalKind::Module => self.modules.push(self.module(export.index)),
            ComponentExternalKind::Component => self.components.push(self.component(export.index)),
            _ => {}
        }
    }
}

/// Demand of a module that comes from outside.
const UNKNOWN_MODULE: Demand = Demand { core_instances: 1, memories: 0, tables: 0 };

/// Counts what a section instantiates, and follows the index spaces of modules and components.
fn count_section(payload: &Payload<'_>, open: &mut [Scope]) -> Result<(), BinaryReaderError> {
    let Some((scope, outer)) = open.split_last_mut() else { return Ok(()) };
    match payload {
        Payload::MemorySection(memories) => scope.demand.memories += u64::from(memories.count()),
        Payload::TableSection(tables) => scope.demand.tables += u64::from(tables.count()),
        Payload::InstanceSection(instances) => {
            for instance in instances.clone() {
                if let Instance::Instantiate { module_index, .. } = instance? {
                    scope.demand += scope.module(module_index);
                }
            }
        }
        Payload::ComponentInstanceSection(instances) => {
            for instance in instances.clone() {
                if let ComponentInstance::Instantiate { component_index, .. } = instance? {
                    scope.demand += scope.component(component_index);
                }
            }
        }
        Payload::ComponentImportSection(imports) => {
            for import in imports.clone() {
                scope.import(import?.ty);
            }
        }
        Payload::ComponentAliasSection(aliases) => {
            for alias in aliases.clone() {
                scope.alias(&alias?, outer);
            }
        }
        Payload::ComponentExportSection(exports) => {
            for export in exports.clone() {
                scope.export(&export?);
            }
        }
        _ => {}
    }
    Ok(())
}

/// The scope so many levels further out.
fn enclosing<'a>(scope: &'a Scope, outer: &'a [Scope], levels: u32) -> Option<&'a Scope> {
    match (levels as usize).checked_sub(1) {
        None => Some(scope),
        Some(levels) => outer.iter().rev().nth(levels),
    }
}
