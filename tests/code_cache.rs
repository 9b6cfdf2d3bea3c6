//! No machine code that another user could have written is executed.
//!
//! Machine code between two starts: what this installation made is used, whatever else lies there is not.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::fixture::TestAgent;
use crate::fixture::disk::SmallDisk;
use crate::fixture::guests::guest;
use crate::fixture::wait::until;
use crate::fixture::zoo::{folder_of, named};

const NOBODY: u32 = 65_534;

/// Starts and waits until these serve.
async fn serving(folder: TempDir, ids: &[&str]) -> TestAgent {
    let agent = TestAgent::start_in(folder, "", Vec::new()).await;
    for id in ids {
        agent.wait_plugin(id, |plugin| plugin["state"] == "serving").await;
    }
    agent
}

async fn started_once(files: Vec<(String, Vec<u8>)>) -> TempDir {
    let ids: Vec<String> = files.iter().map(|(id, _)| id.clone()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    serving(folder_of(files), &ids).await.stop().await
}

fn compiled(folder: &Path) -> PathBuf {
    folder.join("data/compiled")
}

/// The code of a plugin.
fn code(folder: &Path, plugin: &[u8]) -> PathBuf {
    let digest = pharos::plugin::digest(plugin);
    let mut files = std::fs::read_dir(compiled(folder)).unwrap().map(|entry| entry.unwrap().path());
    let is_code = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "cwasm");
    files.find(|path| is_code(path) && path.file_name().unwrap().to_str().unwrap().starts_with(&digest)).expect("it was compiled")
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_was_exchanged_or_damaged_is_compiled_again_and_never_run() {
    let (one, other) = (named("one", ""), named("other", ""));
    let folder = started_once(vec![one.clone(), other.clone()]).await;
    let (of_one, of_other) = (code(folder.path(), &one.1), code(folder.path(), &other.1));
    assert_eq!((mode(&compiled(folder.path())), mode(&of_one)), (0o700, 0o600));
    // Another plugin's code, with the mark that belongs to it.
    std::fs::copy(&of_other, &of_one).unwrap();
    std::fs::copy(of_other.with_extension("mark"), of_one.with_extension("mark")).unwrap();
    // What an agent left that was killed at work, long ago and just now.
    let (old, fresh) = (compiled(folder.path()).join("old.draft"), compiled(folder.path()).join("fresh.draft"));
    for draft in [&old, &fresh] {
        std::fs::write(draft, b"half").unwrap();
    }
    std::fs::File::options().write(true).open(&old).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    // And a bit that a disk lost, in the middle of the code.
    let mut bytes = std::fs::read(&of_other).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&of_other, &bytes).unwrap();

    let agent = serving(folder, &["one", "other"]).await;
    for id in ["one", "other"] {
        assert!(agent.plugin(id).await["last_error"].is_null());
    }
    let folder = agent.stop().await;
    assert_ne!(std::fs::read(&of_other).unwrap(), bytes, "it was compiled again");
    assert!(!old.exists() && fresh.exists());

    // A mark that is missing, and a link to code that bears the right one.
    std::fs::remove_file(of_one.with_extension("mark")).unwrap();
    let elsewhere = folder.path().join("elsewhere");
    std::fs::rename(&of_other, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &of_other).unwrap();
    let folder = serving(folder, &["one", "other"]).await.stop().await;
    assert!(of_one.with_extension("mark").exists() && !of_other.is_symlink());
    drop(folder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_of_another_user_is_neither_read_nor_written_and_plugins_serve_without_it() {
    assert!(rustix::process::geteuid().is_root(), "this test gives files away, which only root may: run the tests as root");
    let steady = named("steady", "");
    let folder = started_once(vec![steady.clone()]).await;
    let cache = compiled(folder.path());
    let own = code(folder.path(), &steady.1);

    // One file that another user owns is not used.
    chown(&own, Some(NOBODY), Some(NOBODY)).unwrap();
    let folder = serving(folder, &["steady"]).await.stop().await;
    assert_eq!(std::fs::metadata(&own).unwrap().uid(), 0, "it was made anew");

    // A folder that others may write loses that permission. Files that they may have put there do not bear the mark.
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o777)).unwrap();
    std::fs::write(own.with_extension("mark"), [0; 32]).unwrap();
    let folder = serving(folder, &["steady"]).await.stop().await;
    assert_eq!(mode(&cache), 0o755);

    // A folder of another user is left alone.
    chown(&cache, Some(NOBODY), Some(NOBODY)).unwrap();
    let changed = std::fs::metadata(&cache).unwrap().mtime();
    let agent = serving(folder, &["steady"]).await;
    let reload = agent.wait_part("plugin reload", |part| part["state"] == "degraded").await;
    let cause = reload["cause"].as_str().unwrap();
    assert!(cause.contains("compiled plugins are not cached") && cause.contains("belongs to user 65534"), "{cause}");
    let folder = agent.stop().await;
    assert_eq!(std::fs::metadata(&cache).unwrap().mtime(), changed);

    // So is what is no folder.
    std::fs::remove_dir_all(&cache).unwrap();
    std::fs::write(&cache, b"").unwrap();
    let agent = serving(folder, &["steady"]).await;
    agent.wait_part("plugin reload", |part| part["state"] == "degraded").await;
    drop(agent.stop().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_space_or_folder_for_the_cache_plugins_serve_all_the_same() {
    let disk = SmallDisk::mount("9m");
    let config = format!("[agent]\ndata_dir = \"{}/data\"\n", disk.path().display());
    let agent = TestAgent::start_in(folder_of(Vec::new()), &config, Vec::new()).await;
    disk.fill();
    std::fs::write(agent.plugins_dir().join("steady.wasm"), guest("id=steady")).unwrap();
    agent.wait_plugin("steady", |plugin| plugin["state"] == "serving").await;
    let full = |part: &serde_json::Value| part["cause"].as_str().is_some_and(|cause| cause.contains("No space left on device"));
    agent.wait_part("plugin reload", full).await;

    // There is space again, and it is used.
    disk.free();
    std::fs::write(agent.plugins_dir().join("later.wasm"), guest("id=later")).unwrap();
    agent.wait_plugin("later", |plugin| plugin["state"] == "serving").await;
    agent.wait_part("plugin reload", |part| part["state"] == "ok").await;
    drop(agent.stop().await);

    // The whole directory may be deleted under a running agent.
    let folder = started_once(vec![named("steady", "")]).await;
    let agent = serving(folder, &["steady"]).await;
    // A file that the agent writes at the same moment makes the first attempt fail.
    let data = agent.folder().join("data");
    until("the directory of the state can be deleted", async || std::fs::remove_dir_all(&data)).await;
    std::fs::write(agent.plugins_dir().join("late.wasm"), guest("id=late")).unwrap();
    agent.wait_plugin("late", |plugin| plugin["state"] == "serving" && plugin["last_error"].is_null()).await;
    let folder = agent.stop().await;
    assert!(compiled(folder.path()).is_dir());
}
