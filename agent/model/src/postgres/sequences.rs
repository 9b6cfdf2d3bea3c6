//! Usage of sequences, and the order in which very many of them are read.

use std::collections::{HashMap, HashSet};

/// Range of a sequence. It ends at its own limit or at that of the column that it fills, whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// True for a positive increment.
    pub rises: bool,
    /// Smallest value of the sequence.
    pub value_min: i64,
    /// Largest value of the sequence.
    pub value_max: i64,
    /// Largest number that the column can store; `None` if it limits nothing.
    pub column_max: Option<i64>,
}

impl Bounds {
    /// Last value that both the sequence and its column permit.
    pub fn last_possible(&self) -> i64 {
        match (self.rises, self.column_max) {
            (true, Some(max)) => self.value_max.min(max),
            (true, None) => self.value_max,
            (false, Some(max)) => self.value_min.max(max.saturating_neg().saturating_sub(1)),
            (false, None) => self.value_min,
        }
    }

    /// Used share of the range, from 0 to 1; `None` for a range without numbers.
    pub fn used_ratio(&self, last_value: i64) -> Option<f64> {
        let first = if self.rises { self.value_min } else { self.value_max } as f64;
        let all = self.last_possible() as f64 - first;
        (all != 0.0).then(|| (last_value as f64 - first) / all)
    }
}

/// Decides which sequences a visit reads. Reading a value locks its sequence, so with very many sequences each visit reads only some. An
/// answer is valid until the next turn of its sequence.
#[derive(Debug, Default)]
pub struct Turns {
    visit: u64,
    known: HashMap<u32, Known>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    turn_in: u64,
    /// Latest answer. `None`: not answered yet. `Some(None)`: the sequence was never used.
    answer: Option<Option<i64>>,
}

/// A sequence that the role may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadableSequence {
    /// OID of the sequence.
    pub oid: u32,
    /// True if the sequence fills a column that ends before the sequence does.
    pub is_narrow: bool,
}

impl Turns {
    /// Begins a visit and returns the OIDs to read, at most `max`. Sequences without a turn come first, then those whose turn is longest
    /// ago; narrow ones come before others. Sequences that do not exist any more are removed.
    pub fn begin(&mut self, readable: &[ReadableSequence], max: usize) -> Vec<u32> {
        self.visit += 1;
        let present: HashSet<u32> = readable.iter().map(|sequence| sequence.oid).collect();
        self.known.retain(|oid, _| present.contains(oid));
        let mut waiting: Vec<(u64, bool, u32)> = readable
            .iter()
            .map(|sequence| (self.known.get(&sequence.oid).map_or(0, |known| known.turn_in), !sequence.is_narrow, sequence.oid))
            .collect();
        waiting.sort_unstable();
        waiting.truncate(max);
        waiting.into_iter().map(|(.., oid)| oid).collect()
    }

    /// Records the turn of a sequence in this visit. Without an answer (`None`), the earlier answer stays.
    pub fn record_turn(&mut self, oid: u32, answer: Option<Option<i64>>) {
        let known = self.known.entry(oid).or_insert(Known { turn_in: 0, answer: None });
        known.turn_in = self.visit;
        known.answer = answer.or(known.answer);
    }

    /// Latest answer; `None` if there was none. `Some(None)` is a sequence that was never used.
    pub fn answer(&self, oid: u32) -> Option<Option<i64>> {
        self.known.get(&oid)?.answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_ends_where_its_column_does() {
        let rising = Bounds { rises: true, value_min: 1, value_max: i64::MAX, column_max: Some(32_767) };
        assert_eq!((rising.last_possible(), rising.used_ratio(32_767)), (32_767, Some(1.0)));
        let alone = Bounds { column_max: None, value_max: 101, ..rising };
        assert_eq!((alone.last_possible(), alone.used_ratio(51)), (101, Some(0.5)));
        let falling = Bounds { rises: false, value_min: i64::MIN, value_max: -1, column_max: Some(32_767) };
        assert_eq!((falling.last_possible(), falling.used_ratio(-1)), (-32_768, Some(0.0)));
        assert_eq!(Bounds { value_min: -101, column_max: None, ..falling }.used_ratio(-51), Some(0.5));
        assert_eq!(Bounds { value_max: 1, ..rising }.used_ratio(1), None);
        let whole = Bounds { rises: true, value_min: i64::MIN, value_max: i64::MAX, column_max: None };
        assert_eq!(whole.used_ratio(i64::MAX), Some(1.0));
    }

    fn sequences(count: u32) -> Vec<ReadableSequence> {
        (0..count).map(|oid| ReadableSequence { oid, is_narrow: oid >= 4 }).collect()
    }

    fn visit(turns: &mut Turns, count: u32) -> Vec<u32> {
        let due = turns.begin(&sequences(count), 3);
        due.iter().for_each(|oid| turns.record_turn(*oid, Some(Some(1))));
        due
    }

    #[test]
    fn narrow_sequences_come_first_and_then_all_in_turn() {
        let mut turns = Turns::default();
        assert_eq!(visit(&mut turns, 7), [4, 5, 6]);
        assert_eq!(turns.answer(0), None);
        assert_eq!(visit(&mut turns, 7), [0, 1, 2]);
        assert_eq!(visit(&mut turns, 7), [3, 4, 5]);
        assert_eq!(visit(&mut turns, 7), [6, 0, 1]);
        assert!((0..7).all(|oid| turns.answer(oid) == Some(Some(1))));
    }

    #[test]
    fn a_sequence_without_answers_takes_no_turn_of_others_and_its_last_answer_stays() {
        let mut turns = Turns::default();
        visit(&mut turns, 3);
        for oid in turns.begin(&sequences(4), 1) {
            assert_eq!(oid, 3);
            turns.record_turn(oid, None);
        }
        assert_eq!(turns.answer(3), None);
        for oid in turns.begin(&sequences(4), 3) {
            assert_ne!(oid, 3);
            turns.record_turn(oid, None);
        }
        assert_eq!(turns.answer(0), Some(Some(1)));
    }

    #[test]
    fn a_dropped_sequence_is_removed() {
        let mut turns = Turns::default();
        visit(&mut turns, 3);
        visit(&mut turns, 1);
        assert_eq!((turns.answer(0), turns.answer(2)), (Some(Some(1)), None));
    }
}
