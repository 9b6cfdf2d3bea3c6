//! `pharos run`

use std::path::PathBuf;
use std::process::ExitCode;

use tracing::info;

use crate::agent::{Agent, StartError};
use crate::lifecycle::{Lifecycle, raise_descriptors};
use crate::{config, telemetry};

pub(super) async fn run(named: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let path = config::find(named.as_deref())?;
    let (config, source) = config::open(&path)?;
    telemetry::logs::start(&config.log);
    info!(
        version = env!("CARGO_PKG_VERSION"),
        revision = env!("PHAROS_REVISION"),
        config = %path.display(),
        "pharos {} starts with {}",
        env!("CARGO_PKG_VERSION"),
        path.display()
    );
    let lifecycle = Lifecycle::default();
    lifecycle.catch_signals();
    raise_descriptors();
    Agent::start(config, super::shipped::options()?, &lifecycle).await.map_err(|err| match err {
        StartError::Config(mistakes) => anyhow::Error::from(source.refuse(&mistakes)),
        err => err.into(),
    })?;
    let ending = lifecycle.run().await;
    info!("pharos ended: {ending:?}");
    Ok(super::exit::code_of_ending(ending))
}
