//! No Redis behind a private authority, or one that wants a certificate, is refused without a cure.
//!
//! Encrypted Redis: which certificates are trusted, and what is reported about the others.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pharos::config::database::TlsMode;
use pharos::config::database::redis::RedisTls;
use pharos::demo::redis::RedisServer;
use pharos::redis::monitor::Connector;
use pharos::redis::{Endpoint, RedisError, RefusalReason};
use tempfile::TempDir;

use super::{judged, start};
use crate::fixture::reserved::ReservedPort;
use crate::fixture::{PATIENCE, server_id};

/// An authority, a server's certificate for 127.0.0.1 and one for another name, and a client's.
const MAKE: &str = r#"
set -e
key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
openssl req -x509 $key -days 9 -subj /CN=Authority -keyout ca.key -out ca.crt
openssl req -x509 $key -days 9 -subj /CN=Other -keyout other.key -out other.crt
make() {
    openssl req $key -subj /CN=$1 -keyout $1.key -out $1.csr
    echo "subjectAltName=$2" >$1.ext
    openssl x509 -req -in $1.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 9 -extfile $1.ext -out $1.crt
}
make server IP:127.0.0.1
make elsewhere DNS:elsewhere
make client DNS:client
chmod 644 *.key
"#;

fn certificates() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("bash").args(["-c", MAKE]).current_dir(folder.path()).output().expect("openssl is installed");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    // The server may run as another user.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// A server that speaks TLS with this certificate at the port, and plain text at its other one.
async fn encrypted(folder: &Path, certificate: &str, settings: &[(&str, &str)]) -> (RedisServer, u16) {
    let reserved = ReservedPort::new();
    let port = reserved.number();
    let file = |name: &str| folder.join(name).display().to_string();
    let (certificate, key) = (file(&format!("{certificate}.crt")), file(&format!("{certificate}.key")));
    let (port_text, ca) = (port.to_string(), file("ca.crt"));
    let own = [("tls-port", port_text.as_str()), ("tls-cert-file", &certificate), ("tls-key-file", &key), ("tls-ca-cert-file", &ca)];
    (start(&[&own[..], settings].concat()).await, port)
}

fn connector(scheme: &str, port: u16, tls: RedisTls) -> Connector {
    let address = format!("{scheme}://127.0.0.1:{port}").parse().unwrap();
    Connector { endpoint: Endpoint { address, password: None, tls }, connect_timeout: PATIENCE, deadline: Duration::from_secs(20) }
}

/// What comes of asking for facts.
async fn facts(connector: &Connector) -> Result<String, RedisError> {
    connector.connect().await?.info().await
}

/// The session is refused because of the encryption, with all of these words.
async fn refused(connector: &Connector, words: &[&str]) {
    let err = facts(connector).await.expect_err("it is not trusted");
    let text = format!("{err}");
    assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {err:?}");
    assert_eq!(err.reason(), RefusalReason::Tls, "{err:?}");
}

fn trusting(folder: &Path, mode: Option<TlsMode>, ca: &str) -> RedisTls {
    RedisTls { mode, ca: Some(folder.join(ca)), ..RedisTls::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_authority_is_trusted_if_it_is_named_and_else_reported_with_the_cure() {
    let folder = certificates();
    let (_server, port) = encrypted(folder.path(), "server", &[("tls-auth-clients", "no")]).await;
    let with = |tls| connector("rediss", port, tls);
    refused(&with(RedisTls::default()), &["was issued by `CN=Authority`, which is not trusted", "tls.ca"]).await;
    refused(&with(trusting(folder.path(), None, "other.crt")), &["was issued by `CN=Authority`", "tls.ca"]).await;
    for mode in [None, Some(TlsMode::VerifyFull), Some(TlsMode::VerifyCa), Some(TlsMode::Require)] {
        let text = facts(&with(trusting(folder.path(), mode, "ca.crt"))).await.unwrap();
        assert!(text.contains("redis_version:"), "{mode:?}: {text}");
    }
    // Without a mode that verifies, no certificate of the operating system is needed.
    let blind = RedisTls { mode: Some(TlsMode::Require), ..RedisTls::default() };
    assert!(facts(&with(blind)).await.is_ok());
    // A file that is not there counts from the moment it is.
    let later = RedisTls { ca: Some(folder.path().join("later.crt")), ..RedisTls::default() };
    assert_eq!(facts(&with(later.clone())).await.unwrap_err().reason(), RefusalReason::Tls);
    std::fs::copy(folder.path().join("ca.crt"), folder.path().join("later.crt")).unwrap();
    assert!(facts(&with(later)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_for_another_name_is_refused_unless_only_the_authority_counts() {
    let folder = certificates();
    let (_server, port) = encrypted(folder.path(), "elsewhere", &[("tls-auth-clients", "no")]).await;
    let with = |mode| connector("rediss", port, trusting(folder.path(), mode, "ca.crt"));
    refused(&with(None), &["is not for `127.0.0.1`, but for elsewhere", "subjectAltName = IP:127.0.0.1", "verify-ca"]).await;
    assert!(facts(&with(Some(TlsMode::VerifyCa))).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_wants_a_certificate_gets_the_one_that_is_named() {
    let folder = certificates();
    let file = |name: &str| -> Option<PathBuf> { Some(folder.path().join(name)) };
    for protocols in ["TLSv1.2", "TLSv1.3"] {
        // Servers want a certificate unless they are configured otherwise.
        let (_server, port) = encrypted(folder.path(), "server", &[("tls-protocols", protocols)]).await;
        let with = |cert, key| connector("rediss", port, RedisTls { ca: file("ca.crt"), cert, key, mode: None });
        refused(&with(None, None), &["wants a certificate", "tls.cert and tls.key"]).await;
        assert!(facts(&with(file("client.crt"), file("client.key"))).await.is_ok(), "{protocols}");
        refused(&with(file("other.crt"), file("other.key")), &["does not accept the certificate in tls.cert"]).await;
    }
    let (_server, port) = encrypted(folder.path(), "server", &[]).await;
    let with = |cert, key| connector("rediss", port, RedisTls { ca: file("ca.crt"), cert, key, mode: None });
    for (cert, key, words) in [
        ("client.crt", "server.key", "do not belong together"),
        ("client.crt", "client.crt", "holds no private key"),
        ("client.key", "client.key", "holds no certificate"),
        ("none", "client.key", "reading the certificates in"),
        ("client.crt", "none", "reading the key in"),
    ] {
        let err = facts(&with(file(cert), file(key))).await.unwrap_err();
        assert_eq!(err.reason(), RefusalReason::Tls, "{err:?}");
        let source = std::error::Error::source(&err).map(ToString::to_string).unwrap_or_default();
        assert!(source.contains(words) && source.contains(folder.path().to_str().unwrap()), "{words}: {err:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheme_that_does_not_fit_the_port_is_reported_as_such() {
    let folder = certificates();
    let (server, port) = encrypted(folder.path(), "server", &[("tls-auth-clients", "no")]).await;
    // A server without encryption waits for the end of a line, and would send nothing to a client that closes the connection.
    let plain = Connector { connect_timeout: Duration::from_secs(3), ..connector("rediss", server.port(), RedisTls::default()) };
    let err = facts(&plain).await.unwrap_err();
    assert!(err.reason() == RefusalReason::Timeout && err.to_string().contains("then write redis://"), "{err:?}");
    let err = facts(&connector("redis", port, RedisTls::default())).await.unwrap_err();
    // Some servers report in TLS that they did not understand. This server sends nothing.
    assert!(err.reason() == RefusalReason::Closed && err.to_string().contains("write rediss://"), "{err:?}");
}

/// The way through the config, to an agent that watches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_of_a_config_reaches_the_server() {
    let folder = certificates();
    let (_server, port) = encrypted(folder.path(), "server", &[]).await;
    let file = |name: &str| folder.path().join(name).display().to_string();
    let tls = format!("tls = {{ ca = \"{}\", cert = \"{}\", key = \"{}\" }}", file("ca.crt"), file("client.crt"), file("client.key"));
    let agent = judged(&format!("[[redis]]\nname = \"app\"\nnodes = [\"rediss://127.0.0.1:{port}\"]\n{tls}\n"), &[]).await;
    agent.wait_series(&crate::fixture::series("pharos_redis_up", port, &[]), |up| up == 1.0).await;
    let facts = agent.wait_facts(&server_id(port), |parts| parts["info"]["state"] == "present").await;
    assert_eq!(facts["info"]["state"], "present", "{facts:#}");
    agent.stop().await;
}
