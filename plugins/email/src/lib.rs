//! A notifier that sends mail: text and HTML, a thread for each incident, and a result for each recipient.

mod letter;
mod progress;
mod settings;
mod subject;
mod thread;

use pharos_plugin::mail::{self, Mail, MailError};
use pharos_plugin::{Description, Failure, Message, Notifier, Outcome, Plugin, Retry, export_notifier};

use crate::letter::Letters;
use crate::progress::Progress;
use crate::settings::{Recipient, Settings};

pub struct Email {
    settings: Settings,
    letters: Letters,
}

export_notifier!(Email);

impl Plugin for Email {
    type Settings = Settings;

    const DESCRIPTION: Description = Description {
        id: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: "mails alerts, one thread per incident",
        settings_schema: include_str!("../schema.json"),
        wants: &[("mail", "to send through the relay of the receiver's settings")],
    };

    fn new(settings: Settings) -> Result<Self, Failure> {
        settings.check()?;
        Ok(Self { settings, letters: Letters::new() })
    }
}

impl Notifier for Email {
    fn deliver(&self, message: &Message) -> Result<Outcome, Failure> {
        let known = progress::load(&message.id);
        let mut progress = known.clone();
        let open: Vec<&Recipient> = self.settings.to.iter().filter(|recipient| progress.is_open(&recipient.email)).collect();
        if open.is_empty() {
            return Ok(progress.outcome(&self.settings.to));
        }
        let sent = mail::send(&self.settings.relay, &self.mail(message, &open)?);
        let outcome = match sent {
            Ok(results) => {
                let patience = |email: &str| if progress::is_slow(email) { 1 } else { progress::ATTEMPTS_MAX };
                progress.add_results(&open, results, message.attempt, patience);
                progress.outcome(&self.settings.to)
            }
            Err(err) => failed(err, &mut progress, &self.settings.to)?,
        };
        progress::store(&message.id, &known, &progress, &outcome);
        Ok(outcome)
    }
}

impl Email {
    fn mail(&self, message: &Message, open: &[&Recipient]) -> Result<Mail, Failure> {
        let thread = thread::from_message(message);
        let (text, html) = self.letters.write(message)?;
        let headers = [
            ("Message-ID", thread.message_id),
            ("In-Reply-To", thread.in_reply_to),
            ("References", thread.references),
            ("X-Pharos-Message", message.id.clone()),
            ("X-Pharos-Agent", message.agent.clone()),
            // Without this header Exchange answers with holiday notices, even if `Auto-Submitted` is set.
            ("X-Auto-Response-Suppress", "All".to_owned()),
        ];
        Ok(Mail {
            to: open.iter().map(|recipient| mail::Address { name: recipient.name.clone(), email: recipient.email.clone() }).collect(),
            subject: subject::line(message),
            text,
            html: Some(html),
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        })
    }
}

/// The outcome if the relay did not report a result for each recipient.
fn failed(err: MailError, progress: &mut Progress, to: &[Recipient]) -> Result<Outcome, Failure> {
    let is_partly_accepted = progress.taken() > 0;
    match err {
        MailError::Denied(why) => Err(Failure::Denied(why)),
        MailError::Rejected(why) => {
            progress.refuse_the_rest(to, &why);
            Ok(progress.outcome(to))
        }
        // The progress is stored under the id of the message. Only `Ambiguous` guarantees the same id at the next try.
        MailError::Transient(why) | MailError::Unauthorised(why) if is_partly_accepted => Ok(Outcome::Ambiguous(why)),
        MailError::Transient(why) => Ok(Outcome::Retry(Retry { after_ms: None, why })),
        MailError::Unauthorised(why) => Ok(Outcome::Unauthorised(why)),
        MailError::Ambiguous(why) => Ok(Outcome::Ambiguous(why)),
    }
}

#[cfg(test)]
mod tests;
