//! Lists of facts, bounded: the largest are listed, the others are counted.

use pharos_model::unjudged::Unjudged;

/// Most facts of one kind that are listed in one datname, those about the largest relations. More rows would not help to decide.
pub(super) const EACH_MAX: usize = 200;

/// Facts, and the relations that were not judged.
pub(super) struct Found<T> {
    pub facts: Vec<T>,
    pub unjudged: Vec<Unjudged>,
}

/// Describes the facts of a datname beyond the limit of a list. `size_bytes` is the size of the largest of them.
pub(super) fn left_out_of(list: &'static str, fact: &'static str, datname: &str, size_bytes: &Option<i64>, count: usize) -> Unjudged {
    let why = format!("{count} more of {datname} are not listed; the {EACH_MAX} largest are");
    Unjudged::of_datname(list, fact, datname, size_bytes.map(|bytes| bytes as f64), why)
}

/// Splits off the largest items. Also returns the first of the others, and how many there are.
pub(super) fn largest<T: Clone>(mut all: Vec<T>, size: fn(&T) -> i64) -> (Vec<T>, Option<(T, usize)>) {
    all.sort_by_key(|item| std::cmp::Reverse(size(item)));
    let others = all.split_off(all.len().min(EACH_MAX));
    let left_out = others.first().map(|first| (first.clone(), others.len()));
    (all, left_out)
}
