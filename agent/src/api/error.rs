//! The body of every error answer.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An error. It is nested in its own object, so that no client takes it for a successful answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ErrorAnswer {
    pub error: ErrorDetail,
}

/// Why a request was refused or could not be answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ErrorDetail {
    pub code: ErrorCode,
    /// A sentence for people. Its words may change, so programs should read `code`.
    pub message: String,
    /// What the caller can do about the error, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The kind of an error. Each kind has one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ErrorCode {
    /// 400: the request is malformed, or a value in it is out of bounds.
    BadRequest,
    /// 401: the request needs a valid token.
    Unauthorised,
    /// 403: the token lacks the permission, or the agent is not known under the name in `Host`.
    Forbidden,
    /// 404: the path, or the object that it names, does not exist.
    NotFound,
    /// 405: the path exists but does not support the method.
    MethodNotAllowed,
    /// 409: the request contradicts the present state of the agent.
    Conflict,
    /// 415: a request that changes something must carry JSON.
    UnsupportedMediaType,
    /// 503: the agent cannot answer just now; the same request may succeed later.
    Unavailable,
    /// 503: the answer took longer than the deadline of its route.
    Timeout,
}
