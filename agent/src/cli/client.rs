//! Questions to a running agent, over its own API.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Method;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use pharos_model::text::steers;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::config::secret::{Secret, SecretSource};
use crate::config::{self, Config};
use crate::http::operator;
use crate::store::StoreReader;

const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Longer than the API takes for any answer.
const ANSWER_MAX: Duration = Duration::from_secs(15);
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Where the agent is.
#[derive(Debug, Clone, clap::Args)]
pub struct Reach {
    /// Config file of the agent [default: ./pharos.toml, then /etc/pharos/pharos.toml]
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Address of its API, like http://127.0.0.1:9465 [default: as its config file says]
    #[arg(long)]
    url: Option<Url>,
    /// File with a token [default: the environment variable PHAROS_TOKEN, then operator.token in the agent's data directory]
    #[arg(long)]
    token_file: Option<PathBuf>,
}

/// Nobody listens where the agent should.
#[derive(Debug, thiserror::Error)]
#[error("no agent answers at {address}; is `pharos run` running, with this config?")]
pub struct Absent {
    address: String,
}

impl Reach {
    /// What a running agent answers, or what `read` finds in the store of one that is stopped.
    pub async fn ask_or_read(
        &self,
        answer: impl Future<Output = anyhow::Result<Value>>,
        read: impl FnOnce(&StoreReader) -> anyhow::Result<Value>,
    ) -> anyhow::Result<Value> {
        match answer.await {
            // Whoever names an address means an agent that runs there.
            Err(err) if self.url.is_none() && err.downcast_ref::<Absent>().is_some() => {
                let config = config::load(&config::find(self.config.as_deref())?)?;
                read(&StoreReader::open(&config.agent.data_dir)?)
            }
            answered => answered,
        }
    }
}

pub struct Client {
    base: Url,
    token: Option<Secret>,
}

impl Client {
    pub fn new(reach: &Reach) -> anyhow::Result<Self> {
        let (base, own) = match &reach.url {
            // The token of the agent on this machine is for no other one.
            Some(url) if url.scheme() == "http" => (url.clone(), None),
            Some(url) => bail!("--url {url}: the API of an agent begins with http://"),
            None => {
                let config = config::load(&config::find(reach.config.as_deref())?)?;
                (address(&config)?, operator::read(&config.agent.data_dir).ok())
            }
        };
        let token = match &reach.token_file {
            Some(path) => Some(SecretSource::read_once(path)?),
            None => SecretSource::Env("PHAROS_TOKEN".to_owned()).read_now().ok().or(own),
        };
        Ok(Self { base, token })
    }

    pub async fn get(&self, path: &str, query: &[(&str, Option<&str>)]) -> anyhow::Result<Value> {
        let mut url = self.base.join(path)?;
        for (name, value) in query.iter().filter_map(|(name, value)| Some((name, (*value)?))) {
            url.query_pairs_mut().append_pair(name, value);
        }
        self.send(Method::GET, &url, None).await
    }

    /// A request that changes something.
    pub async fn change(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(method, &self.base.join(path)?, Some(body)).await
    }

    async fn send(&self, method: Method, url: &Url, body: Option<&Value>) -> anyhow::Result<Value> {
        let answer = tokio::time::timeout(ANSWER_MAX, self.exchange(method, url, body)).await;
        let (status, bytes) = answer.with_context(|| format!("{url}: no answer within {ANSWER_MAX:?}"))??;
        let value: Value =
            serde_json::from_slice(&bytes).with_context(|| format!("{url} answers {status} and no JSON; is it a Pharos?"))?;
        if !status.is_success() {
            let text = |key: &str| value["error"][key].as_str();
            let hint = text("hint").map(|hint| format!("; {hint}")).unwrap_or_default();
            bail!("{}{hint}", text("message").unwrap_or("the agent refused it without a reason"));
        }
        Ok(value)
    }

    async fn exchange(&self, method: Method, url: &Url, body: Option<&Value>) -> anyhow::Result<(hyper::StatusCode, Bytes)> {
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
        let connecting = TcpStream::connect((host.trim_matches(['[', ']']), port));
        let absent = || Absent { address: format!("http://{host}:{port}") };
        let stream = tokio::time::timeout(CONNECT_MAX, connecting).await.map_err(|_| absent())?.map_err(|_| absent())?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = TaskTracker::new().spawn(connection);
        let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let mut request = hyper::Request::builder().method(method).uri(target).header(HOST, format!("{host}:{port}"));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        let bytes = match body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Bytes::from(body.to_string())
            }
            None => Bytes::new(),
        };
        let response = sender.send_request(request.body(Full::new(bytes))?).await?;
        let status = response.status();
        let bytes = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        driver.abort();
        let bytes = bytes.map_err(|err| anyhow::anyhow!("reading the answer: {err}"))?;
        Ok((status, bytes.to_bytes()))
    }
}

/// Where the config lets the agent listen.
fn address(config: &Config) -> anyhow::Result<Url> {
    let mut address: SocketAddr = config.http.address().map_err(anyhow::Error::msg)?;
    if address.port() == 0 {
        bail!("http.listen takes any free port, so nobody knows which; name it with --url");
    }
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    Ok(Url::parse(&format!("http://{address}"))?)
}

/// Who says it, unless they say who they are.
pub fn author(named: Option<String>) -> Option<String> {
    named.or_else(|| std::env::var("USER").ok().filter(|user| !user.is_empty()))
}

/// What an answer lists.
pub fn items(answer: &Value) -> &[Value] {
    answer["items"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A text of an answer as a terminal may show it: what came from outside must not steer it.
pub fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars().map(|char| if steers(char) && char != '\n' { '\u{fffd}' } else { char }).collect()
}
