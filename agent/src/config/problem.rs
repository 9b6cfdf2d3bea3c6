//! Problems of a config file, with their places.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// An error of the file, at a byte range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub place: Range<usize>,
    pub message: String,
}

/// The reason why a config cannot be used. `Display` prints every problem, one `file:line:col: message` per line.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{}: {why}", path.display())]
    Unreadable { path: PathBuf, why: String },
    #[error("{}", lines(path, problems))]
    Invalid { path: PathBuf, problems: Vec<Located> },
}

/// A problem with its place in lines and columns, both from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

/// Problems that are shown per file. More of them would hide each other.
const PROBLEMS_MAX: usize = 200;

/// Finds the place of every problem in one walk through the text, in the order of the file.
pub fn locate(text: &str, mut problems: Vec<Problem>) -> Vec<Located> {
    problems.sort_by_key(|problem| problem.place.start);
    let more = problems.len().saturating_sub(PROBLEMS_MAX);
    problems.truncate(PROBLEMS_MAX);
    let mut located = Vec::new();
    let (mut offset, mut line, mut column) = (0, 1, 1);
    for Problem { place, message } in problems {
        for char in text.get(offset..place.start).unwrap_or_default().chars() {
            (line, column) = if char == '\n' { (line + 1, 1) } else { (line, column + 1) };
        }
        offset = offset.max(place.start);
        located.push(Located { line, column, message });
    }
    if more > 0 {
        located.push(Located { line, column, message: format!("and {more} more problems after this one") });
    }
    located
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)
    }
}

/// Line and column of a byte offset, both from 1.
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

fn lines(path: &Path, problems: &[Located]) -> String {
    problems.iter().map(|problem| format!("{}:{problem}", path.display())).collect::<Vec<_>>().join("\n")
}
