//! Titles of alerts with placeholders: `"connections of {server} above {raise}"`.

/// A title, split into texts and placeholders.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Summary(Vec<Piece>);

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(String),
    Placeholder(String),
}

impl Summary {
    /// Splits a text into its pieces. The error is a sentence for the operator.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("a `{` has no `}`; close the placeholder")?;
            if !is_label_name(name) {
                return Err(format!("`{{{name}}}` is no placeholder; use {{value}}, {{raise}}, {{clear}}, {{metric}} or a label's name"));
            }
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Placeholder(name.to_owned()));
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// Fills in the placeholders. An unknown placeholder stays as written: the labels of a series are unknown when the settings are
    /// checked.
    pub(crate) fn fill(&self, lookup: impl Fn(&str) -> Option<String>) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Placeholder(name) => lookup(name).unwrap_or_else(|| format!("{{{name}}}")),
        };
        self.0.iter().map(piece).collect()
    }
}

fn is_label_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_placeholders_are_filled_and_unknown_ones_stay() {
        let summary = Summary::parse("{server}: {value} of {datname}, see {wiki}").expect("well-formed");
        let text = summary.fill(|name| match name {
            "server" => Some("db1".to_owned()),
            "value" => Some("5".to_owned()),
            "datname" => Some("app".to_owned()),
            _ => None,
        });
        assert_eq!(text, "db1: 5 of app, see {wiki}");
    }

    #[test]
    fn an_invalid_placeholder_is_refused() {
        for text in ["{", "{value", "{}", "{my label}", "{1st}"] {
            assert!(Summary::parse(text).is_err(), "{text}");
        }
    }
}
