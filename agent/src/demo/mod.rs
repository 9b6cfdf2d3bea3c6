//! Temporary PostgreSQL and Redis servers, an application that uses them, and faults to observe.
//!
//! `pharos demo` and the end-to-end tests use the same parts. All files are in temporary folders, and each part belongs
//! to a value: when the value is dropped, its processes end and its folder is removed. That needs `Drop` to run, so a
//! caller must end with `return`, never with `std::process::exit`.
//!
//! - [`binaries`] finds the installed programs, [`account`] the user they run as.
//! - [`postgres`], [`standby`] and [`redis`] are the servers; [`process`] holds what they share: freeze, thaw, end.
//! - [`application`] is the small social-media application, [`faults`] what goes wrong in it, [`schedule`] when.
//! - [`receiver`] accepts webhook notifications, prints them and stores them, so that a test can check them.

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
