//! Disclosure: a plugin may see everything of a request or a mail except the secrets in it.
//!
//! A plugin names a secret and never sees its value. It also sees nothing that follows from the value, such as the host of a URL. Our own
//! texts name the secret instead. Texts of libraries and servers are searched for the values: the error of a certificate holds the name of
//! the host, a redirect repeats the path, and a relay may quote the password that it refuses.

use url::{Url, form_urlencoded};

/// Fewest bytes of a value that is searched for. Shorter values would be found in unrelated texts.
const FOUND_FROM_BYTES: usize = 4;

/// The secrets that went into one request or mail.
#[derive(Default)]
pub(super) struct Disclosure {
    /// Values, in every spelling that a request gives them.
    hidden: Vec<String>,
}

impl Disclosure {
    /// Notes a secret that goes into the request.
    pub(super) fn note(&mut self, value: &str) {
        self.hide(value);
        self.hide(&form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>());
        self.hide(&in_path(value));
    }

    /// Notes a value that is not to be repeated.
    pub(super) fn hide(&mut self, value: &str) {
        let value = value.trim();
        if value.len() >= FOUND_FROM_BYTES && !self.hidden.iter().any(|known| known == value) {
            self.hidden.push(value.to_owned());
            // The longest value is replaced first: replacing a part of it before would leave the rest visible.
            self.hidden.sort_by_key(|value| std::cmp::Reverse(value.len()));
        }
    }

    /// A text without the secrets.
    pub(super) fn text(&self, text: &str) -> String {
        self.hidden.iter().fold(text.to_owned(), |text, value| text.replace(value.as_str(), "***"))
    }

    /// Replaces each value in a body by as many `*`, or by as many `0` if it is a number. So JSON stays valid JSON.
    pub(super) fn bytes(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        for value in &self.hidden {
            let (value, mask) = (value.as_bytes(), mask(value));
            let mut from = 0;
            while let Some(at) = bytes[from..].windows(value.len()).position(|window| window == value) {
                bytes[from + at..from + at + value.len()].copy_from_slice(mask.as_bytes());
                from += at + value.len();
            }
        }
        bytes
    }
}

fn mask(value: &str) -> String {
    let digit = value.bytes().all(|byte| byte.is_ascii_digit());
    if digit { "0" } else { "*" }.repeat(value.len())
}

/// A value as it is encoded in the path of a URL.
fn in_path(value: &str) -> String {
    let Ok(mut url) = Url::parse("https://host/") else { return String::new() };
    url.set_path(value);
    url.path().trim_start_matches('/').to_owned()
}
