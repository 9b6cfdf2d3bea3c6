//! Prints everything that commands print. Names and texts of plugins and servers cannot move the terminal's cursor.

use std::io::Write;

use pharos_model::error_chain::chain;
use pharos_model::text::{self, is_steering};
use serde::Serialize;
use serde_json::Value;

use crate::config::LoadError;

/// Prints a line on standard output. A closed pipe is no error.
pub(super) fn print(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{}", text::block(&line.to_string(), usize::MAX));
}

/// Prints a value as JSON in one line, its keys in alphabetical order.
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(serde_json::to_value(value)?);
    Ok(())
}

/// Prints what a plugin wrote to standard error before it was stopped. Line breaks stay, so that a traceback is readable.
pub(super) fn print_last_words(last_words: Option<&str>) {
    let Some(words) = last_words else { return };
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "the plugin wrote to standard error:");
    for line in text::block(words, usize::MAX).lines() {
        let _ = writeln!(out, "    {line}");
    }
}

/// Prints a note on standard error, so that scripts that read standard output do not get it.
pub(super) fn print_note(note: &str) {
    let _ = writeln!(std::io::stderr().lock(), "note: {note}");
}

/// Prints why a command failed.
pub(super) fn print_error(err: &anyhow::Error) {
    let mut out = std::io::stderr().lock();
    let _ = match err.downcast_ref::<LoadError>() {
        // Each line begins with the file's name, so editors can jump to it; the prefix `pharos:` would prevent that.
        Some(load) => writeln!(out, "{load}"),
        None => writeln!(out, "pharos: {}", text::block(&chain(err.as_ref()), usize::MAX)),
    };
}

/// A text without the characters that steer a terminal. Every text from outside must go through this function.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(|char| if is_steering(char) && char != '\n' { '\u{fffd}' } else { char }).collect()
}

pub(super) fn shown_list(texts: &[String], separator: &str) -> String {
    texts.iter().map(|text| shown(text)).collect::<Vec<_>>().join(separator)
}

/// A number as JSON writes it, so that both outputs of a command agree.
pub(super) fn shown_number(number: f64) -> String {
    Value::from(number).to_string()
}
