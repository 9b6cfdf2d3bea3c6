//! A `[[database]]` as a subject of its own, with its servers as members.
//!
//! Nothing is read over a network: the facts about the servers are on the board. A snapshot is sent every interval, and at once when a
//! member appears, fails or changes its role.

mod member_reports;
mod parts;
mod task;

pub(crate) use self::task::{DatabaseMembers, DatabasesTask};
