//! The outbox of one receiver: which notification is sent next, and what an answer means for it.
//!
//! Each row is one change of one incident for one receiver. The store has all rows; the queue has what decides their order. Rows of one
//! incident are sent in the order in which they were made, so that no receiver gets "resolved" before "firing". Rows of different
//! incidents never wait for each other. Rows of one group that are due are sent together, as one message.
//!
//! A message that may have arrived is repeated unchanged, under the same id. A message that certainly did not arrive is split into its
//! rows, which may be sent in other messages. An incident that ended meanwhile is then sent as a whole.

mod backoff;
mod gate;
mod queue;
mod row;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod stories;

pub use self::gate::GateState;
pub use self::queue::{Batch, Next, Queue, ROWS_PER_MESSAGE_MAX, Settlement};
pub use self::row::{IncidentPart, NewRow, OutboxState, Row, UnknownPart, UnknownState};
