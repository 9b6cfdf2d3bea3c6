//! The progress of a mail over several tries: the recipients that accepted it and those that refused it.
//!
//! A mail that some recipients accepted is sent again to the others alone, under the same id. A recipient that defers too often is given
//! up. Otherwise a full mailbox would block the next mails to all others. For the next hour, no other mail waits for that recipient.

use std::collections::BTreeMap;

use pharos_plugin::mail::RecipientResult;
use pharos_plugin::{Outcome, Retry, log, state};
use serde::{Deserialize, Serialize};

use crate::settings::Recipient;

/// Tries for a recipient that defers a mail which others accepted. The host's pauses add up to about three minutes, enough for greylisting.
pub(crate) const ATTEMPTS_MAX: u32 = 5;
/// The lifetime of stored progress. The host gives up a message earlier, so no try loses its progress.
const STORED_SECONDS: u32 = 4 * 24 * 3_600;
/// The time for which a slow recipient gets only a single try per mail.
const SLOW_SECONDS: u32 = 3_600;

/// The results of a mail so far, by mail address.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    taken: Vec<String>,
    refused: BTreeMap<String, String>,
    /// Recipients that were given up because they deferred too often.
    #[serde(skip)]
    slow: Vec<String>,
    /// Recipients that deferred the mail at the latest try, each with the reason.
    #[serde(skip)]
    waiting: BTreeMap<String, String>,
}

impl Progress {
    pub(crate) fn is_open(&self, email: &str) -> bool {
        !self.taken.iter().any(|taken| taken == email) && !self.refused.contains_key(email)
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.len()
    }

    /// Adds the results of a try, in the order of `asked`. `patience` is the number of tries of a recipient once another recipient has
    /// accepted the mail.
    pub(crate) fn add_results(
        &mut self,
        asked: &[&Recipient],
        results: Vec<RecipientResult>,
        attempt: u32,
        patience: impl Fn(&str) -> u32,
    ) {
        for (recipient, result) in asked.iter().zip(results) {
            let email = recipient.email.clone();
            match result {
                RecipientResult::Accepted => self.taken.push(email),
                RecipientResult::Rejected(why) => drop(self.refused.insert(email, why)),
                RecipientResult::Transient(why) => drop(self.waiting.insert(email, why)),
            }
        }
        if self.taken.is_empty() {
            return;
        }
        for (email, why) in std::mem::take(&mut self.waiting) {
            if attempt < patience(&email) {
                self.waiting.insert(email, why);
            } else {
                self.refused.insert(email.clone(), format!("deferred {attempt} times, last answer: {why}"));
                self.slow.push(email);
            }
        }
    }

    pub(crate) fn refuse_the_rest(&mut self, to: &[Recipient], why: &str) {
        for recipient in to {
            if self.is_open(&recipient.email) {
                self.refused.insert(recipient.email.clone(), why.to_owned());
            }
        }
    }

    pub(crate) fn outcome(&self, to: &[Recipient]) -> Outcome {
        let texts = |of: &BTreeMap<String, String>| of.iter().map(|(email, why)| format!("{email}: {why}")).collect::<Vec<_>>().join("; ");
        match (self.waiting.is_empty(), self.taken.is_empty(), self.refused.is_empty()) {
            (false, true, _) => Outcome::Retry(Retry { after_ms: None, why: texts(&self.waiting) }),
            // After `Retry` the host may group the alerts anew under another id. The progress of this id would then be lost.
            (false, false, _) => {
                Outcome::Ambiguous(format!("{} of {} have it; not yet {}", self.taken.len(), to.len(), texts(&self.waiting)))
            }
            (true, true, false) => Outcome::Rejected(texts(&self.refused)),
            (true, _, true) => Outcome::Accepted(None),
            (true, false, false) => {
                let refused = (0..).zip(to).filter_map(|(index, recipient)| Some((index, self.refused.get(&recipient.email)?)));
                Outcome::Partial(refused.map(|(index, why)| (index, format!("{}: {why}", to[index as usize].email))).collect())
            }
        }
    }
}

fn key(message: &str) -> String {
    format!("progress/{message}")
}

fn slow_key(email: &str) -> String {
    format!("slow/{email}")
}

pub(crate) fn load(message: &str) -> Progress {
    match state::get(&key(message)) {
        Ok(Some(bytes)) => serde_json::from_slice(&bytes).unwrap_or_default(),
        Ok(None) => Progress::default(),
        Err(err) => {
            log::warn(
                "cannot load the progress of a mail; it goes to all recipients",
                &[("message", &message), ("error", &format!("{err:?}"))],
            );
            Progress::default()
        }
    }
}

pub(crate) fn is_slow(email: &str) -> bool {
    matches!(state::get(&slow_key(email)), Ok(Some(_)))
}

/// Stores the progress for the next try, or removes it if there will be none.
pub(crate) fn store(message: &str, known: &Progress, progress: &Progress, outcome: &Outcome) {
    let comes_again = matches!(outcome, Outcome::Ambiguous(_) | Outcome::Retry(_) | Outcome::Unauthorised(_));
    let stored = if comes_again && progress.taken() > 0 {
        let bytes = serde_json::to_vec(progress).expect("texts are always JSON");
        state::put(&key(message), &bytes, Some(STORED_SECONDS))
    } else if *known != Progress::default() {
        state::delete(&key(message))
    } else {
        Ok(())
    };
    let slow = progress.slow.iter().map(|email| state::put(&slow_key(email), b"", Some(SLOW_SECONDS)));
    for err in slow.chain([stored]).filter_map(Result::err) {
        log::warn(
            "cannot store the progress of a mail; recipients may get it twice",
            &[("message", &message), ("error", &format!("{err:?}"))],
        );
    }
}
