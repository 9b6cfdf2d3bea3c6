//! The pipeline: one task that turns snapshots into alerts, and alerts into messages.
//!
//! [`flow`] is the file to read first: the path of one observation. [`rounds`] are the judgements in progress, [`run`] is the loop that
//! drives them. People reach the pipeline through [`desk`], and [`answers`] handles their requests. [`records`] makes events and audit
//! entries, [`unmatched`] finds rules that never find anything, [`upkeep`] maintains the store.

mod answers;
mod desk;
mod flow;
mod records;
mod rounds;
mod run;
pub(crate) mod unmatched;
pub(crate) mod upkeep;

pub(crate) use self::desk::{Desk, DeskError, Explanation, SignedComment};
pub(crate) use self::flow::Pipeline;
