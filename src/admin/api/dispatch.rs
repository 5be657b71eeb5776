//! From an HTTP request to the [`Control`], and from its answer to JSON.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use hyper::http::request::Parts;
use serde::Serialize;

use super::Control;
use super::access::Access;
use super::endpoints::{BODY_MAX_BYTES, Operation, Verb};
use super::error::ControlError;
use super::requests::Request;

/// Carries out one request for `path`, which is that of `head` below the prefix of the listener. Any error is part of the
/// response.
pub(in crate::admin) async fn respond(
    control: &dyn Control,
    access: Access,
    head: &Parts,
    path: &str,
    body: &Bytes,
) -> Response<Body> {
    match answer(control, access, head, path, body).await {
        Ok(json) => response(StatusCode::OK, json),
        Err(error) => refuse(&error),
    }
}

/// The response to a request that is refused.
pub(in crate::admin) fn refuse(error: &ControlError) -> Response<Body> {
    let json = to_json(&error.refusal()).unwrap_or_default();
    let mut response = response(error.status(), json);
    if let ControlError::WrongMethod { allowed, .. } = error
        && let Ok(allowed) = HeaderValue::from_str(allowed)
    {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

async fn answer(
    control: &dyn Control,
    access: Access,
    head: &Parts,
    path: &str,
    body: &Bytes,
) -> Result<String, ControlError> {
    if path == "/" && verb_of(&head.method) == Verb::Get.name() {
        return to_json(&Index::of(access));
    }
    let operation = find(&head.method, path)?;
    if !access.offers(operation.endpoint().exposure) {
        return Err(ControlError::AdminOnly(operation.endpoint().path));
    }
    let query = head.uri.query().unwrap_or_default();
    match Request::read(operation, query, body)? {
        Request::Status => to_json(&control.status().await?),
        Request::Overview(wanted) => to_json(&control.overview(wanted.pool).await?),
        Request::Events(wanted) => to_json(&access.shown(control.events(wanted).await?)),
        Request::Rings(wanted) => to_json(&control.rings(wanted.pool).await?),
        Request::Pools => to_json(&control.pools().await?),
        Request::Servers(wanted) => to_json(&control.servers(wanted.pool).await?),
        Request::Clients(wanted) => to_json(&access.shown(control.clients(wanted.pool).await?)),
        Request::KillClient(kill) => to_json(&control.kill_client(kill).await?),
        Request::Users(wanted) => to_json(&control.users(wanted.pool).await?),
        Request::SetUser(set) => to_json(&control.set_user(set).await?),
        Request::DeleteUser(delete) => to_json(&control.delete_user(delete).await?),
        Request::Topology(wanted) => to_json(&control.topology(wanted.pool).await?),
        Request::Moves(wanted) => to_json(&control.moves(wanted.pool).await?),
        Request::Commands(wanted) => to_json(&control.commands(wanted.pool).await?),
        Request::Refusals(wanted) => to_json(&access.shown(control.refusals(wanted.pool).await?)),
        Request::HotKeys(wanted) => to_json(&access.shown(control.hot_keys(wanted).await?)),
        Request::BigKeys(wanted) => to_json(&access.shown(control.big_keys(wanted).await?)),
        Request::Tap(wanted) => to_json(&control.tap(wanted).await?),
        Request::SlowLog(wanted) => to_json(&access.shown(control.slow_log(wanted).await?)),
        Request::ChangeServer(change, server) => {
            to_json(&control.change_server(change, server).await?)
        }
        Request::Failover(failover) => to_json(&control.fail_over(failover).await?),
        Request::Reload(reload) => to_json(&control.reload(reload).await?),
        Request::Diff(diff) => to_json(&control.diff(diff).await?),
        Request::LogLevel => to_json(&control.log_level().await?),
        Request::SetLogLevel(level) => to_json(&control.set_log_level(level).await?),
        Request::Upgrade(upgrade) => to_json(&control.upgrade(upgrade).await?),
        Request::Stop => to_json(&control.stop().await?),
    }
}

/// The maximum length of the body of a request with this head.
pub(super) fn body_max_bytes(head: &Parts) -> usize {
    let operation = find(&head.method, head.uri.path());
    operation.map_or(BODY_MAX_BYTES, Operation::body_max_bytes)
}

/// The method of the table: HEAD is a GET whose body is not sent.
fn verb_of(method: &Method) -> &str {
    match *method {
        Method::HEAD => Verb::Get.name(),
        _ => method.as_str(),
    }
}

fn find(method: &Method, path: &str) -> Result<Operation, ControlError> {
    let of_path = Operation::ALL
        .iter()
        .filter(|operation| operation.endpoint().path == path);
    let of_path: Vec<_> = of_path.copied().collect();
    let verb = |operation: &Operation| operation.endpoint().verb.name();
    if let Some(found) = of_path.iter().find(|found| verb(found) == verb_of(method)) {
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

/// The list of the operations that a listener offers.
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

impl Index {
    fn of(access: Access) -> Self {
        let entry = |operation: &Operation| {
            let endpoint = operation.endpoint();
            Entry {
                method: endpoint.verb.name(),
                path: endpoint.path,
                help: endpoint.help,
            }
        };
        let offered = Operation::ALL
            .iter()
            .filter(|operation| access.offers(operation.endpoint().exposure));
        Self {
            operations: offered.map(entry).collect(),
        }
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
    for (name, value) in [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}
