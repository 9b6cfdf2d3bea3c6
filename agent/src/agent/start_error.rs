//! Why an agent cannot start.

use crate::config::Mistake;
use crate::http::ListenError;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("starting the plugin engine: {0}")]
    Engine(String),
    #[error("{}", texts(.0))]
    Config(Vec<Mistake>),
}

fn texts(mistakes: &[Mistake]) -> String {
    let text = |mistake: &Mistake| format!("`{}`: {}", mistake.paths.first().map_or("", String::as_str), mistake.message);
    mistakes.iter().map(text).collect::<Vec<_>>().join("\n")
}
