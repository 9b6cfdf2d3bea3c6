//! The outside surface: API, health, metrics. Handlers read the board or ask a narrow handle; none of them touches a database.
//!
//! Each area of `routes` has a state of its own, and declares at each route what a visitor must be allowed to do and how long an answer may
//! take. `route` enforces that, `openapi` documents it, and `site` serves all areas together. What is sent and answered are the types of
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
pub mod operator;
mod page;
mod route;
pub mod routes;
mod site;

pub use self::access::{Access, Visitor};
pub use self::databases::Databases;
pub use self::exposition::Exposition;
pub use self::route::Area;
pub use self::site::{ListenError, Site, bind};
