//! The `egress` import: HTTP that the host sends for a notifier.
//!
//! A plugin names a host and secrets; the operator granted both or neither. The host resolves the name and checks every address of it.
//! The connection goes to an address that was checked, so that a name cannot lead elsewhere in between. Redirects are not followed.
//!
//! A name gets HTTPS, unless its grant begins with `http://`. An operator who grants an address knows the way to it.

pub mod address;
mod grants;
mod policy;
mod request;
mod sign;
mod target;

pub use self::policy::EgressPolicy;
