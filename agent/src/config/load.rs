//! Loads a file as a [`Config`], or returns every problem of it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::de::DeTable;

use super::file::{self, FileError};
use super::problem::{LoadError, Located, Problem, locate, position};
use super::root::{Config, SHAPE};
use super::shape::{Places, Shape, Walk};
use super::{links, shape};

/// The default paths, in the order of trying.
const DEFAULT_PATHS: [&str; 2] = ["pharos.toml", "/etc/pharos/pharos.toml"];

/// The largest config file, in bytes. People write config files, so a larger file is none.
const FILE_BYTES_MAX: usize = 1 << 20;

/// The named file, or the first default that exists.
pub(crate) fn find(named: Option<&Path>) -> Result<PathBuf, LoadError> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let found = DEFAULT_PATHS.iter().map(PathBuf::from).find(|path| path.exists());
    let path = found.ok_or_else(|| LoadError::Unreadable {
        path: PathBuf::from(DEFAULT_PATHS[0]),
        why: format!("no config file here nor at {}; name one with --config FILE", DEFAULT_PATHS[1]),
    })?;
    match reason_for_distrust(&path) {
        None => Ok(path),
        Some(why) => Err(LoadError::Unreadable { why: format!("{why}; name it with --config FILE to use it all the same"), path }),
    }
}

/// Reports why a default path is not used: users besides this one and root could have written it. A config decides which secrets are read,
/// and to which servers they and the operator's token are sent.
fn reason_for_distrust(path: &Path) -> Option<String> {
    let metadata = std::fs::metadata(path).ok()?;
    let own = rustix::process::geteuid().as_raw();
    let own_groups = [rustix::process::getegid().as_raw(), 0];
    match metadata.uid() {
        owner if owner != own && owner != 0 => Some(format!("it belongs to another user (uid {owner})")),
        _ if metadata.mode() & 0o002 != 0 || (metadata.mode() & 0o020 != 0 && !own_groups.contains(&metadata.gid())) => {
            Some(format!("others may write it (mode {:o})", metadata.mode() & 0o777))
        }
        _ => None,
    }
}

/// Reads and checks a file. Relative paths in it count from its folder.
pub fn load(path: &Path) -> Result<Config, LoadError> {
    open(path).map(|(config, _)| config)
}

/// Reads and checks a file, and returns its text as well, for further checks.
pub(crate) fn open(path: &Path) -> Result<(Config, Source), LoadError> {
    match read_with_problems(path)? {
        (Some(config), source) if source.problems.is_empty() => Ok((config, source)),
        (_, source) => Err(source.refuse(&[])),
    }
}

/// Reads a file in spite of its problems, so that the rest of it can be checked too. The config is `None` if it cannot be read at all.
pub(crate) fn read_with_problems(path: &Path) -> Result<(Option<Config>, Source), LoadError> {
    let text = read(path)?;
    let (config, places, problems) = check(&text, folder_of(path));
    Ok((config, Source { path: path.to_owned(), text, places, problems }))
}

/// A file that was read, with the places of its values.
#[derive(Debug)]
pub(crate) struct Source {
    path: PathBuf,
    text: String,
    places: Places,
    /// Problems that the file alone reveals.
    problems: Vec<Problem>,
}

/// A mistake that the file alone does not reveal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Possible paths of the mistake. The first path that the file has is reported.
    pub paths: Vec<String>,
    pub message: String,
}

impl Mistake {
    pub fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { paths: vec![path.into()], message: message.into() }
    }

    /// The first path that the file has. If it has none of them, the first path.
    fn path<'a>(&'a self, places: &Places) -> &'a str {
        let spelled = self.paths.iter().find(|path| places.has(path));
        spelled.or(self.paths.first()).map_or("", String::as_str)
    }
}

impl Source {
    /// Mistakes with their places, in the order of the file.
    pub(crate) fn locate(&self, mistakes: &[Mistake]) -> Vec<Located> {
        locate(&self.text, mistakes.iter().map(|mistake| self.problem(mistake)).collect())
    }

    /// True if the file alone has no problem.
    pub(crate) fn is_right(&self) -> bool {
        self.problems.is_empty()
    }

    /// All problems of the file, and these mistakes.
    pub(crate) fn refuse(&self, mistakes: &[Mistake]) -> LoadError {
        let problems = self.problems.iter().cloned().chain(mistakes.iter().map(|mistake| self.problem(mistake))).collect();
        LoadError::Invalid { path: self.path.clone(), problems: locate(&self.text, problems) }
    }

    fn problem(&self, mistake: &Mistake) -> Problem {
        let path = mistake.path(&self.places);
        Problem { place: self.places.find(path), message: format!("`{path}`: {}", mistake.message) }
    }
}

/// The text of a file.
pub(crate) fn read(path: &Path) -> Result<String, LoadError> {
    let unreadable = |why: String| LoadError::Unreadable { path: path.to_owned(), why };
    let bytes = file::read_once(path, FILE_BYTES_MAX).map_err(|err| {
        unreadable(match err {
            FileError::TooLong(_) => format!("is longer than {FILE_BYTES_MAX} bytes, which no config file needs"),
            FileError::DeadlineExceeded(_) => format!("{err}; nothing writes into the pipe, or the file system does not answer"),
            err => err.to_string(),
        })
    })?;
    String::from_utf8(bytes).map_err(|err| not_utf8(path, &err))
}

/// The folder from which relative paths in a file count.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Checks a text. Relative paths in it count from `base`.
pub fn parse(text: &str, base: &Path) -> Result<Config, Vec<Located>> {
    match check(text, base) {
        (Some(config), _, problems) if problems.is_empty() => Ok(config),
        (_, _, problems) => Err(locate(text, problems)),
    }
}

/// The config, if the text without its unknown keys can be read as a config, and all problems.
fn check(text: &str, base: &Path) -> (Option<Config>, Places, Vec<Problem>) {
    let Document { mut value, places, mut problems } = document::<Config>(text, &SHAPE);
    if let Some(config) = &mut value {
        config.resolve_paths(base);
        let mut report = |path: String, message| {
            problems.push(Problem { place: places.find(&path), message: format!("`{path}`: {message}") });
        };
        config.validate(&mut report);
        links::validate(config, &mut report);
    }
    (value, places, problems)
}

/// A text read as a value of some type.
#[derive(Debug)]
pub(crate) struct Document<T> {
    /// The value. `None` if the text without its unknown keys does not fit the type.
    pub value: Option<T>,
    pub places: Places,
    /// The problems found so far.
    pub problems: Vec<Problem>,
}

/// Reads a text of this shape.
pub(crate) fn document<T: DeserializeOwned>(text: &str, shape: &Shape) -> Document<T> {
    let (mut document, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        return Document { value: None, places: Places::default(), problems: syntax.into_iter().map(problem).collect() };
    }
    let Walk { places, mut problems, fits } = shape::walk(&mut document, shape);
    let value = fits.then(|| T::deserialize(toml::Deserializer::from(document))).and_then(|read| match read {
        Ok(value) => Some(value),
        Err(err) => {
            problems.push(problem(err));
            None
        }
    });
    Document { value, places, problems }
}

fn problem(err: toml::de::Error) -> Problem {
    Problem { place: err.span().unwrap_or(0..0), message: err.message().to_owned() }
}

fn not_utf8(path: &Path, err: &std::string::FromUtf8Error) -> LoadError {
    let valid = err.utf8_error().valid_up_to();
    let text = String::from_utf8_lossy(&err.as_bytes()[..valid]);
    let (line, column) = position(&text, text.len());
    let message = "the file is not UTF-8 from here on; save it as UTF-8".to_owned();
    LoadError::Invalid { path: path.to_owned(), problems: vec![Located { line, column, message }] }
}
