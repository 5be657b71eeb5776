//! `ringroad ctl`: asks or changes a running proxy over its admin socket.
//!
//! One request, one answer: a table for people, or the proxy's JSON unchanged. Only `main` calls this module.

mod cells;
mod client;
mod count_tables;
mod error;
mod observed;
mod overview;
mod tables;
mod users;

use std::env;
use std::path::{Path, PathBuf};

use crate::admin::api::Request;
use crate::admin::api::answers::Differences;
use crate::admin::api::requests::Diff;
use crate::cli::{CtlCommand, CtlOptions};
use crate::config::Config;
use crate::ctl::client::Reply;
use crate::ctl::error::strange;

pub use error::CtlError;

/// The environment variable with the path of the socket.
const SOCKET_VARIABLE: &str = "RINGROAD_ADMIN";
/// The path of the socket without `--admin` and the variable.
const SOCKET: &str = "/run/ringroad/ctl.sock";

/// The answer to a command.
#[derive(Debug)]
pub struct Answer {
    /// For stdout.
    pub text: String,
    /// The exit code.
    pub code: u8,
}

/// Executes a command.
pub fn run(options: &CtlOptions) -> Result<Answer, CtlError> {
    let path = socket(options);
    match &options.command {
        CtlCommand::Ask(request) => {
            let body = ask(&path, request, options.json)?;
            let text = if options.json {
                body
            } else {
                tables::show(request, &body).map_err(|error| strange(&path, &error))?
            };
            Ok(Answer { text, code: 0 })
        }
        CtlCommand::Diff(file) => {
            let text = Config::read_text(file)?;
            let (body, differences) = compare(&path, file, text, options.json)?;
            Ok(Answer {
                code: u8::from(!differences.refusals.is_empty()),
                text: if options.json {
                    body
                } else {
                    tables::differences(&differences)
                },
            })
        }
    }
}

/// Has the proxy at a socket compare the text of a file with what it runs.
pub fn diff(socket: &Path, file: &Path, text: String) -> Result<Differences, CtlError> {
    compare(socket, file, text, false).map(|(_, differences)| differences)
}

fn compare(
    socket: &Path,
    file: &Path,
    text: String,
    json: bool,
) -> Result<(String, Differences), CtlError> {
    let request = Request::Diff(Diff {
        file: text,
        name: file.display().to_string(),
    });
    let max_bytes = request.operation().body_max_bytes();
    if request.body().len() > max_bytes {
        let path = file.to_owned();
        return Err(CtlError::LongFile { path, max_bytes });
    }
    let body = ask(socket, &request, json)?;
    let differences = serde_json::from_str(&body).map_err(|error| strange(socket, &error))?;
    Ok((body, differences))
}

/// The JSON with which the proxy answers.
fn ask(socket: &Path, request: &Request, json: bool) -> Result<String, CtlError> {
    let Reply { is_ok, body } = client::ask(socket, request)?;
    if is_ok {
        return Ok(body);
    }
    let refusal = serde_json::from_str(&body).map_err(|error| strange(socket, &error))?;
    let json = if json { body } else { String::new() };
    Err(CtlError::Refused { refusal, json })
}

fn socket(options: &CtlOptions) -> PathBuf {
    let given = options.socket.clone();
    let given = given.or_else(|| env::var_os(SOCKET_VARIABLE).map(PathBuf::from));
    let is_named = |path: &PathBuf| !path.as_os_str().is_empty();
    given.filter(is_named).unwrap_or_else(|| SOCKET.into())
}
