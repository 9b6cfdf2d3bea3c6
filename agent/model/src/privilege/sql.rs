//! Names and texts in SQL that somebody runs as printed: whatever a name holds, it stays a name.
//!
//! A script is pasted into terminals. A control character in a name would be obeyed there before psql sees it, so none is printed.

use std::fmt::Write as _;

use crate::text::hides;

/// Quoted, and with escapes where a terminal or a reader would take a character for something else.
pub fn identifier(name: &str) -> String {
    let quoted = name.replace('"', "\"\"");
    if !name.chars().any(hides) {
        return format!("\"{quoted}\"");
    }
    let mut text = String::from("U&\"");
    for char in quoted.chars() {
        match char {
            '\\' => text.push_str("\\\\"),
            char if hides(char) => {
                let _ = write!(text, "\\{:04X}", u32::from(char));
            }
            char => text.push(char),
        }
    }
    text.push('"');
    text
}

/// Holds whatever standard_conforming_strings says.
pub fn literal(value: &str) -> String {
    let mut text = String::from("E'");
    for char in value.chars() {
        match char {
            '\\' => text.push_str("\\\\"),
            '\'' => text.push_str("''"),
            char if hides(char) => {
                let _ = write!(text, "\\u{:04X}", u32::from(char));
            }
            char => text.push(char),
        }
    }
    text.push('\'');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_as_an_escape() {
        assert_eq!(identifier("a\"b\\c"), r#""a""b\c""#);
        assert_eq!(identifier("a\\\"\n\u{3}"), r#"U&"a\\""\000A\0003""#);
        assert_eq!(identifier("a\u{202e}b"), r#"U&"a\202Eb""#);
        assert_eq!(literal("it's \\ \r\n"), r"E'it''s \\ \u000D\u000A'");
    }
}
