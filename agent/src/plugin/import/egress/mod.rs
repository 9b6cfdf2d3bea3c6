//! The `egress` import: HTTP that the host sends for a notifier.
//!
//! A plugin names a host and secrets; the operator granted both or neither. The host resolves the name and checks every address of it.
//! The connection goes to an address that was checked, so that a name cannot lead elsewhere in between. Redirects are not followed.
//!
//! A name is reached over HTTPS, unless its grant begins with `http://`. A granted address may be reached over HTTP or HTTPS.

pub mod address;
mod grants;
mod policy;
mod request;
mod sign;
mod target;

pub use self::policy::EgressPolicy;
