//! Target of a request. A host that follows from a secret is not named to the plugin.

use url::Url;

use crate::plugin::contract::bindings::notifier::pharos::plugin::egress as wit;
use crate::plugin::import::disclosure::Disclosure;

/// A checked URL.
pub(super) struct Target {
    pub url: Url,
    /// The secrets from which the host follows, quoted. `None` if the plugin wrote the host.
    hidden_by: Option<String>,
}

impl Target {
    /// `written` are the parts of the URL, `url` is what they make with the secrets in place.
    pub(super) fn new(url: Url, written: &[wit::Text]) -> Self {
        let names = names(written);
        // A host that stays the same whatever the secrets are does not follow from them.
        let is_open = names.is_empty() || ["a", "b"].iter().all(|value| origin_with(written, value) == Some(origin(&url)));
        let hidden_by = (!is_open).then_some(names);
        Self { url, hidden_by }
    }

    /// Hides the host and the path if the host follows from a secret.
    pub(super) fn hide(&self, disclosure: &mut Disclosure) {
        /// Fewest bytes of a path step that is hidden. Shorter steps are words, longer ones may be keys.
        const KEY_BYTES_MIN: usize = 16;
        if self.hidden_by.is_none() {
            return;
        }
        let path = self.url.path();
        let keys = path.split('/').filter(|step| step.len() >= KEY_BYTES_MIN);
        for value in [self.host(), path].into_iter().chain(self.url.query()).chain(keys) {
            disclosure.hide(value);
        }
    }

    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    pub(super) fn is_hidden(&self) -> bool {
        self.hidden_by.is_some()
    }

    /// The host in a sentence.
    pub(super) fn shown(&self) -> String {
        match &self.hidden_by {
            Some(secrets) => format!("in {secrets}"),
            None => format!("`{}`", self.host()),
        }
    }
}

/// The secrets in a text as part of a sentence, each quoted. Empty if there is none.
pub(super) fn names(written: &[wit::Text]) -> String {
    let name = |part: &wit::Text| match part {
        wit::Text::Plain(_) => None,
        wit::Text::Secret(name) => Some(format!("\"{name}\"")),
    };
    let names: Vec<String> = written.iter().filter_map(name).collect();
    match names.as_slice() {
        [] => String::new(),
        [name] => format!("the secret {name}"),
        names => format!("the secrets {}", names.join(", ")),
    }
}

fn origin(url: &Url) -> (String, Option<String>, Option<u16>) {
    (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default())
}

/// The origin of the URL with another value for each secret.
fn origin_with(written: &[wit::Text], value: &str) -> Option<(String, Option<String>, Option<u16>)> {
    let part = |part: &wit::Text| match part {
        wit::Text::Plain(text) => text.clone(),
        wit::Text::Secret(_) => value.to_owned(),
    };
    Url::parse(&written.iter().map(part).collect::<String>()).ok().map(|url| origin(&url))
}
