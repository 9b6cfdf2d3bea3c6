//! From a file to a [`Config`], or to everything that is wrong with it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::de::DeTable;

use super::problem::{LoadError, Located, Problem, position};
use super::shape::{Places, Shape, Walk};
use super::{Config, SHAPE, shape};

/// Tried in this order when no file is named.
const DEFAULT_PATHS: [&str; 2] = ["pharos.toml", "/etc/pharos/pharos.toml"];

/// A config file is written by people; more than this is not one.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The named file, or the first default that exists.
pub fn find(named: Option<&Path>) -> Result<PathBuf, LoadError> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let found = DEFAULT_PATHS.iter().map(PathBuf::from).find(|path| path.exists());
    found.ok_or_else(|| LoadError::Unreadable {
        path: PathBuf::from(DEFAULT_PATHS[0]),
        why: format!("no config file here nor at {}; name one with --config FILE", DEFAULT_PATHS[1]),
    })
}

/// Reads and checks a file. Relative paths in it count from its folder.
pub fn load(path: &Path) -> Result<Config, LoadError> {
    let text = read(path)?;
    parse(&text, folder_of(path)).map_err(|problems| LoadError::Invalid { path: path.to_owned(), problems })
}

/// What people wrote into a file.
pub fn read(path: &Path) -> Result<String, LoadError> {
    let unreadable = |why: String| LoadError::Unreadable { path: path.to_owned(), why };
    let mut bytes = Vec::new();
    // Bounded while reading, since a pipe or a device does not say how long it is.
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|err| unreadable(err.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable(format!("is longer than {FILE_BYTES_MAX} bytes, which no config file needs")));
    }
    String::from_utf8(bytes).map_err(|err| not_utf8(path, &err))
}

/// Where relative paths in a file count from.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Checks a text. Relative paths in it count from `base`.
pub fn parse(text: &str, base: &Path) -> Result<Config, Vec<Located>> {
    let problems = match check(text, base) {
        Ok(config) => return Ok(config),
        Err(problems) => problems,
    };
    Err(problems.into_iter().map(|problem| Located::new(text, problem)).collect())
}

fn check(text: &str, base: &Path) -> Result<Config, Vec<Problem>> {
    let Document { value, places, mut problems } = document::<Config>(text, &SHAPE);
    if let Some(mut config) = value {
        config.resolve_paths(base);
        let mut report = |path: String, message| {
            problems.push(Problem { place: places.find(&path), message: format!("`{path}`: {message}") });
        };
        config.validate(&mut report);
        if problems.is_empty() {
            return Ok(config);
        }
    }
    problems.sort_by_key(|problem| problem.place.start);
    Err(problems)
}

/// A text read as a value of some type.
#[derive(Debug)]
pub struct Document<T> {
    /// None where what is left of the text without the keys that nobody knows does not fit.
    pub value: Option<T>,
    pub places: Places,
    /// Everything that is wrong so far.
    pub problems: Vec<Problem>,
}

/// Reads a text of this shape.
pub fn document<T: DeserializeOwned>(text: &str, shape: &Shape) -> Document<T> {
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
