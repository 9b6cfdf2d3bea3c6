//! Egress grants of one plugin: which hosts it may reach, and which secrets go into its requests.
//!
//! The host resolves a granted name, checks every address of it, and connects to an address that was checked. So a name cannot lead
//! elsewhere between check and connection.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pharos_model::error_chain::chain;
use tokio_util::task::TaskTracker;
use tracing::warn;
use url::{Host, Url};

use super::address;
use super::grants::HostGrant;
use super::target::Target;
use crate::clock::Clock;
use crate::config::plugins::Grants;
use crate::config::secret::SecretSource;
use crate::plugin::contract::bindings::notifier::pharos::plugin::egress as wit;
use crate::plugin::import::disclosure::Disclosure;

/// Time that looking up the name of a host may take.
const RESOLVE_MAX: Duration = Duration::from_secs(5);

/// Hosts and secrets that are granted to one plugin.
#[derive(Debug, Clone)]
pub struct EgressPolicy {
    plugin: String,
    hosts: Vec<HostGrant>,
    secrets: BTreeMap<String, SecretSource>,
    pub(super) tasks: TaskTracker,
    pub(super) clock: Clock,
}

impl EgressPolicy {
    /// `secrets` are all that the config names; only the granted ones can be used.
    pub fn new(plugin: &str, grants: &Grants, secrets: &BTreeMap<String, SecretSource>, tasks: TaskTracker, clock: Clock) -> Self {
        let granted = secrets.iter().filter(|(name, _)| grants.secrets.contains(name));
        Self {
            plugin: plugin.to_owned(),
            hosts: grants.egress.iter().map(|grant| HostGrant::parse(grant)).collect(),
            secrets: granted.map(|(name, source)| (name.clone(), source.clone())).collect(),
            tasks,
            clock,
        }
    }

    pub(super) async fn text(&self, parts: &[wit::Text], disclosure: &mut Disclosure) -> Result<String, wit::EgressError> {
        let mut text = String::new();
        for part in parts {
            match part {
                wit::Text::Plain(plain) => text.push_str(plain),
                wit::Text::Secret(name) => text.push_str(&self.secret(name, disclosure).await?),
            }
        }
        Ok(text)
    }

    /// The value of a granted secret. The plugin never sees the value, nor the path of its file.
    pub(super) async fn secret(&self, name: &str, disclosure: &mut Disclosure) -> Result<String, wit::EgressError> {
        let Some(source) = self.secrets.get(name) else {
            let plugin = &self.plugin;
            return Err(wit::EgressError::Denied(format!(
                "the secret \"{name}\" is not granted; define it under [secret] and add to [plugin.{plugin}]: grants = {{ secrets = [\"{name}\"] }}"
            )));
        };
        let secret = source.read().await.map_err(|err| {
            warn!(plugin = self.plugin, secret = name, error = chain(&err), "the secret \"{name}\" cannot be read");
            let cause = err.cause_for_plugin();
            wit::EgressError::NotSent(format!("the secret \"{name}\" cannot be read{cause}"))
        })?;
        disclosure.note(secret.expose());
        Ok(secret.expose().to_owned())
    }

    /// Reason why a URL is refused before its host is resolved. A text that is no URL is refused elsewhere.
    pub fn refusal(&self, url: &str) -> Option<String> {
        let url = Url::parse(url).ok()?;
        let port = url.port_or_known_default()?;
        let is_clear_text = url.scheme() == "http";
        let why = match url.host()? {
            Host::Domain(name) if self.hosts.iter().any(|grant| grant.covers_name(name, port, is_clear_text)) => return None,
            Host::Domain(name) if is_clear_text => self.denied(
                &format!("host `{name}` is not granted in clear text on port {port}; use https://, or"),
                &format!("http://{name}:{port}"),
            ),
            Host::Domain(name) => self.denied(&format!("host `{name}` is not granted on port {port};"), name),
            Host::Ipv4(ip) => self.literal(ip.into(), port)?,
            Host::Ipv6(ip) => self.literal(ip.into(), port)?,
        };
        match why {
            wit::EgressError::Denied(why) => Some(why),
            _ => None,
        }
    }

    fn literal(&self, ip: IpAddr, port: u16) -> Option<wit::EgressError> {
        let address = SocketAddr::new(ip, port);
        let granted = self.hosts.iter().any(|grant| grant.covers_address(ip, port));
        (!granted).then(|| self.denied(&format!("the address {address} is not granted;"), &address.to_string()))
    }

    /// The addresses to connect to. Each must be public with a granted name, or granted itself. A single other address refuses them all,
    /// since a name with both public and internal addresses is probably an attack.
    pub(super) async fn checked_addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, wit::EgressError> {
        let (url, host, shown) = (&target.url, target.host(), target.shown());
        let port = url.port_or_known_default().unwrap_or(443);
        // A grant names the host, unless the host is hidden from the plugin.
        let open = |grant: String| if target.is_hidden() { "HOST".to_owned() } else { grant };
        let literal = match url.host() {
            Some(Host::Ipv4(ip)) => Some(ip.into()),
            Some(Host::Ipv6(ip)) => Some(ip.into()),
            _ => None,
        };
        let is_clear_text = url.scheme() == "http";
        let named = self.hosts.iter().any(|grant| grant.covers_name(host, port, is_clear_text));
        let addresses: Vec<SocketAddr> = match literal {
            Some(ip) => vec![SocketAddr::new(ip, port)],
            None if named => resolve(target, port).await?,
            None if is_clear_text => {
                let why = format!("host {shown} is not granted in clear text; use https://, or");
                return Err(self.denied(&why, &format!("http://{}", open(host.to_owned()))));
            }
            None => return Err(self.denied(&format!("host {shown} is not granted;"), &open(host.to_owned()))),
        };
        for address in &addresses {
            let granted = self.hosts.iter().any(|grant| grant.covers_address(address.ip(), port));
            let public = literal.is_none() && address::is_public(address.ip());
            if !granted && !public {
                let what = if literal.is_some() { "is not granted" } else { "is internal, where a granted name never leads" };
                let why = match target.is_hidden() {
                    true => format!("the address of the host {shown} {what};"),
                    false => format!("{shown}: the address {} {what};", address.ip()),
                };
                return Err(self.denied(&why, &open(address.ip().to_string())));
            }
        }
        match addresses.is_empty() {
            true => Err(wit::EgressError::NotSent(format!("the host {shown} has no address"))),
            false => Ok(addresses),
        }
    }

    fn denied(&self, why: &str, grant: &str) -> wit::EgressError {
        let plugin = &self.plugin;
        wit::EgressError::Denied(format!("{why} to allow it, add to [plugin.{plugin}]: grants = {{ egress = [\"{grant}\"] }}"))
    }
}

async fn resolve(target: &Target, port: u16) -> Result<Vec<SocketAddr>, wit::EgressError> {
    let shown = target.shown();
    match tokio::time::timeout(RESOLVE_MAX, tokio::net::lookup_host((target.host(), port))).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(err)) => Err(wit::EgressError::NotSent(format!("the host {shown} cannot be resolved: {err}"))),
        Err(_) => Err(wit::EgressError::NotSent(format!("the host {shown} was not resolved within {RESOLVE_MAX:?}"))),
    }
}
