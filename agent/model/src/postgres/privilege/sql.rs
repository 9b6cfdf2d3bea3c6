//! Names and texts in SQL that people run as printed. A name stays a name with any content.
//!
//! Scripts are pasted into terminals. A terminal would execute a control character in a name before psql reads it, so none is printed.

use std::fmt::Write as _;

use crate::text::is_hidden;

/// Quotes a name. Characters that a terminal or a reader would mistake are escaped.
pub fn identifier(name: &str) -> String {
    let quoted = name.replace('"', "\"\"");
    if !name.chars().any(is_hidden) {
        return format!("\"{quoted}\"");
    }
    let mut text = String::from("U&\"");
    for char in quoted.chars() {
        match char {
            '\\' => text.push_str("\\\\"),
            char if is_hidden(char) => {
                let number = u32::from(char);
                let _ = if number <= 0xFFFF { write!(text, "\\{number:04X}") } else { write!(text, "\\+{number:06X}") };
            }
            char => text.push(char),
        }
    }
    text.push('"');
    text
}

/// The identifier that `quote_ident` made of a name. Any other text from the server is quoted as one name.
pub fn requoted(quoted: &str) -> String {
    let is_plain = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_';
    if quoted.starts_with(|char: char| !char.is_ascii_digit()) && quoted.chars().all(is_plain) {
        return quoted.to_owned();
    }
    let inside = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    identifier(&inside.unwrap_or(quoted).replace("\"\"", "\""))
}

/// A string literal that is valid for every value of `standard_conforming_strings`.
pub fn literal(value: &str) -> String {
    let mut text = String::from("E'");
    for char in value.chars() {
        match char {
            '\\' => text.push_str("\\\\"),
            '\'' => text.push_str("''"),
            char if is_hidden(char) => {
                let number = u32::from(char);
                let _ = if number <= 0xFFFF { write!(text, "\\u{number:04X}") } else { write!(text, "\\U{number:08X}") };
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
    fn results_of_quote_ident_stay_and_other_texts_become_one_name() {
        for (quoted, name) in [
            ("stats", "stats"),
            (r#""Odd ""name""#, r#""Odd ""name""#),
            ("\"a\n\"", r#"U&"a\000A""#),
            ("public TO evil; --", r#""public TO evil; --""#),
            (r#""a" TO evil; --"#, r#""""a"" TO evil; --""#),
            (r#""a" TO "evil""#, r#""a"" TO ""evil""#),
            ("", r#""""#),
        ] {
            assert_eq!(requoted(quoted), name, "{quoted}");
        }
    }

    #[test]
    fn characters_that_steer_a_terminal_are_escaped() {
        assert_eq!(identifier("a\"b\\c"), r#""a""b\c""#);
        assert_eq!(identifier("a\\\"\n\u{3}"), r#"U&"a\\""\000A\0003""#);
        assert_eq!(identifier("a\u{202e}b"), r#"U&"a\202Eb""#);
        assert_eq!(identifier("a\u{e0061}b"), r#"U&"a\+0E0061b""#);
        assert_eq!(literal("a\u{e0061}b"), r"E'a\U000E0061b'");
        assert_eq!(literal("it's \\ \r\n"), r"E'it''s \\ \u000D\u000A'");
    }
}
