//! Bytes from a server as readable text in which different names stay different.
//!
//! A server's texts may be no UTF-8. Names of datnames and roles have the encoding of the datname where they were created. A datname in
//! SQL_ASCII accepts any bytes. A byte that is no text is shown as `\xe9`. A name that contains these four characters itself is shown with
//! `\x5c` for its backslash. So no two names are shown alike. Messages show commands between backticks, so a backtick in a name is shown
//! as `\x60`. A table's name can then never pass for a command of the agent.

use std::borrow::Cow;
use std::fmt::Write as _;

use encoding_rs::Encoding as Table;

/// Encoding of a datname's texts (`server_encoding`), if it is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// ISO 8859-1: each byte is the character with that number. The Web's table of this name differs from 0x80 to 0x9f.
    Latin1,
    /// Encoding with a conversion table.
    Table(&'static Table),
}

/// PostgreSQL's encodings and the Web's tables for them. Encodings that are missing here have no table: their bytes are escaped.
const TABLES: [(&str, &Table); 29] = [
    ("BIG5", encoding_rs::BIG5),
    ("EUC_CN", encoding_rs::GBK),
    ("EUC_JP", encoding_rs::EUC_JP),
    ("EUC_KR", encoding_rs::EUC_KR),
    ("GB18030", encoding_rs::GB18030),
    ("GBK", encoding_rs::GBK),
    ("ISO_8859_5", encoding_rs::ISO_8859_5),
    ("ISO_8859_6", encoding_rs::ISO_8859_6),
    ("ISO_8859_7", encoding_rs::ISO_8859_7),
    ("ISO_8859_8", encoding_rs::ISO_8859_8),
    ("KOI8R", encoding_rs::KOI8_R),
    ("KOI8U", encoding_rs::KOI8_U),
    ("LATIN2", encoding_rs::ISO_8859_2),
    ("LATIN3", encoding_rs::ISO_8859_3),
    ("LATIN4", encoding_rs::ISO_8859_4),
    ("LATIN5", encoding_rs::WINDOWS_1254),
    ("LATIN6", encoding_rs::ISO_8859_10),
    ("LATIN7", encoding_rs::ISO_8859_13),
    ("LATIN8", encoding_rs::ISO_8859_14),
    ("LATIN9", encoding_rs::ISO_8859_15),
    ("LATIN10", encoding_rs::ISO_8859_16),
    ("UHC", encoding_rs::EUC_KR),
    ("WIN866", encoding_rs::IBM866),
    ("WIN874", encoding_rs::WINDOWS_874),
    ("WIN1250", encoding_rs::WINDOWS_1250),
    ("WIN1251", encoding_rs::WINDOWS_1251),
    ("WIN1252", encoding_rs::WINDOWS_1252),
    ("WIN1253", encoding_rs::WINDOWS_1253),
    ("WIN1254", encoding_rs::WINDOWS_1254),
];

impl Encoding {
    /// Encoding with this name in PostgreSQL. `None` for UTF-8, for SQL_ASCII, which is no encoding, and for encodings without a table.
    pub fn of_server(name: &str) -> Option<Self> {
        if name == "LATIN1" {
            return Some(Self::Latin1);
        }
        TABLES.iter().find(|(known, _)| *known == name).map(|(_, table)| Self::Table(table))
    }

    /// Decodes bytes; `None` if the text does not encode back to the same bytes.
    fn decode(self, bytes: &[u8]) -> Option<Cow<'_, str>> {
        match self {
            _ if bytes.is_ascii() => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Self::Latin1 => Some(bytes.iter().map(|byte| char::from(*byte)).collect::<String>().into()),
            Self::Table(table) => {
                let text = table.decode_without_bom_handling_and_without_replacement(bytes)?;
                let (again, _, has_errors) = table.encode(&text);
                (!has_errors && *again == *bytes).then_some(text)
            }
        }
    }
}

/// Purpose of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A name that must stay different from others.
    Name,
    /// The name of a datname, which is sent to the server again. Roles that may create datnames are trusted with backticks.
    Datname,
    /// Text that people read: a statement, or the value of a setting.
    Reading,
}

/// Text in its shown form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The shown text.
    pub text: Cow<'a, str>,
    /// True if the text has escapes, so that it is not the server's own text.
    pub is_escaped: bool,
}

/// Shows bytes from a datname with this encoding. `None` means UTF-8; invalid bytes are escaped.
pub fn shown(bytes: &[u8], encoding: Option<Encoding>, used: Use) -> Shown<'_> {
    let whole = match encoding {
        Some(encoding) => encoding.decode(bytes),
        None => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
    };
    let has_escape = |text: &str| text.match_indices('\\').any(|(at, _)| is_escape(&text[at..]));
    let looks_escaped = |text: &str| (used == Use::Name && text.contains('`')) || (used != Use::Reading && has_escape(text));
    match whole {
        Some(text) if looks_escaped(&text) => Shown { text: escaped(text.as_bytes(), true, used).into(), is_escaped: true },
        Some(text) => Shown { text, is_escaped: false },
        // Bytes that happen to be UTF-8 are no text in a datname with another encoding.
        None => Shown { text: escaped(bytes, encoding.is_none(), used).into(), is_escaped: true },
    }
}

fn escaped(bytes: &[u8], is_utf8: bool, used: Use) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        for (at, char) in valid.char_indices() {
            match char {
                '\\' if used != Use::Reading && is_escape(&valid[at..]) => escape(&mut text, b'\\'),
                '`' if used == Use::Name => escape(&mut text, b'`'),
                char if char.is_ascii() || is_utf8 => text.push(char),
                char => char.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| escape(&mut text, byte)),
            }
        }
        chunk.invalid().iter().for_each(|byte| escape(&mut text, *byte));
    }
    text
}

fn escape(text: &mut String, byte: u8) {
    let _ = write!(text, "\\x{byte:02x}");
}

/// Returns true if the text begins like an escaped byte.
fn is_escape(text: &str) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    matches!(text.as_bytes(), [b'\\', b'x', high, low, ..] if is_digit(high) && is_digit(low))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(bytes: &[u8], encoding: &str) -> String {
        shown(bytes, Encoding::of_server(encoding), Use::Name).text.into_owned()
    }

    #[test]
    fn valid_text_is_shown_unchanged() {
        for text in ["", "orders", "caf\u{e9}", "日本", "a\\b", "\\x", "\\xg0", "\\xE9"] {
            assert_eq!(shown(text.as_bytes(), None, Use::Name), Shown { text: Cow::Borrowed(text), is_escaped: false });
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped_and_the_rest_is_kept() {
        assert_eq!(name(b"caf\xe9", "UTF8"), "caf\\xe9");
        assert_eq!(name(b"\xc3\xa9 and \xe9", "SQL_ASCII"), "\u{e9} and \\xe9");
        assert_eq!(name(b"\xed\xa0\x80", "UTF8"), "\\xed\\xa0\\x80", "a lone surrogate");
        assert_eq!(name(b"\xa4\xa2", "EUC_TW"), "\\xa4\\xa2", "an encoding without a table");
    }

    #[test]
    fn a_name_that_looks_escaped_differs_from_an_escaped_one() {
        assert_eq!(name(b"caf\\xe9", "UTF8"), "caf\\x5cxe9");
        assert_eq!(name(b"\\x5cxe9", "UTF8"), "\\x5cx5cxe9");
        // A statement is read by people and not compared.
        assert_eq!(shown(b"SELECT '\\xe9'", None, Use::Reading).text, "SELECT '\\xe9'");
    }

    #[test]
    fn no_name_begins_or_ends_a_command() {
        let shown_name = shown(b"x`; `ALTER ROLE", None, Use::Name);
        assert_eq!((shown_name.text.as_ref(), shown_name.is_escaped), ("x\\x60; \\x60ALTER ROLE", true));
        assert_eq!(shown(b"SELECT '`'", None, Use::Reading).text, "SELECT '`'");
    }

    #[test]
    fn text_is_read_in_the_encoding_of_its_datname() {
        assert_eq!(name(b"caf\xe9", "LATIN1"), "caf\u{e9}");
        assert_eq!(name(b"\xc3\xa9", "LATIN1"), "\u{c3}\u{a9}", "not what UTF-8 would make of it");
        assert_eq!(name(b"\x80", "WIN1252"), "\u{20ac}");
        assert_eq!(name(b"\xc6\xfc\xcb\xdc", "EUC_JP"), "日本");
        assert_eq!(name(b"\xc6", "EUC_JP"), "\\xc6", "half a character");
    }

    proptest! {
        #[test]
        fn no_two_names_are_shown_alike(
            one in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\\'), Just(b'x'), Just(b'e'), Just(b'9'), Just(0xe9)], 0..9),
            other in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\\'), Just(b'x'), Just(b'e'), Just(b'9'), Just(0xe9)], 0..9),
            encoding in prop_oneof![Just("UTF8"), Just("LATIN1"), Just("EUC_JP"), Just("WIN1251"), Just("GB18030")],
        ) {
            prop_assume!(one != other);
            prop_assert_ne!(name(&one, encoding), name(&other, encoding));
        }
    }
}
