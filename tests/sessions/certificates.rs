//! No certificate is refused without a cure, and `require` refuses none.
//!
//! Certificates as people make them, and what becomes of each in every mode. The column for psql is what `psql` 15 does with the same.

use std::path::Path;
use std::process::Command;

use pharos::config::database::TlsMode;
use pharos::demo::postgres::{MONITORING_ROLE, PostgresOptions, PostgresServer, TlsFiles};
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use super::try_tls;
use crate::fixture::{postgres_with, runtime_tasks};

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
const AUTHORITY: &str =
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=Authority -keyout ca.key -out ca.crt";

/// How a certificate is made, and what comes of it. An error must hold all words that are separated by `|`.
struct Case {
    name: &'static str,
    makes: &'static str,
    verify_full: &'static str,
    verify_ca: &'static str,
}

const OK: &str = "";

/// A request and a certificate from the authority with these extensions.
const SIGN: &str = "openssl x509 -req -in s.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 9 -out s.crt";

const CASES: [Case; 16] = [
    Case {
        name: "the manual's, signed by itself",
        makes: "openssl req -new -x509 -days 9 -nodes -subj /CN=localhost -out s.crt -keyout s.key; cp s.crt ca.crt",
        verify_full: OK,
        verify_ca: OK,
    },
    Case {
        name: "signed by itself, with a name",
        makes: "openssl req -new -x509 -days 9 -nodes -subj /CN=x -addext subjectAltName=DNS:localhost -out s.crt -keyout s.key; cp s.crt ca.crt",
        verify_full: OK,
        verify_ca: OK,
    },
    Case {
        name: "signed by itself, no authority",
        makes: "openssl req -new -x509 -days 9 -nodes -subj /CN=x -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
                -out s.crt -keyout s.key; cp s.crt ca.crt",
        verify_full: OK,
        verify_ca: OK,
    },
    Case {
        name: "signed by itself, of version 1",
        makes: "openssl req -new $KEY -subj /CN=localhost -out s.csr -keyout s.key; openssl x509 -req -in s.csr -signkey s.key -days 9 -out s.crt; \
                cp s.crt ca.crt",
        verify_full: OK,
        verify_ca: OK,
    },
    Case {
        name: "signed by itself, another name",
        makes: "openssl req -new -x509 -days 9 -nodes -subj /CN=elsewhere -out s.crt -keyout s.key; cp s.crt ca.crt",
        verify_full: "is not for `localhost`, but for elsewhere|subjectAltName = DNS:localhost",
        verify_ca: OK,
    },
    Case {
        name: "signed by itself and not in tls.ca",
        makes: "$AUTHORITY; openssl req -new -x509 -days 9 -nodes -subj /CN=localhost -out s.crt -keyout s.key",
        verify_full: "`CN=localhost` is signed by itself|tls.ca",
        verify_ca: "`CN=localhost` is signed by itself|tls.ca",
    },
    Case {
        name: "the manual's root and server, so of version 1",
        makes: "$AUTHORITY; openssl req -new $KEY -subj /CN=localhost -out s.csr -keyout s.key; $SIGN",
        verify_full: "of version 1|version 3|subjectAltName = DNS:localhost",
        verify_ca: "of version 1|version 3",
    },
    Case {
        name: "from an authority, with a name",
        makes: "$AUTHORITY; openssl req -new $KEY -subj /CN=x -out s.csr -keyout s.key; echo subjectAltName=DNS:localhost >e; $SIGN -extfile e",
        verify_full: OK,
        verify_ca: OK,
    },
    Case {
        name: "from an authority, without a name",
        makes: "$AUTHORITY; openssl req -new $KEY -subj /CN=localhost -out s.csr -keyout s.key; echo basicConstraints=CA:FALSE >e; $SIGN -extfile e",
        verify_full: "`CN=localhost` has no subjectAltName|subjectAltName = DNS:localhost|verify-ca",
        verify_ca: OK,
    },
    Case {
        name: "from an authority, another name",
        makes: "$AUTHORITY; openssl req -new $KEY -subj /CN=x -out s.csr -keyout s.key; echo subjectAltName=DNS:elsewhere >e; $SIGN -extfile e",
        verify_full: "is not for `localhost`, but for elsewhere;|verify-ca",
        verify_ca: OK,
    },
    Case {
        name: "from another authority",
        makes: "$AUTHORITY; openssl req -new $KEY -subj /CN=x -out s.csr -keyout s.key; echo subjectAltName=DNS:localhost >e; $SIGN -extfile e; \
                openssl req -x509 $KEY -days 9 -subj /CN=Other -keyout o.key -out ca.crt",
        verify_full: "was issued by `CN=Authority`, which is not trusted|tls.ca",
        verify_ca: "was issued by `CN=Authority`, which is not trusted|tls.ca",
    },
    Case {
        name: "from an authority that has a new key",
        makes: "$AUTHORITY; openssl req -new $KEY -subj /CN=x -out s.csr -keyout s.key; echo subjectAltName=DNS:localhost >e; $SIGN -extfile e; \
                $AUTHORITY",
        verify_full: "an authority `CN=Authority` with another key|renew the file in tls.ca",
        verify_ca: "an authority `CN=Authority` with another key|renew the file in tls.ca",
    },
    Case {
        name: "an authority's own",
        makes: "$AUTHORITY; openssl req -new $KEY -subj /CN=x -out s.csr -keyout s.key; \
                printf 'basicConstraints=critical,CA:TRUE\\nsubjectAltName=DNS:localhost\\n' >e; $SIGN -extfile e",
        verify_full: "certificate of an authority (CA:TRUE) as its own|basicConstraints = CA:FALSE",
        verify_ca: "certificate of an authority (CA:TRUE) as its own|basicConstraints = CA:FALSE",
    },
    Case {
        name: "with a key on P-521",
        makes: "$AUTHORITY; openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-521 -nodes -subj /CN=x -out s.csr -keyout s.key; \
                echo subjectAltName=DNS:localhost >e; $SIGN -extfile e",
        verify_full: "on the curve P-521, which Pharos cannot check|P-256",
        verify_ca: "on the curve P-521, which Pharos cannot check|P-256",
    },
    Case {
        name: "with a key bound to RSA-PSS",
        makes: "$AUTHORITY; openssl genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048 -out s.key; \
                openssl req -new -key s.key -subj /CN=x -out s.csr; echo subjectAltName=DNS:localhost >e; $SIGN -extfile e",
        verify_full: "bound to RSA-PSS, which Pharos cannot check|P-256",
        verify_ca: "bound to RSA-PSS, which Pharos cannot check|P-256",
    },
    Case {
        name: "expired",
        makes: "$AUTHORITY; openssl req -new $KEY -subj /CN=x -out s.csr -keyout s.key; echo subjectAltName=DNS:localhost >e; \
                openssl x509 -req -in s.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days -1 -out s.crt -extfile e",
        verify_full: "expired at 20|make a new one",
        verify_ca: "expired at 20|make a new one",
    },
];

fn make(case: &Case) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = format!("set -e; {}", case.makes).replace("$AUTHORITY", AUTHORITY).replace("$SIGN", SIGN).replace("$KEY", KEY);
    let made = Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().expect("openssl is installed");
    assert!(made.status.success(), "{}: {}", case.name, String::from_utf8_lossy(&made.stderr));
    folder
}

async fn start(folder: &Path, settings: &[(&str, &str)], tasks: &TaskTracker) -> PostgresServer {
    let tls = Some(TlsFiles { certificate: folder.join("s.crt"), key: folder.join("s.key") });
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    postgres_with(PostgresOptions { tls, settings, ..PostgresOptions::default() }, tasks).await
}

async fn check(server: &PostgresServer, case: &Case, mode: TlsMode, ca: &Path, expected: &str, tasks: &TaskTracker) {
    let what = format!("{}, {mode:?}", case.name);
    match try_tls(server, "localhost", mode, (mode != TlsMode::Require).then_some(ca), tasks).await {
        Ok(session) => {
            assert_eq!(expected, OK, "{what} was accepted");
            let rows = session.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", &[]).await.unwrap();
            assert!(rows[0].get::<bool>("ssl").unwrap(), "{what}");
        }
        Err(err) => {
            let text = err.to_string();
            assert!(expected != OK && expected.split('|').all(|words| text.contains(words)), "{what}: {err:?}");
            assert_eq!(err.reason().as_str(), "tls", "{what}: {err:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_certificate_is_taken_under_require_and_else_trusted_or_named_with_its_cure() {
    let (tasks, _stop) = runtime_tasks();
    for case in CASES {
        let folder = make(&case);
        let server = start(folder.path(), &[], &tasks).await;
        let ca = folder.path().join("ca.crt");
        check(&server, &case, TlsMode::Require, &ca, OK, &tasks).await;
        check(&server, &case, TlsMode::VerifyFull, &ca, case.verify_full, &tasks).await;
        check(&server, &case, TlsMode::VerifyCa, &ca, case.verify_ca, &tasks).await;
    }
}

/// TLS 1.2 proves the possession of a key in another place of the handshake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_for_tls_1_2() {
    let (tasks, _stop) = runtime_tasks();
    for index in [0, 3, 6, 7, 10] {
        let case = &CASES[index];
        let folder = make(case);
        let server = start(folder.path(), &[("ssl_max_protocol_version", "TLSv1.2")], &tasks).await;
        let ca = folder.path().join("ca.crt");
        check(&server, case, TlsMode::Require, &ca, OK, &tasks).await;
        check(&server, case, TlsMode::VerifyFull, &ca, case.verify_full, &tasks).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_encryption_is_reported_as_such_and_a_missing_password_is_no_network_fault() {
    let (tasks, _stop) = runtime_tasks();
    let plain = crate::fixture::postgres(&tasks).await;
    let err = try_tls(&plain, "localhost", TlsMode::Require, None, &tasks).await.err().expect("plain text is refused");
    assert!(err.to_string().contains("the server offers no encryption"), "{err:?}");
    let asks = super::behind_passwords(&tasks).await;
    let url = asks.url(MONITORING_ROLE, "postgres");
    let err = super::connector(&url, pharos::config::database::TlsConfig::default(), &tasks).connect().await.err().expect("no password");
    assert_eq!(err.reason().as_str(), "authentication", "{err:?}");
    assert!(err.to_string().contains("asks for a password and none is configured"), "{err:?}");
}
