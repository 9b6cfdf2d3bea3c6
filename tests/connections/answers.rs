//! Answers that are taken slowly: which of them are cut, and which are finished.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::half;
use crate::fixture::{PATIENCE, TestAgent, send};

/// A visitor that asked for a large answer and has read the first bytes of it; and the agent, which has silences for two megabytes.
async fn reading_slowly() -> (TestAgent, TcpStream) {
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

    let agent = TestAgent::start_in(folder, "", Vec::new()).await;
    // Little of the answer fits between the two.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut visitor = socket.connect(agent.agent.address()).await.unwrap();
    visitor.write_all(b"GET /api/silences HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut begin = [0; 12];
    visitor.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    (agent, visitor)
}

/// Reads the rest of an answer and asserts that nothing of it is missing.
async fn read_whole(mut visitor: TcpStream) {
    let mut rest = Vec::new();
    timeout(PATIENCE, visitor.read_to_end(&mut rest)).await.expect("it ends").expect("it is not cut");
    let text = String::from_utf8(rest).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("it is known").parse::<usize>().unwrap();
    assert!(length > 1_800_000, "{length}");
    assert_eq!(body.len(), length, "the whole answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_under_way_makes_no_room_for_others() {
    let (agent, visitor) = reading_slowly().await;
    let mut held = Vec::new();
    for _ in 0..200 {
        held.push(half(&agent).await);
    }
    agent.wait_series("pharos_http_connections_ended_total{reason=\"made-room\"}", |ended| ended >= 100.0).await;
    read_whole(visitor).await;
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_under_way_is_finished_at_the_end_of_the_agent() {
    let (agent, visitor) = reading_slowly().await;
    let mut held = half(&agent).await;
    agent.wait_series("pharos_http_connections", |open| open >= 2.0).await;
    let read = async {
        // Those without a whole request are ended by now.
        let mut rest = Vec::new();
        timeout(PATIENCE, held.read_to_end(&mut rest)).await.expect("it is ended").ok();
        read_whole(visitor).await;
    };
    tokio::join!(agent.stop(), read);
}
