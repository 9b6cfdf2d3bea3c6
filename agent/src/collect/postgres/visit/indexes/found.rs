//! Lists of facts, bounded: the largest are listed, the others are counted.

use pharos_model::unjudged::Unjudged;

/// Facts of one kind in one datname; the largest relations first. More rows help nobody to decide.
pub const EACH_MAX: usize = 200;

/// Facts, and the relations that were not judged.
pub struct Found<T> {
    pub facts: Vec<T>,
    pub unjudged: Vec<Unjudged>,
}

/// Describes the facts of a datname that found no room in a list; the largest of them has this size.
pub fn left_out_of(list: &'static str, fact: &'static str, datname: &str, size_bytes: &Option<i64>, count: usize) -> Unjudged {
    let why = format!("{count} more of {datname} than the {EACH_MAX} that are listed, which are the largest");
    Unjudged::of_datname(list, fact, datname, size_bytes.map(|bytes| bytes as f64), why)
}

/// Keeps the largest, and returns the first of the others with their number.
pub fn largest<T: Clone>(mut all: Vec<T>, size: fn(&T) -> i64) -> (Vec<T>, Option<(T, usize)>) {
    all.sort_by_key(|one| std::cmp::Reverse(size(one)));
    let others = all.split_off(all.len().min(EACH_MAX));
    let left_out = others.first().map(|first| (first.clone(), others.len()));
    (all, left_out)
}
