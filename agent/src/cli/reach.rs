//! Address and token with which a command reaches a running agent.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::bail;
use url::Url;

use crate::api::client::{Client, ClientError};
use crate::config::secret::{Secret, SecretSource};
use crate::config::{self, Config};
use crate::http::operator;
use crate::store::StoreReader;

/// Options that name the agent to reach.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Reach {
    /// Config file of the agent [default: ./pharos.toml, then /etc/pharos/pharos.toml]
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Address of the agent's API, such as http://127.0.0.1:9465 [default: http.listen in its config file]
    #[arg(long)]
    url: Option<Url>,
    /// File with a token [default: the environment variable PHAROS_TOKEN, then operator.token in the agent's data directory]
    #[arg(long)]
    token_file: Option<PathBuf>,
}

impl Reach {
    /// A client for that agent.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let (base, own) = match &self.url {
            // The token of the agent on this machine must not be sent to another agent.
            Some(url) if url.scheme() == "http" => (url.clone(), None),
            Some(url) => bail!("--url {url}: the API of an agent begins with http://"),
            None => {
                let config = config::load(&config::find(self.config.as_deref())?)?;
                (address(&config)?, operator::read(&config.agent.data_dir).ok())
            }
        };
        let token = match &self.token_file {
            Some(path) => Some(SecretSource::read_once(path)?),
            None => SecretSource::Env("PHAROS_TOKEN".to_owned()).read_now().ok().or(own),
        };
        Ok(Client::new(base, token.as_ref().map(Secret::expose)))
    }

    /// The answer of a running agent, or what `read` finds in the store of a stopped one.
    pub(super) async fn ask_or_read<T>(
        &self,
        answer: impl Future<Output = anyhow::Result<T>>,
        read: impl FnOnce(&StoreReader) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        match answer.await {
            // With --url, the user means a running agent, so the store is not read instead.
            Err(err) if self.url.is_none() && matches!(err.downcast_ref(), Some(ClientError::Absent { .. })) => {
                let config = config::load(&config::find(self.config.as_deref())?)?;
                read(&StoreReader::open(&config.agent.data_dir)?)
            }
            answered => answered,
        }
    }
}

/// Address of the API according to the config.
fn address(config: &Config) -> anyhow::Result<Url> {
    let mut address: SocketAddr = config.http.address().map_err(anyhow::Error::msg)?;
    if address.port() == 0 {
        bail!("http.listen takes any free port, so the config does not show the address; name it with --url");
    }
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    Ok(Url::parse(&format!("http://{address}"))?)
}

/// The author of a silence or an acknowledgement: the name on the command line, else `$USER`.
pub(super) fn author(named: Option<String>) -> Option<String> {
    named.or_else(|| std::env::var("USER").ok().filter(|user| !user.is_empty()))
}
