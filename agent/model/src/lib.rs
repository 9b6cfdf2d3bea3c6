//! The model: the state and the decisions of Pharos, without input and output.
//!
//! Reading order: [`subject`] (what is observed), [`snapshot`] (one subject at one instant), [`delta`] (rates from two snapshots),
//! [`finding`] (what a plugin reports), [`alert`] (findings over time), [`dispatch`] (which receiver gets which alert, when, and why not),
//! [`notification`] (one message to one receiver), [`outbox`] (order and end of delivery), [`event`] and [`audit`] (stored records of what
//! happened, and of what people did).
//!
//! [`catalogue`] lists every metric and table. [`postgres`] and [`redis`] have the calculations behind the collectors; both use [`top`],
//! [`unjudged`], [`row_selection`], [`restarts`] and [`cluster`]. [`budget`] limits the cost of monitoring for a server. [`rule_case`]
//! tests rules on facts written as text. [`text`] makes foreign text safe to show.
//!
//! Invariant: no module reads a clock, a file, the environment or the network. Time is an argument, so every decision is tested in
//! milliseconds and can be replayed.

pub mod agent_part;
pub mod alert;
pub mod audit;
pub mod breaker;
pub mod budget;
pub mod catalogue;
pub mod cluster;
pub mod delta;
pub mod dispatch;
pub mod duration;
pub mod error_chain;
pub mod event;
pub mod finding;
pub mod notification;
pub mod outbox;
pub mod postgres;
pub mod redis;
pub mod restarts;
pub mod row_selection;
pub mod rule_case;
pub mod snapshot;
pub mod subject;
pub mod text;
pub mod top;
pub mod unjudged;
