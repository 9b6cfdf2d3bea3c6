//! The schedule: one task per server turns ticks into snapshots.
//!
//! Most collectors share the server's session ([`task`], [`run`]); slow ones read beside it, on a session of their own ([`background`]).
//! All keep to what they may cost ([`spending`]). A tick that arrives while the previous collection runs is skipped and counted: late data
//! is worse than none. Whatever happens to the server, a snapshot goes out; a part that could not be read is a failed part of it.

mod background;
mod parts;
mod run;
mod source;
mod spending;
mod task;

pub use self::background::{Background, BackgroundRead, read_whole};
pub use self::source::{ConnectFailure, Source};
pub use self::spending::{Expense, Spending};
pub use self::task::ServerTask;
