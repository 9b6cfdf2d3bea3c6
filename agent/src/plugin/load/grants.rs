//! Grants that a plugin wants and the config does not give.

use tracing::info;

use crate::config::plugins::{Grants, PluginConfig};

/// Logs how to add each grant that a plugin wants and does not have. Without the grant its calls fail with `denied`.
pub(super) fn log_ungranted(id: &str, config: &PluginConfig, wants: &[(String, String)]) {
    for (want, reason) in wants {
        if let Some(example) = ungranted(want, &config.grants) {
            info!(
                plugin = id,
                reason, "`{id}` wants {want} and has no grant; to allow it, add to [plugin.{id}]: grants = {{ {want} = [\"{example}\"] }}"
            );
        }
    }
}

/// An example of a grant of the wanted kind, if the config has none.
fn ungranted(want: &str, grants: &Grants) -> Option<&'static str> {
    match want {
        "egress" if grants.egress.is_empty() => Some("HOST"),
        "mail" if grants.mail.is_empty() => Some("RELAY"),
        _ => None,
    }
}
