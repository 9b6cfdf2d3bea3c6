//! An error with all its causes as one line, for logs, statuses and answers.

use std::error::Error;

/// Longest text of an error, in bytes. Servers and receivers send texts of any length.
const ERROR_BYTES_MAX: usize = 2_000;

/// An error with all its causes, outermost first, as one line of at most 2 000 bytes. The length is limited, because a part of the text may
/// come from a server.
pub fn chain(err: &dyn Error) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        let message = err.to_string();
        // Some libraries repeat their source in their own text.
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        if text.len() > ERROR_BYTES_MAX {
            break;
        }
        cause = err.source();
    }
    bounded(text)
}

fn bounded(mut text: String) -> String {
    if text.len() > ERROR_BYTES_MAX {
        text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
        text.push_str(" ...");
    }
    if text.contains(char::is_control) { text.replace(char::is_control, " ") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Cause(String);

    #[derive(Debug, thiserror::Error)]
    #[error("reading {what}")]
    struct Outer {
        what: &'static str,
        source: Cause,
    }

    #[test]
    fn causes_follow_their_error_on_one_line() {
        let error = Outer { what: "a file", source: Cause("no\nroom".to_owned()) };
        assert_eq!(chain(&error), "reading a file: no room");
    }

    #[test]
    fn a_cause_that_its_error_repeats_is_written_once() {
        let error = Outer { what: "no room", source: Cause("no room".to_owned()) };
        assert_eq!(chain(&error), "reading no room");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = chain(&Cause("é".repeat(ERROR_BYTES_MAX)));
        assert!(text.len() <= ERROR_BYTES_MAX + " ...".len() && text.ends_with("é ..."), "{text}");
    }
}
