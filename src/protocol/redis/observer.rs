//! The requests of a Redis pool, for operators.

use std::time::Duration;

use crate::observe::{Monitored, RequestText, SlowRequest};
use crate::protocol::PoolObserver;
use crate::protocol::redis::command::{Command, flags};
use crate::protocol::redis::resp::args::Args;
use crate::protocol::redis::resp::error_line;
use crate::protocol::redis::{Redis, Request, Settings};
use crate::protocol::redis::{monitor_line, observed};
use crate::stats::CommandId;

impl PoolObserver<Self> for Redis {
    fn visit_keys(request: &Request, frame: &[u8], visit: &mut dyn FnMut(&[u8])) {
        observed::visit_keys(request, frame, visit);
    }

    fn visit_keys_of_head(head: &[u8], visit: &mut dyn FnMut(&[u8])) {
        observed::visit_keys_of_head(head, visit);
    }

    fn name_of_head(head: &[u8]) -> &[u8] {
        Args::new(head).next().unwrap_or_default()
    }

    fn text(head: &[u8]) -> RequestText {
        observed::text(head)
    }

    fn is_administrative(request: &[u8]) -> bool {
        let words = Args::new(request);
        let command = Command::resolve(&words, words.clone().count());
        command.is_ok_and(|command| command.flags & flags::ADMIN != 0)
    }

    fn is_exec(request: &[u8]) -> bool {
        let name = Args::new(request).next().unwrap_or_default();
        name.eq_ignore_ascii_case(b"EXEC")
    }

    fn write_monitored(request: &Monitored, out: &mut Vec<u8>) {
        monitor_line::write(request, out);
    }

    #[inline]
    fn slow_from(settings: &Settings) -> Duration {
        settings.shared.slow_from()
    }

    #[cold]
    fn note_slow(settings: &Settings, command: CommandId, client: (u64, &str), slow: SlowRequest) {
        if let Some(command) = Command::by_id(command) {
            settings.shared.note_slow(command, client, slow);
        }
    }

    #[inline]
    fn error_code(reply: &[u8]) -> Option<&[u8]> {
        error_line::counted_code(reply)
    }

    fn write_unknown_name(request: &Request, frame: &[u8], name: &mut Vec<u8>) {
        request.write_unknown_name(frame, name);
    }
}
