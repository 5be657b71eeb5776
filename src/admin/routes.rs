//! The HTTP routes of the port.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{self, Request};
use axum::http::{Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{any, get};
use hyper::http::request::Parts;

use super::api::{ControlError, Operation, dispatch};
use super::{State, page as files};

/// The prefix of the operations.
const API: &str = "/api";

const INDEX: &str = "\
Ringroad

/         this list; a page for browsers
/stats    statistics as JSON, in the format of Twemproxy
/metrics  metrics for Prometheus
/healthz  200 while clients are accepted, 503 while the proxy drains
/api/     the operations of the admin API that read, as JSON
";

/// The router of all paths. `get` answers HEAD too, and every other method with 405.
pub(super) fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/page/{*name}", get(page))
        .route("/stats", get(stats))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route(API, any(api))
        .route("/api/", any(api))
        .route("/api/{*path}", any(api))
        .with_state(state)
}

/// Returns true if the answer at a path is one of servers, for which it waits.
pub(super) fn asks_servers(path: &str) -> bool {
    let operation = path.strip_prefix(API);
    operation.is_some_and(|operation| operation == Operation::Moves.endpoint().path)
}

/// The page for a browser, the list of paths for others.
async fn index(state: extract::State<Arc<State>>, request: Request) -> Response<Body> {
    let (head, _body) = request.into_parts();
    page_or_refusal(&state, &head).unwrap_or_else(|| INDEX.into_response())
}

/// A file of the page.
async fn page(state: extract::State<Arc<State>>, request: Request) -> Response<Body> {
    let (head, _body) = request.into_parts();
    page_or_refusal(&state, &head).unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
}

fn page_or_refusal(state: &State, head: &Parts) -> Option<Response<Body>> {
    let offer = state.offer.as_ref()?;
    let page = files::respond(head, API, offer.access)?;
    Some(match offer.guard.check_host(head) {
        Ok(()) => page,
        Err(untrusted) => dispatch::refuse(&untrusted.into()),
    })
}

/// An operation that reads. Its parameters are in the query; a body is not read.
async fn api(state: extract::State<Arc<State>>, request: Request) -> Response<Body> {
    let (head, _body) = request.into_parts();
    let path = head.uri.path().strip_prefix(API).unwrap_or_default();
    let path = if path.is_empty() { "/" } else { path };
    let Some(offer) = &state.offer else {
        return dispatch::refuse(&ControlError::UnknownPath(path.to_owned()));
    };
    if let Err(untrusted) = offer.guard.check(&head) {
        return dispatch::refuse(&untrusted.into());
    }
    dispatch::respond(&*offer.control, offer.access, &head, path, &Bytes::new()).await
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
