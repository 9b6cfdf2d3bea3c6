//! Starts a streaming standby from a running primary.
//!
//! SQL and the file system replace pg_basebackup, which some installations of the server lack. The log is not copied; the standby streams it from where the backup began, which the primary still has.

use tokio_util::task::TaskTracker;

use super::data_folder::DataFolder;
use super::port::HOST;
use super::postgres::{Authentication, PostgresError, PostgresOptions, PostgresServer, SUPERUSER};

/// From this major version on, backups are never exclusive and their functions have the names used here.
const BACKUP_FUNCTIONS_RENAMED: u32 = 15;

impl PostgresServer {
    /// Copies this server, which goes on meanwhile, into a standby that shows as `application_name` in
    /// `pg_stat_replication`. The copy keeps TLS and authentication; `settings` are lines of postgresql.conf.
    pub async fn start_standby(
        &self,
        application_name: &str,
        settings: Vec<(String, String)>,
        tasks: &TaskTracker,
    ) -> Result<Self, PostgresError> {
        let folder = DataFolder::create()?;
        let folder = self.back_up_into(folder, tasks).await?;
        folder.append_settings([
            ("unix_socket_directories", folder.root().display().to_string()),
            ("primary_conninfo", self.conninfo(application_name)),
        ])?;
        folder.write(&folder.data().join("standby.signal"), b"")?;
        let options = PostgresOptions { settings, ..self.options.clone() };
        Self::start_in(folder, self.binaries.clone(), options, tasks).await
    }

    async fn back_up_into(&self, folder: DataFolder, tasks: &TaskTracker) -> Result<DataFolder, PostgresError> {
        let (begin, end) = if self.binaries.major() >= BACKUP_FUNCTIONS_RENAMED {
            ("SELECT pg_backup_start('standby', true)", "SELECT labelfile FROM pg_backup_stop(false)")
        } else {
            ("SELECT pg_start_backup('standby', true, false)", "SELECT labelfile FROM pg_stop_backup(false, false)")
        };
        // Both statements need the same session, or the backup is aborted.
        let session = self.connect(SUPERUSER, "postgres").await?;
        session.run(begin).await?;
        let source = self.data_dir();
        let folder = tasks
            .spawn_blocking(move || folder.copy_data_from(&source).map(|()| folder))
            .await
            .map_err(|source| PostgresError::CopyPanicked { source })??;
        let label: String = session.query_value(end).await?;
        // Without it the standby would begin at the primary's last checkpoint, maybe later than parts of the copy.
        folder.write(&folder.data().join("backup_label"), label.as_bytes())?;
        Ok(folder)
    }

    fn conninfo(&self, application_name: &str) -> String {
        // Over TCP, so that the primary sees an address to tell its standbys apart by.
        let mut pairs = vec![("host", HOST.to_owned()), ("port", self.port().to_string()), ("user", SUPERUSER.to_owned())];
        pairs.push(("application_name", application_name.to_owned()));
        if let Authentication::Scram { password } = &self.options.authentication {
            pairs.push(("password", password.clone()));
        }
        let quoted = pairs.iter().map(|(key, value)| {
            let value = value.replace('\\', "\\\\").replace('\'', "\\'");
            format!("{key}='{value}'")
        });
        quoted.collect::<Vec<_>>().join(" ")
    }
}
