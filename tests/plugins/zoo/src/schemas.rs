//! Settings schemas that are too long for an order.

use crate::orders::{counted, text};

/// The ordered schema: as it is written, or made from `doubling:levels` or `chain:levels`.
pub fn ordered() -> String {
    let order = text("schema", r#"{"type":"object"}"#);
    match counted(&order) {
        // Each level refers to the next one twice.
        ("doubling", levels) => {
            defined(levels, |next| format!(r##"{{"allOf":[{{"$ref":"#/$defs/d{next}"}},{{"$ref":"#/$defs/d{next}"}}]}}"##))
        }
        ("chain", levels) => defined(levels, |next| format!(r##"{{"$ref":"#/$defs/d{next}"}}"##)),
        _ => order,
    }
}

fn defined(levels: u64, level: impl Fn(u64) -> String) -> String {
    let levels: String =
        (0..levels).map(|number| format!(r#""d{number}":{},"#, level(number + 1))).chain([format!(r#""d{levels}":{{}}"#)]).collect();
    format!(r##"{{"$ref":"#/$defs/d0","$defs":{{{levels}}}}}"##)
}
