//! Parse trees from the catalogue (`pg_node_tree`), compared as text.
//!
//! The server could write them as SQL (`pg_get_expr`), but in newer versions that waits for locks on the table.

use std::sync::LazyLock;

use regex::Regex;

/// Source location of an expression, in which equal expressions differ.
static LOCATION: LazyLock<Regex> = LazyLock::new(|| Regex::new(r" :location -?\d+").expect("the pattern is valid"));

/// A test that one column of the table is not null, and nothing else.
static COLUMN_IS_NOT_NULL: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"^\{NULLTEST :arg \{VAR :varno 1 :varattno (\d+) [^{}]*\} :nulltesttype 1 :argisrow false\}$";
    Regex::new(pattern).expect("the pattern is valid")
});

const AND: &str = "{BOOLEXPR :boolop and :args ";

/// Removes the source locations from a parse tree.
pub fn without_locations(tree: &str) -> String {
    LOCATION.replace_all(tree, "").into_owned()
}

/// Splits a list of trees: `({…} {…})`.
pub fn expressions(list: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut depth, mut begin, mut is_escaped) = (0_u32, 0, false);
    for (at, character) in list.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '{' => {
                if depth == 0 {
                    begin = at;
                }
                depth += 1;
            }
            '}' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    found.push(&list[begin..=at]);
                }
            }
            _ => {}
        }
    }
    found
}

/// Columns that a condition requires to be not null; `None` if it requires anything else.
pub fn required_not_null_columns(condition: &str) -> Option<Vec<i16>> {
    let condition = condition.trim();
    let tests = match condition.strip_prefix(AND) {
        Some(arguments) => expressions(arguments),
        None => vec![condition],
    };
    let column = |test: &str| COLUMN_IS_NOT_NULL.captures(test)?.get(1)?.as_str().parse().ok();
    if tests.is_empty() { None } else { tests.into_iter().map(column).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `b IS NOT NULL` as a parse tree of PostgreSQL 16.
    const B_IS_NOT_NULL: &str = "{NULLTEST :arg {VAR :varno 1 :varattno 2 :vartype 23 :vartypmod -1 :varcollid 0 :varnullingrels (b) \
                                 :varlevelsup 0 :varnosyn 1 :varattnosyn 2} :nulltesttype 1 :argisrow false}";

    #[test]
    fn a_condition_on_nulls_alone_names_its_columns() {
        assert_eq!(required_not_null_columns(B_IS_NOT_NULL), Some(vec![2]));
        let both = format!("{AND}({B_IS_NOT_NULL} {}) }}", B_IS_NOT_NULL.replace(":varattno 2", ":varattno 3"));
        assert_eq!(required_not_null_columns(&both), Some(vec![2, 3]));
        assert_eq!(required_not_null_columns(&B_IS_NOT_NULL.replace(":nulltesttype 1", ":nulltesttype 0")), None);
        assert_eq!(required_not_null_columns(&both.replace("and", "or")), None);
        assert_eq!(required_not_null_columns("{OPEXPR :opno 521}"), None);
        assert_eq!(required_not_null_columns(""), None);
    }

    #[test]
    fn a_list_is_split_where_its_parts_end_whatever_they_hold() {
        assert_eq!(expressions(r"({A :x {B}} {C :name a\}b})"), ["{A :x {B}}", r"{C :name a\}b}"]);
        assert_eq!(expressions("<>"), Vec::<&str>::new());
        assert_eq!(expressions("}}{"), Vec::<&str>::new());
    }

    #[test]
    fn the_same_condition_written_elsewhere_is_the_same() {
        assert_eq!(without_locations("{VAR :varattno 2 :location 41}"), without_locations("{VAR :varattno 2 :location -1}"));
    }
}
