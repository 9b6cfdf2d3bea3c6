//! The body of every answer that is no success.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An error, in an object of its own so that no client mistakes it for an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorAnswer {
    pub error: ErrorDetail,
}

/// Why a request was refused or could not be answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorDetail {
    pub code: ErrorCode,
    /// A sentence for people. Its wording may change; programs read `code`.
    pub message: String,
    /// The way out, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The kind of an error. Each kind has one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 400: the request is malformed, or a value in it is out of bounds.
    BadRequest,
    /// 401: the request needs a token that the agent knows.
    Unauthorised,
    /// 403: the token lacks the permission, or the agent is not known under the name in `Host`.
    Forbidden,
    /// 404: the path or the thing it names does not exist.
    NotFound,
    /// 405: the path exists and does not know the method.
    MethodNotAllowed,
    /// 409: the request contradicts what the agent holds.
    Conflict,
    /// 415: a request that changes something carries JSON.
    UnsupportedMediaType,
    /// 503: the agent cannot answer just now; the same request may succeed later.
    Unavailable,
    /// 503: the answer took longer than the deadline of its route.
    Timeout,
}
