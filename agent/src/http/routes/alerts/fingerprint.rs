//! The fingerprint in a path: all of its digits, or the first ones.

use pharos_model::alert::Fingerprint;
use pharos_model::error_chain::chain;

use super::list::AlertsState;
use crate::http::error::ApiError;

/// Finds the alert with this fingerprint, or with these first digits. Open alerts are searched first, then alerts that ended.
pub(super) async fn resolve(state: &AlertsState, prefix: &str) -> Result<Fingerprint, ApiError> {
    /// Two results are enough to see that the digits fit more than one alert.
    const FOUND_MAX: u32 = 2;
    let is_prefix = (1..Fingerprint::DIGITS).contains(&prefix.len()) && prefix.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_prefix {
        return parsed(prefix);
    }
    let lower = prefix.to_ascii_lowercase();
    let picture = state.board.picture();
    let open = picture.alerts.iter().map(|alert| alert.fingerprint.to_string()).filter(|open| open.starts_with(&lower)).collect();
    let found: Vec<String> = match open {
        open if Vec::is_empty(&open) => {
            state.store.fingerprints(lower, FOUND_MAX).await.map_err(|err| ApiError::unavailable(chain(&err)))?
        }
        open => open,
    };
    match found.as_slice() {
        [one] => parsed(one),
        [] => Err(ApiError::not_found(format!("no alert has a fingerprint that begins with `{prefix}`"))),
        _ => Err(ApiError::conflict(format!("several alerts have fingerprints that begin with `{prefix}`")).hint("give more digits")),
    }
}

pub(super) fn parsed(fingerprint: &str) -> Result<Fingerprint, ApiError> {
    fingerprint.parse().map_err(|_| {
        ApiError::bad_request(format!("`{fingerprint}` is no fingerprint")).hint("sixteen hex digits, as /api/alerts lists them")
    })
}
