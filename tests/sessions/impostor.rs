//! No program on the port of a server that is down gets an answer from which the password can be guessed.
//!
//! While a server is down, any user of its machine can listen on its port, and request a password in a way that reveals it.

use pharos::config::database::TlsConfig;
use pharos::config::secret::SecretSource;
use pharos::demo::postgres::MONITORING_ROLE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::{behind_passwords, connector};
use crate::fixture::runtime_tasks;

const MD5: &[u8] = b"R\0\0\0\x0c\0\0\0\x05salt";
const SASL: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Question {
    Md5,
    OneRound,
    /// SCRAM as the server would, without its proof.
    Scram,
}

/// Asks one visitor for the password. Returns what it was answered to the last question.
async fn impostor(question: Question) -> (u16, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = TaskTracker::new().spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 4096];
        let _ = stream.read(&mut buffer).await.unwrap();
        if question == Question::Md5 {
            stream.write_all(MD5).await.unwrap();
        } else {
            stream.write_all(SASL).await.unwrap();
            let count = stream.read(&mut buffer).await.unwrap();
            let first = String::from_utf8_lossy(&buffer[..count]).into_owned();
            let nonce = first.split_once(",r=").expect("a nonce").1;
            let rounds = if question == Question::OneRound { 1 } else { 4096 };
            let challenge = format!("r={nonce}server,s=c2FsdHNhbHQ=,i={rounds}");
            stream.write_all(&authentication(11, &challenge)).await.unwrap();
        }
        let count = stream.read(&mut buffer).await.unwrap_or(0);
        if question == Question::Scram {
            let proof = "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
            stream.write_all(&authentication(12, proof)).await.unwrap();
            let _ = stream.read(&mut [0]).await;
        }
        buffer[..count].to_vec()
    });
    (port, heard)
}

fn authentication(code: u32, text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len() + 8).unwrap().to_be_bytes();
    [b"R", &length[..], &code.to_be_bytes(), text.as_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_impostor_at_the_address_of_a_server_gets_nothing_to_guess_the_password_from() {
    let (tasks, _stop) = runtime_tasks();
    let server = behind_passwords(&tasks).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "right\n").unwrap();
    let mut connector = connector(&server.url(MONITORING_ROLE, "postgres"), TlsConfig::default(), &tasks);
    connector.endpoint.password = Some(SecretSource::File(file));

    // An old server with MD5 gets an answer, since the agent has seen no stronger method yet. Few rounds are refused in any case.
    use Question::{Md5, OneRound, Scram};
    let guessed = Some("could be guessed from it");
    let unproven = Some("does not know the role's password");
    let cases = [(false, Md5, None), (false, OneRound, guessed), (true, Md5, guessed), (true, OneRound, guessed), (true, Scram, unproven)];
    for (is_known, question, refused) in cases {
        if is_known {
            connector.connect().await.expect("the server asks for SCRAM");
        }
        let (port, heard) = impostor(question).await;
        let mut deceived = connector.clone();
        deceived.endpoint.address.port = port;
        let Err(err) = deceived.connect().await else { panic!("it is an impostor") };
        assert_eq!(heard.await.unwrap().is_empty(), refused == guessed, "known: {is_known}: {err}");
        let reason = if refused.is_some() { "authentication" } else { "unreachable" };
        assert_eq!(err.reason().as_str(), reason, "known: {is_known}: {err}");
        assert!(refused.is_none_or(|words| err.to_string().contains(words)), "known: {is_known}: {err}");
    }
}
