//! Sends the request of a plugin: inserts the granted secrets, and removes them from the answer.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper_util::rt::TokioIo;
use pharos_model::error_chain::chain;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::policy::EgressPolicy;
use super::target::{Target, names};
use crate::bounded::{Bounded, Received};
use crate::plugin::contract::bindings::notifier::pharos::plugin::egress as wit;
use crate::plugin::import::disclosure::Disclosure;
use crate::plugin::import::tls;

/// Bytes of the body of an answer. A longer one is refused, since it would fill the memory.
const RESPONSE_BYTES_MAX: usize = 64 << 10;
/// Bytes of an answer as it arrives: heads, interim ones (100 to 199) among them, the body, and the frames of its pieces.
const ARRIVING_BYTES_MAX: usize = 4 * RESPONSE_BYTES_MAX;
/// Time that connecting to one address may take.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Time that a request may take. It is shorter than a notifier's wall time, so that the plugin gets the error.
const TOTAL_MAX: Duration = Duration::from_secs(9);

impl EgressPolicy {
    /// Sends a request. The case of an error shows whether anything can have reached the other side. Neither error nor answer holds a
    /// secret.
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

/// Refuses headers that frame the message: a plugin that set those could smuggle in another request.
fn free(name: HeaderName) -> Result<HeaderName, wit::EgressError> {
    const RESERVED: [&str; 9] =
        ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "keep-alive", "proxy-connection"];
    match RESERVED.contains(&name.as_str()) {
        true => Err(wit::EgressError::Denied(format!("the header `{name}` is the host's to set"))),
        false => Ok(name),
    }
}

/// Connects to the first address that answers.
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
