//! The answers about commands and refused requests.

use crate::admin::api::access::Redacted;
use crate::admin::api::described::described;

described! {
    /// The commands that clients have used, pool by pool, those with most calls first.
    pub struct Commands {
        /// One entry for each command of a pool.
        commands: Vec<CommandUse>,
    }

    /// One command of a pool. Counts are sums over all workers since the start.
    pub struct CommandUse {
        /// Name of the pool.
        pool: String,
        /// Name of the command; a subcommand is `parent|name`.
        command: String,
        /// `read`, `write`, `blocking`, `transaction`, `script`, `pubsub`, `admin` or `other`.
        class: String,
        /// Requests of clients, but for refused ones.
        calls: u64,
        /// Those of the calls that ended with an error.
        errors: u64,
        /// Requests that the proxy refused; `/refusals` says why.
        refused: u64,
        /// Microseconds from accepting a request to the end of its reply, summed over the answered calls. Those that the proxy
        /// answers itself count as 0.
        total_us: u64,
        /// Microseconds that half of the answered calls did not exceed; null without any, and above 67 seconds. At most a quarter
        /// above the true value.
        p50_us: Option<u64>,
        /// As `p50_us`, of 99 in 100.
        p99_us: Option<u64>,
        /// As `p50_us`, of 999 in 1000.
        p999_us: Option<u64>,
    }

    /// The requests that the proxy has refused, pool by pool, the most frequent first.
    pub struct Refusals {
        /// One entry for each command of a pool and reason.
        refusals: Vec<RefusedCommand>,
    }

    /// The requests of one command that were refused for one reason, since the start.
    pub struct RefusedCommand {
        /// Name of the pool.
        pool: String,
        /// Name of the command, as far as it is kept; `(others)` for all whose names are not kept, `(none)` if the bytes were no
        /// request. An unknown name is empty on the stats port without `--show-keys`.
        command: String,
        /// True if there is no such command, or subcommand.
        unknown: bool,
        /// The reason, as in the label of `ringroad_pool_refusals_total`.
        reason: String,
        /// The meaning of the reason.
        meaning: String,
        /// Requests.
        count: u64,
        /// Seconds since the last one.
        age_seconds: u64,
        /// The beginning of the reply to the last one. Empty for unknown names, and on the stats port without `--show-keys`.
        reply: String,
    }
}

impl Redacted for Refusals {
    fn redacted(mut self) -> Self {
        for refused in &mut self.refusals {
            refused.reply.clear();
            if refused.unknown {
                refused.command.clear();
            }
        }
        self
    }
}
