//! No plugin reaches a file, a socket, a name or the environment of the agent.
//!
//! Covers guests that try to leave their sandbox.

use std::net::{TcpListener, UdpSocket};

use expect_test::expect;
use serde_json::Value;

use crate::fixture::guests::{Build, guest_of};
use crate::fixture::program::output;
use crate::fixture::zoo::Zoo;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_sockets_names_and_the_agents_surroundings_are_out_of_reach() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("precious"), "precious").unwrap();
    let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let orders =
        format!("id=outside;folder={};tcp={};udp={}", folder.path().display(), tcp.local_addr().unwrap(), udp.local_addr().unwrap());
    let zoo = Zoo::start("", vec![("outside".to_owned(), guest_of(Build::Outside, &orders))], Vec::new()).await;
    let attempts = |list: &Value| list["items"].as_array().unwrap().iter().filter(|alert| alert["rule"] == "other").count();
    let alerts = zoo.agent.wait_json("/api/database/alerts", |list| attempts(list) > 20).await;
    zoo.wait_calls("outside", 3).await;

    let told = |alert: &Value| format!("{}: {}\n", alert["labels"]["attempt"].as_str().unwrap(), alert["title"].as_str().unwrap());
    let mut told: Vec<String> = alerts["items"].as_array().unwrap().iter().filter(|alert| alert["rule"] == "other").map(told).collect();
    told.sort();
    expect![[r#"
        WASI TCP 6: refused: access-denied
        WASI TCP: refused: access-denied
        WASI UDP: refused: access-denied
        WASI folders: 0 of them
        WASI resolve: refused: permanent-resolver-failure
        append: refused: No such file or directory (os error 44)
        arguments: 0 of them
        bind UDP: refused: Permission denied (os error 2)
        connect: refused: Permission denied (os error 2)
        create: refused: No such file or directory (os error 44)
        environment: 0 variables
        folder of start: None
        input: 0 bytes
        list here: refused: No such file or directory (os error 44)
        list root: refused: No such file or directory (os error 44)
        listen: refused: Permission denied (os error 2)
        look: refused: No such file or directory (os error 44)
        make folder: refused: No such file or directory (os error 44)
        read absolute: refused: No such file or directory (os error 44)
        read proc: refused: No such file or directory (os error 44)
        read relative: refused: No such file or directory (os error 44)
        read upwards: refused: No such file or directory (os error 44)
        remove: refused: No such file or directory (os error 44)
        rename: refused: No such file or directory (os error 44)
        resolve: refused: failed to lookup address information: Non-recoverable error
    "#]]
    .assert_eq(&told.concat());

    for socket in [tcp.set_nonblocking(true), udp.set_nonblocking(true)] {
        socket.unwrap();
    }
    assert!(tcp.accept().is_err_and(|err| err.kind() == std::io::ErrorKind::WouldBlock), "no connection came");
    assert!(udp.recv(&mut [0; 16]).is_err_and(|err| err.kind() == std::io::ErrorKind::WouldBlock), "no packet came");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["precious"]);
    assert_eq!(zoo.agent.plugin("outside").await["traps"], 0);
    zoo.agent.stop().await;
}

#[tokio::test]
async fn inert_imports_are_reported_as_inert() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("outside.wasm");
    std::fs::write(&file, guest_of(Build::Outside, "id=outside")).unwrap();
    let (code, stdout, stderr) = output(&["plugin", "inspect", file.to_str().unwrap()]).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let inert: Vec<&str> = stdout.lines().filter(|line| line.starts_with("inert ")).collect();
    assert_eq!(
        inert,
        [
            "inert    imports wasi:filesystem: inert, since no folder is open to a plugin, so there is no file that it could read or write",
            "inert    imports wasi:sockets: inert, since every socket and every look-up of a name is refused",
        ]
    );
    let is_marked = |line: &&str| line.contains("wasi:filesystem/") || line.contains("wasi:sockets/");
    assert!(stdout.lines().filter(is_marked).all(|line| line.ends_with(" (inert)")), "{stdout}");
    assert!(stdout.lines().any(|line| line.starts_with("import   wasi:cli/stderr@0.2.") && !line.ends_with("(inert)")), "{stdout}");
}
