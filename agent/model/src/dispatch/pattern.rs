//! A regular expression that must fit a whole value, with small and counted memory.
//!
//! The `regex` crate builds several automata and caches for each expression: a megabyte for fifteen characters with Unicode classes.
//! Matchers are many and their values are short. So a pattern has one plain automaton, and a search frees its memory at the end.

use std::fmt;

use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{Compiler, Config, WhichCaptures};
use regex_syntax::hir::{Hir, Look};

/// Most memory of one compiled pattern, in bytes. `\w` with Unicode takes a fifth of it.
pub(super) const PATTERN_BYTES_MAX: usize = 256 << 10;

/// A compiled expression.
#[derive(Clone)]
pub(super) struct Pattern(PikeVM);

impl Pattern {
    /// Compiles an expression. The error is the reason in one line.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        // The expression is parsed alone, so that an unopened `)` is an error and cannot escape the anchors.
        let expression = regex_syntax::Parser::new().parse(text).map_err(|err| last_line(&err))?;
        let whole = Hir::concat(vec![Hir::look(Look::Start), expression, Hir::look(Look::End)]);
        let limits = Config::new().nfa_size_limit(Some(PATTERN_BYTES_MAX)).which_captures(WhichCaptures::Implicit);
        let automaton = Compiler::new().configure(limits).build_from_hir(&whole).map_err(|err| match err.size_limit() {
            Some(_) => format!("is past the size limit: it compiles to more than {} KiB", PATTERN_BYTES_MAX >> 10),
            None => err.to_string(),
        })?;
        PikeVM::new_from_nfa(automaton).map(Self).map_err(|err| err.to_string())
    }

    /// Returns true if the whole value fits. The search frees its memory.
    pub(super) fn fits(&self, value: &str) -> bool {
        self.0.is_match(&mut self.0.create_cache(), value)
    }

    /// Memory of the compiled pattern, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.0.get_nfa().memory_usage()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({} bytes)", self.bytes())
    }
}

/// Last line of a parser error, which has the reason. The lines before it draw the position.
fn last_line(err: &regex_syntax::Error) -> String {
    err.to_string().lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, fits: &[&str], misses: &[&str]) {
        let pattern = Pattern::new(pattern).unwrap_or_else(|err| panic!("{pattern}: {err}"));
        for value in fits {
            assert!(pattern.fits(value), "{value}");
        }
        for value in misses {
            assert!(!pattern.fits(value), "{value}");
        }
    }

    #[test]
    fn a_pattern_must_fit_the_whole_value() {
        check("db[0-9]", &["db1"], &["db", "xdb1", "db12", "db1\n"]);
        check("a|ab", &["a", "ab"], &["abc", ""]);
        check("", &[""], &["a"]);
        check(".*", &["", "ü"], &["a\nb"]);
        check("(?i)größe", &["GRÖßE"], &["groesse"]);
        check(r"\w+-\d{2}", &["straße-12"], &["straße-1"]);
    }

    #[test]
    fn no_expression_escapes_the_anchors() {
        assert_eq!(Pattern::new("a)|(b").expect_err("it closes what it did not open"), "unopened group");
        assert_eq!(Pattern::new("(").expect_err("it is open"), "unclosed group");
    }

    #[test]
    fn a_compiled_pattern_has_a_memory_limit() {
        let why = Pattern::new("(x{1000}){1000}").expect_err("it is too large");
        assert!(why.contains("size limit"), "{why}");
        for text in [r"(\pL|\pN){3}", r"\w+", r"[\w.-]+\.example\.com", "a|b|c"] {
            let pattern = Pattern::new(text).unwrap_or_else(|err| panic!("{text}: {err}"));
            assert!(pattern.bytes() <= PATTERN_BYTES_MAX, "{text}: {}", pattern.bytes());
        }
        assert!(Pattern::new(r"\w+").expect("people write it").bytes() < PATTERN_BYTES_MAX / 4);
    }
}
