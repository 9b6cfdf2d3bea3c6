//! The HTTP interface: API, health and metrics. Handlers read the board or send a request to one part; none of them queries a server.
//!
//! Each area of `routes` has its own state. Each of its routes declares the permission that a caller needs and how long an answer may take.
//! `route` enforces both, `openapi` documents them, and `site` serves all areas together. Requests and answers have the types of
//! `crate::api`.

mod access;
mod connection;
mod databases;
mod desk;
mod error;
mod exchange;
mod exposition;
mod openapi;
mod operation;
pub(crate) mod operator;
mod page;
mod route;
pub mod routes;
mod site;

pub use self::access::Access;
pub(crate) use self::databases::Databases;
pub use self::exposition::Exposition;
pub(crate) use self::route::Area;
pub use self::site::Site;
pub(crate) use self::site::{ListenError, bind};
