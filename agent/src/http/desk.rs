//! Refusals of the pipeline's desk as answers.

use pharos_model::dispatch::{AcknowledgeError, SilenceError};
use pharos_model::error_chain::chain;

use super::error::ApiError;
use crate::pipeline::DeskError;

/// Why the pipeline did not do what it was asked.
pub fn refused(err: DeskError) -> ApiError {
    let message = chain(&err);
    match err {
        DeskError::Unknown(_) | DeskError::Acknowledge(AcknowledgeError::Unknown(_)) | DeskError::Silence(SilenceError::Unknown(_)) => {
            ApiError::not_found(message)
        }
        DeskError::Silence(SilenceError::Configured(_) | SilenceError::TooMany | SilenceError::TooLarge) => ApiError::conflict(message),
        DeskError::Silence(_) | DeskError::Acknowledge(_) => ApiError::bad_request(message),
        DeskError::Store(_) | DeskError::Closed => ApiError::unavailable(message),
    }
}
