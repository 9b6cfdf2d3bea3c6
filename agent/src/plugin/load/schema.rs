//! The bounds of a settings schema.
//!
//! A JSON Schema is a program that a plugin hands to the agent. A dozen lines of it can ask for 2^60 steps, for a stack of any depth or
//! for a gigabyte of automata. So a schema is measured before anything compiles it: once unfolded, which bounds its compilation, and once
//! along the settings, which bounds their validation. What is measured follows every keyword that leads from one schema to another.

use std::borrow::Cow;
use std::collections::BTreeSet;

use pharos_model::text;
use serde_json::{Map, Value};

/// Most bytes of a schema: its text is parsed before anything else bounds it. The largest shipped schema has 8 KiB.
const BYTES_MAX: usize = 256 << 10;
/// Most levels of schemas inside each other, after references are followed. Each level takes stack.
const DEPTH_MAX: usize = 64;
/// Most schemas after each reference is replaced by the schema that it names. Compilation visits each of them.
const UNFOLDED_MAX: usize = 100_000;
/// Most steps of the validation of one set of settings. Nothing can interrupt it.
const STEPS_MAX: usize = 1_000_000;
/// Regular expressions, each with an automaton of up to [`super::settings::PATTERN_BYTES_MAX`].
const PATTERNS_MAX: usize = 64;

/// Drafts of JSON Schema whose keywords are measured. Any other is refused, since nothing is ever fetched.
const DRAFTS: [&str; 5] = [
    "json-schema.org/draft-04/schema",
    "json-schema.org/draft-06/schema",
    "json-schema.org/draft-07/schema",
    "json-schema.org/draft/2019-09/schema",
    "json-schema.org/draft/2020-12/schema",
];

/// Keywords whose target is open before a validation runs, so that its length cannot be measured.
const UNMEASURABLE: [&str; 5] = ["$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor", "$vocabulary"];

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("the plugin's settings schema is not a JSON Schema: {0}")]
    Invalid(String),
    #[error("the plugin's settings schema has {0} bytes, more than {BYTES_MAX}")]
    TooLarge(usize),
    #[error("the plugin's settings schema is nested deeper than {DEPTH_MAX} schemas, references followed")]
    TooDeep,
    #[error("the plugin's settings schema unfolds to more than {UNFOLDED_MAX} schemas; let fewer references lead to the same ones")]
    TooMany,
    #[error("the plugin's settings schema has more than {PATTERNS_MAX} regular expressions")]
    TooManyPatterns,
    #[error(
        "checking the settings against the plugin's schema would take more than {STEPS_MAX} steps; make the schema or the settings smaller"
    )]
    TooManySteps,
    #[error(
        "the plugin's settings schema names \"{0}\", which is not in it; a reference must be `#` or begin with `#/`, and nothing is fetched"
    )]
    Reference(String),
    #[error("the plugin's settings schema leads back to itself at \"{0}\" without a step into the settings")]
    Circular(String),
    #[error("the plugin's settings schema uses `{0}`, which Pharos leaves off")]
    Keyword(&'static str),
    #[error("the plugin's settings schema has a `{0}` below its root; only the whole schema may have one")]
    InnerIdentity(&'static str),
    #[error("the plugin's settings schema is written in \"{0}\"; write it in JSON Schema 2020-12")]
    Draft(String),
}

/// A schema within its bounds.
#[derive(Debug)]
pub(super) struct Schema {
    root: Value,
}

impl Schema {
    /// Reads a schema and measures it. Afterwards it can be compiled.
    pub(super) fn parse(text: &str) -> Result<Self, SchemaError> {
        if text.len() > BYTES_MAX {
            return Err(SchemaError::TooLarge(text.len()));
        }
        let root = serde_json::from_str(text).map_err(|err| SchemaError::Invalid(shown(&err.to_string())))?;
        let schema = Self { root };
        schema.check_names()?;
        let mut measure =
            Measure { schema: &schema, steps: 0, steps_max: UNFOLDED_MAX, beyond: SchemaError::TooMany, under_way: Vec::new() };
        measure.unfold(&schema.root)?;
        Ok(schema)
    }

    /// Whether these settings can be checked within the bounds.
    pub(super) fn check_steps(&self, settings: &Value) -> Result<(), SchemaError> {
        let beyond = SchemaError::TooManySteps;
        Measure { schema: self, steps: 0, steps_max: STEPS_MAX, beyond, under_way: Vec::new() }.validate(&self.root, settings, 1)
    }

    pub(super) fn json(&self) -> &Value {
        &self.root
    }

    /// Refuses what would change the meaning of a reference, and counts what takes memory wherever it stands.
    fn check_names(&self) -> Result<(), SchemaError> {
        let draft = self.root.get("$schema").and_then(Value::as_str).unwrap_or_default();
        let name = draft.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('#');
        if !draft.is_empty() && !DRAFTS.contains(&name) {
            return Err(SchemaError::Draft(shown(draft)));
        }
        let identity = if name.contains("draft-04") { "id" } else { "$id" };
        let mut patterns = BTreeSet::new();
        let mut left = vec![&self.root];
        while let Some(value) = left.pop() {
            match value {
                Value::Object(object) => {
                    let is_inner = !std::ptr::eq(value, &raw const self.root);
                    if is_inner && object.get(identity).is_some_and(Value::is_string) {
                        return Err(SchemaError::InnerIdentity(identity));
                    }
                    if let Some(keyword) = UNMEASURABLE.iter().find(|keyword| object.contains_key(**keyword)) {
                        return Err(SchemaError::Keyword(keyword));
                    }
                    patterns.extend(object.get("pattern").and_then(Value::as_str));
                    let by_pattern = object.get("patternProperties").and_then(Value::as_object);
                    patterns.extend(by_pattern.into_iter().flat_map(Map::keys).map(String::as_str));
                    left.extend(object.values());
                }
                Value::Array(items) => left.extend(items),
                _ => {}
            }
        }
        if patterns.len() > PATTERNS_MAX { Err(SchemaError::TooManyPatterns) } else { Ok(()) }
    }

    /// The schema that a reference names.
    fn target(&self, reference: &str) -> Result<&Value, SchemaError> {
        let unknown = || SchemaError::Reference(shown(reference));
        let pointer = reference.strip_prefix('#').ok_or_else(unknown)?;
        self.root.pointer(&percent_decoded(pointer)).filter(|target| target.is_object() || target.is_boolean()).ok_or_else(unknown)
    }
}

/// A text of the schema in an error.
fn shown(text: &str) -> String {
    text::line(text, text::LINE_BYTES_MAX).into_owned()
}

/// A fragment of a URI may be percent-encoded.
fn percent_decoded(fragment: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = fragment.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Direction in which a keyword leads on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leads {
    /// To schemas that judge the same value.
    Aside,
    /// To schemas that judge the same value, which is visited again to find out which of them fit.
    AsideTwice,
    /// To schemas that judge what is inside the value.
    Inside,
}

/// Every keyword that holds schemas: one, a list or a table of them.
const KEYWORDS: [(&str, Leads); 20] = [
    ("allOf", Leads::Aside),
    ("anyOf", Leads::AsideTwice),
    ("oneOf", Leads::AsideTwice),
    ("not", Leads::Aside),
    ("if", Leads::AsideTwice),
    ("then", Leads::Aside),
    ("else", Leads::Aside),
    ("dependentSchemas", Leads::Aside),
    ("dependencies", Leads::Aside),
    ("properties", Leads::Inside),
    ("patternProperties", Leads::Inside),
    ("additionalProperties", Leads::Inside),
    ("unevaluatedProperties", Leads::Inside),
    ("propertyNames", Leads::Inside),
    ("items", Leads::Inside),
    ("prefixItems", Leads::Inside),
    ("additionalItems", Leads::Inside),
    ("unevaluatedItems", Leads::Inside),
    ("contains", Leads::Inside),
    ("contentSchema", Leads::Inside),
];

/// The schemas directly below a keyword, each with its name where they are a table.
fn below(value: &Value) -> Vec<(Option<&str>, &Value)> {
    match value {
        Value::Array(list) => list.iter().map(|schema| (None, schema)).collect(),
        schema => vec![(None, schema)],
    }
}

fn schemas<'a>(keyword: &str, value: &'a Value) -> Vec<(Option<&'a str>, &'a Value)> {
    match (keyword, value) {
        ("properties" | "patternProperties" | "dependentSchemas" | "dependencies", Value::Object(table)) => {
            table.iter().map(|(name, schema)| (Some(name.as_str()), schema)).collect()
        }
        _ => below(value),
    }
}

/// Counts steps along a schema, and ends at the bounds.
struct Measure<'a> {
    schema: &'a Schema,
    steps: usize,
    steps_max: usize,
    /// Error for a schema that takes more steps.
    beyond: SchemaError,
    /// The schemas that lead to the present one, outermost first.
    under_way: Vec<*const Value>,
}

impl<'a> Measure<'a> {
    fn step(&mut self, steps: usize) -> Result<(), SchemaError> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > self.steps_max { Err(self.beyond.clone()) } else { Ok(()) }
    }

    fn enter(&mut self, schema: &'a Value) -> Result<(), SchemaError> {
        self.under_way.push(schema);
        if self.under_way.len() > DEPTH_MAX { Err(SchemaError::TooDeep) } else { Ok(()) }
    }

    /// Visits every schema, through every reference, until one leads back to where the way came from.
    fn unfold(&mut self, schema: &'a Value) -> Result<(), SchemaError> {
        self.step(1)?;
        let Value::Object(keywords) = schema else { return Ok(()) };
        if self.under_way.contains(&std::ptr::from_ref(schema)) {
            return Ok(());
        }
        self.enter(schema)?;
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str) {
            let target = self.schema.target(reference)?;
            self.unfold(target)?;
        }
        for (keyword, _) in KEYWORDS {
            for (_, schema) in keywords.get(keyword).map(|value| schemas(keyword, value)).unwrap_or_default() {
                self.unfold(schema)?;
            }
        }
        self.under_way.pop();
        Ok(())
    }

    /// Follows the settings through the schema as a validator does, or further. `times` is how often this place is visited.
    fn validate(&mut self, schema: &'a Value, settings: &Value, times: usize) -> Result<(), SchemaError> {
        let Value::Object(keywords) = schema else { return self.step(times) };
        self.step(times.saturating_mul(1 + effort(keywords, settings)))?;
        let outer = self.under_way.len();
        self.enter(schema)?;
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str) {
            let target = self.schema.target(reference)?;
            self.aside(target, settings, times, reference)?;
        }
        // To find what was not visited, everything beside is visited again.
        let unevaluated = keywords.contains_key("unevaluatedProperties") || keywords.contains_key("unevaluatedItems");
        for (keyword, leads) in KEYWORDS {
            let Some(value) = keywords.get(keyword) else { continue };
            let again = usize::from(leads == Leads::AsideTwice) + usize::from(unevaluated);
            for (name, schema) in schemas(keyword, value) {
                if leads == Leads::Inside {
                    self.inside(schema, values_inside(keyword, name, settings), times)?;
                } else {
                    self.aside(schema, settings, times.saturating_mul(1 + again), keyword)?;
                }
            }
        }
        self.under_way.truncate(outer);
        Ok(())
    }

    /// Follows another schema for the same value. A schema that leads back to itself is refused.
    fn aside(&mut self, schema: &'a Value, settings: &Value, times: usize, through: &str) -> Result<(), SchemaError> {
        if self.under_way.contains(&std::ptr::from_ref(schema)) {
            return Err(SchemaError::Circular(shown(through)));
        }
        self.validate(schema, settings, times)
    }

    /// Follows a schema through the values inside the present one.
    fn inside(&mut self, schema: &'a Value, values: Vec<Cow<'_, Value>>, times: usize) -> Result<(), SchemaError> {
        // The value is another one, so the same schemas may come again.
        let way = std::mem::take(&mut self.under_way);
        self.under_way.resize(way.len(), std::ptr::null());
        for value in values {
            self.validate(schema, &value, times)?;
        }
        self.under_way = way;
        Ok(())
    }
}

/// The values inside `settings` that a keyword applies its schema to. `name` is the key of the schema below `properties`.
fn values_inside<'v>(keyword: &str, name: Option<&str>, settings: &'v Value) -> Vec<Cow<'v, Value>> {
    match (keyword, name, settings) {
        ("properties", Some(name), Value::Object(table)) => table.get(name).map(Cow::Borrowed).into_iter().collect(),
        ("propertyNames", _, Value::Object(table)) => table.keys().map(|name| Cow::Owned(Value::String(name.clone()))).collect(),
        (_, _, Value::Object(table)) => table.values().map(Cow::Borrowed).collect(),
        (_, _, Value::Array(items)) => items.iter().map(Cow::Borrowed).collect(),
        _ => Vec::new(),
    }
}

/// Steps that the keywords of one schema take at one value, without the schemas they lead to.
fn effort(keywords: &Map<String, Value>, value: &Value) -> usize {
    /// Characters of a text that a regular expression reads in one step.
    const TEXT_STEP: usize = 100;
    let lengths = keywords.values().map(|value| match value {
        Value::Array(list) => list.len(),
        Value::Object(table) => table.len(),
        _ => 1,
    });
    let own: usize = lengths.sum();
    let inside = match value {
        Value::String(text) => text.len() / TEXT_STEP,
        Value::Array(items) if keywords.contains_key("uniqueItems") => items.len().saturating_mul(items.len()),
        Value::Array(items) => items.len(),
        Value::Object(table) => {
            let patterns = keywords.get("patternProperties").and_then(Value::as_object).map_or(0, Map::len);
            table.len().saturating_mul(1 + patterns)
        }
        _ => 0,
    };
    own.saturating_add(inside)
}
