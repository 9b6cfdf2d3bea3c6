//! Throw-away PostgreSQL and Redis servers, an application that keeps them busy, and faults to watch.
//!
//! `pharos demo` and the end-to-end tests stand on the same parts. Everything lives in temporary folders and belongs
//! to a value: when the value is dropped, its processes end and its folder vanishes. That needs `Drop` to run, so a
//! caller must leave through `return`, never through `std::process::exit`.
//!
//! - [`binaries`] finds the installed programs, [`account`] the user they run as.
//! - [`postgres`], [`standby`] and [`redis`] are the servers; [`process`] holds what they share: freeze, thaw, end.
//! - [`application`] is the small social-media application, [`faults`] what goes wrong in it, [`schedule`] when.
//! - [`receiver`] takes webhook notifications, prints them and stores them for a test to judge.

pub mod account;
pub mod application;
pub mod binaries;
mod data_folder;
pub mod faults;
pub mod port;
pub mod postgres;
mod postgres_options;
pub mod process;
pub mod receiver;
pub mod redis;
pub mod schedule;
pub mod session;
mod standby;
