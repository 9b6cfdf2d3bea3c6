//! No plugin learns a secret that it names from an error, an answer or a reply of a relay.
//!
//! Covers every end of a request that contains a secret.

use std::path::Path;

use pharos_model::notification::Delivery;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fixture::delivery::{Notifier, message};
use crate::fixture::guests::{Build, guest_of};
use crate::fixture::reserved::ReservedPort;
use crate::fixture::runtime_tasks;

/// The value of a secret, and what is in it that no text may hold.
const KEY: &str = "S3cret-Value-0123456789";

/// A server that repeats the request: in a redirect, in its body, in a header.
async fn parrot() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tasks, _) = runtime_tasks();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 8_192];
            let length = stream.read(&mut request).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = text.split(' ').nth(1).unwrap_or("");
            let body = text.replace(['\r', '\n'], " ");
            let head = format!(
                "HTTP/1.1 302 Found\r\nlocation: {path}/?again\r\nx-seen: {body}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
    });
    port
}

/// A guest with these secrets, all of them granted.
async fn probe(folder: &Path, secrets: &[(&str, String)], egress: &[String]) -> Notifier {
    let mut config = format!("[plugin.probe.limits]\ncpu = \"5s\"\nwall = \"30s\"\n[plugin.probe.grants]\negress = {egress:?}\n");
    let names: Vec<&str> = secrets.iter().map(|(name, _)| *name).collect();
    config += &format!("secrets = {names:?}\n");
    for (name, value) in secrets {
        let file = folder.join(name);
        if *name != "missing" {
            std::fs::write(&file, value).unwrap();
        }
        config += &format!("[secret.{name}]\nfile = {file:?}\n");
    }
    Notifier::load_bytes("probe", &guest_of(Build::Notifier, "id=probe"), &config).await.unwrap()
}

async fn refusal(probe: &Notifier, settings: Value) -> String {
    match probe.deliver(&settings, &message("1")).await {
        Delivery::Rejected { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_becomes_of_a_request_the_plugin_learns_the_name_of_the_secret_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing listens there.
    let reserved = ReservedPort::new();
    let (port, closed) = (parrot().await, reserved.number());
    let secrets = [
        ("key", KEY.to_owned()),
        ("name", format!("{KEY}.invalid")),
        ("literal", "10.98.76.54".to_owned()),
        ("whole", format!("http://127.0.0.1:{port}/services/{KEY}?token={KEY}")),
        ("closed", format!("http://127.0.0.1:{closed}/{KEY}")),
        ("granted", format!("https://{KEY}.invalid/hook")),
        ("local", format!("http://localhost:1/{KEY}")),
        ("garbage", format!("{KEY} is no URL")),
        ("lines", format!("{KEY}\nx: y")),
        ("user", format!("https://{KEY}@example.com/")),
        ("tls", format!("https://127.0.0.1:{port}/{KEY}")),
        ("missing", String::new()),
    ];
    let grants = [format!("127.0.0.1:{port}"), format!("127.0.0.1:{closed}"), format!("{KEY}.invalid"), "http://localhost".to_owned()];
    let probe = probe(folder.path(), &secrets, &grants).await;
    let cases = [
        (
            "https://{key}/",
            "denied: host in the secret \"key\" is not granted; to allow it, add to [plugin.probe]: grants = { egress = [\"HOST\"] }",
        ),
        ("http://{key}/", "denied: host in the secret \"key\" is not granted in clear text"),
        ("https://{key}.{literal}/", "denied: "),
        ("https://{literal}/", "denied: the address of the host in the secret \"literal\" is not granted;"),
        ("https://{name}/", "not sent: the host in the secret \"name\" cannot be resolved: "),
        ("{granted}", "not sent: the host in the secret \"granted\" cannot be resolved: "),
        ("{closed}", "not sent: connecting to the host in the secret \"closed\": "),
        ("{local}", "denied: the address of the host in the secret \"local\" is internal, where a granted name never leads;"),
        ("{garbage}", "denied: the URL is not valid with the secret \"garbage\" in it: "),
        ("ftp://{key}/", "denied: the URL must begin with https:// or http://"),
        ("https://{key}@example.com/", "denied: the URL holds a user or password, or the secret \"key\" does;"),
        ("{user}", "denied: the URL holds a user or password, or the secret \"user\" does;"),
        ("{tls}", "not sent: TLS: "),
        ("{missing}", "not sent: the secret \"missing\" cannot be read: No such file"),
        ("https://hooks.example.com/{key}", "denied: host `hooks.example.com` is not granted;"),
        ("{whole}", "302 "),
        (&format!("http://127.0.0.1:{port}/services/{{key}}"), "302 "),
    ];
    for (url, expected) in cases {
        let text = refusal(&probe, json!({ "url": url })).await;
        assert!(text.starts_with(expected), "{url}: expected `{expected}`, got `{text}`");
        check(&text, url, folder.path());
    }
    let headers = [
        ("x-key: Bearer {lines}", "denied: the request's header `x-key` with the secret \"lines\" in it is not valid HTTP"),
        ("x-key: Bearer {key}", "302 "),
    ];
    for (header, expected) in headers {
        let text = refusal(&probe, json!({ "url": format!("http://127.0.0.1:{port}/"), "headers": [header] })).await;
        assert!(text.starts_with(expected), "{header}: expected `{expected}`, got `{text}`");
        check(&text, header, folder.path());
    }
}

#[track_caller]
fn check(text: &str, of: &str, folder: &Path) {
    let lower = text.to_lowercase();
    let hidden = [KEY.to_lowercase(), "10.98.76.54".to_owned(), folder.display().to_string().to_lowercase()];
    for hidden in hidden {
        assert!(!lower.contains(&hidden), "{of}: `{text}` holds `{hidden}`");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_goes_into_no_header_that_frames_the_request() {
    let folder = tempfile::tempdir().unwrap();
    let port = parrot().await;
    let probe = probe(folder.path(), &[("key", KEY.to_owned())], &[format!("127.0.0.1:{port}")]).await;
    let url = format!("http://127.0.0.1:{port}/");
    for header in
        ["Host", "Transfer-Encoding", "Content-Length", "Connection", "Upgrade", "TE", "Trailer", "Keep-Alive", "Proxy-Connection"]
    {
        let denied = format!("denied: the header `{}` is the host's to set", header.to_lowercase());
        assert_eq!(refusal(&probe, json!({ "url": url, "signing": [header, "key"] })).await, denied);
        assert_eq!(refusal(&probe, json!({ "url": url, "headers": [header] })).await, denied);
    }
    assert_eq!(
        refusal(&probe, json!({ "url": url, "signing": ["a b", "key"] })).await,
        "denied: the request's signature's header name is not valid HTTP"
    );
    let signed = refusal(&probe, json!({ "url": url, "signing": ["x-signature", "key"] })).await;
    assert!(signed.starts_with("302 ") && signed.contains("x-signature: "), "{signed}");
}
