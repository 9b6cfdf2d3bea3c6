//! No file that any user of the machine could have written is loaded as a plugin. No pipe, folder, link or crowd of files among the plugins
//! stops the reload or the start.
//!
//! Covers pipes, devices, folders, links and thousands of files in the plugin folder.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use serde_json::Value;

use crate::fixture::disk::hanging;
use crate::fixture::guests::guest;
use crate::fixture::item;
use crate::fixture::program::{Running, command, output};
use crate::fixture::zoo::{Zoo, named, state};

/// Id, how the file is made, and the expected error.
type Odd = (&'static str, fn(&Path), &'static str);

const ODD: [Odd; 8] = [
    (
        "pipe",
        |path| rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap(),
        "is a pipe, not a file",
    ),
    (
        "piped",
        |path| {
            let pipe = path.with_file_name("a-pipe");
            rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
            symlink(pipe, path).unwrap();
        },
        "is a pipe, not a file",
    ),
    ("zeros", |path| symlink("/dev/zero", path).unwrap(), "is a device, not a file"),
    ("folder", |path| std::fs::create_dir(path).unwrap(), "is a folder, not a file"),
    ("socket", |path| drop(UnixListener::bind(path).unwrap()), "is a socket, not a file"),
    ("circle", |path| symlink(path.file_name().unwrap(), path).unwrap(), "cannot be read: Too many levels of symbolic links"),
    ("nowhere", |path| symlink("not-there", path).unwrap(), "is a link that leads to nothing"),
    ("sparse", |path| std::fs::File::create(path).unwrap().set_len(1 << 40).unwrap(), "has 1099511627776 bytes, more than 64.0 MiB"),
];

async fn refused(zoo: &Zoo) {
    for (id, _, expected) in ODD {
        let plugin = zoo.agent.wait_plugin(id, |plugin| plugin["state"] == "failed").await;
        assert_eq!(plugin["last_error"]["stage"], "read", "{plugin:#}");
        assert!(plugin["last_error"]["message"].as_str().unwrap().contains(expected), "{plugin:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_no_files_are_refused_with_the_reason_and_the_others_are_followed() {
    let embedded = || vec![named("inside", "version=1.0.0")];
    let zoo = Zoo::start("", vec![named("steady", "")], embedded()).await;
    zoo.wait_alert("steady", "always", "firing").await;
    for (id, make, _) in ODD {
        make(&zoo.file(id));
    }
    refused(&zoo).await;
    // A link to a plugin is one, as where volumes of containers are made of links.
    std::fs::write(zoo.agent.plugins_dir().join("..data"), guest("id=linked")).unwrap();
    symlink("..data", zoo.file("linked")).unwrap();
    zoo.agent.wait_plugin("linked", |plugin| plugin["state"] == "serving").await;
    // What serves already goes on when its file becomes a pipe; what is embedded stands in.
    std::fs::remove_file(zoo.file("steady")).unwrap();
    symlink("a-pipe", zoo.file("steady")).unwrap();
    symlink("a-pipe", zoo.file("inside")).unwrap();
    for id in ["steady", "inside"] {
        let plugin = zoo.agent.wait_plugin(id, |plugin| plugin["last_error"]["stage"] == "read").await;
        assert_eq!(plugin["state"], "serving", "{plugin:#}");
    }
    let reload = zoo.agent.wait_part("plugin reload", |part| part["state"] == "ok").await;
    assert!(reload["cause"].is_null(), "{reload}");
    let folder = zoo.agent.stop().await;

    // They lie there at the next start as well.
    let zoo = Zoo::start_in(folder, "", embedded()).await;
    refused(&zoo).await;
    let inside = zoo.agent.wait_plugin("inside", |plugin| plugin["state"] == "serving").await;
    assert_eq!((&inside["source"], &inside["last_error"]["stage"]), (&"embedded".into(), &"read".into()), "{inside:#}");
    zoo.put("late", &guest("id=late"));
    zoo.agent.wait_plugin("late", |plugin| plugin["state"] == "serving").await;
    // A pipe that is replaced by a plugin, and one that is gone.
    std::fs::remove_file(zoo.file("pipe")).unwrap();
    zoo.put("zeros", &guest("id=zeros"));
    zoo.agent.wait_plugin("zeros", |plugin| plugin["state"] == "serving" && plugin["last_error"].is_null()).await;
    zoo.agent.wait_json("/api/plugins", |list| item(list, "id", "pipe").is_none()).await;
    zoo.agent.stop().await;
}

fn permit(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Puts a plugin there with these permissions from its first moment on.
fn put_with(file: &Path, id: &str, mode: u32) {
    let draft = file.with_extension("draft");
    std::fs::write(&draft, guest(&format!("id={id}"))).unwrap();
    permit(&draft, mode);
    std::fs::rename(draft, file).unwrap();
}

/// Waits until a plugin is in this state and its last error contains this text.
async fn wait_error(zoo: &Zoo, id: &str, state: &str, expected: &str) {
    let fits = |plugin: &Value| {
        plugin["state"] == state && plugin["last_error"]["message"].as_str().is_some_and(|message| message.contains(expected))
    };
    zoo.agent.wait_plugin(id, fits).await;
}

async fn serves(zoo: &Zoo, id: &str) -> Value {
    zoo.agent.wait_plugin(id, |plugin| plugin["state"] == "serving" && plugin["last_error"].is_null()).await
}

/// Any local user could put a notifier there, and would get the operator's secrets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_every_user_may_write_is_not_loaded() {
    let zoo = Zoo::start("", vec![named("steady", "")], vec![named("inside", "version=1.0.0")]).await;
    let generation = serves(&zoo, "steady").await["generation"].clone();
    let folder = zoo.agent.plugins_dir();
    // Of a group, of another user: as deployments leave them.
    put_with(&zoo.file("groups"), "groups", 0o664);
    serves(&zoo, "groups").await;

    let cure = |path: &Path| format!("run `chmod o-w {}`", path.display());
    put_with(&zoo.file("open"), "open", 0o666);
    put_with(&zoo.file("inside"), "inside", 0o646);
    wait_error(&zoo, "open", "failed", &cure(&zoo.file("open"))).await;
    wait_error(&zoo, "inside", "serving", &cure(&zoo.file("inside"))).await;
    assert_eq!(zoo.agent.plugin("inside").await["source"], "embedded");
    let elsewhere = tempfile::tempdir().unwrap();
    put_with(&elsewhere.path().join("linked.wasm"), "linked", 0o644);
    permit(elsewhere.path(), 0o1777);
    symlink(elsewhere.path().join("linked.wasm"), zoo.file("linked")).unwrap();
    wait_error(&zoo, "linked", "failed", &cure(elsewhere.path())).await;
    permit(&zoo.file("steady"), 0o666);
    wait_error(&zoo, "steady", "serving", &cure(&zoo.file("steady"))).await;

    for file in ["open", "inside", "steady"] {
        permit(&zoo.file(file), 0o644);
    }
    permit(elsewhere.path(), 0o755);
    for id in ["open", "inside", "linked", "steady"] {
        serves(&zoo, id).await;
    }
    // Sticky or not: a new file is as good as an old one.
    for mode in [0o777, 0o1777] {
        permit(&folder, mode);
        zoo.put("late", &guest("id=late"));
        wait_error(&zoo, "late", "failed", &cure(&folder)).await;
        wait_error(&zoo, "steady", "serving", &cure(&folder)).await;
        std::fs::remove_file(zoo.file("late")).unwrap();
        zoo.agent.wait_json("/api/plugins", |list| item(list, "id", "late").is_none()).await;
    }
    permit(&folder, 0o775);
    assert_eq!(serves(&zoo, "steady").await["generation"], generation, "it went on all the while");
    zoo.agent.stop().await;
}

#[tokio::test]
async fn check_finds_plugins_that_every_user_may_write() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    let config = folder.path().join("pharos.toml");
    std::fs::write(&config, "[agent]\ndata_dir = \"data\"\n[plugins]\ndir = \"plugins\"\n").unwrap();
    let check = async || output(&["check", "--config", config.to_str().unwrap()]).await;
    put_with(&plugins.join("open.wasm"), "open", 0o646);
    let (code, _, stderr) = check().await;
    assert!(stderr.contains(&format!("run `chmod o-w {}`", plugins.join("open.wasm").display())), "{stderr}");
    assert_eq!(code, Some(78));
    permit(&plugins.join("open.wasm"), 0o644);
    permit(&plugins, 0o1777);
    let (code, _, stderr) = check().await;
    let expected = format!("{}:4:7: `plugins.dir`: no plugin file is loaded from", config.display());
    assert!(stderr.contains(&expected) && stderr.contains(&format!("run `chmod o-w {}`", plugins.display())), "{stderr}");
    assert_eq!(code, Some(78));
    permit(&plugins, 0o755);
    let (code, stdout, stderr) = check().await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_files_cost_neither_the_plugins_nor_the_watch_over_the_agent() {
    const FILES: usize = 3_000;
    let named_in_config = "[plugin.wanted.settings]\n[plugin.agent-essentials.limits]\nwall = \"20s\"\ncpu = \"5s\"\n";
    let shipped = crate::fixture::shipped().into_iter().filter(|(id, _)| id == "agent-essentials").collect();
    let zoo = Zoo::start(named_in_config, vec![named("steady", "")], shipped).await;
    zoo.wait_alert("steady", "always", "firing").await;
    for number in 0..FILES {
        let file = zoo.file(&format!("m{number:05}"));
        std::fs::write(file, [b"\0asm\x0d\0\x01\0\0\x02\x01".as_slice(), &[b'a' + (number % 26) as u8]].concat()).unwrap();
    }
    // The config names it, so it counts before the others.
    zoo.put("wanted", &guest("id=wanted"));
    zoo.agent.wait_plugin("wanted", |plugin| plugin["state"] == "serving").await;
    let reload = zoo.agent.wait_part("plugin reload", |part| part["state"] == "degraded").await;
    let cause = reload["cause"].as_str().unwrap();
    assert!(cause.contains("plugin files in") && cause.contains("at most 100 are loaded"), "{cause}");
    // A hundred files, and the embedded plugins. Files that were loaded before `wanted` existed must be removed first.
    let settled = |list: &Value| {
        let plugins = list["items"].as_array().unwrap();
        plugins.len() == 101 && plugins.iter().all(|plugin| plugin["state"] != "loading")
    };
    let list = zoo.agent.wait_json("/api/plugins", settled).await;
    for id in ["steady", "wanted", "agent-essentials"] {
        assert_eq!(state(&list, id), "serving", "{list:#}");
    }
    zoo.wait_calls("steady", 5).await;
    zoo.wait_calls("agent-essentials", 5).await;
    let own = zoo.agent.plugin("agent-essentials").await;
    assert_eq!((&own["state"], &own["traps"]), (&"serving".into(), &0.into()), "{own:#}");
    zoo.agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_folder_that_never_answers_does_not_prevent_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    let (_library, environment) = hanging(&plugins);
    let config = folder.path().join("pharos.toml");
    let text = format!("[agent]\ndata_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n[plugins]\ndir = \"{}\"\n", plugins.display());
    std::fs::write(&config, text).unwrap();
    let mut program = command(&["run", "--config", config.to_str().unwrap()]);
    program.envs(environment);
    let mut agent = Running::logging(program);
    let log = agent.lines_to("listening").await;
    assert!(log.iter().any(|line| line.contains("was not read within") && line.contains("are started without it")), "{log:#?}");
    agent.line("`webhook` ").await;
}
