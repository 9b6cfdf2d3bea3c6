//! The source tree, as the rules read it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fixture::project;

/// A Rust file.
pub(super) struct Source {
    /// From the project's folder.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    /// Its text without comments. What this cuts off a URL is no code either.
    pub(super) fn code(&self) -> String {
        self.text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
    }

    /// Folders and name below `agent/src`: `http/api/alerts.rs` is http, api, alerts.
    pub(super) fn module(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("agent/src/").trim_end_matches(".rs").trim_end_matches("/mod");
        path.split('/').collect()
    }
}

/// Every file of the project with this ending, built and foreign ones aside.
pub(super) fn files(ending: &str) -> Vec<PathBuf> {
    const FOREIGN: [&str; 3] = ["target", ".git", "node_modules"];
    let mut found = Vec::new();
    let mut folders = vec![project()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap();
            if path.is_dir() && !FOREIGN.contains(&name) {
                folders.push(path);
            } else if path.is_file() && name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

pub(super) fn relative(path: &Path) -> String {
    path.strip_prefix(project()).unwrap().to_str().unwrap().to_owned()
}

pub(super) fn sources(under: &str) -> Vec<Source> {
    let read = |path: PathBuf| Source { path: relative(&path), text: fs::read_to_string(&path).unwrap() };
    files(".rs").into_iter().map(read).filter(|source| source.path.starts_with(under)).collect()
}

#[track_caller]
pub(super) fn none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

pub(super) fn is_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

pub(super) fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|char| is_word(*char)).collect()
}
