//! Text from plugins and servers, bounded and free of what could forge a log line, a header or a terminal.

use std::{borrow::Cow, fmt::Write};

use sha2::{Digest, Sha256};

/// A title, a name, a reason.
pub const LINE_BYTES_MAX: usize = 300;
const CUT: &str = "…";
/// Enough to keep the label values of one rule apart.
const DIGEST_BYTES: usize = 6;

/// One line of at most `bytes_max` bytes: line breaks and tabs become spaces.
pub fn line(text: &str, bytes_max: usize) -> Cow<'_, str> {
    clean(text, bytes_max, |c| matches!(c, '\n' | '\t').then_some(' '))
}

/// Text of several lines: line feeds and tabs stay.
pub fn block(text: &str, bytes_max: usize) -> Cow<'_, str> {
    clean(text, bytes_max, |c| matches!(c, '\n' | '\t').then_some(c))
}

/// One line that differs where the original differs: what was changed gets a digest of the original.
pub fn identity(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if let Cow::Borrowed(unchanged) = line(text, bytes_max) {
        return Cow::Borrowed(unchanged);
    }
    let kept = line(text, bytes_max - 1 - 2 * DIGEST_BYTES);
    Cow::Owned(format!("{kept}~{}", digest(text)))
}

/// Tells a text that had to be changed from others that were changed to the same; the same in every release.
pub(crate) fn digest(text: &str) -> String {
    Sha256::digest(text)[..DIGEST_BYTES].iter().fold(String::new(), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("writing to a string does not fail");
        digits
    })
}

/// Borrowed exactly when nothing had to change.
fn clean(text: &str, bytes_max: usize, control: impl Fn(char) -> Option<char>) -> Cow<'_, str> {
    if text.len() <= bytes_max && text.chars().all(|c| !is_hostile(c) || control(c) == Some(c)) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len().min(bytes_max));
    let visible = text.chars().filter_map(|c| if is_hostile(c) { control(c) } else { Some(c) });
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

/// Controls, and the marks that reorder or hide what stands around them.
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
