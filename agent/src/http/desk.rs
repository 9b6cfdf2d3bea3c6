//! Converts refusals of the pipeline's desk into API errors.

use pharos_model::dispatch::{AcknowledgeError, SilenceError};
use pharos_model::error_chain::chain;

use super::error::ApiError;
use crate::pipeline::DeskError;

/// The API error for a request that the pipeline refused.
pub(super) fn refused(err: DeskError) -> ApiError {
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
