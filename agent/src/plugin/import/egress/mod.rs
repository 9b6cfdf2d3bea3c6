//! The `egress` import: HTTP that the host sends for a notifier.
//!
//! A plugin names a host and secrets; the operator granted both or neither. The name is resolved here, every address it has is checked,
//! and the connection goes to an address that was checked, so that a name cannot change its mind in between. Redirects are answers, not
//! orders. A name is spoken to over HTTPS, unless its grant begins with `http://`; whoever grants an address knows the way to it.

pub mod address;
mod grants;
mod policy;
mod request;
mod sign;
mod target;

pub use self::policy::EgressPolicy;
