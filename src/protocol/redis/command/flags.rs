//! Redis's command flags: the column `flags` of the table.

/// None of them.
pub const NOFLAGS: u32 = 0;
/// It reads only.
pub const READ: u32 = 1;
/// It may write.
pub const WRITE: u32 = 1 << 1;
/// Rejected by a server that is out of memory.
pub const DENYOOM: u32 = 1 << 2;
/// It takes constant or logarithmic time.
pub const FAST: u32 = 1 << 3;
/// It is administrative.
pub const ADMIN: u32 = 1 << 4;
/// It is a pub/sub command.
pub const PUBSUB: u32 = 1 << 5;
/// Not allowed in scripts.
pub const NOSCRIPT: u32 = 1 << 6;
/// It may block.
pub const BLOCKING: u32 = 1 << 7;
/// Allowed while a server loads its data.
pub const LOADING: u32 = 1 << 8;
/// Allowed on a replica with stale data.
pub const STALE: u32 = 1 << 9;
/// Allowed in both cases.
pub const ANYTIME: u32 = LOADING | STALE;
/// Not allowed while a replica loads data in the background.
pub const NO_ASYNC_LOADING: u32 = 1 << 10;
/// Allowed before authentication.
pub const NO_AUTH: u32 = 1 << 11;
/// Allowed while a script runs for too long.
pub const ALLOW_BUSY: u32 = 1 << 12;
/// Not allowed between MULTI and EXEC.
pub const NO_MULTI: u32 = 1 << 13;
/// Never in the slow log.
pub const SKIP_SLOWLOG: u32 = 1 << 14;
/// Never shown by MONITOR.
pub const SKIP_MONITOR: u32 = 1 << 15;
/// Allowed in a slot that a cluster is importing.
pub const ASKING: u32 = 1 << 16;
/// Its keys are optional.
pub const NO_MANDATORY_KEYS: u32 = 1 << 17;

/// The flags in Redis's spelling. `movablekeys` is not among them, since it follows from the keys.
pub const SPELLED: [(&str, u32); 18] = [
    ("write", WRITE),
    ("readonly", READ),
    ("denyoom", DENYOOM),
    ("admin", ADMIN),
    ("pubsub", PUBSUB),
    ("noscript", NOSCRIPT),
    ("blocking", BLOCKING),
    ("loading", LOADING),
    ("stale", STALE),
    ("skip_monitor", SKIP_MONITOR),
    ("skip_slowlog", SKIP_SLOWLOG),
    ("asking", ASKING),
    ("fast", FAST),
    ("no_auth", NO_AUTH),
    ("no_mandatory_keys", NO_MANDATORY_KEYS),
    ("no_async_loading", NO_ASYNC_LOADING),
    ("no_multi", NO_MULTI),
    ("allow_busy", ALLOW_BUSY),
];
