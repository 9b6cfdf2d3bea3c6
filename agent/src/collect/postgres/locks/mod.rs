//! Lock waits (pg_blocking_pids, pg_locks), and how full the lock table is.
//!
//! Reading the lock table stops other sessions for a moment. So it is read for trees only while a session waits, and not at all while
//! sessions queue for the lock manager itself.

mod collector;
mod forest;

pub(super) use self::collector::Locks;
