//! No client that reads slowly shuts others out, and no answer under way is cut for another client or at the end of the agent.
//!
//! Answers that are taken slowly: which of them are cut, and which are finished.

use std::net::Ipv4Addr;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{half, halves, made_room};
use crate::fixture::{PATIENCE, TestAgent, send};

/// Asks for all silences.
const LARGE: &str = "GET /api/silences HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
/// An agent that has silences for two megabytes.
async fn talkative() -> TestAgent {
    let agent = TestAgent::start_with("", Vec::new()).await;
    let silence = json!({ "matchers": ["rule=x"], "duration": "1h", "comment": "x".repeat(2_000) }).to_string();
    let operator = agent.operator();
    let headers = [("content-type", "application/json"), ("authorization", operator.as_str())];
    assert_eq!(send(agent.agent.address().port(), "POST", "/api/silences", &headers, &silence).await.0, 201);
    let folder = agent.stop().await;
    let store = rusqlite::Connection::open(folder.path().join("data/pharos.db")).unwrap();
    let copied = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
        INSERT INTO silences (id, silence) SELECT 'copy-' || i, json_set(silence, '$.id', 'copy-' || i) FROM silences, n";
    assert_eq!(store.execute(copied, []).unwrap(), 900);
    drop(store);
    TestAgent::start_in(folder, "", Vec::new()).await
}

/// A connection from this address of the machine, with a small buffer for unread bytes.
async fn narrow(agent: &TestAgent, from: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(agent.agent.address()).await.unwrap()
}

/// A client that requested all silences and has read their first bytes.
async fn reading_slowly(agent: &TestAgent) -> TcpStream {
    let mut client = narrow(agent, Ipv4Addr::LOCALHOST).await;
    client.write_all(LARGE.as_bytes()).await.unwrap();
    let mut begin = [0; 12];
    client.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    client
}

/// Reads the rest of an answer, of which this much was read, and asserts that nothing of it is missing.
async fn read_whole(mut client: TcpStream, mut rest: Vec<u8>) {
    timeout(PATIENCE, client.read_to_end(&mut rest)).await.expect("it ends").expect("it is not cut");
    let text = String::from_utf8(rest).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("it is known").parse::<usize>().unwrap();
    assert!(length > 1_800_000, "{length}");
    assert_eq!(body.len(), length, "the whole answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_under_way_makes_no_room_for_others() {
    let agent = talkative().await;
    let mut client = reading_slowly(&agent).await;
    let (mut held, mut read) = (Vec::new(), Vec::new());
    while made_room(&agent).await < 100.0 {
        held.push(halves(&agent, 100).await);
        // The client reads fast enough, and leaves enough bytes for the end.
        if read.len() < 1 << 20 {
            let mut piece = vec![0; 64 << 10];
            client.read_exact(&mut piece).await.expect("it is not cut");
            read.extend(piece);
        }
    }
    read_whole(client, read).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_read_nothing_shut_no_other_client_out() {
    let agent = talkative().await;
    let mut held = Vec::new();
    loop {
        for last in 1..=64 {
            let mut stranger = narrow(&agent, Ipv4Addr::new(127, 0, 0, last)).await;
            stranger.write_all(LARGE.as_bytes()).await.unwrap();
            held.push(stranger);
        }
        // The agent's user is at an address that has far more than its share.
        assert_eq!(agent.request("/healthz", &[]).await.0, 200, "while others take nothing of what they asked for");
        if made_room(&agent).await >= 100.0 {
            break;
        }
    }
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_under_way_is_finished_at_the_end_of_the_agent() {
    let agent = talkative().await;
    let client = reading_slowly(&agent).await;
    let mut held = half(&agent).await;
    agent.wait_series("pharos_http_connections", |open| open >= 2.0).await;
    let read = async {
        // Those without a whole request are ended by now.
        let mut rest = Vec::new();
        timeout(PATIENCE, held.read_to_end(&mut rest)).await.expect("it is ended").ok();
        read_whole(client, Vec::new()).await;
    };
    tokio::join!(agent.stop(), read);
}
