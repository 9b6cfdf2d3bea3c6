//! The folder of one PostgreSQL server: the data, the configuration, the socket and the log.
//!
//! Settings are only ever appended: PostgreSQL takes the last value of each, so a copy made for a standby, or another
//! port after a clash, needs no editing.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::timeout;

use super::account::{Account, AccountError};
use super::binaries::PostgresBinaries;
use super::postgres_options::{Authentication, PostgresOptions, SUPERUSER};
use super::process::{ProcessError, ServerProcess};

/// The longest initdb. A cold machine that builds something else takes ten seconds.
const INITDB_DEADLINE: Duration = Duration::from_secs(120);

/// The number of log lines in the error of a server that does not start.
const LOG_TAIL_LINES: usize = 8;

/// Files and folders that belong to one running server, or that a standby fetches by itself: their contents are
/// not copied. The list is that of pg_basebackup.
const NOT_COPIED: [&str; 9] =
    ["pg_dynshmem", "pg_notify", "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans", "pg_wal", "pgsql_tmp"];
const LEFT_OUT: [&str; 4] = ["backup_label", "pg_internal.init", "postmaster.opts", "postmaster.pid"];

#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error("initdb took longer than {INITDB_DEADLINE:?}")]
    InitdbDeadline,
    #[error("initdb failed: {output}")]
    Initdb { output: String },
    #[error("writing {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("reading {}", path.display())]
    Read { path: PathBuf, source: io::Error },
}

#[derive(Debug)]
pub(super) struct DataFolder {
    root: TempDir,
    account: Account,
}

impl DataFolder {
    pub(super) fn create() -> Result<Self, DataFolderError> {
        let account = Account::choose()?;
        let root = account.folder("pharos-postgres-")?;
        Ok(Self { root, account })
    }

    /// The folder of the Unix socket.
    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    pub(super) fn command(&self, program: &Path) -> Command {
        self.account.command(program, &self.data())
    }

    pub(super) async fn initialise(&self, binaries: &PostgresBinaries, options: &PostgresOptions) -> Result<(), DataFolderError> {
        // Where its servers work too, so that all of them are found and end when this is dropped halfway.
        self.create_empty(&self.data())?;
        let mut command = self.command(&binaries.initdb());
        let [stdout, stderr] = self.log()?;
        command.stdout(stdout).stderr(stderr);
        command.args(["--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C", "--auth-local=trust"]);
        command.arg("--username").arg(SUPERUSER).arg("--pgdata").arg(self.data());
        if options.has_checksums {
            command.arg("--data-checksums");
        }
        match &options.authentication {
            Authentication::Trust => command.arg("--auth-host=trust"),
            Authentication::Scram { password } => {
                let password_file = self.root().join("password");
                self.write(&password_file, password.as_bytes())?;
                command.arg("--auth-host=scram-sha-256").arg("--pwfile").arg(password_file)
            }
        };
        let mut process = ServerProcess::spawn(command, &self.data(), Signal::KILL)?;
        let status = timeout(INITDB_DEADLINE, process.ended()).await.map_err(|_| DataFolderError::InitdbDeadline)??;
        if status.success() { Ok(()) } else { Err(DataFolderError::Initdb { output: self.log_tail() }) }
    }

    pub(super) fn append_settings<'a>(&self, settings: impl IntoIterator<Item = (&'a str, String)>) -> Result<(), DataFolderError> {
        let path = self.data().join("postgresql.conf");
        let mut text = read(&path)?;
        for (name, value) in settings {
            let value = value.replace('\\', "\\\\").replace('\'', "''");
            writeln!(text, "{name} = '{value}'").expect("writing to a string cannot fail");
        }
        self.write(&path, text.as_bytes())
    }

    /// Writes a file that its owner alone may read; PostgreSQL insists on that for a private key.
    pub(super) fn write(&self, path: &Path, contents: &[u8]) -> Result<(), DataFolderError> {
        let fail = |source| DataFolderError::Write { path: path.to_owned(), source };
        fs::write(path, contents).map_err(fail)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(fail)?;
        Ok(self.account.own(path)?)
    }

    /// Copies the files to where the server's account, and a standby made from this folder, can read them.
    pub(super) fn install_tls(&self, certificate: &Path, key: &Path) -> Result<(), DataFolderError> {
        for (source, name) in [(certificate, "server.crt"), (key, "server.key")] {
            self.write(&self.data().join(name), read(source)?.as_bytes())?;
        }
        // The names are those that PostgreSQL looks for.
        self.append_settings([("ssl", "on".to_owned())])
    }

    /// Copies a running server's data; the caller has put that server into backup mode.
    pub(super) fn copy_data_from(&self, data: &Path) -> Result<(), DataFolderError> {
        self.copy_folder(data, &self.data())?;
        // Last, as pg_basebackup does: nothing in the copy may be older than what this file promises.
        let control = Path::new("global/pg_control");
        self.copy_file(&data.join(control), &self.data().join(control))
    }

    fn copy_folder(&self, from: &Path, to: &Path) -> Result<(), DataFolderError> {
        let cannot_write = |source| DataFolderError::Write { path: to.to_owned(), source };
        let cannot_read = |source| DataFolderError::Read { path: from.to_owned(), source };
        fs::create_dir(to).map_err(cannot_write)?;
        fs::set_permissions(to, fs::Permissions::from_mode(0o700)).map_err(cannot_write)?;
        self.account.own(to)?;
        for entry in fs::read_dir(from).map_err(cannot_read)? {
            let entry = entry.map_err(cannot_read)?;
            let name = entry.file_name();
            let is = |listed: &[&str]| listed.iter().any(|other| name == *other);
            let (source, target) = (entry.path(), to.join(&name));
            if entry.file_type().map_err(cannot_read)?.is_dir() {
                if is(&NOT_COPIED) {
                    self.create_empty(&target)?;
                } else {
                    self.copy_folder(&source, &target)?;
                }
            } else if !is(&LEFT_OUT) {
                self.copy_file(&source, &target)?;
            }
        }
        Ok(())
    }

    fn create_empty(&self, folder: &Path) -> Result<(), DataFolderError> {
        let cannot_write = |source| DataFolderError::Write { path: folder.to_owned(), source };
        fs::create_dir(folder).map_err(cannot_write)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(cannot_write)?;
        Ok(self.account.own(folder)?)
    }

    fn copy_file(&self, from: &Path, to: &Path) -> Result<(), DataFolderError> {
        match fs::copy(from, to) {
            Ok(_) => Ok(self.account.own(to)?),
            // Relations and temporary files come and go meanwhile; replaying the log puts that right.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !from.exists() => Ok(()),
            Err(source) => Err(DataFolderError::Write { path: to.to_owned(), source }),
        }
    }

    /// Opens the log for a server about to start.
    pub(super) fn log(&self) -> Result<[Stdio; 2], DataFolderError> {
        let path = self.log_path();
        let fail = |source| DataFolderError::Write { path: path.clone(), source };
        let file = fs::OpenOptions::new().create(true).append(true).open(&path).map_err(fail)?;
        let twin = file.try_clone().map_err(fail)?;
        Ok([file.into(), twin.into()])
    }

    /// The last lines a server wrote, to say why it did not start.
    pub(super) fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    /// True if the server with this process accepts sessions. The lock file tells, so no session is needed.
    pub(super) fn is_ready(&self, postmaster: u32) -> bool {
        let lock = self.lock_lines();
        lock.first().is_some_and(|pid| *pid == postmaster.to_string()) && lock.get(7).is_some_and(|s| s == "ready")
    }

    /// The System V segment of a server that could not remove it, having been killed.
    pub(super) fn orphaned_segment(&self) -> Option<String> {
        self.lock_lines().get(6)?.split_whitespace().nth(1).map(str::to_owned)
    }

    fn lock_lines(&self) -> Vec<String> {
        let lock = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        lock.lines().map(|line| line.trim().to_owned()).collect()
    }

    fn log_path(&self) -> PathBuf {
        self.root().join("server.log")
    }
}

fn read(path: &Path) -> Result<String, DataFolderError> {
    fs::read_to_string(path).map_err(|source| DataFolderError::Read { path: path.to_owned(), source })
}
