//! No plugin reaches a host, an internal address, a relay or a secret that was not granted.
//!
//! Covers granted hosts, internal addresses, and the targets of redirects.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use pharos::demo::receiver::Receiver;
use pharos::plugin::egress::address::is_public;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fixture::guests::{Build, guest_of};
use crate::fixture::zoo::{Zoo, named};
use crate::fixture::{PATIENCE, runtime_tasks, shipped};

/// A server that answers by path, and records the requested paths.
async fn server() -> (u16, Arc<Mutex<BTreeSet<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let asked: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let seen = Arc::clone(&asked);
    let (tasks, _) = runtime_tasks();
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 8_192];
            let length = stream.read(&mut request).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            let path = text.split(' ').nth(1).unwrap_or("").to_owned();
            let (status, extra, body) = match path.as_str() {
                "/redirect" => ("302 Found", format!("location: http://127.0.0.1:{port}/secret\r\n"), Vec::new()),
                "/big" => ("200 OK", String::new(), vec![b'x'; 100_000]),
                "/fits" => ("200 OK", String::new(), vec![b'x'; 60_000]),
                _ => ("200 OK", String::new(), Vec::new()),
            };
            seen.lock().insert(path);
            let head = format!("HTTP/1.1 {status}\r\n{extra}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&body).await;
        }
    });
    (port, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notifier_reaches_granted_hosts_and_an_error_says_how_to_grant_the_rest() {
    let (tasks, stop) = runtime_tasks();
    let report = Receiver::start(None, &tasks, &stop).await.unwrap();
    let (port, asked) = server().await;
    let (closed, _) = server().await;
    let cases = [
        (format!("http://127.0.0.1:{port}/fits"), "", "200 with 60000 bytes"),
        (format!("http://127.0.0.1:{port}/redirect"), "", "302 with 0 bytes"),
        (format!("http://127.0.0.1:{port}/big"), "", "more than 65536 bytes"),
        (
            "http://hooks.example.com/x".to_owned(),
            "",
            "denied: host `hooks.example.com` is not granted in clear text; use https://, or to allow it, add to [plugin.probe]: grants = { egress = [\"http://hooks.example.com\"] }",
        ),
        (
            "https://hooks.example.com/x".to_owned(),
            "",
            "denied: host `hooks.example.com` is not granted; to allow it, add to [plugin.probe]: grants = { egress = [\"hooks.example.com\"] }",
        ),
        (
            "http://secure.example.com/x".to_owned(),
            "",
            "denied: host `secure.example.com` is not granted in clear text; use https://, or to allow it",
        ),
        (
            format!("http://127.0.0.1:{closed}/x"),
            "",
            "denied: `127.0.0.1`: the address 127.0.0.1 is not granted; to allow it, add to [plugin.probe]: grants = { egress = [\"127.0.0.1\"] }",
        ),
        (
            format!("http://localhost:{closed}/x"),
            "",
            "is internal, where a granted name never leads; to allow it, add to [plugin.probe]: grants = { egress = [\"",
        ),
        (format!("http://[::ffff:127.0.0.1]:{closed}/x"), "", "is not granted"),
        (format!("http://2130706433:{closed}/x"), "", "the address 127.0.0.1 is not granted"),
        (format!("http://user:word@127.0.0.1:{port}/x"), "", "denied: the URL holds a user or password"),
        ("file:///etc/passwd".to_owned(), "", "denied: the URL must begin with https:// or http://"),
        (format!("http://127.0.0.1:{port}/x"), "host", "denied: the header `host` is the host's to set"),
        (format!("http://127.0.0.1:{port}/x"), "bad name", "denied: the request's header name is not valid HTTP"),
    ];
    let mut config = format!(
        "[plugin.probe]\ngrants = {{ egress = [\"http://localhost\", \"secure.example.com\", \"127.0.0.1:{port}\", \"127.0.0.1:{}\"] }}\n[plugin.probe.limits]\ncpu = \"5s\"\n",
        report.port()
    );
    for (number, (url, header, _)) in cases.iter().enumerate() {
        let headers = if header.is_empty() { String::new() } else { format!(", headers = [\"{header}\"]") };
        let settings = format!("{{ url = \"{url}\", report = \"http://127.0.0.1:{}/{number}\"{headers} }}", report.port());
        config += &format!("[[receiver]]\nname = \"r{number}\"\nplugin = \"probe\"\nsettings = {settings}\n");
        config += &format!("[[route]]\nmatch = {{ rule = \"rule-{number}\" }}\nreceiver = \"r{number}\"\n");
    }
    let finds: Vec<String> = (0..cases.len()).map(|number| format!("rule-{number}")).collect();
    let finder = named("finder", &format!("rules=many:{};finds={}", cases.len(), finds.join(",")));
    let probe = ("probe".to_owned(), guest_of(Build::Notifier, "id=probe"));
    let zoo = Zoo::start(&config, vec![probe, finder], Vec::new()).await;
    for (number, (url, _, expected)) in cases.iter().enumerate() {
        let path = format!("/{number}");
        let arrived = report.wait_until(PATIENCE, |received| received.deliveries().any(|delivery| delivery.path == path)).await;
        assert!(arrived, "no report about {url}");
        let said = report.received(|received| {
            let delivery = received.deliveries().find(|delivery| delivery.path == path).unwrap();
            String::from_utf8_lossy(&delivery.body).into_owned()
        });
        assert!(said.contains(expected), "{url}: expected `{expected}`, got `{said}`");
    }
    let asked = asked.lock().clone();
    assert!(!asked.contains("/secret") && !asked.contains("/x"), "{asked:?}");
    zoo.agent.stop().await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_webhook_without_a_grant_gives_up_and_counts_it_as_denied() {
    let config = "[[receiver]]\nname = \"ops\"\nplugin = \"webhook\"\nsettings = { url = \"http://127.0.0.1:9/x\" }\n[[route]]\nreceiver = \"ops\"\n";
    // As a file: an agent does not start with a receiver that its own webhook may never reach.
    let webhook = shipped().into_iter().find(|(id, _)| id == "webhook").unwrap();
    let zoo = Zoo::start(config, vec![webhook, named("finder", "")], Vec::new()).await;
    let dropped = "pharos_notifications_dropped_total{receiver=\"ops\",reason=\"denied\"}";
    zoo.agent.wait_metrics(|metrics| metrics.contains(dropped)).await;
    let webhook = zoo.agent.plugin("webhook").await;
    assert_eq!((&webhook["traps"], &webhook["state"]), (&0.into(), &"serving".into()), "to be refused is no offence: {webhook}");
    zoo.agent.stop().await;
}

#[test]
fn an_embedded_address_is_judged_as_the_address_that_it_stands_for() {
    let inside = "0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 169.254.169.254 172.16.0.1 172.31.255.255 192.0.0.1 192.0.2.1 \
        192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 240.0.0.1 255.255.255.255 \
        :: ::1 fc00::1 fdff::1 fe80::1 febf::1 fec0::1 ff02::1 2001:db8::1 2001:20::1 3fff::1 100::1 5f00::1 64:ff9b:1::1 \
        ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:0:10.0.0.1 ::127.0.0.1 ::169.254.169.254 64:ff9b::a00:1 64:ff9b::169.254.169.254 \
        2002:7f00:1:: 2002:a9fe:a9fe:: 2001:0:1:2:3:4:80ff:fffe 2001:0:1:2:3:4:5601:5601";
    for address in inside.split_whitespace() {
        assert!(!is_public(address.parse().unwrap()), "{address}");
    }
    let outside = "1.1.1.1 8.8.8.8 100.63.255.255 100.128.0.1 172.15.255.255 172.32.0.1 192.0.1.1 192.167.255.255 198.17.255.255 198.20.0.1 \
        223.255.255.255 2606:4700::1111 2001:4860:4860::8888 2a00::1 ::ffff:1.1.1.1 64:ff9b::1.1.1.1 2002:101:101:: 2001:0:1:2:3:4:fefe:fefe";
    for address in outside.split_whitespace() {
        assert!(is_public(address.parse().unwrap()), "{address}");
    }
}
