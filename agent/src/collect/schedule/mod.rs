//! The schedule: one task per server turns ticks into snapshots.
//!
//! Most collectors share the main session of the server ([`task`], [`run`]). Slow collectors use a second session ([`background`]).
//! A budget limits the cost of all collectors ([`spending`]). A tick that arrives while the previous collection runs is skipped and
//! counted: late data is worse than none. A snapshot is sent even while the server is down; parts that could not be read are failed parts.

mod background;
mod parts;
mod run;
mod source;
mod spending;
mod task;

pub(super) use self::background::{Background, BackgroundRead, read_whole};
pub(crate) use self::source::{ConnectFailure, Source};
pub(super) use self::spending::{Expense, Spending};
pub(crate) use self::task::ServerTask;
