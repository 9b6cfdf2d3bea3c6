//! Cleans and bounds text from plugins and servers, so that it cannot forge a log line, a header or a terminal command.

use std::borrow::Cow;
use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Most bytes of a title, a name or a reason.
pub const LINE_BYTES_MAX: usize = 300;
const CUT: &str = "…";
/// Bytes of a digest, enough to keep the label values of one rule apart.
const DIGEST_BYTES: usize = 6;

/// Cleans a text to one line of at most `bytes_max` bytes. Line breaks and tabs become spaces.
pub fn line(text: &str, bytes_max: usize) -> Cow<'_, str> {
    clean(text, bytes_max, |c| matches!(c, '\n' | '\t').then_some(' '))
}

/// Cleans a text of several lines, with at most `bytes_max` bytes. Line feeds and tabs stay.
pub fn block(text: &str, bytes_max: usize) -> Cow<'_, str> {
    clean(text, bytes_max, |c| matches!(c, '\n' | '\t').then_some(c))
}

/// Cleans a text of several lines that people copy commands from. Removed characters are shown as marks such as `<U+061C>`. A name without
/// one of its characters could be the name of another thing.
pub fn marked_block(text: &str, bytes_max: usize) -> Cow<'_, str> {
    let is_taken_out = |c: char| is_steering(c) && !matches!(c, '\n' | '\t');
    if !text.contains(is_taken_out) {
        return block(text, bytes_max);
    }
    let mut marked = String::with_capacity(text.len());
    for c in text.chars() {
        if is_taken_out(c) {
            write!(marked, "<U+{:04X}>", u32::from(c)).expect("writing to a string does not fail");
        } else {
            marked.push(c);
        }
    }
    Cow::Owned(block(&marked, bytes_max).into_owned())
}

/// Cleans a text to one line that stays different from others: a changed text gets a digest of the original.
pub fn identity(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if let Cow::Borrowed(unchanged) = line(text, bytes_max) {
        return Cow::Borrowed(unchanged);
    }
    let kept = line(text, bytes_max - 1 - 2 * DIGEST_BYTES);
    Cow::Owned(format!("{kept}~{}", digest(text)))
}

/// Digest of a text, which separates texts that were changed to the same. It must stay the same in every release.
pub(crate) fn digest(text: &str) -> String {
    hex(&Sha256::digest(text)[..DIGEST_BYTES])
}

/// SHA-256 of a content in hex digits, in the format of `sha256sum`.
pub fn sha256(content: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(content))
}

/// Bytes as lower-case hexadecimal digits, two for each.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("writing to a string does not fail");
        digits
    })
}

/// Removes steering characters. The result is borrowed exactly if nothing changed.
fn clean(text: &str, bytes_max: usize, control: impl Fn(char) -> Option<char>) -> Cow<'_, str> {
    if text.len() <= bytes_max && text.chars().all(|c| !is_steering(c) || control(c) == Some(c)) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len().min(bytes_max));
    let visible = text.chars().filter_map(|c| if is_steering(c) { control(c) } else { Some(c) });
    for c in visible {
        if cleaned.len() + c.len_utf8() > bytes_max {
            while cleaned.len() + CUT.len() > bytes_max && cleaned.pop().is_some() {}
            cleaned.push_str(CUT);
            break;
        }
        cleaned.push(c);
    }
    Cow::Owned(cleaned)
}

/// Returns true for characters that steer a terminal or a reader: controls, and marks that reorder or hide the text around them.
pub fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Returns true for characters that a name must not show: steering ones, and invisible ones, with which two names look the same. The
/// latter are Unicode's ignorable characters (`Default_Ignorable_Code_Point`). Texts may contain them, because words of some languages
/// need them.
///
/// `pharos_plugin::sql` has the same list for guests; a test there compares both.
pub fn is_hidden(c: char) -> bool {
    is_steering(c)
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200c}' | '\u{200d}'
            | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Characters that are invisible or that a terminal executes.
    const STEERING: [char; 12] =
        ['\0', '\u{1b}', '\u{7f}', '\u{9b}', '\u{61c}', '\u{200b}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{202e}', '\u{2066}', '\u{feff}'];

    #[test]
    fn steering_characters_are_in_no_line_and_in_no_name() {
        for character in STEERING {
            let text = format!("a{character}b");
            assert!(is_steering(character) && is_hidden(character), "{character:?}");
            assert_eq!((line(&text, 100), block(&text, 100)), ("ab".into(), "ab".into()), "{character:?}");
            let escaped = format!("U&\"a\\{:04X}b\"", u32::from(character));
            assert_eq!(crate::postgres::privilege::sql::identifier(&text), escaped);
        }
    }

    #[test]
    fn a_text_to_copy_from_marks_removed_characters() {
        assert_eq!(marked_block("In a\u{61c}b:\n\t\u{1b}x", 100), "In a<U+061C>b:\n\t<U+001B>x");
        assert_eq!(marked_block("aaa\u{61c}", 8), "aaa<U…");
        assert!(matches!(marked_block("In ab:\n", 100), Cow::Borrowed("In ab:\n")));
    }

    #[test]
    fn invisible_characters_stay_in_texts_and_not_in_names() {
        let text = "می\u{200c}خواهم";
        assert_eq!(line(text, 100), text);
        assert!(crate::postgres::privilege::sql::identifier(text).contains(r"\200C"));
    }

    #[test]
    fn digests_are_those_of_sha256sum() {
        assert_eq!(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest("abc"), "ba7816bf8f01");
    }
}
