//! No incomplete request shuts others out or delays the end of the agent. No limit of the agent's own machine is reported as trouble of a
//! server.
//!
//! Connections of the API: half requests, crowds, compressed answers, and a machine that has no file descriptor left.

mod answers;

use std::process::Stdio;

use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::fixture::program::{Running, command};
use crate::fixture::wait::{fitting, until};
use crate::fixture::{PATIENCE, TestAgent, postgres, postgres_config, runtime_tasks, server_id};

const HALF: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ";

/// A connection that never finishes its request.
async fn half(agent: &TestAgent) -> TcpStream {
    let mut stream = TcpStream::connect(agent.agent.address()).await.unwrap();
    stream.write_all(HALF).await.unwrap();
    stream
}

/// So many of them, at once.
async fn halves(agent: &TestAgent, count: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(half(agent).await);
    }
    held
}

/// How many connections made room for others.
async fn made_room(agent: &TestAgent) -> f64 {
    agent.series("pharos_http_connections_ended_total{reason=\"made-room\"}").await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incomplete_requests_shut_no_client_out_and_end_by_themselves() {
    let agent = TestAgent::start_with("", Vec::new()).await;
    let mut held = Vec::new();
    while made_room(&agent).await < 136.0 {
        held.extend(halves(&agent, 200).await);
    }
    assert_eq!(agent.request("/healthz", &[]).await.0, 200);
    assert!(agent.series("pharos_http_connections").await.unwrap() <= 64.0);
    // The last request is among those that were admitted. The test does not wait for its end.
    let mut last = held.pop().unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, last.read_to_end(&mut rest)).await.expect("it is ended").ok();
    let text = String::from_utf8_lossy(&rest);
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 408"), "{text}");
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_request_holds_up_no_end() {
    let agent = TestAgent::start_with("", Vec::new()).await;
    let mut held = half(&agent).await;
    let idle = TcpStream::connect(agent.agent.address()).await.unwrap();
    agent.wait_series("pharos_http_connections", |open| open >= 2.0).await;
    // Which asserts that everything was drained.
    agent.stop().await;
    let mut rest = Vec::new();
    timeout(PATIENCE, held.read_to_end(&mut rest)).await.expect("it is ended").ok();
    drop(idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_without_end_is_refused() {
    let agent = TestAgent::start_with("", Vec::new()).await;
    let mut stream = half(&agent).await;
    let sent = async {
        let chunk = [b'a'; 16 << 10];
        // Sixteen times what a head may have.
        for _ in 0..32 {
            if stream.write_all(&chunk).await.is_err() {
                break;
            }
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = timeout(PATIENCE, sent).await.expect("it is refused");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    agent.stop().await;
}

/// Status, headers and body of `GET path` with these headers.
async fn raw(agent: &TestAgent, path: &str, headers: &[(&str, &str)]) -> hyper::Response<bytes::Bytes> {
    let stream = TcpStream::connect(agent.agent.address()).await.unwrap();
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    let driver = TaskTracker::new().spawn(connection);
    let mut request = hyper::Request::get(path).header("host", "127.0.0.1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender.send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    driver.abort();
    hyper::Response::from_parts(head, body)
}

fn gunzipped(bytes: &[u8]) -> String {
    use std::io::Write;
    let mut gzip = std::process::Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    gzip.stdin.take().unwrap().write_all(bytes).unwrap();
    String::from_utf8(gzip.wait_with_output().unwrap().stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_compressed_and_written_in_the_format_that_is_liked_best() {
    let agent = TestAgent::start_with("", Vec::new()).await;
    let header = |answer: &hyper::Response<bytes::Bytes>, name: &str| {
        let values: Vec<&str> = answer.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect();
        values.join(", ")
    };
    let plain = raw(&agent, "/metrics", &[]).await;
    assert_eq!(header(&plain, "content-encoding"), "");
    // Requests as Prometheus sends them.
    let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let packed = raw(&agent, "/metrics", &[("accept-encoding", "gzip"), ("accept", prometheus)]).await;
    assert_eq!(header(&packed, "content-encoding"), "gzip");
    let vary = header(&packed, "vary").to_ascii_lowercase();
    assert!(vary.contains("accept") && vary.contains("accept-encoding"), "{vary}");
    assert_eq!(header(&packed, "content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(packed.body().len() * 2 < plain.body().len(), "{} of {}", packed.body().len(), plain.body().len());
    assert!(gunzipped(packed.body()).ends_with("\n# EOF\n"));
    for refused in ["gzip;q=0", "identity", "br, zstd", "*;q=0"] {
        assert_eq!(header(&raw(&agent, "/metrics", &[("accept-encoding", refused)]).await, "content-encoding"), "", "{refused}");
    }
    assert_eq!(
        header(&raw(&agent, "/healthz", &[("accept-encoding", "gzip")]).await, "content-encoding"),
        "",
        "a few bytes stay as they are"
    );

    for (accept, is_open) in [
        ("text/plain;q=1, application/openmetrics-text;q=0.1", false),
        ("text/plain;q=0.1, application/openmetrics-text;q=1", true),
        ("application/openmetrics-text", true),
        ("Application/OpenMetrics-Text; Version=\"1.0.0\" ; Q=0.9 , text/*;q=0.5", true),
        ("application/openmetrics-text;q=0, */*", false),
        ("application/openmetrics-text;version=7.0.0, text/plain;q=0.1", false),
        ("*/*", false),
        ("text/html", false),
        ("application/openmetrics-text;q=nonsense, text/plain;q=0.1", false),
    ] {
        let answer = raw(&agent, "/metrics", &[("accept", accept)]).await;
        assert_eq!(header(&answer, "content-type").contains("openmetrics"), is_open, "{accept}");
    }
    agent.stop().await;
}

/// Asks again and again over one connection.
struct Line {
    sender: SendRequest<Empty<bytes::Bytes>>,
}

impl Line {
    async fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        TaskTracker::new().spawn(connection);
        Self { sender }
    }

    async fn metrics(&mut self) -> String {
        self.sender.ready().await.expect("the connection stays");
        let request = hyper::Request::get("/metrics").header("host", "127.0.0.1").body(Empty::new()).unwrap();
        let body = self.sender.send_request(request).await.unwrap().into_body().collect().await.unwrap();
        String::from_utf8(body.to_bytes().to_vec()).unwrap()
    }

    async fn wait(&mut self, mut fits: impl FnMut(&str) -> bool) -> String {
        until("the metrics to fit", async || fitting(self.metrics().await, |metrics| fits(metrics))).await
    }
}

fn value(metrics: &str, series: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn descriptors_that_we_are_short_of_are_not_the_servers_trouble() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let folder = tempfile::tempdir().unwrap();
    // It is read before the socket is opened, so the lack of descriptors shows there first.
    let password = folder.path().join("password");
    std::fs::write(&password, "of no use").unwrap();
    let config = format!(
        "[agent]\ndata_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n[collect.interval]\naccept = \"300ms\"\nserver = \"300ms\"\nagent = \"300ms\"\n{}password_file = \"{}\"\n",
        postgres_config("app", &server),
        password.display()
    );
    std::fs::write(folder.path().join("pharos.toml"), config).unwrap();
    let path = folder.path().join("pharos.toml").display().to_string();
    let mut agent = Running::logging(command(&["run", "--config", &path]));
    let port = agent.port().await;
    let mut line = Line::open(port).await;
    let id = server_id(server.port());
    let accepting = format!("pharos_postgres_accepting_connections{{database=\"app\",server=\"{id}\"}}");
    let up = format!("pharos_postgres_up{{database=\"app\",server=\"{id}\"}}");
    let own = "pharos_own_limit_total{part=\"collect\"}";
    line.wait(|metrics| value(metrics, &accepting) == Some(1.0) && value(metrics, "process_max_fds").is_some()).await;

    let pid = Pid::from_raw(agent.pid().cast_signed());
    let open = std::fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().count() as u64;
    let before = prlimit(pid, Resource::Nofile, Rlimit { current: Some(open.min(3)), maximum: Some(4_096) }).unwrap();
    let metrics = line.wait(|metrics| value(metrics, own).is_some_and(|count| count >= 2.0)).await;
    assert_eq!(
        (value(&metrics, &accepting), value(&metrics, &up)),
        (None, Some(1.0)),
        "it is unknown whether the server accepts sessions, and it is up"
    );
    // The open sessions end too. After that, the state of the server is unknown.
    let truth = server.connect(pharos::demo::postgres::SUPERUSER, "postgres").await.unwrap();
    truth.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'pharos'").await.unwrap();
    let metrics = line.wait(|metrics| value(metrics, &up).is_none()).await;
    assert_eq!(value(&metrics, &accepting), None);
    prlimit(pid, Resource::Nofile, Rlimit { current: Some(4_096), maximum: before.maximum.map(|_| 4_096) }).unwrap();
    line.wait(|metrics| value(metrics, &up) == Some(1.0) && value(metrics, &accepting) == Some(1.0)).await;
    agent.signal(rustix::process::Signal::TERM);
    let (code, log) = agent.end().await;
    assert_eq!(code, Some(0));
    assert!(!log.iter().any(|line| line.contains("accepts no new sessions")), "{log:#?}");
    assert!(log.iter().any(|line| line.contains("own-limit") && line.contains("LimitNOFILE=")), "{log:#?}");
}
