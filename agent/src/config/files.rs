//! Checks of `pharos check`: every file and variable of the config can be read now, and the agent may write its state.
//!
//! A running agent reads them at each use. A missing file degrades the parts that need it, and is used as soon as it appears. So only
//! `pharos check` inspects them beforehand.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::io::Errno;
use rustix::process::geteuid;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::der::Decode;

use super::database::redis::RedisTls;
use super::file::{self, CERTIFICATES_BYTES_MAX, FileError, SECRET_BYTES_MAX};
use super::load::Mistake;
use super::root::Config;
use super::secret::{SecretError, SecretSource};

/// The findings of `pharos check`.
#[derive(Debug, Default)]
pub(crate) struct FilesCheck {
    /// Files that do not exist, or that the agent does not read.
    pub mistakes: Vec<Mistake>,
    /// Findings that depend on the user and the environment of the agent.
    pub notes: Vec<Mistake>,
}

impl FilesCheck {
    pub(crate) fn of(config: &Config) -> Self {
        let mut check = Self::default();
        check.data_dir(&config.agent.data_dir);
        for (index, database) in config.database.iter().enumerate() {
            check.password(&format!("database[{index}]"), database.password());
            check.certificates(&format!("database[{index}].tls.ca"), database.tls.ca.as_deref());
        }
        for (index, redis) in config.redis.iter().enumerate() {
            check.password(&format!("redis[{index}]"), redis.password());
            for (key, file) in redis.tls.iter().flat_map(RedisTls::files) {
                let (path, file) = (format!("redis[{index}].tls.{key}"), file.map(PathBuf::as_path));
                if key == "key" { check.key(&path, file) } else { check.certificates(&path, file) }
            }
        }
        for (name, relay) in &config.relay {
            check.password(&format!("relay.{name}"), relay.password());
            check.certificates(&format!("relay.{name}.ca"), relay.ca.as_deref());
        }
        for (name, source) in &config.secret {
            let key = match source {
                SecretSource::File(_) => "file",
                SecretSource::Env(_) => "env",
            };
            check.secret(&format!("secret.{name}.{key}"), source);
        }
        check
    }

    /// Inspects the data directory. Nothing is created or written: the user of the agent does that at its start.
    fn data_dir(&mut self, dir: &Path) {
        const PATH: &str = "agent.data_dir";
        let shown = dir.display();
        let user = geteuid();
        // The folder itself, or the nearest existing folder above it, in which it would be created.
        let places = dir.ancestors().map(|place| if place.as_os_str().is_empty() { Path::new(".") } else { place });
        let is_away = |err: &std::io::Error| matches!(err.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
        let Some((place, found)) =
            places.map(|place| (place, std::fs::metadata(place))).find(|(_, found)| !found.as_ref().is_err_and(is_away))
        else {
            return;
        };
        let (in_place, mend) = match place == dir {
            true => (format!("{shown} cannot be written"), format!("give it to the agent's user: `chown -R USER {shown}`")),
            false => (
                format!("{shown} does not exist and cannot be created in {}", place.display()),
                format!("make it and give it to the agent's user: `install -d -o USER -m 700 {shown}`"),
            ),
        };
        let message = match found {
            Ok(found) if !found.is_dir() => {
                let message =
                    format!("{} is a file, and state is stored in a folder; name a folder, or one that can be created", place.display());
                return self.mistakes.push(Mistake::at(PATH, message));
            }
            Ok(found) => match rustix::fs::access(place, Access::WRITE_OK | Access::EXEC_OK) {
                Err(Errno::ROFS) => format!("{in_place}: it is on a file system that is read-only; name a folder elsewhere"),
                Err(err) => format!("{in_place} by user {}, who runs this check: {err}; {mend}, or check as that user", user.as_raw()),
                Ok(()) if place == dir && !user.is_root() && ![0, user.as_raw()].contains(&found.uid()) => format!(
                    "{shown} belongs to user {}, and the agent stores its state in a folder of its own user; {mend}, or check as that user",
                    found.uid()
                ),
                Ok(()) => return,
            },
            Err(err) => format!("{shown} cannot be checked by user {}: {err}; check as the agent's own user", user.as_raw()),
        };
        self.notes.push(Mistake::at(PATH, message));
    }

    fn password(&mut self, section: &str, source: Option<SecretSource>) {
        match &source {
            Some(source @ SecretSource::File(_)) => self.secret(&format!("{section}.password_file"), source),
            Some(source @ SecretSource::Env(_)) => self.secret(&format!("{section}.password_env"), source),
            None => {}
        }
    }

    fn secret(&mut self, path: &str, source: &SecretSource) {
        match source.read_now() {
            Ok(secret) if secret.expose().is_empty() => self.mistakes.push(Mistake::at(path, "is empty; the secret belongs there")),
            Ok(_) => {}
            Err(SecretError::File { path: file, source }) => self.unreadable(path, &file, &source),
            Err(err @ SecretError::Env(_)) => self.notes.push(Mistake::at(path, format!("{err} here; the agent needs it"))),
        }
    }

    fn certificates(&mut self, path: &str, file: Option<&Path>) {
        let Some(file) = file else { return };
        let problem = match file::read(file, CERTIFICATES_BYTES_MAX) {
            Ok(pem) => problem_of_certificates(&pem),
            Err(err) => return self.unreadable(path, file, &err),
        };
        self.mistakes.extend(problem.map(|problem| Mistake::at(path, format!("{} {problem}", file.display()))));
    }

    fn key(&mut self, path: &str, file: Option<&Path>) {
        let Some(file) = file else { return };
        match file::read(file, SECRET_BYTES_MAX) {
            Ok(pem) if PrivateKeyDer::from_pem_slice(&pem).is_ok() => {}
            // The library's error is left out: it could contain parts of the key.
            Ok(_) => {
                let message = format!("{} holds no unencrypted private key in PEM", file.display());
                self.mistakes.push(Mistake::at(path, message));
            }
            Err(err) => self.unreadable(path, file, &err),
        }
    }

    fn unreadable(&mut self, path: &str, file: &Path, err: &FileError) {
        let is_forbidden = matches!(err, FileError::Io(err) if err.kind() == ErrorKind::PermissionDenied);
        let message = format!("{} cannot be read: {err}", file.display());
        match is_forbidden {
            true => self.notes.push(Mistake::at(path, format!("{message}; check as the agent's own user"))),
            false => self.mistakes.push(Mistake::at(path, message)),
        }
    }
}

/// Reports why no session would begin with these certificates. The agent reads them in this way.
fn problem_of_certificates(pem: &[u8]) -> Option<String> {
    let certificates = match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) => certificates,
        Err(err) => return Some(format!("is no file of certificates in PEM: {err}")),
    };
    let unreadable = certificates.iter().position(|certificate| x509_cert::Certificate::from_der(certificate).is_err());
    match unreadable {
        _ if certificates.is_empty() => Some("holds no certificate in PEM; certificates belong there, not their key".to_owned()),
        Some(place) => Some(format!("holds a certificate that cannot be read, the one at place {}", place + 1)),
        None => None,
    }
}
