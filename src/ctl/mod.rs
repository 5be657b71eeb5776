//! `ringroad ctl`: asks or changes a running proxy over its admin socket.
//!
//! One request, one answer: a table for people, or the proxy's JSON unchanged. Only `main` calls this module.

mod client;
mod error;
mod tables;

use std::env;
use std::path::PathBuf;

use crate::cli::CtlOptions;
use crate::ctl::client::Reply;
use crate::ctl::error::strange;

pub use error::CtlError;

/// The environment variable with the path of the socket.
const SOCKET_VARIABLE: &str = "RINGROAD_ADMIN";
/// The path of the socket without `--admin` and the variable.
const SOCKET: &str = "/run/ringroad/ctl.sock";

/// Executes a command; returns the text for stdout.
pub fn run(options: &CtlOptions) -> Result<String, CtlError> {
    let path = socket(options);
    let Reply { is_ok, body } = client::ask(&path, &options.request)?;
    if is_ok && options.json {
        return Ok(body);
    }
    if is_ok {
        return tables::show(&options.request, &body).map_err(|error| strange(&path, &error));
    }
    let refusal = serde_json::from_str(&body).map_err(|error| strange(&path, &error))?;
    let json = if options.json { body } else { String::new() };
    Err(CtlError::Refused { refusal, json })
}

fn socket(options: &CtlOptions) -> PathBuf {
    let given = options.socket.clone();
    let given = given.or_else(|| env::var_os(SOCKET_VARIABLE).map(PathBuf::from));
    let is_named = |path: &PathBuf| !path.as_os_str().is_empty();
    given.filter(is_named).unwrap_or_else(|| SOCKET.into())
}
