//! Mail grants of one plugin: the relays through which it may send, and one mail on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use pharos_model::error_chain::chain;
use tokio::time::Instant;
use tracing::warn;

use super::compose::{Composed, compose};
use super::dialogue::{self, Stage};
use super::wire;
use crate::clock::Clock;
use crate::config::plugins::Grants;
use crate::config::relay::RelayConfig;
use crate::plugin::contract::bindings::notifier::pharos::plugin::mail::{self as wit, MailError, RecipientResult};
use crate::plugin::import::disclosure::Disclosure;

/// Part of a call's wall time that is reserved for the plugin itself.
const WALL_LEFT: Duration = Duration::from_millis(900);
/// Time for QUIT after the relay accepted the mail. The mail is delivered, so a longer wait is of no use.
const GOODBYE_MAX: Duration = Duration::from_millis(300);

/// Relays through which one plugin may send mail.
#[derive(Debug, Clone)]
pub struct MailPolicy {
    plugin: String,
    granted: BTreeMap<String, RelayConfig>,
    known: BTreeSet<String>,
    /// Longest time for one mail, even if its relay allows more.
    patience: Duration,
    clock: Clock,
}

impl MailPolicy {
    /// `relays` are all that the config names; only the granted ones can be used. `wall` is what one call of the plugin may take.
    pub fn new(plugin: &str, grants: &Grants, relays: &BTreeMap<String, RelayConfig>, wall: Duration, clock: Clock) -> Self {
        let granted = relays.iter().filter(|(name, _)| grants.mail.contains(name));
        Self {
            plugin: plugin.to_owned(),
            granted: granted.map(|(name, relay)| (name.clone(), relay.clone())).collect(),
            known: relays.keys().cloned().collect(),
            patience: wall.saturating_sub(WALL_LEFT).max(wall / 2),
            clock,
        }
    }

    /// Sends a mail: one result per recipient, in order.
    pub async fn send(&self, name: &str, mail: &wit::Mail) -> Result<Vec<RecipientResult>, MailError> {
        let relay = self.relay(name)?;
        let composed = compose(relay, mail, self.clock.wall_ms())?;
        if composed.bytes.is_empty() {
            let refused = composed.recipients.into_iter().filter_map(Result::err);
            return Ok(refused.map(RecipientResult::Rejected).collect());
        }
        let mut stage = Stage::Connecting;
        let mut connection = None;
        let patience = relay.timeout.min(self.patience);
        let mut disclosure = Disclosure::default();
        let deadline = Instant::now() + patience;
        let credentials = self.credentials(name, relay, &mut disclosure).await?;
        let sent = tokio::time::timeout_at(deadline, converse(relay, credentials, &composed, &mut connection, &mut stage)).await;
        let relay = format!("relay \"{name}\"");
        let result = match sent {
            Ok(result) => result,
            Err(_) if stage == Stage::HandingOver => Err(MailError::Ambiguous(format!("{stage}: no answer within {patience:?}"))),
            Err(_) => Err(MailError::Transient(format!("{stage}: no answer within {patience:?}"))),
        };
        if let (Ok(_), Some(connection)) = (&result, &mut connection) {
            let _ = tokio::time::timeout(GOODBYE_MAX, connection.quit()).await;
        }
        match result {
            Ok(results) => Ok(results.into_iter().map(|result| without_secrets(result, &disclosure)).collect()),
            Err(err) => Err(named(&relay, err, &disclosure)),
        }
    }

    /// User and password for the relay. A plugin learns neither the password nor the path of its file.
    async fn credentials(&self, name: &str, relay: &RelayConfig, disclosure: &mut Disclosure) -> Result<Option<Credentials>, MailError> {
        let (Some(username), Some(password)) = (&relay.username, relay.password()) else { return Ok(None) };
        let password = password.read().await.map_err(|err| {
            warn!(plugin = self.plugin, relay = name, error = chain(&err), "the password of relay \"{name}\" cannot be read");
            let cause = err.cause_for_plugin();
            MailError::Transient(format!("the password of relay \"{name}\" cannot be read{cause}"))
        })?;
        let password = password.expose();
        // The password is hidden as AUTH PLAIN and AUTH LOGIN encode it, too.
        for value in [password.to_owned(), STANDARD.encode(password), STANDARD.encode(format!("\0{username}\0{password}"))] {
            disclosure.note(&value);
        }
        Ok(Some(Credentials::new(username.clone(), password.to_owned())))
    }

    fn relay(&self, name: &str) -> Result<&RelayConfig, MailError> {
        if let Some(relay) = self.granted.get(name) {
            return Ok(relay);
        }
        let plugin = &self.plugin;
        let grant = format!("add to [plugin.{plugin}]: grants = {{ mail = [\"{name}\"] }}");
        Err(MailError::Denied(match self.known.contains(name) {
            true => format!("the relay \"{name}\" is not granted; to allow it, {grant}"),
            false => {
                let known: Vec<&str> = self.known.iter().map(String::as_str).collect();
                let known = if known.is_empty() { "none is".to_owned() } else { format!("there is {}", known.join(", ")) };
                format!("no relay \"{name}\" is configured, {known}; define it with host and from under [relay.{name}], and {grant}")
            }
        }))
    }
}

/// Sends a mail over a new connection, and puts the connection into `left` for QUIT.
async fn converse(
    relay: &RelayConfig,
    credentials: Option<Credentials>,
    mail: &Composed,
    left: &mut Option<AsyncSmtpConnection>,
    stage: &mut Stage,
) -> Result<Vec<RecipientResult>, MailError> {
    let opened = tokio::time::timeout(relay.connect_timeout, wire::open(relay)).await;
    let transient = |why: String| MailError::Transient(format!("{}: {why}", Stage::Connecting));
    let opened = opened.map_err(|_| transient(format!("no greeting and hello within {:?}", relay.connect_timeout)))?;
    let connection = left.insert(opened.map_err(transient)?);
    if let Some(credentials) = &credentials {
        dialogue::log_in(connection, credentials, stage).await?;
    }
    dialogue::hand_over(connection, mail, stage).await
}

fn without_secrets(result: RecipientResult, disclosure: &Disclosure) -> RecipientResult {
    match result {
        RecipientResult::Accepted => RecipientResult::Accepted,
        RecipientResult::Transient(why) => RecipientResult::Transient(disclosure.text(&why)),
        RecipientResult::Rejected(why) => RecipientResult::Rejected(disclosure.text(&why)),
    }
}

/// The error with the name of the relay, and without the secrets that went to the relay.
fn named(relay: &str, err: MailError, disclosure: &Disclosure) -> MailError {
    let name = |why: String| format!("{relay}: {}", disclosure.text(&why));
    match err {
        MailError::Denied(why) => MailError::Denied(why),
        MailError::Transient(why) => MailError::Transient(name(why)),
        MailError::Rejected(why) => MailError::Rejected(name(why)),
        MailError::Unauthorised(why) => MailError::Unauthorised(name(why)),
        MailError::Ambiguous(why) => MailError::Ambiguous(name(why)),
    }
}
