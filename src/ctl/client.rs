//! One HTTP request over a unix socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use hyper::client::conn::http1;
use hyper::{Request as HttpRequest, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::admin::api::Request;
use crate::ctl::error::{CtlError, strange};

/// The time limit for an answer: a little more than the proxy takes for a connection.
const ANSWER_WITHIN: Duration = Duration::from_secs(35);
/// The maximum length of an answer: far above a list of all clients that a proxy can have.
const ANSWER_MAX_BYTES: usize = 1 << 30;

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    /// Otherwise the proxy refuses.
    pub(super) is_ok: bool,
    /// JSON.
    pub(super) body: String,
}

/// Sends a request, and waits for the answer.
pub(super) fn ask(path: &Path, request: &Request) -> Result<Reply, CtlError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| no_proxy(path, &error))?;
    let answered = async { timeout(ANSWER_WITHIN, exchange(path, request)).await };
    runtime.block_on(answered).unwrap_or_else(|_| {
        let text = format!("no answer within {ANSWER_WITHIN:?}");
        Err(no_proxy(path, &io::Error::other(text)))
    })
}

async fn exchange(path: &Path, request: &Request) -> Result<Reply, CtlError> {
    let stream = UnixStream::connect(path).await;
    let stream = stream.map_err(|error| no_proxy(path, &error))?;
    let failed = |error: &dyn std::fmt::Display| strange(path, error);
    let request = http(request).map_err(|error| failed(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    let reply = async {
        let response = sender.send_request(request).await?;
        let is_ok = response.status().is_success();
        let body = to_bytes(Body::new(response.into_body()), ANSWER_MAX_BYTES).await;
        Ok::<_, hyper::Error>((is_ok, body))
    };
    let (reply, _) = tokio::join!(reply, connection);
    let (is_ok, body) = reply.map_err(|error| failed(&error))?;
    let body = body.map_err(|error| failed(&error))?;
    let body = String::from_utf8(body.into()).map_err(|error| failed(&error))?;
    Ok(Reply { is_ok, body })
}

fn http(request: &Request) -> Result<HttpRequest<Body>, hyper::http::Error> {
    let endpoint = request.operation().endpoint();
    let target = match request.query() {
        query if query.is_empty() => endpoint.path.to_owned(),
        query => format!("{}?{query}", endpoint.path),
    };
    HttpRequest::builder()
        .method(endpoint.verb.name())
        .uri(target)
        .header(header::HOST, "ringroad")
        .body(Body::from(request.body()))
}

fn no_proxy(path: &Path, error: &io::Error) -> CtlError {
    let text = error.to_string();
    // The number of the system's error helps nobody.
    let reason = text.split(" (os error").next().unwrap_or(&text).to_owned();
    CtlError::NoProxy {
        path: path.to_owned(),
        reason,
    }
}
