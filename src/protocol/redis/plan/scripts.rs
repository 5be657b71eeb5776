//! Plans for scripts and functions.

use bytes::BytesMut;

use crate::protocol::redis::command::{Command, KeysError};
use crate::protocol::redis::error;
use crate::protocol::redis::merge::context::MergeSpec;
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::error_line::ErrorAuthor;
use crate::protocol::redis::state::scripts;
use crate::protocol::redis::state::settings::Settings;
use crate::protocol::{KeySpan, Plan, Route, ScriptOp};
use crate::stats::RefusalReason;

/// Plans a script: to the server of its keys. One without keys must not access any, or be declared so; otherwise it
/// would find the keys of an arbitrary server, and miss those of all others.
pub(crate) fn script(
    command: &'static Command,
    frame: &[u8],
    settings: &Settings,
    keys: &mut Vec<KeySpan>,
    out: &mut BytesMut,
) -> Plan<MergeSpec, ErrorAuthor> {
    let scripts = &settings.shared.scripts;
    let script = Args::new(frame).nth(1).unwrap_or_default();
    let is_body = matches!(command.name, "EVAL" | "EVAL_RO");
    let is_digest = matches!(command.name, "EVALSHA" | "EVALSHA_RO");
    match command.collect_keys(Args::new(frame), keys) {
        Ok(()) => {}
        Err(KeysError::Zero) => {
            let is_harmless = || {
                is_body && scripts::is_pure(script)
                    || is_digest
                        && scripts
                            .find(script)
                            .is_some_and(|body| scripts::is_pure(&body))
            };
            if !(settings.keyless_scripts || settings.servers.len() == 1 || is_harmless()) {
                error::write_keyless_script(command, out);
                return Plan::Error(RefusalReason::UnsupportedUse);
            }
        }
        Err(_) => return Plan::Forward(Route::Placeholder, ErrorAuthor::Script),
    }
    if is_body {
        Plan::ForwardScript(ScriptOp::Eval, ErrorAuthor::Script)
    } else if is_digest {
        Plan::ForwardScript(ScriptOp::EvalSha, ErrorAuthor::Script)
    } else {
        Plan::ForwardSameServer(ErrorAuthor::Script)
    }
}
