//! Files that a config names: what is read, how much of it, and what is not.

use std::os::unix::fs::symlink;
use std::path::Path;

use pharos::config::file::{FileError, read_aside, read_once};

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
        assert_eq!(said(read_aside(&path, 3).await), expected, "{}", path.display());
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
