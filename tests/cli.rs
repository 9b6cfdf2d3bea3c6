//! No bad config is refused without every error and its place, and no second agent starts on one data directory. No signal except those
//! that stop ends the agent, and a log without a reader delays nothing.
//!
//! The built program: what it prints, how it exits, how it stops.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use pharos::demo::postgres::MONITORING_ROLE;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::fixture::program::{Running, command, output};
use crate::fixture::reserved::ReservedPort;
use crate::fixture::wait::until;
use crate::fixture::{PATIENCE, get, postgres, project, receiver_config, runtime_tasks, shipped};

/// A config in a folder of its own.
struct Setup {
    folder: TempDir,
}

impl Setup {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut text = config.to_owned();
        for (section, keys) in [("agent", "data_dir = \"data\""), ("http", "listen = \"127.0.0.1:0\"")] {
            if !config.contains(&format!("[{section}]")) {
                text.push_str(&format!("\n[{section}]\n{keys}\n"));
            }
        }
        std::fs::write(folder.path().join("pharos.toml"), text).unwrap();
        Self { folder }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("pharos.toml")
    }

    fn arguments<'a>(&self, command: &'a str, path: &'a str) -> [&'a str; 3] {
        [command, "--config", path]
    }

    fn run(&self) -> Running {
        let path = self.config();
        Running::logging(command(&self.arguments("run", path.to_str().unwrap())))
    }

    async fn output(&self, command: &str) -> (Option<i32>, String, String) {
        let path = self.config();
        output(&self.arguments(command, path.to_str().unwrap())).await
    }
}

#[tokio::test]
async fn wrong_usage_exits_with_2_and_questions_with_0() {
    assert_eq!(output(&["fly"]).await.0, Some(2));
    assert_eq!(output(&["run", "--colour"]).await.0, Some(2));
    let (code, stdout, _) = output(&["--version"]).await;
    assert_eq!((code, stdout), (Some(0), format!("pharos {}\n", env!("CARGO_PKG_VERSION"))));
    let (code, stdout, _) = output(&["--help"]).await;
    assert!(code == Some(0) && stdout.contains("78 the configuration cannot be used"), "{stdout}");
}

#[tokio::test]
async fn check_prints_every_error_with_its_place_and_exits_with_78() {
    let setup = Setup::new("[agent]\nnmae = \"a\"\n[http]\nlisten = \"0.0.0.0:1\"\n[colect]\n");
    let (code, stdout, stderr) = setup.output("check").await;
    let path = setup.config().display().to_string();
    let places: Vec<&str> = stderr.lines().map(|line| line.strip_prefix(&path).unwrap().split(": ").next().unwrap()).collect();
    assert_eq!((code, stdout.as_str()), (Some(78), ""));
    assert_eq!(places, [":2:1", ":4:10", ":5:2"], "{stderr}");
    assert_eq!(setup.output("run").await, (Some(78), String::new(), stderr));
}

#[tokio::test]
async fn check_of_a_good_file_prints_ok_and_a_missing_one_exits_with_78() {
    let (code, stdout, stderr) = Setup::new("").output("check").await;
    assert!(code == Some(0) && stdout.ends_with("pharos.toml: ok\n") && stderr.is_empty(), "{stdout}{stderr}");
    let (code, _, stderr) = output(&["check", "--config", "/nowhere/pharos.toml"]).await;
    assert_eq!((code, stderr.as_str()), (Some(78), "/nowhere/pharos.toml: No such file or directory (os error 2)\n"));
    let example = project().join("config/pharos.toml");
    assert_eq!(output(&["check", "--config", example.to_str().unwrap()]).await.0, Some(0));
}

/// A user that could write the file would get the operator's token.
#[tokio::test]
async fn a_config_that_others_may_write_is_taken_only_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pharos.toml");
    std::fs::write(&path, "[agent]\ndata_dir = \"data\"\n").unwrap();
    let check = async |mode: u32, named: &[&str]| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let mut check = command(&[&["check"], named].concat());
        let Output { status, stderr, .. } = check.current_dir(folder.path()).output().await.unwrap();
        (status.code(), String::from_utf8(stderr).unwrap())
    };
    let (code, stderr) = check(0o666, &[]).await;
    assert!(code == Some(78) && stderr.contains("others may write it (mode 666); name it with --config FILE"), "{stderr}");
    assert_eq!(check(0o666, &["--config", "pharos.toml"]).await, (Some(0), String::new()));
    assert_eq!(check(0o644, &[]).await, (Some(0), String::new()));
}

#[tokio::test]
async fn a_port_in_use_exits_with_78_and_names_the_key() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let (code, _, stderr) = Setup::new(&format!("[http]\nlisten = \"{address}\"")).output("run").await;
    assert_eq!(code, Some(78));
    assert!(stderr.contains(&format!("listening on {address} (is another agent running? change http.listen)")), "{stderr}");
}

#[tokio::test]
async fn a_second_agent_on_one_data_dir_names_the_first() {
    let setup = Setup::new("");
    let mut first = setup.run();
    first.port().await;
    let (code, _, stderr) = setup.output("run").await;
    assert_eq!(code, Some(78));
    assert!(stderr.contains(&format!("another agent (process {}) uses the data directory", first.pid())), "{stderr}");
    first.signal(rustix::process::Signal::TERM);
    assert_eq!(first.end().await.0, Some(0));
    // The lock ends with its process.
    let mut second = setup.run();
    second.port().await;
    second.signal(rustix::process::Signal::KILL);
    assert_eq!(second.end().await.0, None);
    let mut third = setup.run();
    third.port().await;
    third.signal(rustix::process::Signal::INT);
    assert_eq!(third.end().await.0, Some(0), "SIGINT drains as SIGTERM does");
}

/// A server that is down makes an alert without any server.
fn alert_to(url: &str) -> String {
    shipped();
    let plugins = project().join("target/plugins");
    format!(
        r#"
[plugins]
dir = "{}"
[[database]]
name = "app"
primary = "postgresql://pharos@127.0.0.1:1/app"
[[plugin.threshold.settings.rules]]
id = "down"
metric = "pharos_postgres_up"
below = 0.5
severity = "critical"
{}"#,
        plugins.display(),
        receiver_config(url)
    )
}

#[tokio::test]
async fn a_second_signal_ends_what_the_first_one_waits_for() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let setup = Setup::new(&alert_to(&format!("http://{}/", silent.local_addr().unwrap())));
    let mut agent = setup.run();
    let (delivery, _) = timeout(PATIENCE, silent.accept()).await.expect("a delivery begins").unwrap();
    agent.signal(rustix::process::Signal::TERM);
    agent.line("stopping on SIGTERM").await;
    agent.signal(rustix::process::Signal::TERM);
    agent.line("second signal, stopping at once").await;
    assert_eq!(agent.end().await.0, Some(1));
    drop(delivery);
}

#[tokio::test]
async fn other_signals_are_logged_and_end_nothing() {
    use rustix::process::Signal;
    let setup = Setup::new("");
    let mut agent = setup.run();
    let port = agent.port().await;
    for (signal, line) in [
        (Signal::HUP, "SIGHUP changes nothing: pharos.toml is read at the start, so restart the agent after a change"),
        (Signal::USR1, "SIGUSR1 changes nothing"),
        (Signal::USR2, "SIGUSR2 changes nothing"),
        (Signal::ALARM, "SIGALRM changes nothing"),
        (Signal::IO, "SIGIO changes nothing"),
    ] {
        agent.signal(signal);
        agent.line(line).await;
    }
    assert_eq!(get(port, "/healthz", &[]).await.0, 200);
    agent.signal(Signal::QUIT);
    agent.line("stopping on SIGQUIT").await;
    assert_eq!(agent.end().await.0, Some(0));
}

/// Standard error that accepts nothing and has no reader.
fn full() -> (std::os::unix::net::UnixStream, std::os::unix::net::UnixStream) {
    use std::io::Write;
    let (mut into, out) = std::os::unix::net::UnixStream::pair().unwrap();
    into.set_nonblocking(true).unwrap();
    while into.write(&[b'.'; 4_096]).is_ok() {}
    into.set_nonblocking(false).unwrap();
    (into, out)
}

#[tokio::test]
async fn a_log_without_a_reader_delays_nothing_and_a_closed_one_ends_nothing() {
    let reserved = ReservedPort::new();
    let port = reserved.number();
    for is_closed in [false, true] {
        let setup = Setup::new("");
        let config = std::fs::read_to_string(setup.config()).unwrap().replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
        std::fs::write(setup.config(), config).unwrap();
        let (into, out) = full();
        let held = (!is_closed).then_some(out);
        let mut command = command(&["run", "--config", setup.config().to_str().unwrap()]);
        let mut agent = command.stdout(std::process::Stdio::null()).stderr(std::os::fd::OwnedFd::from(into)).spawn().unwrap();
        until("it listens", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await).await;
        assert_eq!(get(port, "/healthz", &[]).await.0, 200);
        if is_closed {
            let (_, metrics) = get(port, "/metrics", &[]).await;
            assert!(metrics.lines().any(|line| line.starts_with("pharos_log_lines_dropped_total ") && !line.ends_with(" 0")), "{metrics}");
        }
        let pid = rustix::process::Pid::from_raw(agent.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let ended = timeout(PATIENCE, agent.wait()).await.expect("it ends").unwrap();
        assert_eq!(ended.code(), Some(0), "closed: {is_closed}");
        drop(held);
    }
}

#[tokio::test]
async fn a_closed_output_ends_a_command_quietly() {
    let setup = Setup::new("");
    let (config, threshold) = (setup.config().display().to_string(), plugin("threshold"));
    for arguments in [
        &["--help"][..],
        &["check", "--config", &config],
        &["plugin", "inspect", &threshold],
        &["doctor", "--config", &config],
        &["check", "--config", "/nowhere"],
    ] {
        let (into, out) = std::os::unix::net::UnixStream::pair().unwrap();
        drop(out);
        let mut command = command(arguments);
        let closed = || std::os::fd::OwnedFd::from(into.try_clone().unwrap());
        let ended = command.stdout(closed()).stderr(closed()).status().await.unwrap();
        assert!(ended.code().is_some_and(|code| [0, 1, 78].contains(&code)), "{arguments:?}: {ended}");
    }
}

#[tokio::test]
async fn json_logs_are_one_object_a_line() {
    let setup = Setup::new("[log]\nformat = \"json\"");
    let mut agent = setup.run();
    let port = agent.port().await;
    let (status, body) = get(port, "/healthz", &[]).await;
    assert_eq!((status, body.as_str()), (200, r#"{"status":"alive"}"#));
    agent.signal(rustix::process::Signal::TERM);
    let (code, lines) = agent.end().await;
    assert_eq!(code, Some(0));
    let mut messages = Vec::new();
    for line in lines {
        let entry: Value = serde_json::from_str(&line).unwrap_or_else(|err| panic!("{err}: {line}"));
        assert!(entry["level"].is_string() && entry["timestamp"].is_string(), "{line}");
        messages.push(entry["message"].as_str().unwrap().to_owned());
    }
    assert!(messages.iter().any(|message| message == "pharos ended: Drained"), "{messages:?}");
}

fn plugin(id: &str) -> String {
    shipped();
    project().join(format!("target/plugins/{id}.wasm")).display().to_string()
}

#[tokio::test]
async fn plugin_inspect_shows_what_a_file_is() {
    let (code, stdout, stderr) = output(&["plugin", "inspect", &plugin("redis-essentials")]).await;
    assert_eq!(code, Some(0), "{stderr}");
    for expected in ["world    alert-rule-plugin", "plugin   redis-essentials ", "import   pharos:plugin/", "rule     ", "sha256 "] {
        assert!(stdout.contains(expected), "no `{expected}` in {stdout}");
    }
    assert!(!stdout.contains("warning"), "{stdout}");
    assert!(stdout.contains("; for 5s; needs pharos_redis_up\n") && stdout.contains("; keeps firing 5m; needs"), "{stdout}");
    assert!(!stdout.contains("0ns"), "{stdout}");
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("settings.toml");
    std::fs::write(&settings, "rules = [{ id = \"up\", metric = \"pharos_redis_upp\", above = 0.5, severity = \"info\" }]").unwrap();
    let (code, stdout, stderr) = output(&["plugin", "inspect", &plugin("threshold"), "--settings", settings.to_str().unwrap()]).await;
    assert!(
        code == Some(0) && stdout.contains("warning  rule `up` needs `pharos_redis_upp`, which no collector reads"),
        "{stdout}{stderr}"
    );
    let (code, _, stderr) = output(&["plugin", "inspect", "Cargo.toml"]).await;
    assert!(code == Some(1) && stderr.starts_with("pharos: Cargo.toml is not there"), "{stderr}");
    let garbage = folder.path().join("garbage.wasm");
    std::fs::write(&garbage, "no component").unwrap();
    let (code, _, stderr) = output(&["plugin", "inspect", garbage.to_str().unwrap()]).await;
    assert!(code == Some(1) && stderr.contains("garbage.wasm"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_is_tested_on_a_snapshot_recorded_from_a_real_server() {
    let (tasks, _) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = Setup::new(&format!("[[database]]\nname = \"app\"\nprimary = \"{}\"", server.url(MONITORING_ROLE, "postgres")));
    let path = setup.config();
    let (code, snapshot, stderr) = output(&["snapshot", "app", "--config", path.to_str().unwrap()]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let file = setup.folder.path().join("snapshot.json");
    std::fs::write(&file, snapshot).unwrap();
    let settings = setup.folder.path().join("settings.toml");
    std::fs::write(&settings, "rules = [{ id = \"up\", metric = \"pharos_postgres_up\", above = 0.5, severity = \"info\" }]").unwrap();
    let test = |id: &'static str, snapshot: &Path| {
        let (snapshot, settings) = (snapshot.display().to_string(), settings.display().to_string());
        async move {
            let plugin = plugin(id);
            let mut arguments = vec!["plugin", "test", &plugin, "--snapshot", &snapshot];
            if id == "threshold" {
                arguments.extend(["--settings", &settings]);
            }
            output(&arguments).await
        }
    };
    let (code, stdout, stderr) = test("threshold", &file).await;
    assert!(code == Some(0) && stdout.starts_with("info     up{") && stdout.contains("1 findings, 0 skipped"), "{stdout}{stderr}");
    let (code, stdout, stderr) = test("postgres-essentials", &file).await;
    assert!(code == Some(0) && stdout.contains(" findings, "), "{stdout}{stderr}");
    let (code, _, stderr) = test("threshold", &settings).await;
    assert!(code == Some(1) && stderr.contains("is not a snapshot that `pharos snapshot` recorded"), "{stderr}");
    let (code, _, stderr) = output(&["snapshot", "nobody", "--config", path.to_str().unwrap()]).await;
    let id = format!("127.0.0.1:{}", server.port());
    assert!(
        code == Some(1) && stderr.contains(&format!("no server or database is named \"nobody\"; configured are: app, {id}")),
        "{stderr}"
    );
}
