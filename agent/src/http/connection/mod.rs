//! The connections of the API: how each one is served, how fast its visitor takes answers, and which one makes room for the next.

mod conversation;
mod crowd;
mod pace;
mod progress;

pub use conversation::serve;
