//! Pages of lists: how many items a page has, and where it begins.
//!
//! A cursor is the sort key of the last item on a page. So items that appear or disappear between two requests cannot hide other items.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// Checks the limit of a page. Without one, the default is used. A limit that the route does not allow is refused.
pub(super) fn limit(asked: Option<i64>, default: u32, max: u32) -> Result<u32, ApiError> {
    let Some(asked) = asked else { return Ok(default) };
    let allowed = u32::try_from(asked).ok().filter(|limit| (1..=max).contains(limit));
    allowed.ok_or_else(|| ApiError::bad_request(format!("limit is {asked}")).hint(format!("ask for 1 to {max} rows")))
}

/// Reads the sort key in a cursor. `None` without a cursor. A cursor that cannot be read is refused.
pub(super) fn after<K: DeserializeOwned>(cursor: Option<&str>) -> Result<Option<K>, ApiError> {
    let Some(cursor) = cursor else { return Ok(None) };
    let key = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let refused =
        || ApiError::bad_request("the cursor does not belong to this list").hint("send `next_cursor` of the page before, or no cursor");
    key.map(Some).ok_or_else(refused)
}

/// The cursor of the page after the item with this key.
pub(super) fn cursor(key: &impl Serialize) -> Option<String> {
    serde_json::to_vec(key).ok().map(|bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// Sorts items by their keys and returns the page after the key `after`, with the cursor of the next page if there is one.
pub(super) fn cut<T, K: Ord + Serialize>(
    mut items: Vec<T>,
    after: Option<&K>,
    limit: u32,
    key: impl Fn(&T) -> K,
) -> (Vec<T>, Option<String>) {
    items.sort_by_cached_key(&key);
    if let Some(after) = after {
        items.retain(|item| key(item) > *after);
    }
    let limit = limit as usize;
    let has_more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| has_more).and_then(|last| cursor(&key(last)));
    (items, next)
}

/// Removes the extra row that was read to see whether there is a next page. Returns the cursor of the next page if there is one.
pub(super) fn trim<T, K: Serialize>(rows: &mut Vec<T>, limit: u32, key: impl Fn(&T) -> K) -> Option<String> {
    let limit = limit as usize;
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    rows.last().filter(|_| has_more).and_then(|last| cursor(&key(last)))
}
