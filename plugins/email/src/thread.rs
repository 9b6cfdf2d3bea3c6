//! Which thread a mail belongs to. Every id follows from what is told, so that a repeated mail is the same mail to whoever sorts it.

use pharos_plugin::Message;

/// Incidents that one mail refers to; more would make a header that some servers refuse.
const INCIDENTS_MAX: usize = 20;

pub struct Thread {
    pub message_id: String,
    pub in_reply_to: String,
    pub references: String,
}

/// The root of an incident's thread is an id that no mail has: whichever mail of it comes first, all others stand beside it.
pub fn of(message: &Message) -> Thread {
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
        // The thread that a client shows it in, if it shows it in one.
        in_reply_to: roots.first().cloned().unwrap_or_default(),
        references: roots.join(" "),
    }
}

/// What may stand on either side of the `@`.
fn word(text: &str) -> String {
    let fits = |char: char| if char.is_ascii_alphanumeric() || "-._".contains(char) { char } else { '-' };
    let word: String = text.chars().map(fits).collect();
    let word = word.trim_matches('.').replace("..", ".-");
    if word.is_empty() { "pharos".to_owned() } else { word }
}
