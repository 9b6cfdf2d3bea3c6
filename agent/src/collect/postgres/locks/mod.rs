//! Lock waits (pg_blocking_pids, pg_locks), and how full the lock table is.
//!
//! Reading it stops others for a moment, so it is read for trees only where somebody waits, and not at all while sessions queue for the
//! lock manager itself.

mod collector;
mod forest;

pub use self::collector::Locks;
