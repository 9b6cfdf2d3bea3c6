//! A small HTTP client: one request on one connection, bounded in time and bytes.
//!
//! [`Client`] sends and reads the types of this interface. [`exchange`] sends any request and returns any answer, for tests and benchmarks.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio_util::task::TaskTracker;
use url::Url;

use super::error::ErrorAnswer;

/// Longest wait for a connection. A reachable machine accepts within milliseconds; a longer wait would only look like a hanging command.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Longest wait for an answer. The deadlines of the API are shorter, so that its own error arrives first.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Largest answer that is read, in bytes. Without a limit, another program at this address could fill this machine's memory.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why a request has no answer of the expected type.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Url(#[from] url::ParseError),
    #[error("no agent answers at {address}; is `pharos run` running, with this config?")]
    Absent { address: String },
    #[error("{url}: no answer within {ANSWER_MAX:?}")]
    Deadline { url: Url, source: Elapsed },
    #[error(transparent)]
    Connection(#[from] hyper::Error),
    #[error(transparent)]
    Request(#[from] hyper::http::Error),
    #[error("reading the answer: {0}")]
    Body(String),
    #[error("{url} answers {status} and no JSON; is a Pharos agent running there?")]
    NoJson { url: Url, status: StatusCode, source: serde_json::Error },
    /// The agent answered with an error; the text is the agent's own.
    #[error("{0}")]
    Refused(String),
}

/// The empty body of a request that changes something. Such requests must carry JSON even if they need no values.
#[derive(Debug, Serialize)]
pub struct EmptyBody {}

/// A client of one agent.
pub struct Client {
    base: Url,
    /// The whole header, marked as secret.
    authorization: Option<HeaderValue>,
}

impl Client {
    /// Creates a client for the agent at `base`. A token that cannot be a header is left out, and then the agent refuses the request.
    pub fn new(base: Url, token: Option<&str>) -> Self {
        let header = token.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok());
        let authorization = header.map(|mut header| {
            header.set_sensitive(true);
            header
        });
        Self { base, authorization }
    }

    /// Reads `path`. Each field of `query` that is not null becomes a parameter.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &impl Serialize) -> Result<T, ClientError> {
        let mut url = self.base.join(path)?;
        for (name, value) in parameters(query) {
            url.query_pairs_mut().append_pair(&name, &value);
        }
        self.send(Method::GET, url, None).await
    }

    /// Sends a request that changes something.
    pub async fn change<T: DeserializeOwned>(&self, method: Method, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body = serde_json::to_value(body).unwrap_or_default();
        self.send(method, self.base.join(path)?, Some(body)).await
    }

    async fn send<T: DeserializeOwned>(&self, method: Method, url: Url, body: Option<Value>) -> Result<T, ClientError> {
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
        let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let mut request = Request::builder().method(method).uri(target).header(HOST, format!("{host}:{port}"));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let answer = tokio::time::timeout(ANSWER_MAX, exchange(host, port, request.body(body)?)).await;
        let answer = answer.map_err(|source| ClientError::Deadline { url: url.clone(), source })??;
        let (status, bytes) = (answer.status(), answer.body());
        let no_json = |source| ClientError::NoJson { url: url.clone(), status, source };
        if status.is_success() {
            return serde_json::from_slice(bytes).map_err(no_json);
        }
        Err(refusal(&serde_json::from_slice(bytes).map_err(no_json)?))
    }
}

/// The fields of a query as parameters.
fn parameters(query: &impl Serialize) -> Vec<(String, String)> {
    let Ok(Value::Object(fields)) = serde_json::to_value(query) else { return Vec::new() };
    let parameter = |(name, value)| match value {
        Value::Null => None,
        Value::String(text) => Some((name, text)),
        other => Some((name, other.to_string())),
    };
    fields.into_iter().filter_map(parameter).collect()
}

/// Converts an error answer of the agent. Its message and hint become the text of the error.
fn refusal(answer: &Value) -> ClientError {
    ClientError::Refused(match serde_json::from_value::<ErrorAnswer>(answer.clone()) {
        Ok(ErrorAnswer { error }) => format!("{}{}", error.message, error.hint.map(|hint| format!("; {hint}")).unwrap_or_default()),
        Err(_) => "the agent refused the request without a reason".to_owned(),
    })
}

/// Sends a request on a new connection and reads the whole answer, with any status. Dropping the future closes the connection.
pub async fn exchange(host: &str, port: u16, request: Request<Bytes>) -> Result<Response<Bytes>, ClientError> {
    let absent = || ClientError::Absent { address: format!("http://{host}:{port}") };
    let connecting = TcpStream::connect((host.trim_matches(['[', ']']), port));
    let stream = tokio::time::timeout(CONNECT_MAX, connecting).await.map_err(|_| absent())?.map_err(|_| absent())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let driver = TaskTracker::new().spawn(connection);
    let (head, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
    let bytes = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    driver.abort();
    let bytes = bytes.map_err(|err| ClientError::Body(err.to_string()))?;
    Ok(Response::from_parts(head, bytes.to_bytes()))
}
