//! Delivery of notifications, with retries until each receiver has accepted them.
//!
//! The dispatcher decides ([`pharos_model::dispatch`]), and the decision is stored with its notifications, so that no end of the process
//! loses one. One task per receiver delivers them, so that a receiver that hangs delays no other. The model decides about order and retries
//! ([`pharos_model::outbox`]).

mod deliver;
mod message;
mod receivers;
mod standing;
mod tester;
mod worker;

pub(crate) use self::deliver::{Deliver, DeliveryContext, Signature};
pub(crate) use self::receivers::{Numbered, Receivers};
pub(crate) use self::tester::Tester;
