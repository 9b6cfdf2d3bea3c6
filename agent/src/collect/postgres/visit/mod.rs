//! The visitor: one session that goes through the datnames of a server, for what only somebody inside can see.
//!
//! It is the second of the two sessions that the agent may have with a server, so the handshake that asks whether the server accepts new
//! sessions ([`accept`]) is its work as well. Whoever could not be visited is named in the part `visits`; what is read of the others
//! counts.

mod accept;
mod bloat;
mod datname_visit;
mod extensions;
mod going;
mod indexes;
mod itinerary;
mod relations;
mod round;
mod sequences;
mod subscription_tables;
mod tables;
mod visitor;

pub use self::visitor::Visitor;
