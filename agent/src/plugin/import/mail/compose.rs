//! A mail as it goes over the wire. Everything that comes from a plugin is data here: no text of it can end a header and begin another.

use std::time::{Duration, UNIX_EPOCH};

use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MessageBuilder, MultiPart, SinglePart};

use crate::config::relay::RelayConfig;
use crate::plugin::contract::bindings::notifier::pharos::plugin::mail::{self as wit, MailError};

/// Recipients of one mail. More are the work of a mailing list.
const RECIPIENTS_MAX: usize = 100;
/// Headers that a plugin may set in one mail. Relays refuse mails with too many.
const HEADERS_MAX: usize = 20;
/// Characters of a header. Longer texts of a plugin are cut, since relays refuse them.
const HEADER_CHARS_MAX: usize = 4_096;

/// A mail as it goes over the wire, and its recipients.
pub(super) struct Composed {
    pub sender: Address,
    /// Recipients in the plugin's order. An address that is not valid is an error with the reason.
    pub recipients: Vec<Result<Address, String>>,
    pub bytes: Vec<u8>,
}

pub(super) fn compose(relay: &RelayConfig, mail: &wit::Mail, now_ms: u64) -> Result<Composed, MailError> {
    if mail.to.is_empty() || mail.to.len() > RECIPIENTS_MAX {
        return Err(MailError::Denied(format!("a mail has 1 to {RECIPIENTS_MAX} recipients, this one has {}", mail.to.len())));
    }
    let sender: Mailbox = relay.from.parse().map_err(|err| MailError::Denied(format!("the relay's `from`: {err}")))?;
    let mailboxes: Vec<Result<Mailbox, String>> = mail.to.iter().map(mailbox).collect();
    let recipients: Vec<Result<Address, String>> =
        mailboxes.iter().map(|found| found.as_ref().map(|mailbox| mailbox.email.clone()).map_err(Clone::clone)).collect();
    let reachable: Vec<Address> = recipients.iter().flatten().cloned().collect();
    if reachable.is_empty() {
        return Ok(Composed { sender: sender.email, recipients, bytes: Vec::new() });
    }
    // The envelope is set here: the library would parse it from the header, and it cannot parse every header that it writes.
    let envelope = Envelope::new(Some(sender.email.clone()), reachable).map_err(|err| MailError::Rejected(err.to_string()))?;
    let mut builder = Message::builder()
        .envelope(envelope)
        .from(sender.clone())
        .date(UNIX_EPOCH + Duration::from_millis(now_ms))
        .subject(one_line(&mail.subject))
        // RFC 3834: prevents automatic replies such as holiday notices.
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()));
    for mailbox in mailboxes.into_iter().flatten() {
        builder = builder.to(mailbox);
    }
    let bytes = formatted(headers(builder, mail)?, mail)?;
    Ok(Composed { sender: sender.email, recipients, bytes })
}

fn formatted(builder: MessageBuilder, mail: &wit::Mail) -> Result<Vec<u8>, MailError> {
    let text = SinglePart::plain(mail.text.clone());
    let message = match &mail.html {
        Some(html) => builder.multipart(MultiPart::alternative().singlepart(text).singlepart(SinglePart::html(html.clone()))),
        None => builder.singlepart(text),
    };
    Ok(message.map_err(|err| MailError::Rejected(format!("the mail cannot be composed: {err}")))?.formatted())
}

fn mailbox(address: &wit::Address) -> Result<Mailbox, String> {
    let shown = address.email.escape_debug();
    if !address.email.is_ascii() {
        return Err(format!("`{shown}` is outside of ASCII; write its domain as xn--..."));
    }
    let email: Address = address.email.parse().map_err(|_| format!("`{shown}` is no mail address"))?;
    let name = address.name.as_deref().map(one_line).filter(|name| !name.is_empty());
    Ok(Mailbox::new(name, email))
}

fn headers(mut builder: MessageBuilder, mail: &wit::Mail) -> Result<MessageBuilder, MailError> {
    if mail.headers.len() > HEADERS_MAX {
        return Err(MailError::Denied(format!("a plugin sets at most {HEADERS_MAX} headers, not {}", mail.headers.len())));
    }
    for (name, value) in &mail.headers {
        if !may_be_set(name) {
            let name = name.escape_debug();
            return Err(MailError::Denied(format!(
                "the header `{name}` is not a plugin's to set: only Message-ID, In-Reply-To, References and names that begin with X- are"
            )));
        }
        let name = HeaderName::new_from_ascii(name.clone()).map_err(|err| MailError::Denied(format!("`{name}`: {err}")))?;
        builder = builder.raw_header(HeaderValue::new(name, one_line(value)));
    }
    Ok(builder)
}

fn may_be_set(name: &str) -> bool {
    let thread = ["message-id", "in-reply-to", "references"].iter().any(|known| name.eq_ignore_ascii_case(known));
    let own = name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-"));
    (thread || own) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Replaces line breaks, which labels may have. A header with a line break would become two headers.
fn one_line(text: &str) -> String {
    let text: String = text.chars().take(HEADER_CHARS_MAX).map(|char| if char.is_control() { ' ' } else { char }).collect();
    text.trim().to_owned()
}
