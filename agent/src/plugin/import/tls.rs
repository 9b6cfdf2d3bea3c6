//! TLS for requests and mails of plugins: the certificate must be valid for the name of the host.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pharos_model::error_chain::chain;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls;

/// Time that a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(3);

/// Encrypts a connection, trusting the certificates of `ca` or those of the operating system. An error holds the reason.
pub(super) async fn encrypt(stream: TcpStream, host: &str, ca: Option<&Path>) -> Result<TlsStream<TcpStream>, String> {
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|err| format!("TLS: {err}"))?
        .with_root_certificates(roots(ca).await?)
        .with_no_client_auth();
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|err| format!("TLS: {err}"))?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    match tokio::time::timeout(HANDSHAKE_MAX, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(err)) => Err(format!("TLS: {err}")),
        Err(_) => Err(format!("TLS: no handshake within {HANDSHAKE_MAX:?}")),
    }
}

async fn roots(ca: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    roots.add_parsable_certificates(tls::certificates(path).await.map_err(|err| chain(&err))?);
    match roots.is_empty() {
        true => Err(format!("{} holds no certificate of an authority", path.display())),
        false => Ok(roots),
    }
}
