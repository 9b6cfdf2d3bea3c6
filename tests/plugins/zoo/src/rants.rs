//! Texts that no plugin should write: they forge lines, move a terminal's cursor, turn words around and have no end.

use crate::orders::{counted, text};

const RANT: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\n2026-01-01T00:00:00Z ERROR forged line \u{202e}live\u{2028}\u{9b}31m\u{0}";

/// This many rants, if `name` orders `rant:number`.
pub fn ordered(name: &str) -> Option<String> {
    match counted(&text(name, "")) {
        ("rant", number) => Some(RANT.repeat(number as usize)),
        _ => None,
    }
}

/// What is ordered under this name, which may be rants.
pub fn or_text(name: &str, otherwise: &str) -> String {
    ordered(name).unwrap_or_else(|| text(name, otherwise))
}

/// One want, or this many of them with `wants=rant:number`.
pub fn wants() -> Vec<(String, String)> {
    match counted(&text("wants", "")) {
        ("rant", number) => (0..number).map(|number| (format!("egress {RANT}{number}"), RANT.to_owned())).collect(),
        _ => vec![("egress".to_owned(), "a test".to_owned())],
    }
}
