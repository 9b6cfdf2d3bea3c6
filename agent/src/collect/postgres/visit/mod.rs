//! The visitor: one session that goes through the datnames of a server, for facts that only a session inside can read.
//!
//! The visitor has the second of the two sessions that the agent may have with a server. The handshake that asks whether the server
//! accepts new sessions ([`accept`]) is therefore its work as well. Datnames that could not be visited are listed in the part `visits`;
//! readings of the others count.

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
