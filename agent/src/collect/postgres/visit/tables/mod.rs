//! Every table and materialised view: how large, how dead, how old, how it is read and written, how far from its next vacuum.

mod listing;
mod look;
mod oldest;
mod visit;

pub use self::visit::Tables;
