//! Settings of a receiver of mail: the relay and the recipients.

use std::collections::BTreeSet;
use std::fmt;

use pharos_plugin::Failure;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The `NAME` of a `[relay.NAME]` in the configuration.
    pub relay: String,
    pub to: Vec<Recipient>,
}

/// A recipient, written as `dba@example.com` or `Night Shift <night@example.com>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    pub name: Option<String>,
    pub email: String,
}

impl Settings {
    pub fn check(&self) -> Result<(), Failure> {
        let refuse = |why: String| Err(Failure::InvalidConfig(why));
        if self.relay.is_empty() {
            return refuse("settings.relay: name a relay, as in [relay.NAME]".to_owned());
        }
        if self.to.is_empty() {
            return refuse("settings.to: a mail needs a recipient, as in to = [\"dba@example.com\"]".to_owned());
        }
        let mut seen = BTreeSet::new();
        for (index, recipient) in self.to.iter().enumerate() {
            if !seen.insert(recipient.email.to_ascii_lowercase()) {
                return refuse(format!("settings.to[{index}]: `{}` is listed already", recipient.email));
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Recipient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `#[serde(try_from)]` would report the error without its position in the settings.
        deserializer.deserialize_str(RecipientVisitor)
    }
}

struct RecipientVisitor;

impl Visitor<'_> for RecipientVisitor {
    type Value = Recipient;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an address like \"dba@example.com\" or \"Night Shift <night@example.com>\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Recipient, E> {
        recipient(text).ok_or_else(|| {
            E::custom(format_args!(
                "`{}` is no address like \"dba@example.com\" or \"Night Shift <night@example.com>\"",
                text.escape_debug()
            ))
        })
    }
}

/// Splits a recipient into name and address. This is only a rough check of the address: the host checks it in full.
fn recipient(text: &str) -> Option<Recipient> {
    let (name, email) = match text.trim().strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        Some((name, email)) => (Some(name.trim().trim_matches('"').to_owned()).filter(|name| !name.is_empty()), email.trim()),
        None => (None, text.trim()),
    };
    let (user, domain) = email.rsplit_once('@')?;
    let strange = |char: char| char.is_control() || char.is_whitespace() || "<>,;".contains(char);
    let fits = !user.is_empty() && !domain.is_empty() && !email.contains(strange) && !text.contains(char::is_control);
    fits.then(|| Recipient { name, email: email.to_owned() })
}
