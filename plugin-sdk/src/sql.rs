//! Names and texts inside the statements of a fix, quoted so that they run as they are written.

/// A name, quoted: without quotes `Order` would be folded and `user` is a keyword.
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A relation or index in its schema.
pub fn relation(schema: &str, name: &str) -> String {
    format!("{}.{}", identifier(schema), identifier(name))
}

/// A text.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_stay_inside_their_quotes() {
        assert_eq!(relation("public", r#"odd"name"#), r#""public"."odd""name""#);
        assert_eq!(literal("o'hara"), "'o''hara'");
    }
}
