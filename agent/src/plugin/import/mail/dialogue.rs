//! Dialogue with a relay: its commands, and what each answer means for the whole mail or for one recipient.

use std::fmt;

use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use pharos_model::error_chain::chain;

use super::compose::Composed;
use crate::plugin::contract::bindings::notifier::pharos::plugin::mail::{MailError, RecipientResult};

/// Stage of a dialogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Connecting,
    LoggingIn,
    NamingTheSender,
    NamingRecipients,
    /// The relay is asked whether the content may come.
    Announcing,
    /// The content goes out, its last dot included: from here on it may have arrived.
    HandingOver,
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Connecting => "connecting",
            Self::LoggingIn => "logging in",
            Self::NamingTheSender => "naming the sender",
            Self::NamingRecipients => "naming recipients",
            Self::Announcing => "announcing the mail",
            Self::HandingOver => "handing the mail over",
        })
    }
}

/// Meaning of a failed command.
enum Refusal {
    /// The relay closes, or is gone.
    Lost(String),
    Transient(String),
    Permanent(u16, String),
}

fn refusal(err: &Error) -> Refusal {
    let why = chain(err);
    match err.status().map(u16::from) {
        None | Some(421) => Refusal::Lost(why),
        Some(code) if err.is_permanent() => Refusal::Permanent(code, why),
        Some(_) => Refusal::Transient(why),
    }
}

/// Logs in, over a connection that is encrypted: the config allows no other.
pub(super) async fn log_in(connection: &mut AsyncSmtpConnection, credentials: &Credentials, stage: &mut Stage) -> Result<(), MailError> {
    *stage = Stage::LoggingIn;
    let known = [Mechanism::Plain, Mechanism::Login];
    if connection.server_info().get_auth_mechanism(&known).is_none() {
        return Err(MailError::Unauthorised(
            "the relay offers neither AUTH PLAIN nor AUTH LOGIN; remove `username` if it wants none".to_owned(),
        ));
    }
    match connection.auth(&known, credentials).await.map_err(|err| refusal(&err)) {
        Ok(_) => Ok(()),
        Err(Refusal::Permanent(_, why)) => Err(MailError::Unauthorised(format!("{stage}: {why}"))),
        Err(Refusal::Transient(why) | Refusal::Lost(why)) => Err(MailError::Transient(format!("{stage}: {why}"))),
    }
}

/// Hands a mail over, and returns the result of each recipient. A refused recipient does not prevent the others from getting it.
pub(super) async fn hand_over(
    connection: &mut AsyncSmtpConnection,
    mail: &Composed,
    stage: &mut Stage,
) -> Result<Vec<RecipientResult>, MailError> {
    *stage = Stage::NamingTheSender;
    if let Err(err) = connection.command(Mail::new(Some(mail.sender.clone()), Vec::new())).await {
        return Err(sender_refused(&err));
    }
    *stage = Stage::NamingRecipients;
    let mut results = Vec::new();
    for recipient in &mail.recipients {
        results.push(match recipient {
            Err(why) => RecipientResult::Rejected(why.clone()),
            Ok(address) => {
                let named = connection.command(Rcpt::new(address.clone(), Vec::new())).await;
                answer(named.map(drop), *stage)?
            }
        });
    }
    if !results.iter().any(is_accepted) {
        return Ok(results);
    }
    *stage = Stage::Announcing;
    let announced = answer(connection.command(Data).await.map(drop), *stage)?;
    let taken = if is_accepted(&announced) {
        *stage = Stage::HandingOver;
        match connection.message(&mail.bytes).await {
            // Without a reply the mail may have arrived. With a reply it was read and refused.
            Err(err) if err.status().is_none() => return Err(MailError::Ambiguous(format!("{stage}: {}", chain(&err)))),
            handed => match handed.map(drop) {
                Err(err) if err.is_transient() => RecipientResult::Transient(format!("{stage}: {}", chain(&err))),
                handed => answer(handed, *stage)?,
            },
        }
    } else {
        announced
    };
    for result in results.iter_mut().filter(|result| is_accepted(result)) {
        result.clone_from(&taken);
    }
    Ok(results)
}

fn is_accepted(result: &RecipientResult) -> bool {
    matches!(result, RecipientResult::Accepted)
}

fn answer(reply: Result<(), Error>, stage: Stage) -> Result<RecipientResult, MailError> {
    Ok(match reply.map_err(|err| refusal(&err)) {
        Ok(()) => RecipientResult::Accepted,
        Err(Refusal::Transient(why)) => RecipientResult::Transient(why),
        Err(Refusal::Permanent(_, why)) => RecipientResult::Rejected(why),
        Err(Refusal::Lost(why)) => return Err(MailError::Transient(format!("{stage}: {why}"))),
    })
}

fn sender_refused(err: &Error) -> MailError {
    let stage = Stage::NamingTheSender;
    match refusal(err) {
        // Authentication required, or not enough of it.
        Refusal::Permanent(530 | 535 | 538, why) => MailError::Unauthorised(format!("{stage}: {why}")),
        Refusal::Permanent(_, why) => MailError::Rejected(format!("{stage}: {why}")),
        Refusal::Transient(why) | Refusal::Lost(why) => MailError::Transient(format!("{stage}: {why}")),
    }
}
