//! No pipe, device or hanging file system behind a file of the config stops the agent. `pharos check` approves no file that the agent
//! cannot use.
//!
//! Files that a config names: what is read, how much of it, and what is not.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use pharos::config::file::{FileError, read_on_own_thread, read_once};

use crate::fixture::program::{command, output};

#[tokio::test]
async fn only_regular_files_are_read_and_only_so_much_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let said = |read: Result<Vec<u8>, FileError>| read.map_or_else(|err| err.to_string(), |bytes| format!("{} bytes", bytes.len()));
    std::fs::write(at("secret"), "abc").unwrap();
    std::fs::write(at("long"), "abcd").unwrap();
    std::fs::create_dir(at("..data")).unwrap();
    std::fs::rename(at("secret"), at("..data/secret")).unwrap();
    symlink("..data/secret", at("mounted")).unwrap();
    symlink("loop", at("loop")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    for (path, expected) in [
        (at("mounted"), "3 bytes"),
        (at("long"), "it is longer than 3 bytes"),
        (at("pipe"), "it is a pipe, not a regular file"),
        (at("socket"), "it is a socket, not a regular file"),
        (at("..data"), "it is a folder, not a regular file"),
        ("/dev/zero".into(), "it is a device, not a regular file"),
        ("/dev/tty".into(), "it is a device, not a regular file"),
        (at("loop"), "Too many levels of symbolic links (os error 40)"),
        (at("none"), "No such file or directory (os error 2)"),
    ] {
        assert_eq!(said(read_on_own_thread(&path, 3).await), expected, "{}", path.display());
    }
}

#[test]
fn a_pipe_on_the_command_line_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::write(pipe, "[agent]\n").unwrap()
    });
    assert_eq!(read_once(&pipe, 100).unwrap(), b"[agent]\n");
    writer.join().unwrap();
    assert!(matches!(read_once(Path::new("/dev/zero"), 100), Err(FileError::TooLong(100))));
}

/// Run as a user who may not write there, as an agent would be.
#[tokio::test]
async fn check_reports_where_the_agent_cannot_store_its_state_and_makes_nothing() {
    const NOBODY: u32 = 65_534;
    let folder = tempfile::tempdir().unwrap();
    let permit = |path: &Path, mode: u32| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    permit(folder.path(), 0o755);
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("theirs")).unwrap();
    permit(&at("theirs"), 0o755);
    std::fs::create_dir(at("own")).unwrap();
    std::os::unix::fs::chown(at("own"), Some(NOBODY), Some(NOBODY)).unwrap();
    std::fs::create_dir(at("everybodys")).unwrap();
    std::os::unix::fs::chown(at("everybodys"), Some(4_711), Some(NOBODY)).unwrap();
    permit(&at("everybodys"), 0o770);
    std::fs::write(at("file"), "").unwrap();
    for (name, owner, mode, is_empty) in
        [("shared", NOBODY, 0o777, false), ("temporary", 0, 0o1777, false), ("fresh", NOBODY, 0o1777, true), ("volume", 0, 0o2775, false)]
    {
        std::fs::create_dir(at(name)).unwrap();
        if !is_empty {
            std::fs::write(at(name).join("somebody's"), "").unwrap();
        }
        std::os::unix::fs::chown(at(name), Some(owner), Some(NOBODY)).unwrap();
        permit(&at(name), mode);
    }
    for (name, file, owner, mode) in [
        ("stolen", "pharos.db", 0, 0o600),
        ("stolen-log", "pharos.db-wal", 0, 0o600),
        ("of-root", "pharos.db", 0, 0o644),
        ("own-closed", "lock", NOBODY, 0),
    ] {
        std::fs::create_dir(at(name)).unwrap();
        std::os::unix::fs::chown(at(name), Some(NOBODY), Some(NOBODY)).unwrap();
        let file = at(name).join(file);
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::chown(&file, Some(owner), Some(0)).unwrap();
        permit(&file, mode);
    }
    std::fs::create_dir_all(at("strange/pharos.db")).unwrap();
    std::os::unix::fs::chown(at("strange"), Some(NOBODY), Some(NOBODY)).unwrap();
    let config = at("pharos.toml");
    let check = |data_dir: &str| {
        std::fs::write(&config, format!("[agent]\nname = \"a\"\ndata_dir = {data_dir:?}\n")).unwrap();
        let mut command = command(&["check", "--config", config.to_str().unwrap()]);
        command.uid(NOBODY).gid(NOBODY);
        command.output()
    };
    for (data_dir, code, expected) in [
        ("own", 0, None),
        ("own/new/deeper", 0, None),
        ("theirs", 0, Some("cannot be written by user 65534, who runs this check: Permission denied")),
        ("theirs/new/deeper", 0, Some("does not exist and cannot be created in")),
        ("everybodys", 0, Some("belongs to user 4711, and the agent stores its state in a folder of its own user")),
        ("shared", 78, Some("can be written by other users; run `chmod go-w")),
        ("temporary", 78, Some("can be written by other users; run `chmod go-w")),
        ("temporary/new", 0, None),
        ("fresh", 0, None),
        ("volume", 0, None),
        (
            "stolen",
            78,
            Some("pharos.db belongs to user 0 and cannot be read by user 65534, who runs the agent; give it back: chown 65534 "),
        ),
        ("stolen-log", 78, Some("pharos.db-wal belongs to user 0 and cannot be read")),
        ("own-closed", 78, Some("lock belongs to user 65534 and cannot be read by user 65534")),
        ("of-root", 78, Some("pharos.db belongs to user 0 and cannot be written by user 65534")),
        ("strange", 78, Some("pharos.db is not a file")),
        ("file", 78, Some("file is a file, and state is stored in a folder")),
        ("file/new", 78, Some("file is a file, and state is stored in a folder")),
    ] {
        let output = check(data_dir).await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{data_dir}: {said}");
        match expected {
            None => assert_eq!(said, "", "{data_dir}"),
            Some(expected) => {
                assert!(said.starts_with(&format!("{}:3:12: ", config.display())) && said.contains(expected), "{data_dir}: {said}");
            }
        }
    }
    assert_eq!(std::fs::metadata(at("fresh")).unwrap().permissions().mode() & 0o7777, 0o1777, "nothing is changed");
    assert!(!at("own/new").exists() && !at("theirs/new").exists());
}

#[tokio::test]
async fn check_reads_certificates_and_keys() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=a", "-keyout", "key.pem", "-out", "ca.pem"])
        .current_dir(folder.path())
        .output()
        .expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
    std::fs::write(at("empty.pem"), "").unwrap();
    std::fs::write(at("broken.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let config = at("pharos.toml");
    for (ca, key, expected) in [
        ("ca.pem", "key.pem", None),
        ("key.pem", "key.pem", Some("key.pem holds no certificate in PEM; certificates belong there, not their key")),
        ("empty.pem", "key.pem", Some("empty.pem holds no certificate in PEM")),
        ("broken.pem", "key.pem", Some("broken.pem holds a certificate that cannot be read, the one at place 1")),
        ("ca.pem", "ca.pem", Some("ca.pem holds no unencrypted private key in PEM")),
    ] {
        let [ca, key] = [ca, key].map(at);
        let text = format!(
            "[[database]]\nname = \"app\"\nprimary = \"postgresql://a@b/c\"\ntls = {{ ca = {ca:?} }}\n\
             [[redis]]\nname = \"r\"\nnodes = [\"rediss://b\"]\ntls = {{ cert = {ca:?}, key = {key:?} }}\n"
        );
        std::fs::write(&config, text).unwrap();
        let (code, stdout, stderr) = output(&["check", "--config", config.to_str().unwrap()]).await;
        match expected {
            None => assert_eq!(code, Some(0), "{stdout}{stderr}"),
            Some(expected) => assert!(code == Some(78) && (stdout.clone() + &stderr).contains(expected), "{code:?}: {stdout}{stderr}"),
        }
    }
}
