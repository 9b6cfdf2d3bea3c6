//! A snapshot: one subject at one instant, in parts that fail on their own.
//!
//! Facts are stored in columns with dictionary-coded text, because plugins read them in that shape: one call into the sandbox returns a
//! thousand series. [`Snapshot`] and [`Change`] are the whole; [`Part`] and [`Reading`] are one collector's share. [`Family`] and
//! [`Table`] are the columns; [`Samples`] is the answer to a plugin's query.

mod catalogued;
mod change;
mod failure_reason;
mod family;
mod part;
mod part_id;
mod samples;
mod table;
mod unlisted;

pub use self::change::{Change, READINGS, Snapshot};
pub use self::failure_reason::FailureReason;
pub use self::family::{FamiliesBuilder, Family, LabelColumn, NULL_CODE, TextColumn, TextColumnBuilder, merge_repeated_series};
pub use self::part::{Part, PartState, Reading};
pub use self::part_id::PartId;
pub use self::samples::{Pattern, Quantity, Samples, SeriesFilter};
pub use self::table::{Column, ColumnValues, Table};
pub use self::unlisted::Unlisted;
