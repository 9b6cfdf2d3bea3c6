//! Every table and materialised view: its size, dead rows, age, reads and writes, and how far its next vacuum is.

mod listing;
mod oldest;
mod readings;
mod visit;

pub(super) use self::visit::Tables;
