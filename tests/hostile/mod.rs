//! No server that sends without end fills the memory, and none gets a password in clear text.
//!
//! Servers that send without end, or request secrets: the agent reads a bounded part, reports it, and continues.

mod redis_floods;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::fixture::{TestAgent, postgres, runtime_tasks, server_id};

/// The longest text that is shown of an error.
const WORDS_MAX: usize = 3_000;

/// What the program behind a port does to the agent.
#[derive(Clone)]
enum Attack {
    /// Sends the first, then the second again and again.
    Flood(Vec<u8>, Vec<u8>),
    /// Accepts the login, and floods every request with bytes.
    FloodAnswers(Vec<u8>, Vec<u8>),
    /// Sends these bytes and reads the answer.
    Ask(Vec<u8>),
    /// Sends these bytes and closes the connection.
    Leave(Vec<u8>),
    /// Answers as Redis does, but floods a request for INFO with bytes.
    FloodInfo(Vec<u8>, Vec<u8>),
    /// Answers as Redis does, but answers a request for INFO with these bytes.
    AnswerInfo(Vec<u8>),
}

struct Stranger {
    port: u16,
    /// Most bytes that one client read.
    taken: Arc<AtomicU64>,
    received: Arc<Mutex<Vec<u8>>>,
    _stop: DropGuard,
}

impl Stranger {
    async fn start(attack: Attack) -> Self {
        Self::start_behind(None, attack).await
    }

    /// Starts behind encryption, if `encryption` is given.
    async fn start_behind(encryption: Option<TlsAcceptor>, attack: Attack) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (taken, received, stop) = (Arc::<AtomicU64>::default(), Arc::default(), CancellationToken::new());
        let (most, received_bytes, end) = (Arc::clone(&taken), Arc::clone(&received), stop.clone());
        let tasks = TaskTracker::new();
        TaskTracker::new().spawn(end.clone().run_until_cancelled_owned(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (encryption, attack, most, received_bytes) =
                    (encryption.clone(), attack.clone(), Arc::clone(&most), Arc::clone(&received_bytes));
                let visit = async move {
                    match encryption {
                        None => serve(stream, attack, most, received_bytes).await,
                        Some(encryption) => serve(encryption.accept(stream).await.unwrap(), attack, most, received_bytes).await,
                    }
                };
                tasks.spawn(end.clone().run_until_cancelled_owned(visit));
            }
        }));
        Self { port, taken, received, _stop: stop.drop_guard() }
    }

    fn config(&self, more: &str) -> String {
        // What is bounded here is bytes, not time.
        let patient = "[collect]\nconnect_timeout = \"30s\"\n";
        format!("{patient}[[database]]\nname = \"app\"\nprimary = \"postgresql://pharos@127.0.0.1:{}/app\"\n{more}", self.port)
    }
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag][..], &length, body].concat()
}

fn announced(tag: u8, length: u32) -> Vec<u8> {
    [&[tag][..], &length.to_be_bytes()].concat()
}

fn welcome() -> Vec<u8> {
    [message(b'R', &[0; 4]), message(b'S', b"server_version\x0015.1\0"), message(b'K', &[0; 8]), message(b'Z', b"I")].concat()
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, attack: Attack, most: Arc<AtomicU64>, received: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = vec![0; 64 << 10];
    let first = stream.read(&mut buffer).await.unwrap_or(0);
    let (head, chunk) = match attack {
        Attack::Ask(question) => {
            let _ = stream.write_all(&question).await;
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                received.lock().extend_from_slice(&buffer[..count]);
            }
            return;
        }
        Attack::Leave(words) => {
            let _ = stream.write_all(&words).await;
            return;
        }
        Attack::Flood(head, chunk) => (head, chunk),
        Attack::FloodAnswers(head, chunk) => {
            let _ = stream.write_all(&welcome()).await;
            let _ = stream.read(&mut buffer).await;
            (head, chunk)
        }
        Attack::AnswerInfo(answer) => {
            let mut received_bytes = String::from_utf8_lossy(&buffer[..first]).into_owned();
            loop {
                let asked = received_bytes.matches('*').count();
                let answers = if received_bytes.contains("\r\nINFO\r\n") { answer.repeat(asked) } else { b"+OK\r\n".repeat(asked) };
                let _ = stream.write_all(&answers).await;
                let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
                received_bytes = String::from_utf8_lossy(&buffer[..count]).into_owned();
            }
        }
        Attack::FloodInfo(head, chunk) => {
            let mut received_bytes = String::from_utf8_lossy(&buffer[..first]).into_owned();
            while !received_bytes.contains("\r\nINFO\r\n") {
                let _ = stream.write_all("+OK\r\n".repeat(received_bytes.matches('*').count()).as_bytes()).await;
                let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
                received_bytes = String::from_utf8_lossy(&buffer[..count]).into_owned();
            }
            (head, chunk)
        }
    };
    let mut sent = head.len() as u64;
    if stream.write_all(&head).await.is_ok() {
        // Far more than any bound; what the kernel holds in between counts as taken.
        while sent < 1 << 30 && stream.write_all(&chunk).await.is_ok() {
            sent += chunk.len() as u64;
        }
    }
    most.fetch_max(sent, Ordering::Relaxed);
}

/// Why a server's part is degraded.
async fn cause(agent: &TestAgent, kind: &str, port: u16) -> String {
    let part = agent.wait_part(&format!("{kind} {}", server_id(port)), |part| part["state"] == "degraded").await;
    part["cause"].as_str().unwrap().to_owned()
}

async fn reason(agent: &TestAgent, port: u16, collector: &str, reason: &str) {
    let id = server_id(port);
    let series = format!("pharos_collect_failures_total{{server=\"{id}\",collector=\"{collector}\",reason=\"{reason}\"}}");
    agent.wait_series(&series, |count| count >= 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_that_sends_without_end_is_hung_up_on() {
    let start = 16 << 20;
    // Bytes of one answer that the library would store, and bytes that may be on the way.
    let answer = (40 << 20) + start;
    let notice = message(b'N', &[&b"SNOTICE\0C00000\0M"[..], &[b'n'; 10_000], b"\0\0"].concat()).repeat(50);
    let parameter = message(b'S', &[&b"name\0"[..], &[b'v'; 1_000], b"\0"].concat()).repeat(100);
    let row = message(b'D', &[&1_u16.to_be_bytes()[..], &10_000_u32.to_be_bytes(), &[b'z'; 10_000]].concat()).repeat(20);
    let described = [
        message(b'1', b""),
        message(b'2', b""),
        message(b'T', &[&1_u16.to_be_bytes()[..], b"x\0", &[0; 6], &25_u32.to_be_bytes(), &[0xff; 6], &[0; 2]].concat()),
    ]
    .concat();
    let megabyte = vec![b'x'; 1 << 20];
    for (name, attack, most) in [
        ("a message of 2 GiB", Attack::Flood(announced(b'R', 0x7fff_ffff), megabyte.clone()), start),
        ("an error of 50 MiB", Attack::Flood(announced(b'E', 50 << 20), megabyte.clone()), start),
        ("settings", Attack::Flood(message(b'R', &[0; 4]), parameter), start),
        ("notices", Attack::Flood(message(b'R', &[0; 4]), notice.clone()), start),
        ("rows", Attack::FloodAnswers(described.clone(), row), answer),
        ("a row of 2 GiB", Attack::FloodAnswers([described, announced(b'D', 0x7fff_fff0)].concat(), megabyte.clone()), start),
        ("an answer of notices", Attack::FloodAnswers(Vec::new(), notice), answer),
        ("an answer that is an error of 50 MiB", Attack::FloodAnswers(announced(b'E', 50 << 20), megabyte), start),
    ] {
        let stranger = Stranger::start(attack).await;
        let agent = TestAgent::start_with(&stranger.config(""), Vec::new()).await;
        let cause = cause(&agent, "postgres", stranger.port).await;
        assert!(cause.contains("the server ") && cause.contains("the session was ended to save memory"), "{name}: {cause}");
        reason(&agent, stranger.port, "server", "too-much").await;
        assert!(cause.len() < WORDS_MAX, "{name}: {} bytes", cause.len());
        agent.stop().await;
        let taken = stranger.taken.load(Ordering::Relaxed);
        assert!(taken < most, "{name}: {taken} bytes were taken");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_of_another_protocol_is_distinguished_from_one_that_disconnects() {
    let http = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec();
    for (attack, why, words) in [
        (Attack::Leave(http), "protocol", "the address must be that of a PostgreSQL server"),
        (Attack::Ask(message(b'2', b"")), "protocol", "the address must be that of a PostgreSQL server"),
        (Attack::Leave(Vec::new()), "unreachable", "ended without an answer"),
    ] {
        let stranger = Stranger::start(attack).await;
        let agent = TestAgent::start_with(&stranger.config(""), Vec::new()).await;
        let cause = cause(&agent, "postgres", stranger.port).await;
        assert!(cause.contains(words), "{cause}");
        reason(&agent, stranger.port, "server", why).await;
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_password_goes_out_in_clear_text() {
    let stranger = Stranger::start(Attack::Ask(message(b'R', &3_u32.to_be_bytes()))).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pw"), "s3cret\n").unwrap();
    let password = format!("password_file = \"{}\"\n", folder.path().join("pw").display());
    let agent = TestAgent::start_with(&stranger.config(&password), Vec::new()).await;
    let cause = cause(&agent, "postgres", stranger.port).await;
    assert!(cause.contains("asks for the password in clear text") && cause.contains("tls.mode"), "{cause}");
    reason(&agent, stranger.port, "server", "cleartext-password").await;
    agent.stop().await;
    let received = stranger.received.lock();
    assert!(!received.windows(6).any(|bytes| bytes == b"s3cret"), "{:?}", String::from_utf8_lossy(&received));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_of_a_server_are_one_line_of_bounded_length() {
    let words = format!("\x1b[31m no\r\n2026-11-29T00:00:00Z ERROR forged line\n{}", "m".repeat(100_000));
    let error = message(b'E', format!("SFATAL\0C28000\0M{words}\0\0").as_bytes());
    let stranger = Stranger::start(Attack::Ask(error)).await;
    let agent = TestAgent::start_with(&stranger.config(""), Vec::new()).await;
    let cause = cause(&agent, "postgres", stranger.port).await;
    assert!(cause.len() < WORDS_MAX && !cause.contains(char::is_control), "{} bytes: {cause}", cause.len());
    assert!(agent.text("/api/services/status").await.len() < 20_000);
    agent.stop().await;
}

/// A real server behind a door that can be made to lie.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_floods_later_fails_its_collector_and_is_opened_again() {
    let (tasks, stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = door.local_addr().unwrap().port();
    let (lies, behind) = (Arc::<std::sync::atomic::AtomicBool>::default(), server.port());
    let is_lying = Arc::clone(&lies);
    let guard = stop.clone().drop_guard();
    TaskTracker::new().spawn(stop.clone().run_until_cancelled_owned(async move {
        loop {
            let (mut visitor, _) = door.accept().await.unwrap();
            let mut inside = TcpStream::connect(("127.0.0.1", behind)).await.unwrap();
            let lies = Arc::clone(&is_lying);
            TaskTracker::new().spawn(async move {
                let (mut question, mut answer) = (vec![0; 64 << 10], vec![0; 64 << 10]);
                loop {
                    tokio::select! {
                        count = visitor.read(&mut question) => match count {
                            // Between two questions, so that it stands at the beginning of a message.
                            Ok(1..) if lies.load(Ordering::Relaxed) => {
                                let _ = visitor.write_all(&announced(b'E', 50 << 20)).await;
                            }
                            Ok(count @ 1..) => inside.write_all(&question[..count]).await.unwrap_or_default(),
                            _ => return,
                        },
                        count = inside.read(&mut answer) => match count {
                            Ok(count @ 1..) if visitor.write_all(&answer[..count]).await.is_ok() => {}
                            _ => return,
                        },
                    }
                }
            });
        }
    }));
    let config = format!("[[database]]\nname = \"app\"\nprimary = \"postgresql://pharos@127.0.0.1:{port}/postgres\"\n");
    let agent = TestAgent::start_with(&config, Vec::new()).await;
    let name = format!("postgres {}", server_id(port));
    agent.wait_part(&name, |part| part["state"] == "ok").await;
    lies.store(true, Ordering::Relaxed);
    let part = agent.wait_part(&name, |part| part["state"] == "degraded").await;
    assert!(part["cause"].as_str().unwrap().contains("an error or a notice of more than"), "{part}");
    lies.store(false, Ordering::Relaxed);
    agent.wait_part(&name, |part| part["state"] == "ok").await;
    agent.stop().await;
    drop(guard);
}
