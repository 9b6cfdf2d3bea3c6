//! A snapshot: one subject at one instant, in parts that fail on their own.
//!
//! Facts are stored in columns with dictionary-coded text, because that is the shape in which plugins pull them: a call crosses the
//! sandbox once for a thousand series. [`Snapshot`] and [`Change`] are the whole, [`Part`] and [`Reading`] one collector's share of it,
//! [`Family`] and [`Table`] the columns, [`Samples`] the answer to a plugin's question.

mod catalogued;
mod change;
mod family;
mod part;
mod samples;
mod table;
mod unlisted;

pub use change::{Change, READINGS, Snapshot};
pub use family::{FamiliesBuilder, Family, LabelColumn, NULL_CODE, TextColumn, TextColumnBuilder, unite_twins};
pub use part::{Part, PartState, Reading};
pub use samples::{Pattern, Quantity, Samples, SeriesFilter};
pub use table::{Column, ColumnValues, Table};
pub use unlisted::Unlisted;
