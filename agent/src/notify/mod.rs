//! Delivery: trying until those who are to be told have heard.
//!
//! What is told is decided before ([`pharos_model::dispatch`]) and stored with the decision, so that no end of the process loses it; one
//! task per receiver then brings it there, so that one that hangs delays no other. The order and the patience are the model's
//! ([`pharos_model::outbox`]).

mod deliver;
mod message;
mod receivers;
mod standing;
mod tester;
mod worker;

pub use self::deliver::{Deliver, Means, Signature};
pub use self::receivers::{Numbered, Receivers};
pub use self::tester::{TestError, Tester};
