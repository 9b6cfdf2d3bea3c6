//! The shape of the TOML, and the walk that compares a file with it.
//!
//! The parsed file is compared with the shape before it is deserialised, so that all errors are reported at once, each with its place.
//! serde alone stops at the first error and does not report its place.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// The possible values of a key.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// A table with these keys and no others.
    Table(&'static [Key]),
    /// A table with exactly one of these keys.
    OneKey(&'static [Key]),
    /// A table whose keys are the user's own names.
    Map(&'static Shape),
    List(&'static Shape),
    /// Text or a list of texts.
    Texts,
    Text,
    OneOf(&'static [&'static str]),
    /// A duration in words: `"500ms"`, `"5m"`.
    Duration,
    /// A size in words: `"64MiB"`.
    Size,
    Boolean,
    Integer {
        min: i64,
        max: i64,
    },
    /// A number with or without a fraction.
    Number,
    /// Any table: settings whose schema belongs to a plugin.
    Settings,
}

/// A key of a table.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub name: &'static str,
    pub shape: Shape,
    pub required: bool,
}

/// A key that may be left out.
pub const fn key(name: &'static str, shape: Shape) -> Key {
    Key { name, shape, required: false }
}

/// A key that must be there.
pub const fn required(name: &'static str, shape: Shape) -> Key {
    Key { name, shape, required: true }
}

/// The place of each value in the file, by its path (`database[0].primary`).
#[derive(Debug, Default)]
pub struct Places(BTreeMap<String, Range<usize>>);

impl Places {
    /// True if the file has this path.
    pub fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// The place of a path, or of its nearest ancestor in the file.
    pub fn find(&self, path: &str) -> Range<usize> {
        let mut path = path;
        loop {
            if let Some(place) = self.0.get(path) {
                return place.clone();
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return 0..0,
            }
        }
    }
}

/// The result of comparing a document with its shape.
#[derive(Debug, Default)]
pub struct Walk {
    pub places: Places,
    pub problems: Vec<Problem>,
    /// True if the rest of the document fits the shape, so that its values can be checked too.
    pub fits: bool,
}

/// Compares a document with its shape, and removes unknown keys.
pub fn walk(document: &mut Spanned<DeTable<'_>>, shape: &Shape) -> Walk {
    let mut walk = Walk { fits: true, ..Walk::default() };
    if let Shape::Table(keys) = shape {
        let place = document.span();
        walk.table("", document.get_mut(), place, keys);
    }
    walk
}

impl Walk {
    fn table(&mut self, path: &str, table: &mut DeTable<'_>, place: Range<usize>, keys: &[Key]) {
        let mut unknown = Vec::new();
        for (name, value) in table.iter_mut() {
            match keys.iter().find(|key| key.name == name.get_ref()) {
                Some(key) => self.value(&join(path, name.get_ref()), value, &key.shape),
                None => {
                    self.problems.push(Problem { place: name.span(), message: unknown_key(path, name.get_ref(), keys) });
                    unknown.push(name.get_ref().to_string());
                }
            }
        }
        for name in unknown {
            table.remove(name.as_str());
        }
        for key in keys.iter().filter(|key| key.required && !table.contains_key(key.name)) {
            self.misfit(place.clone(), format!("{} needs a key `{}`", section(path), key.name));
        }
    }

    fn value(&mut self, path: &str, value: &mut Spanned<DeValue<'_>>, shape: &Shape) {
        let place = value.span();
        self.places.0.insert(path.to_owned(), place.clone());
        match (shape, value.get_mut()) {
            (Shape::Table(keys), DeValue::Table(table)) => self.table(path, table, place, keys),
            (Shape::OneKey(keys), DeValue::Table(table)) => {
                self.table(path, table, place.clone(), keys);
                if table.len() != 1 {
                    let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
                    self.misfit(place, format!("`{path}` must have one key, either of {}", quoted(&names)));
                }
            }
            (Shape::Settings, DeValue::Table(table)) => self.settings(path, table),
            (Shape::Map(inner), DeValue::Table(table)) => {
                for (name, value) in table.iter_mut() {
                    self.value(&join(path, name.get_ref()), value, inner);
                }
            }
            (Shape::List(inner), DeValue::Array(items)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(&format!("{path}[{index}]"), item, inner);
                }
            }
            (Shape::Texts, DeValue::Array(items)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(&format!("{path}[{index}]"), item, &Shape::Text);
                }
            }
            (shape, found) => {
                if let Err(message) = check_leaf(path, shape, found) {
                    self.misfit(place, message);
                }
            }
        }
    }

    /// Records places inside the settings of a plugin, so that schema errors can name a line.
    fn settings(&mut self, path: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            self.setting(&join(path, name.get_ref()), value);
        }
    }

    fn setting(&mut self, path: &str, value: &Spanned<DeValue<'_>>) {
        self.places.0.insert(path.to_owned(), value.span());
        match value.get_ref() {
            DeValue::Table(table) => self.settings(path, table),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.setting(&format!("{path}[{index}]"), item);
                }
            }
            _ => {}
        }
    }

    fn misfit(&mut self, place: Range<usize>, message: String) {
        self.fits = false;
        self.problems.push(Problem { place, message });
    }
}

/// The shortest duration. Less would become 0 milliseconds, which means no limit.
const DURATION_MIN: Duration = Duration::from_millis(1);
/// The longest duration. More means for ever, and sums of time must not overflow.
const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);

fn check_leaf(path: &str, shape: &Shape, found: &DeValue<'_>) -> Result<(), String> {
    match (shape, found) {
        (Shape::Text | Shape::Texts, DeValue::String(_))
        | (Shape::Boolean, DeValue::Boolean(_))
        | (Shape::Number, DeValue::Integer(_) | DeValue::Float(_)) => Ok(()),
        (Shape::OneOf(allowed), DeValue::String(text)) if allowed.contains(&text.as_ref()) => Ok(()),
        (Shape::OneOf(allowed), DeValue::String(text)) => {
            Err(format!("`{path}` is \"{text}\" but must be one of {}{}", quoted(allowed), did_you_mean(text, allowed.iter().copied())))
        }
        (Shape::Duration, DeValue::String(text)) => {
            let duration = humantime::parse_duration(text);
            match duration.map_err(|err| format!("`{path}` is not a duration like \"500ms\" or \"5m\": {err}"))? {
                // In milliseconds, such a duration would become 0, and 0 means no limit.
                duration if !duration.is_zero() && duration < DURATION_MIN => {
                    Err(format!("`{path}` is \"{text}\" but must be at least a millisecond"))
                }
                duration if duration > DURATION_MAX => Err(format!("`{path}` is \"{text}\" but must be at most a year")),
                _ => Ok(()),
            }
        }
        (Shape::Size, DeValue::String(text)) => {
            text.parse::<bytesize::ByteSize>().map(drop).map_err(|err| format!("`{path}` is not a size like \"64MiB\": {err}"))
        }
        (Shape::Integer { min, max }, DeValue::Integer(integer)) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(value) if (*min..=*max).contains(&value) => Ok(()),
            _ => Err(format!("`{path}` is {} but must be between {min} and {max}", integer.as_str())),
        },
        (shape, found) => Err(format!("`{path}` is {} but must be {}", kind_of(found), wanted(shape))),
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn wanted(shape: &Shape) -> String {
    match shape {
        Shape::Table(_) | Shape::OneKey(_) | Shape::Map(_) | Shape::Settings => "a table".to_owned(),
        Shape::List(Shape::Table(_)) => "a list of tables, written [[...]]".to_owned(),
        Shape::List(_) => "a list".to_owned(),
        Shape::Texts => "a text or a list of texts".to_owned(),
        Shape::Text => "a text".to_owned(),
        Shape::OneOf(allowed) => format!("one of {}", quoted(allowed)),
        Shape::Duration => "a duration like \"500ms\"".to_owned(),
        Shape::Size => "a size like \"64MiB\"".to_owned(),
        Shape::Boolean => "true or false".to_owned(),
        Shape::Integer { min, max } => format!("an integer between {min} and {max}"),
        Shape::Number => "a number".to_owned(),
    }
}

fn unknown_key(path: &str, name: &str, keys: &[Key]) -> String {
    let hint = did_you_mean(name, keys.iter().map(|key| key.name));
    format!("unknown key `{}` in {}{hint}", shortened(name), section(path))
}

/// The text of a key in an error.
fn shortened(name: &str) -> String {
    /// The longest key in an error. A longer one would hide the message.
    const CHARS_MAX: usize = 80;
    match name.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", &name[..end]),
        None => name.to_owned(),
    }
}

fn section(path: &str) -> String {
    if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn quoted(allowed: &[&str]) -> String {
    allowed.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ")
}

/// The known name that is nearest to a text, if it is near enough.
pub fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    /// The least similarity for a hint. Short keys with transposed or dropped letters are above it.
    const NEAR: f64 = 0.8;
    /// Longest name that is compared. Comparing takes time with the length of the names, and no key is longer.
    const CHARS_MAX: usize = 200;
    if name.len() > CHARS_MAX {
        return String::new();
    }
    let best = known.map(|known| (strsim::jaro_winkler(name, known), known)).max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((score, known)) if score > NEAR => format!("; did you mean `{known}`?"),
        _ => String::new(),
    }
}
