//! The `egress` import: HTTP that the host sends for a notifier.
//!
//! A plugin names a host and secrets; the operator granted both or neither. The name is resolved here, every address it has is checked,
//! and the connection goes to an address that was checked, so that a name cannot change its mind in between. Redirects are answers, not
//! orders. A name is spoken to over HTTPS, unless its grant begins with `http://`; whoever grants an address knows the way to it.

pub mod address;
mod grants;
mod sign;
mod target;

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tracing::warn;
use url::{Host, Url};

use self::grants::HostGrant;
use self::target::{Target, names};
use super::disclosure::Disclosure;
use super::imports::HostState;
use super::tls;
use crate::bounded::{Bounded, Received};
use crate::clock::Clock;
use crate::config::plugins::Grants;
use crate::config::secret::SecretSource;
use crate::plugin::contract::bindings::notifier::pharos::plugin::egress as wit;
use crate::telemetry::logs::chain;

/// Bytes of an answer that are read.
const RESPONSE_BYTES_MAX: usize = 64 << 10;
/// Bytes of an answer as it arrives: its heads, interim ones (100 to 199) among them, its body, and what frames the pieces of the body.
const ARRIVING_BYTES_MAX: usize = 4 * RESPONSE_BYTES_MAX;
const CONNECT_MAX: Duration = Duration::from_secs(3);
const RESOLVE_MAX: Duration = Duration::from_secs(5);
/// Shorter than a notifier's wall time, so that the plugin learns of it.
const TOTAL_MAX: Duration = Duration::from_secs(9);

/// What one plugin may send, and to whom.
#[derive(Debug, Clone)]
pub struct EgressPolicy {
    plugin: String,
    hosts: Vec<HostGrant>,
    secrets: BTreeMap<String, SecretSource>,
    tasks: TaskTracker,
    clock: Clock,
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

    /// Sends a request. An error says whether anything can have reached the other side. Neither error nor answer holds a secret.
    pub async fn send(&self, request: wit::Request) -> Result<wit::Response, wit::EgressError> {
        let mut sent = false;
        let mut disclosure = Disclosure::default();
        let answer = match tokio::time::timeout(TOTAL_MAX, self.exchange(request, &mut sent, &mut disclosure)).await {
            Ok(answer) => answer,
            Err(_) if sent => Err(wit::EgressError::Ambiguous(format!("no answer within {TOTAL_MAX:?}"))),
            Err(_) => Err(wit::EgressError::NotSent(format!("no connection within {TOTAL_MAX:?}"))),
        };
        cleaned(answer, &disclosure)
    }

    async fn exchange(
        &self,
        request: wit::Request,
        sent: &mut bool,
        disclosure: &mut Disclosure,
    ) -> Result<wit::Response, wit::EgressError> {
        let target = self.target(&request.url, disclosure).await?;
        let addresses = self.checked_addresses(&target).await?;
        let prepared = self.prepare(&target.url, request, disclosure).await?;
        let stream = connect(&target, &addresses).await?;
        if target.url.scheme() == "https" {
            let stream = tls::encrypt(stream, target.host(), None).await.map_err(wit::EgressError::NotSent)?;
            self.transfer(stream, prepared, sent).await
        } else {
            self.transfer(stream, prepared, sent).await
        }
    }

    async fn text(&self, parts: &[wit::Text], disclosure: &mut Disclosure) -> Result<String, wit::EgressError> {
        let mut text = String::new();
        for part in parts {
            match part {
                wit::Text::Plain(plain) => text.push_str(plain),
                wit::Text::Secret(name) => text.push_str(&self.secret(name, disclosure).await?),
            }
        }
        Ok(text)
    }

    /// The value of a granted secret. The plugin learns its name and no more, not even the path of its file.
    async fn secret(&self, name: &str, disclosure: &mut Disclosure) -> Result<String, wit::EgressError> {
        let Some(source) = self.secrets.get(name) else {
            let plugin = &self.plugin;
            return Err(wit::EgressError::Denied(format!(
                "the secret \"{name}\" is not granted; define it under [secret] and add to [plugin.{plugin}]: grants = {{ secrets = [\"{name}\"] }}"
            )));
        };
        let secret = source.read().await.map_err(|err| {
            warn!(plugin = self.plugin, secret = name, error = chain(&err), "the secret \"{name}\" cannot be read");
            let cause = err.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            wit::EgressError::NotSent(format!("the secret \"{name}\" cannot be read{cause}"))
        })?;
        disclosure.note(secret.expose());
        Ok(secret.expose().to_owned())
    }

    async fn target(&self, parts: &[wit::Text], disclosure: &mut Disclosure) -> Result<Target, wit::EgressError> {
        let text = self.text(parts, disclosure).await?;
        let secrets = names(parts);
        let (with, holds) = match secrets.is_empty() {
            true => (String::new(), String::new()),
            false => (format!(" with {secrets} in it"), format!(", or {secrets} does")),
        };
        // The text may hold a secret, so no error repeats it.
        let url = Url::parse(&text).map_err(|err| wit::EgressError::Denied(format!("the URL is not valid{with}: {err}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(wit::EgressError::Denied(format!("the URL must begin with https:// or http:// and name a host{with}")));
        }
        if !url.username().is_empty() || url.password().is_some() {
            let why = format!("the URL holds a user or password{holds}; use a header with a secret instead");
            return Err(wit::EgressError::Denied(why));
        }
        let target = Target::new(url, parts);
        target.hide(disclosure);
        Ok(target)
    }

    /// Why a URL is refused, as far as it can be told before its host is looked up. What is no URL is for others to refuse.
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

    /// The addresses to connect to: granted by name and public, or granted as addresses. One that is neither spoils them all, since a name
    /// that leads inside and outside at once does so on purpose.
    async fn checked_addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, wit::EgressError> {
        let (url, host, shown) = (&target.url, target.host(), target.shown());
        let port = url.port_or_known_default().unwrap_or(443);
        // What a grant would name, unless that is not the plugin's to know.
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

    async fn prepare(
        &self,
        url: &Url,
        request: wit::Request,
        disclosure: &mut Disclosure,
    ) -> Result<hyper::Request<Full<Bytes>>, wit::EgressError> {
        let invalid = |what: &str| wit::EgressError::Denied(format!("the request's {what} is not valid HTTP"));
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let mut builder = hyper::Request::builder().method(request.method.as_str()).uri(target);
        let host = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
            None => url.host_str().unwrap_or_default().to_owned(),
        };
        builder = builder.header(HOST, host);
        for header in &request.headers {
            let name = HeaderName::try_from(&header.name).map_err(|_| invalid("header name"))?;
            let text = self.text(&header.value, disclosure).await?;
            let value = HeaderValue::try_from(text).map_err(|_| match names(&header.value) {
                secrets if secrets.is_empty() => invalid("header value"),
                secrets => invalid(&format!("header `{name}` with {secrets} in it")),
            })?;
            builder = builder.header(free(name)?, value);
        }
        if let Some(signing) = &request.signing {
            for (name, value) in self.signature(signing, &request, disclosure).await? {
                let name = HeaderName::try_from(&name).map_err(|_| invalid("signature's header name"))?;
                builder = builder.header(free(name)?, value);
            }
        }
        builder.body(Full::new(Bytes::from(request.body))).map_err(|_| invalid("method or URL"))
    }

    async fn transfer(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        request: hyper::Request<Full<Bytes>>,
        sent: &mut bool,
    ) -> Result<wit::Response, wit::EgressError> {
        let received = Received::at_most(ARRIVING_BYTES_MAX);
        let not_sent = |err: hyper::Error| wit::EgressError::NotSent(chain(&err));
        let (mut sender, connection) = http1::handshake(TokioIo::new(Bounded::new(stream, received.clone()))).await.map_err(not_sent)?;
        // The connection must be driven while the answer is awaited; it ends with this call.
        let _driver = AbortOnDropHandle::new(self.tasks.spawn(async move {
            let _ = connection.await;
        }));
        *sent = true;
        let ambiguous = |err: hyper::Error| wit::EgressError::Ambiguous(chain(&err));
        let response = sender.send_request(request).await.map_err(ambiguous)?;
        let status = response.status().as_u16();
        let header =
            |(name, value): (&HeaderName, &HeaderValue)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned());
        let headers = response.headers().iter().map(header).collect();
        let body = read_body(response.into_body()).await?;
        Ok(wit::Response { status, headers, body })
    }
}

/// The answer without the secrets that went into the request.
fn cleaned(answer: Result<wit::Response, wit::EgressError>, disclosure: &Disclosure) -> Result<wit::Response, wit::EgressError> {
    match answer {
        Ok(response) => Ok(wit::Response {
            status: response.status,
            headers: response.headers.into_iter().map(|(name, value)| (name, disclosure.text(&value))).collect(),
            body: disclosure.bytes(response.body),
        }),
        Err(wit::EgressError::Denied(why)) => Err(wit::EgressError::Denied(disclosure.text(&why))),
        Err(wit::EgressError::NotSent(why)) => Err(wit::EgressError::NotSent(disclosure.text(&why))),
        Err(wit::EgressError::Ambiguous(why)) => Err(wit::EgressError::Ambiguous(disclosure.text(&why))),
        Err(wit::EgressError::TooLarge(bytes)) => Err(wit::EgressError::TooLarge(bytes)),
    }
}

/// The header, if it is not one that frames the message: a plugin that set those could smuggle in another request.
fn free(name: HeaderName) -> Result<HeaderName, wit::EgressError> {
    const RESERVED: [&str; 9] =
        ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "keep-alive", "proxy-connection"];
    match RESERVED.contains(&name.as_str()) {
        true => Err(wit::EgressError::Denied(format!("the header `{name}` is the host's to set"))),
        false => Ok(name),
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

/// Connects to the first that answers.
async fn connect(target: &Target, addresses: &[SocketAddr]) -> Result<TcpStream, wit::EgressError> {
    let mut whys = Vec::new();
    for address in addresses {
        let shown = if target.is_hidden() { format!("the host {}", target.shown()) } else { address.to_string() };
        match tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(err)) => whys.push(format!("connecting to {shown}: {err}")),
            Err(_) => whys.push(format!("no connection to {shown} within {CONNECT_MAX:?}")),
        }
    }
    Err(wit::EgressError::NotSent(whys.join("; ")))
}

async fn read_body(mut body: hyper::body::Incoming) -> Result<Vec<u8>, wit::EgressError> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|err| wit::EgressError::Ambiguous(chain(&err)))?;
        let Some(data) = frame.data_ref() else { continue };
        if bytes.len() + data.len() > RESPONSE_BYTES_MAX {
            return Err(wit::EgressError::TooLarge(RESPONSE_BYTES_MAX as u64));
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes.to_vec())
}

impl wit::Host for HostState {
    async fn send(&mut self, request: wit::Request) -> wasmtime::Result<Result<wit::Response, wit::EgressError>> {
        let plugin = Arc::clone(&self.plugin);
        Ok(plugin.egress.send(request).await)
    }
}
