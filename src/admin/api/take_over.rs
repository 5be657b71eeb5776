//! The request of a new process for what this one listens on: its connection leaves HTTP, and speaks the protocol of
//! `crate::handover` from then on.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use hyper::Request;
use hyper::body::Incoming;
use hyper::upgrade;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tracing::debug;

use super::error::ControlError;
use super::{Control, dispatch};
use crate::admin::places::PlacedStream;
use crate::handover::{TAKE_OVER_PATH, TAKE_OVER_PROTOCOL};

/// Hands the connection on, once its client has the response.
pub(super) async fn respond(
    mut request: Request<Incoming>,
    control: &dyn Control,
) -> Response<Body> {
    let wanted = request.headers().get(header::UPGRADE);
    if wanted.is_none_or(|wanted| wanted != TAKE_OVER_PROTOCOL) {
        let text = format!("'{TAKE_OVER_PATH}' is for the option --take-over of a new process");
        return dispatch::refuse(&ControlError::Malformed(text));
    }
    let (free, stream) = oneshot::channel();
    if let Err(error) = control.take_over(stream).await {
        return dispatch::refuse(&error);
    }
    let switched = upgrade::on(&mut request);
    tokio::spawn(async move {
        match switched.await {
            Ok(switched) => {
                let parts = switched.downcast::<TokioIo<PlacedStream<UnixStream>>>();
                // The one who was to get it may have given up.
                let _ = parts.map(|parts| free.send(parts.io.into_inner().into_inner()));
            }
            Err(error) => debug!(%error, "connection to the admin socket failed"),
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(
        header::UPGRADE,
        HeaderValue::from_static(TAKE_OVER_PROTOCOL),
    );
    response
}
