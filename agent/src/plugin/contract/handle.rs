//! Handles on the snapshot that a guest judges. A handle is a capability: a guest can only read snapshots that it was given.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_model::snapshot;
use pharos_model::snapshot::Change;
use wasmtime::component::Resource;

/// Snapshots and tables that one instance may hold at a time. A guest that never drops them would fill the agent's memory.
pub(crate) const HELD_MAX: usize = 1_024;

/// The host's side of the guest's `snapshot`.
pub struct SnapshotHandle(Arc<Change>);

/// The host's side of the guest's `table`.
pub struct TableHandle {
    change: Arc<Change>,
    name: String,
}

/// All handles of one instance. Numbers are never used twice. A garbage collector may drop a handle of an earlier call during a later
/// one, and must not drop another.
#[derive(Default)]
pub struct Handles {
    held: BTreeMap<u32, Handle>,
    next: u32,
}

enum Handle {
    Snapshot(SnapshotHandle),
    Table(TableHandle),
}

impl Handles {
    /// A new handle of a snapshot.
    pub fn push_snapshot(&mut self, change: Arc<Change>) -> wasmtime::Result<Resource<SnapshotHandle>> {
        self.push(Handle::Snapshot(SnapshotHandle(change))).map(Resource::new_own)
    }

    /// A new handle of a table, if the snapshot has a table of this name.
    pub fn push_table(&mut self, change: Arc<Change>, name: String) -> wasmtime::Result<Option<Resource<TableHandle>>> {
        if change.table(&name).is_none() {
            return Ok(None);
        }
        self.push(Handle::Table(TableHandle { change, name })).map(|number| Some(Resource::new_own(number)))
    }

    fn push(&mut self, handle: Handle) -> wasmtime::Result<u32> {
        if self.held.len() >= HELD_MAX {
            return Err(wasmtime::Error::msg(format!("the plugin holds {HELD_MAX} snapshots and tables; it must drop some")));
        }
        let number = self.next;
        self.next = number.checked_add(1).ok_or_else(|| wasmtime::Error::msg("the plugin used up all handles"))?;
        self.held.insert(number, handle);
        Ok(number)
    }

    /// Drops one handle of either kind, by its number.
    pub fn remove(&mut self, number: u32) {
        self.held.remove(&number);
    }

    /// Drops every handle after a call, since guests do not drop all of theirs.
    pub fn clear(&mut self) {
        self.held.clear();
    }

    /// The snapshot behind a handle. An error if the handle is of an earlier call.
    pub fn change(&self, this: &Resource<SnapshotHandle>) -> wasmtime::Result<&Arc<Change>> {
        match self.held.get(&this.rep()) {
            Some(Handle::Snapshot(SnapshotHandle(change))) => Ok(change),
            _ => Err(gone()),
        }
    }

    /// The table behind a handle. An error if the handle is of an earlier call.
    pub fn table(&self, this: &Resource<TableHandle>) -> wasmtime::Result<&TableHandle> {
        match self.held.get(&this.rep()) {
            Some(Handle::Table(table)) => Ok(table),
            _ => Err(gone()),
        }
    }
}

fn gone() -> wasmtime::Error {
    wasmtime::Error::msg("the handle is of an earlier call; a snapshot and its tables last for one call")
}

impl TableHandle {
    /// The table in its snapshot.
    pub fn table(&self) -> wasmtime::Result<&snapshot::Table> {
        self.change.table(&self.name).ok_or_else(|| wasmtime::Error::msg("the table is no longer there"))
    }

    /// The column at an index. An error names the number of columns.
    pub fn column(&self, index: u32) -> wasmtime::Result<&snapshot::Column> {
        let table = self.table()?;
        table.columns.get(index as usize).ok_or_else(|| {
            wasmtime::Error::msg(format!("table `{}` has {} columns, none at index {index}", self.name, table.columns.len()))
        })
    }
}
