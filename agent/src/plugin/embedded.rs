//! The shipped plugins inside this binary.

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
