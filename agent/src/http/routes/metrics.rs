//! `GET /metrics`: the written series, for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::response::IntoResponse;

use crate::http::exposition::{Exposition, Format};
use crate::http::route::{Area, Route};

pub fn area(exposition: &Arc<Exposition>) -> Area {
    let show = Route::get("/metrics", "readMetrics", show)
        .describes(
            "Every series, for Prometheus",
            "Text 0.0.4, or OpenMetrics 1.0 where `accept` prefers that. A read of memory: series whose facts failed or are too old are absent.",
        )
        .answers_text(200, "The exposition.", &["text/plain", "application/openmetrics-text"]);
    Area::new("metrics", "Series for Prometheus.", exposition, [show])
}

async fn show(State(exposition): State<Arc<Exposition>>, headers: HeaderMap) -> impl IntoResponse {
    let format = Format::from_accept(headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()));
    ([(CONTENT_TYPE, format.content_type()), (VARY, "accept")], exposition.text(format))
}
