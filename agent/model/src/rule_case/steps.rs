//! Notation of values tick by tick: a line of text with one word for each tick, or for several ticks.
//!
//! ```text
//! 5             five, at one tick
//! 5x3  5 x3     five, at three ticks
//! 0+10x4        0, 10, 20, 30
//! 90-5x3        90, 85, 80
//! _             nothing at this tick
//! ```
//! The last item continues to the end: `0.5x3 0.95` is 0.5 three times and then 0.95, `0+10` grows for ever.

use super::ticks::TICKS_MAX;

/// Why a line cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepsError {
    #[error("the line is empty; write what happens tick by tick, such as {example}")]
    Empty { example: &'static str },
    #[error("`{item}` is not {wanted}")]
    Item { item: String, wanted: String },
    #[error("`{count}` repeats nothing: it must follow what is repeated, once")]
    Repeat { count: String },
    #[error("`{count}` must be 1 to {TICKS_MAX} times")]
    Count { count: String },
    #[error("`{item}` grows, and is not the last item: say for how many ticks, such as `{item}x5`")]
    Endless { item: String },
}

/// Items in the order of time, each for some ticks. There is at least one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steps<T> {
    runs: Vec<Run<T>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Run<T> {
    item: T,
    /// Number of ticks that the item lasts. `None` if the text gives no count: then one tick, or for the last item all further ticks.
    ticks: Option<u32>,
}

impl<T> Steps<T> {
    /// Steps that have this item at every tick.
    pub fn always(item: T) -> Self {
        Self { runs: vec![Run { item, ticks: None }] }
    }

    fn read(text: &str, example: &'static str, item: impl Fn(&str) -> Result<T, String>) -> Result<Self, StepsError> {
        let mut runs: Vec<Run<T>> = Vec::new();
        for word in text.split_whitespace() {
            let (name, ticks) = split_count(word)?;
            if name.is_empty() {
                match runs.last_mut() {
                    Some(run) if run.ticks.is_none() => run.ticks = ticks,
                    _ => return Err(StepsError::Repeat { count: word.to_owned() }),
                }
                continue;
            }
            let item = item(name).map_err(|wanted| StepsError::Item { item: name.to_owned(), wanted })?;
            runs.push(Run { item, ticks });
        }
        if runs.is_empty() { Err(StepsError::Empty { example }) } else { Ok(Self { runs }) }
    }

    /// The item at a tick, and the number of ticks since the item began. The last item lasts for ever; its number stops at its count minus
    /// one, if it has a count.
    fn at(&self, tick: u32) -> (&T, u32) {
        let mut start = 0;
        let (last, before) = self.runs.split_last().expect("no line is empty");
        for run in before {
            let ticks = run.ticks.unwrap_or(1);
            if tick - start < ticks {
                return (&run.item, tick - start);
            }
            start += ticks;
        }
        let since = tick - start;
        (&last.item, last.ticks.map_or(since, |ticks| since.min(ticks - 1)))
    }

    /// The item at a tick, counted from 0.
    pub fn item(&self, tick: u32) -> &T {
        self.at(tick).0
    }
}

/// Splits a word into item and count: `5x3` is `5` and 3, `x3` is the empty item and 3, `5` has no count.
fn split_count(word: &str) -> Result<(&str, Option<u32>), StepsError> {
    let Some((name, count)) = word.rsplit_once('x').filter(|(_, count)| count.bytes().all(|byte| byte.is_ascii_digit())) else {
        return Ok((word, None));
    };
    match count.parse() {
        Ok(ticks @ 1..=TICKS_MAX) => Ok((name, Some(ticks))),
        _ => Err(StepsError::Count { count: format!("x{count}") }),
    }
}

/// A series at the ticks of one item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// The series has no sample.
    Gap,
    /// The series has a sample at every tick.
    Number {
        /// Value at the item's first tick.
        start: f64,
        /// Difference between two ticks of the item; 0 for a constant.
        step: f64,
    },
}

impl Steps<Value> {
    /// Reads the values of a series. An error names the word that cannot be read.
    pub fn values(text: &str) -> Result<Self, StepsError> {
        let steps = Self::read(text, "`0.5x3 0.95`", value)?;
        let before_last = steps.runs.split_last().map_or(&[][..], |(_, before)| before);
        for run in before_last {
            if let Run { item: Value::Number { start, step }, ticks: None } = run
                && *step != 0.0
            {
                return Err(StepsError::Endless { item: format!("{start}{step:+}") });
            }
        }
        Ok(steps)
    }

    /// The sample at a tick; `None` at a gap.
    pub fn value(&self, tick: u32) -> Option<f64> {
        match self.at(tick) {
            (Value::Gap, _) => None,
            (Value::Number { start, step }, since) => Some(start + step * f64::from(since)),
        }
    }
}

fn value(word: &str) -> Result<Value, String> {
    if word == "_" {
        return Ok(Value::Gap);
    }
    if let Ok(start) = word.parse() {
        return Ok(Value::Number { start, step: 0.0 });
    }
    let ramp = || {
        let bytes = word.as_bytes();
        // The sign of an exponent does not count.
        let sign = (1..bytes.len()).find(|at| matches!(bytes[*at], b'+' | b'-') && !matches!(bytes[at - 1], b'e' | b'E'))?;
        Some(Value::Number { start: word[..sign].parse().ok()?, step: word[sign..].parse().ok()? })
    };
    ramp().ok_or_else(|| "a number, a ramp such as `0+10x5`, or `_` for no sample".to_owned())
}

impl<T: Copy> Steps<T> {
    /// Reads a line of words, each of which must be in `known`. An error names the word that cannot be read.
    pub fn words(text: &str, example: &'static str, known: &[(&str, T)]) -> Result<Self, StepsError> {
        Self::read(text, example, |word| {
            let found = known.iter().find(|(name, _)| *name == word);
            found.map(|(_, item)| *item).ok_or_else(|| {
                let names: Vec<String> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
                format!("one of {}", names.join(", "))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[Option<f64>]) {
        let steps = Steps::values(text).unwrap();
        let values: Vec<_> = (0..).take(expected.len()).map(|tick| steps.value(tick)).collect();
        assert_eq!(values, expected, "{text}");
    }

    #[track_caller]
    fn refused(text: &str, why: &str) {
        assert_eq!(Steps::values(text).unwrap_err().to_string(), why);
    }

    #[test]
    fn items_are_repeated_and_the_last_continues() {
        check("1x2 3", &[Some(1.0), Some(1.0), Some(3.0), Some(3.0)]);
        check("1 x2 _ 3", &[Some(1.0), Some(1.0), None, Some(3.0), Some(3.0)]);
        check("5 _", &[Some(5.0), None, None]);
        check("-1e-3 1e+3", &[Some(-0.001), Some(1000.0)]);
    }

    #[test]
    fn a_ramp_ends_where_it_was_said_and_else_never() {
        check("0+10x3", &[Some(0.0), Some(10.0), Some(20.0), Some(20.0)]);
        check("9-2.5x2 0", &[Some(9.0), Some(6.5), Some(0.0)]);
        check("0+10", &[Some(0.0), Some(10.0), Some(20.0), Some(30.0)]);
        check("-5-5x2", &[Some(-5.0), Some(-10.0)]);
    }

    #[test]
    fn mistakes_are_named() {
        refused("", "the line is empty; write what happens tick by tick, such as `0.5x3 0.95`");
        refused("1 fife", "`fife` is not a number, a ramp such as `0+10x5`, or `_` for no sample");
        refused("1+x3", "`1+` is not a number, a ramp such as `0+10x5`, or `_` for no sample");
        refused("x3 1", "`x3` repeats nothing: it must follow what is repeated, once");
        refused("1x2 x3", "`x3` repeats nothing: it must follow what is repeated, once");
        refused("1x0", "`x0` must be 1 to 20000 times");
        refused("1x", "`x` must be 1 to 20000 times");
        refused("1x99999999999", "`x99999999999` must be 1 to 20000 times");
        refused("0+10 5", "`0+10` grows, and is not the last item: say for how many ticks, such as `0+10x5`");
    }

    #[test]
    fn words_are_read_like_numbers() {
        let known = [("up", true), ("down", false)];
        let steps = Steps::words("up x2 down", "`up`", &known).unwrap();
        assert_eq!([0, 1, 2, 9].map(|tick| *steps.item(tick)), [true, true, false, false]);
        let refused = Steps::words("up dwon", "`up`", &known).unwrap_err();
        assert_eq!(refused.to_string(), "`dwon` is not one of `up`, `down`");
    }
}
