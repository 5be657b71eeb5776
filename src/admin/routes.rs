//! The HTTP routes of the port.

use std::sync::Arc;

use axum::Router;
use axum::extract;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

use super::State;

const INDEX: &str = "\
Ringroad

/stats    statistics as JSON, in the format of Twemproxy
/metrics  metrics for Prometheus
/healthz  200 while clients are accepted, 503 while the proxy drains
";

/// The router of all paths. `get` answers HEAD too, and every other method with 405.
pub(super) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/", get(async || INDEX))
        .route("/stats", get(stats))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .with_state(state)
}

async fn stats(state: extract::State<Arc<State>>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json")],
        state.json().await,
    )
}

async fn metrics(state: extract::State<Arc<State>>) -> impl IntoResponse {
    let format = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, format)], state.metrics().await)
}

async fn healthz(state: extract::State<Arc<State>>) -> impl IntoResponse {
    if state.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else {
        (StatusCode::OK, "ok")
    }
}
