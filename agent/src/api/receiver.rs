//! Test messages, which show whether a receiver can be reached.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The result of a test message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ReceiverTest {
    /// Name of the receiver.
    pub receiver: String,
    pub outcome: TestOutcome,
    /// Answer of the receiver or the notifier. Null where the message was accepted.
    pub why: Option<String>,
}

/// Outcomes of an attempt to deliver a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TestOutcome {
    Accepted,
    /// Some recipients accepted it and others refused it for good.
    Partial,
    /// The message did not arrive, and a later attempt may succeed.
    Retry,
    /// The message may have arrived.
    Ambiguous,
    /// The notifier plugin does not serve.
    Unavailable,
    /// The receiver does not accept these credentials.
    Unauthorised,
    /// The receiver answers that it no longer exists.
    Gone,
    /// The notifier lacks a grant that it needs.
    Denied,
    /// The receiver will never accept the message.
    Rejected,
}

impl TestOutcome {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Partial => "partial",
            Self::Retry => "retry",
            Self::Ambiguous => "ambiguous",
            Self::Unavailable => "unavailable",
            Self::Unauthorised => "unauthorised",
            Self::Gone => "gone",
            Self::Denied => "denied",
            Self::Rejected => "rejected",
        }
    }
}
