//! The thread of a mail. Every id follows from the message. A repeated mail therefore has the same ids, and a mail client can merge both.

use pharos_plugin::Message;

/// Incidents that a mail refers to. More would make the header too long for some servers.
const INCIDENTS_MAX: usize = 20;

pub(crate) struct Thread {
    pub message_id: String,
    pub in_reply_to: String,
    pub references: String,
}

/// The ids of a message. The root of an incident's thread is an id that no mail has. All mails of the incident are answers to it, in
/// whatever order they arrive.
pub(crate) fn from_message(message: &Message) -> Thread {
    let agent = word(&message.agent);
    let mut roots = Vec::new();
    for alert in &message.alerts {
        let root = format!("<{}.{}@{agent}>", word(&alert.fingerprint), alert.incident);
        if !roots.contains(&root) && roots.len() < INCIDENTS_MAX {
            roots.push(root);
        }
    }
    Thread {
        message_id: format!("<{}@{agent}>", word(&message.id)),
        // Most clients show the mail in the thread of this id alone.
        in_reply_to: roots.first().cloned().unwrap_or_default(),
        references: roots.join(" "),
    }
}

/// Replaces characters that must not stand beside the `@` of an id (RFC 5322).
fn word(text: &str) -> String {
    let fits = |char: char| if char.is_ascii_alphanumeric() || "-._".contains(char) { char } else { '-' };
    let word: String = text.chars().map(fits).collect();
    let word = word.trim_matches('.').replace("..", ".-");
    if word.is_empty() { "pharos".to_owned() } else { word }
}
