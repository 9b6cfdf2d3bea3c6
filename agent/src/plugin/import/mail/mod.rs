//! The `mail` import: SMTP that the host speaks for a notifier, through a relay of the operator.
//!
//! A plugin names a relay, the recipients and the text. The sender, the password and the encryption are the operator's. The mail is
//! offered to each recipient, and each has a result of its own.

mod compose;
mod dialogue;
mod policy;
mod wire;

pub(crate) use self::policy::MailPolicy;
