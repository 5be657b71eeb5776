//! From an HTTP request to the [`Control`], and from its answer to JSON.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use hyper::http::request::Parts;
use serde::Serialize;

use super::Control;
use super::endpoints::{BODY_MAX_BYTES, Operation, Verb};
use super::error::ControlError;
use super::requests::Request;

/// Carries out one request. Any error is part of the response.
pub(super) async fn respond(control: &dyn Control, head: &Parts, body: &Bytes) -> Response<Body> {
    match answer(control, head, body).await {
        Ok(json) => response(StatusCode::OK, json),
        Err(error) => refuse(&error),
    }
}

/// The response to a request that is refused.
pub(super) fn refuse(error: &ControlError) -> Response<Body> {
    let json = to_json(&error.refusal()).unwrap_or_default();
    let mut response = response(error.status(), json);
    if let ControlError::WrongMethod { allowed, .. } = error
        && let Ok(allowed) = HeaderValue::from_str(allowed)
    {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

async fn answer(control: &dyn Control, head: &Parts, body: &Bytes) -> Result<String, ControlError> {
    let path = head.uri.path();
    if path == "/" && head.method == Verb::Get.name() {
        return to_json(&Index::default());
    }
    let operation = find(head.method.as_str(), path)?;
    let query = head.uri.query().unwrap_or_default();
    match Request::read(operation, query, body)? {
        Request::Status => to_json(&control.status().await?),
        Request::Pools => to_json(&control.pools().await?),
        Request::Servers(wanted) => to_json(&control.servers(wanted.pool).await?),
        Request::Clients(wanted) => to_json(&control.clients(wanted.pool).await?),
        Request::KillClient(kill) => to_json(&control.kill_client(kill).await?),
        Request::Topology(wanted) => to_json(&control.topology(wanted.pool).await?),
        Request::Moves(wanted) => to_json(&control.moves(wanted.pool).await?),
        Request::ChangeServer(change, server) => {
            to_json(&control.change_server(change, server).await?)
        }
        Request::Failover(failover) => to_json(&control.fail_over(failover).await?),
        Request::Reload(reload) => to_json(&control.reload(reload).await?),
        Request::Diff(diff) => to_json(&control.diff(diff).await?),
        Request::LogLevel => to_json(&control.log_level().await?),
        Request::SetLogLevel(level) => to_json(&control.set_log_level(level).await?),
        Request::Stop => to_json(&control.stop().await?),
    }
}

/// The maximum length of the body of a request with this head.
pub(super) fn body_max_bytes(head: &Parts) -> usize {
    let operation = find(head.method.as_str(), head.uri.path());
    operation.map_or(BODY_MAX_BYTES, Operation::body_max_bytes)
}

fn find(method: &str, path: &str) -> Result<Operation, ControlError> {
    let of_path = Operation::ALL
        .iter()
        .filter(|operation| operation.endpoint().path == path);
    let of_path: Vec<_> = of_path.copied().collect();
    let verb = |operation: &Operation| operation.endpoint().verb.name();
    if let Some(found) = of_path.iter().find(|found| verb(found) == method) {
        return Ok(*found);
    }
    match of_path.first() {
        None => Err(ControlError::UnknownPath(path.to_owned())),
        Some(first) => Err(ControlError::WrongMethod {
            path: first.endpoint().path,
            allowed: of_path.iter().map(verb).collect::<Vec<_>>().join(", "),
        }),
    }
}

/// The list of all operations.
#[derive(Debug, Serialize)]
struct Index {
    operations: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    method: &'static str,
    path: &'static str,
    help: &'static str,
}

impl Default for Index {
    fn default() -> Self {
        let entry = |operation: &Operation| {
            let endpoint = operation.endpoint();
            Entry {
                method: endpoint.verb.name(),
                path: endpoint.path,
                help: endpoint.help,
            }
        };
        let operations = Operation::ALL.iter().map(entry).collect();
        Self { operations }
    }
}

/// One line of JSON.
fn to_json(answer: &impl Serialize) -> Result<String, ControlError> {
    let json = serde_json::to_string(answer);
    let json = json.map_err(|error| ControlError::Internal(error.to_string()))?;
    Ok(json + "\n")
}

fn response(status: StatusCode, json: String) -> Response<Body> {
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
