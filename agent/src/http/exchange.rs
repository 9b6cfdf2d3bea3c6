//! Typed requests and answers of handlers. Every mistake of a caller becomes a JSON error.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// The parameters of the query.
pub(super) struct Parameters<Q>(pub Q);

impl<Q: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<Q> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<Q>::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|err: QueryRejection| ApiError::bad_request(err.body_text()))
    }
}

/// The parameter in the path.
pub(super) struct PathName(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathName {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(name)| Self(name)).map_err(|err: PathRejection| ApiError::bad_request(err.body_text()))
    }
}

/// The body of the request.
pub(super) struct JsonBody<B>(pub B);

impl<B: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonBody<B> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let body = Json::<B>::from_request(request, state).await;
        body.map(|Json(body)| Self(body)).map_err(|err: JsonRejection| ApiError::bad_request(err.body_text()))
    }
}

/// A JSON answer with its keys in alphabetical order, so that two answers can be compared line by line.
pub(super) struct Answer<T> {
    status: StatusCode,
    body: T,
}

impl<T> Answer<T> {
    pub(super) fn ok(body: T) -> Self {
        Self { status: StatusCode::OK, body }
    }

    pub(super) fn with_status(status: StatusCode, body: T) -> Self {
        Self { status, body }
    }
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        // Converting to a `Value` sorts the keys and loses none of them.
        match serde_json::to_value(self.body) {
            Ok(body) => (self.status, Json(body)).into_response(),
            Err(err) => ApiError::unavailable(format!("the answer cannot be written: {err}")).into_response(),
        }
    }
}
