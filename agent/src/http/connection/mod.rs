//! The connections of the API: how each is served, how fast its client reads answers, and which connection is closed for the next one.

mod conversation;
mod open_connections;
mod pace;
mod progress;

pub(super) use self::conversation::serve;
