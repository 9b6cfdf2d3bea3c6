//! Statements of a fix. Names and texts are quoted and sessions are checked, so that a statement affects only what it names.
//!
//! The owner of a datname can preset a `search_path` that puts their functions and operators before those of PostgreSQL. A superuser who
//! pastes `SELECT … FROM pg_stat_activity` would run these functions. A query of a fix therefore sets the `search_path` for its
//! transaction. A statement that only calls a function writes `pg_catalog.` before the name.
//!
//! A statement on a table always runs the functions in its expressions and constraints. A fix therefore asks to run such a statement as the
//! owner of the table.

use std::fmt::Write as _;

use crate::civil_date;

/// Quotes a name: without quotes PostgreSQL folds `Order` to lower case and reads `user` as a keyword. A name with escapes such as `\xe9`
/// is not the exact name on the server. Such a name becomes a placeholder in angle brackets, which PostgreSQL refuses.
pub fn identifier(name: &str) -> String {
    if is_escaped(name) {
        return format!("<{name}>");
    }
    let quoted = name.replace('"', "\"\"");
    if has_hidden(name) { format!("U&\"{}\"", escaped(&quoted, ["\\", "\\+"])) } else { format!("\"{quoted}\"") }
}

/// Quotes the name of a relation or index, with its schema.
pub fn relation(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

/// Quotes the name of a relation or index as a text for `regclass`. `regclass` reads no `U&"…"` names, so the text around the name carries
/// the escapes.
pub fn relation_text(schema: &str, name: &str) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    literal(&format!("{}.{}", quoted(schema), quoted(name)))
}

/// Quotes a text. A text with escapes such as `\xe9` becomes a placeholder, as in [`identifier`].
pub fn literal(text: &str) -> String {
    if is_escaped(text) {
        return format!("<{text}>");
    }
    let quoted = text.replace('\'', "''");
    let is_plain = !text.contains('\\') && !has_hidden(text);
    if is_plain { format!("'{quoted}'") } else { format!("E'{}'", escaped(&quoted, ["\\u", "\\U00"])) }
}

/// Replaces hidden characters by their numbers. `short` precedes four hexadecimal digits, `long` precedes six.
fn escaped(text: &str, [short, long]: [&str; 2]) -> String {
    let mut escaped = String::new();
    for char in text.chars() {
        // Writing to a `String` never fails.
        let _ = match (char, u32::from(char)) {
            ('\\', _) => escaped.write_str("\\\\"),
            (char, number @ ..=0xFFFF) if is_hidden(char) => write!(escaped, "{short}{number:04X}"),
            (char, number) if is_hidden(char) => write!(escaped, "{long}{number:06X}"),
            (char, _) => escaped.write_char(char),
        };
    }
    escaped
}

fn has_hidden(text: &str) -> bool {
    text.chars().any(is_hidden)
}

/// Replaces hidden characters by marks such as `<U+061C>`, so that two different names in a text never appear equal.
pub(crate) fn marked(text: String) -> String {
    if !has_hidden(&text) {
        return text;
    }
    let mark = |char: char| if is_hidden(char) { format!("<U+{:04X}>", u32::from(char)) } else { char.to_string() };
    text.chars().map(mark).collect()
}

/// Whether a name has escapes. The host shows a byte that is not valid text as `\xe9`, and a backslash before such letters as `\x5c`.
fn is_escaped(name: &str) -> bool {
    name.split("\\x").skip(1).any(|rest| rest.get(..2).is_some_and(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit())))
}

/// Whether a character is hidden: a control character, a character without width, or a change of the text's direction. Names that differ
/// only in such characters appear equal. The host has the same list (`pharos_model::text::is_hidden`).
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The statement that drops a replication slot. PostgreSQL refuses it while a consumer uses the slot.
pub fn drop_slot(slot: &str) -> String {
    format!("SELECT pg_catalog.pg_drop_replication_slot({});", literal(slot))
}

/// The statement that ends a session. `started_at` is the `backend_start` of the session, in seconds since 1970. The statement then does
/// nothing if the process id belongs to another session by now.
pub fn terminate(pid: i64, started_at: Option<f64>) -> String {
    call_on_session("pg_terminate_backend", pid, started_at)
}

/// The statement that cancels the query of a session. A session that is idle in transaction is not affected. `started_at` is the
/// `backend_start` of the session, in seconds since 1970. The statement then does nothing if the process id belongs to another session.
pub fn cancel(pid: i64, started_at: Option<f64>) -> String {
    call_on_session("pg_cancel_backend", pid, started_at)
}

/// The statement that calls a function of PostgreSQL on a session. `started_at` is its `backend_start`, in seconds since 1970.
fn call_on_session(function: &str, pid: i64, started_at: Option<f64>) -> String {
    let started = started_at.map(|seconds| format!(" AND backend_start = {}", timestamp(seconds))).unwrap_or_default();
    format!("BEGIN; SET LOCAL search_path = pg_catalog; SELECT {function}(pid) FROM pg_stat_activity WHERE pid = {pid}{started}; COMMIT;")
}

/// Twice the present value of a setting, and at least `least`, rounded up to a whole number. A placeholder if the value is unknown, zero or
/// negative: a guess could lower the value in force.
pub fn raised(now: Option<f64>, least: f64) -> String {
    now.filter(|now| *now > 0.0).map_or_else(|| "<more>".to_owned(), |now| (now * 2.0).max(least).ceil().to_string())
}

/// Twice the present size of a setting in bytes, and at least `least`, rounded up to whole MiB: `'2048MB'`. A placeholder if the size is
/// unknown, zero or negative.
pub fn raised_size(now: Option<f64>, least: f64) -> String {
    const MIB: f64 = 1_048_576.0;
    now.filter(|now| *now > 0.0).map_or_else(|| "<more>".to_owned(), |now| format!("'{}MB'", ((now * 2.0).max(least) / MIB).ceil()))
}

/// Formats seconds since 1970 as a quoted timestamp in UTC. PostgreSQL stores microseconds, so the timestamp has them as well.
pub fn timestamp(seconds: f64) -> String {
    let microseconds = (seconds.max(0.0) * 1e6).round() as u64;
    let time = civil_date::rfc3339(microseconds / 1_000);
    format!("'{} {}.{:06}+00'", &time[..10], &time[11..19], microseconds % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_stay_inside_their_quotes() {
        assert_eq!(relation("public", r#"odd"name"#), r#""public"."odd""name""#);
        assert_eq!(literal("o'hara"), "'o''hara'");
        assert_eq!(identifier("a\\b\n\"c"), r#"U&"a\\b\000A""c""#);
        assert_eq!(literal("a\\'\n"), r"E'a\\''\u000A'");
    }

    #[test]
    fn a_name_that_is_shown_with_escapes_is_a_placeholder() {
        assert_eq!([identifier(r"caf\xe9"), literal(r"a\x5cxe9")], [r"<caf\xe9>", r"<a\x5cxe9>"]);
        assert_eq!(identifier(r"c:\xylophone"), r#""c:\xylophone""#);
    }

    /// Names that differ only in hidden characters must differ in a statement.
    #[test]
    fn every_character_that_the_host_hides_is_escaped_as_the_host_escapes_it() {
        for char in '\0'..=char::MAX {
            assert_eq!(is_hidden(char), pharos_model::text::is_hidden(char), "{char:?}");
            if !is_hidden(char) {
                continue;
            }
            let name = format!("a{char}b");
            assert_eq!(identifier(&name), pharos_model::postgres::privilege::sql::identifier(&name), "{char:?}");
            assert_eq!(literal(&name), pharos_model::postgres::privilege::sql::literal(&name), "{char:?}");
            let printed = [identifier(&name), relation("public", &name), literal(&name), relation_text("public", &name), marked(name)];
            assert!(!printed.iter().any(|text| has_hidden(text)), "{char:?}: {printed:?}");
        }
    }

    #[test]
    fn regclass_reads_a_relation_whose_escapes_are_in_the_text_around() {
        assert_eq!(relation_text("public", "it's"), r#"'"public"."it''s"'"#);
        assert_eq!(relation_text("public", "a\u{61c}\"b"), r#"E'"public"."a\u061C""b"'"#);
        assert_eq!(relation_text("public", r"caf\xe9"), r#"<"public"."caf\xe9">"#);
    }

    #[test]
    fn a_limit_is_raised_from_its_present_value_and_never_guessed() {
        assert_eq!([raised(Some(3.0), 10.0), raised(Some(64.0), 10.0), raised(None, 10.0)], ["10", "128", "<more>"]);
        let gib = 1_073_741_824.0;
        assert_eq!([raised_size(Some(gib), gib), raised_size(Some(-1.0), gib)], ["'2048MB'", "<more>"], "-1 means no limit");
    }

    #[test]
    fn a_session_is_ended_only_while_it_is_the_same() {
        assert_eq!(
            terminate(4711, Some(1_700_000_000.123456)),
            "BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = 4711 AND \
             backend_start = '2023-11-14 22:13:20.123456+00'; COMMIT;"
        );
        assert_eq!(
            cancel(4711, None),
            "BEGIN; SET LOCAL search_path = pg_catalog; SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = 4711; COMMIT;"
        );
        assert_eq!(timestamp(1_700_000_000.000_001), "'2023-11-14 22:13:20.000001+00'");
    }
}
