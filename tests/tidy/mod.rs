//! Rules of the source tree: which room may name which, and that no file is left out, misnamed or unused.
//!
//! The layers are those of `ARCHITECTURE.md`. A rule that fails is either broken by mistake or deserves a better rule; it is not worked
//! around.

mod catalogue;
mod directions;
mod imports;
mod rooms;
mod source;
mod texts;
