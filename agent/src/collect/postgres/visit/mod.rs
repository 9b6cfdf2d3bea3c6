//! Visits the datnames of a server in turn, for facts that only a session in the same datname can read.
//!
//! These visits use the second of the two sessions that the agent may have with a server. The check whether the server accepts new
//! sessions ([`accept`]) uses it as well. Datnames that could not be visited are listed in the part `visits`; the facts of the others are
//! used.

mod accept;
mod bloat;
mod datname_visit;
mod datname_visits;
mod extensions;
mod indexes;
mod relations;
mod round;
mod running_round;
mod sequences;
mod subscription_tables;
mod tables;
mod visit_order;

pub(super) use self::datname_visits::DatnameVisits;
