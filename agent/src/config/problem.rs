//! What is wrong with a config file, and where.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One error of the file, at a byte range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub place: Range<usize>,
    pub message: String,
}

/// Why a config could not be used. `Display` prints every problem, one `file:line:col: message` a line.
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

impl Located {
    pub fn new(text: &str, problem: Problem) -> Self {
        let (line, column) = position(text, problem.place.start);
        Self { line, column, message: problem.message }
    }
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
