//! Removes possible secrets from a statement's text before it is shown.
//!
//! PostgreSQL replaces constants by placeholders only in statements that it plans, and not after it evicted the statement meanwhile. The
//! remaining string literals are removed here, found by the rules of PostgreSQL's own scanner.

/// Text shown instead of a literal.
const HIDDEN: &str = "'...'";

/// The text without string literals and without values of custom settings. A text that may set a password is not shown at all.
pub fn shown(query: &str) -> String {
    shown_with(query, false)
}

/// Like [`shown`], for a text as a session sent it. Such a text has no placeholders, so numbers are hidden too.
pub fn shown_as_sent(query: &str) -> String {
    shown_with(query, true)
}

fn shown_with(query: &str, hides_numbers: bool) -> String {
    let lower = query.to_ascii_lowercase();
    if lower.contains("password") || lower.contains("identified by") {
        return "(not shown: it may hold a password)".to_owned();
    }
    let mut shown = String::with_capacity(query.len());
    let mut setting = Setting::default();
    let mut rest = query;
    while !rest.is_empty() {
        if hides_numbers
            && !shown.ends_with('$')
            && let Some(length) = number(rest)
        {
            shown.push('?');
            rest = &rest[length..];
            continue;
        }
        let (kind, length) = token(rest);
        let (text, after) = rest.split_at(length);
        match kind {
            Kind::Literal => shown.push_str(HIDDEN),
            Kind::Unclear => {
                shown.push_str(HIDDEN);
                break;
            }
            Kind::Word | Kind::Name | Kind::Comment | Kind::Other => shown.push_str(text),
        }
        if setting.takes_a_secret(&kind, text) {
            shown.push(' ');
            shown.push_str(HIDDEN);
            break;
        }
        rest = after;
    }
    shown
}

#[derive(Debug, PartialEq)]
enum Kind {
    Word,
    /// Name in double quotes.
    Name,
    Literal,
    /// Start of a literal or a name whose end is ambiguous.
    Unclear,
    Comment,
    Other,
}

/// Finds `SET a.b = value` and `SET a.b TO value` with an unquoted value. In UPDATE, `a.b` is a column, and its value has a placeholder.
#[derive(Debug, Default)]
struct Setting {
    sets: Option<bool>,
    name: Option<String>,
}

impl Setting {
    fn takes_a_secret(&mut self, kind: &Kind, text: &str) -> bool {
        let is = |word: &str| *kind == Kind::Word && text.eq_ignore_ascii_case(word);
        let sets = match (self.sets, kind) {
            (Some(sets), _) => sets,
            (None, Kind::Word) => *self.sets.insert(is("SET") || is("ALTER") || is("CREATE")),
            (None, _) => false,
        };
        if !sets || *kind == Kind::Comment {
            return false;
        }
        if is("SET") {
            self.name = Some(String::new());
            return false;
        }
        let Some(name) = &mut self.name else { return false };
        if text == "=" || is("TO") {
            let is_own = name.contains('.');
            self.name = None;
            return is_own;
        }
        name.push_str(text);
        false
    }
}

/// Kind and length in bytes of the first token of `rest`.
fn token(rest: &str) -> (Kind, usize) {
    let bytes = rest.as_bytes();
    match bytes {
        [b'-', b'-', ..] => (Kind::Comment, rest.find(['\n', '\r']).unwrap_or(rest.len())),
        [b'/', b'*', ..] => (Kind::Comment, comment(bytes)),
        [b'\'', ..] => plain_literal(bytes),
        // Only the single letter `e` marks an escaped literal: `date'2024-01-01'` is a plain one.
        [b'e' | b'E', b'\'', ..] => (Kind::Literal, escaped_literal(bytes)),
        [b'"', ..] => name(bytes),
        [b'$', ..] => dollar(rest),
        [first, ..] if starts_word(*first) => {
            (Kind::Word, bytes.iter().position(|byte| !(continues_tag(*byte) || *byte == b'$')).unwrap_or(bytes.len()))
        }
        _ => (Kind::Other, 1),
    }
}

/// Length of a number at the beginning, such as `1`, `1.5e10`, `.5` or `0x1f`.
fn number(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let begins = is_digit(0) || (bytes[0] == b'.' && is_digit(1));
    let ends = |byte: &u8| !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'));
    begins.then(|| bytes.iter().position(ends).unwrap_or(bytes.len()))
}

fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii()
}

fn continues_tag(byte: u8) -> bool {
    starts_word(byte) || byte.is_ascii_digit()
}

/// Length of a comment, which may contain comments.
fn comment(bytes: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match rest {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    bytes.len()
}

/// Length of a plain literal. A backslash before a quote is ambiguous: with `standard_conforming_strings` off, or after an escaped
/// literal, it escapes the quote.
fn plain_literal(bytes: &[u8]) -> (Kind, usize) {
    let (mut at, mut backslashes) = (1, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'\'' if backslashes % 2 == 1 => return (Kind::Unclear, bytes.len()),
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 1,
            b'\'' => return (Kind::Literal, at + 1),
            _ => {}
        }
        backslashes = if bytes[at] == b'\\' { backslashes + 1 } else { 0 };
        at += 1;
    }
    (Kind::Literal, bytes.len())
}

fn escaped_literal(bytes: &[u8]) -> usize {
    let mut at = 2;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 1,
            b'\'' => return at + 1,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

fn name(bytes: &[u8]) -> (Kind, usize) {
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' if bytes.get(at + 1) == Some(&b'"') => at += 1,
            b'"' => return (Kind::Name, at + 1),
            _ => {}
        }
        at += 1;
    }
    (Kind::Unclear, bytes.len())
}

/// A placeholder, or a literal between two equal tags.
fn dollar(rest: &str) -> (Kind, usize) {
    let bytes = rest.as_bytes();
    let tag = bytes[1..].iter().position(|byte| !continues_tag(*byte)).map_or(bytes.len(), |at| at + 1);
    let is_tag = bytes.get(tag) == Some(&b'$') && !bytes[1].is_ascii_digit();
    if !is_tag {
        return (Kind::Other, 1);
    }
    let (tag, body) = rest.split_at(tag + 1);
    (Kind::Literal, body.find(tag).map_or(rest.len(), |at| tag.len() + at + tag.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{shown, shown_as_sent};

    #[track_caller]
    fn check(query: &str, expected: &str) {
        assert_eq!(shown(query), expected, "{query}");
    }

    #[test]
    fn statements_with_placeholders_are_shown_as_they_are() {
        for query in [
            "SELECT * FROM t WHERE a = $1 AND b IN ($2, $3) /* app: it's 'fine' */",
            "SELECT \"it's\"\" a 'name'\" FROM t -- don't\n WHERE a = $1",
            "SELECT a$b$c, d$$ FROM t$1 WHERE e = $1 AND f$ = $2",
            "/* pharos:locks */ SELECT $1::text",
            "SELECT 'é', $1".replace("'é'", "é").as_str(),
            "UPDATE t SET place.street = $1 WHERE id = $2",
            "SET work_mem = 64",
            "SET search_path TO a, b",
            "ALTER TABLE a.t ALTER COLUMN c SET DEFAULT 1.5",
            "VACUUM (ANALYZE) public.t",
            "",
            "$",
        ] {
            check(query, query);
        }
    }

    #[test]
    fn secrets_of_utility_statements_are_not_shown() {
        check(
            "CREATE SUBSCRIPTION s CONNECTION 'postgresql://u:pw@h/d' PUBLICATION p WITH (connect = false)",
            "CREATE SUBSCRIPTION s CONNECTION '...' PUBLICATION p WITH (connect = false)",
        );
        check("ALTER ROLE x SET app.secret = 's3cret'", "ALTER ROLE x SET app.secret = '...'");
        check("alter role x in database d set \"app.key\" to s3cret", "alter role x in database d set \"app.key\" to '...'");
        check("SET LOCAL app . api_key /* = */ = s3cret, 's3cret'", "SET LOCAL app . api_key /* = */ = '...'");
        check("SET app.api_key=17", "SET app.api_key= '...'");
        check("COPY t FROM PROGRAM 'curl -H \"Authorization: s3cret\"'", "COPY t FROM PROGRAM '...'");
        check("ALTER ROLE x PASSWORD 's3cret'", "(not shown: it may hold a password)");
        check("COMMENT ON TABLE t IS N's3cret'", "COMMENT ON TABLE t IS N'...'");
    }

    #[test]
    fn no_constant_of_a_text_as_sent_is_shown() {
        for (query, expected) in [
            ("SELECT * FROM t1 WHERE card = 4111111111111111 AND b2 = $1", "SELECT * FROM t1 WHERE card = ? AND b2 = $1"),
            ("SELECT 1.5e10, .5, 0x1F, 1_000, -7, a[3]", "SELECT ?, ?, ?, ?, -?, a[?]"),
            ("SELECT 'x', \"4711\" /* 42 */", "SELECT '...', \"4711\" /* 42 */"),
        ] {
            assert_eq!(shown_as_sent(query), expected, "{query}");
        }
        assert_eq!(shown("SELECT 1"), "SELECT 1");
    }

    #[test]
    fn no_way_to_quote_gets_around_it() {
        check("SELECT 'it''s', ''", "SELECT '...', '...'");
        check(r"DO E's3\'cret' LANGUAGE x", "DO '...' LANGUAGE x");
        check(r"DO e's3\\' LANGUAGE x", "DO '...' LANGUAGE x");
        check(r"DO E'a\\\'s3cret''' LANGUAGE x", "DO '...' LANGUAGE x");
        check("DO $$ it's $a$ s3cret $$ LANGUAGE x", "DO '...' LANGUAGE x");
        check("DO $a$ $$ $A$ $b$a$ LANGUAGE x", "DO '...' LANGUAGE x");
        check("DO $ä1$ s3cret' $ä1$ LANGUAGE x", "DO '...' LANGUAGE x");
        check("SELECT $1$$s3cret$$", "SELECT $1'...'");
        check("COMMENT ON TABLE \"a'b\" IS 's3cret'", "COMMENT ON TABLE \"a'b\" IS '...'");
        check("COMMENT ON TABLE t IS U&'s3cret' UESCAPE '!'", "COMMENT ON TABLE t IS U&'...' UESCAPE '...'");
        check("DO /* ' /* ' */ ' */ 's3cret' -- '\n's3cret'", "DO /* ' /* ' */ ' */ '...' -- '\n'...'");
        check("DO 'a' --'\r's3cret'", "DO '...' --'\r'...'");
        check("SELECT date's3cret', 'x'", "SELECT date'...', '...'");
    }

    #[test]
    fn where_a_literal_may_end_here_or_there_the_rest_is_not_shown() {
        check(r"SELECT date'a\', s3cret'", "SELECT date'...'");
        check("DO E'a'\n'b\\' s3cret'", "DO '...'\n'...'");
        check(r"COPY t FROM 'C:\\' CSV", "COPY t FROM '...' CSV");
        check("DO 's3cret", "DO '...'");
        check("DO $a$ s3cret $a", "DO '...'");
        check("DROP TABLE \"s3cret", "DROP TABLE '...'");
        check("DO E's3cret\\", "DO '...'");
        check("DO /* cut", "DO /* cut");
    }

    /// A piece of a statement, and how it must be shown.
    fn piece() -> impl Strategy<Value = (String, &'static str)> {
        let secret = "[a-z$\"/*\\-;= é]{0,8}";
        prop_oneof![
            secret.prop_map(|text| (format!("'S{}S'", text.replace('$', "''")), "'...'")),
            secret.prop_map(|text| (format!("E'S{}S'", text.replace('$', "\\'").replace('-', "\\\\")), "'...'")),
            secret.prop_map(|text| (format!("$q1$S'{}'S$q1$", text.replace('$', "$$")), "'...'")),
            secret.prop_map(|text| (format!("$$S'{}'S$$", text.replace('$', "$q$ ")), "'...'")),
            Just(("\"it's $$ -- \"\"\"".to_owned(), "\"it's $$ -- \"\"\"")),
            Just(("/* it's /* $$ */ \" */".to_owned(), "/* it's /* $$ */ \" */")),
            Just(("-- it's $$ \"\n".to_owned(), "-- it's $$ \"\n")),
            Just(("$1".to_owned(), "$1")),
            Just(("a$q1$e".to_owned(), "a$q1$e")),
        ]
    }

    proptest! {
        #[test]
        fn only_literals_are_removed_in_any_combination(pieces in prop::collection::vec(piece(), 0..12)) {
            let query: Vec<&str> = pieces.iter().map(|(text, _)| text.as_str()).collect();
            let expected: Vec<&str> = pieces.iter().map(|(_, shown)| *shown).collect();
            prop_assert_eq!(shown(&query.join(" ")), expected.join(" "));
        }

        #[test]
        fn nothing_makes_it_panic(query in ".{0,40}", hostile in "[$'\"\\\\eE/*\\-\na1é.= ]{0,40}") {
            shown(&query);
            shown(&hostile);
            shown_as_sent(&query);
            shown_as_sent(&hostile);
        }
    }
}
