//! A `[[database]]` as a subject of its own, with its servers as members.
//!
//! Nothing is asked over a network: what is known of the servers is on the board. A snapshot goes out every interval, and at once when a
//! member came, went or changed its role.

mod member_reports;
mod parts;
mod task;

pub use self::task::{Database, DatabasesTask};
