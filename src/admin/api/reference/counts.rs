//! Examples of the answers about commands and refused requests.

use crate::admin::api::answers::{CommandUse, Commands, Refusals, RefusedCommand};

pub(super) fn commands() -> Commands {
    let command = CommandUse {
        pool: "cache".to_owned(),
        command: "get".to_owned(),
        class: "read".to_owned(),
        calls: 812_044,
        errors: 3,
        refused: 0,
        total_us: 243_613_200,
        p50_us: Some(256),
        p99_us: Some(896),
        p999_us: Some(2560),
    };
    Commands {
        commands: vec![command],
    }
}

pub(super) fn refusals() -> Refusals {
    let refused = RefusedCommand {
        pool: "cache".to_owned(),
        command: "rename".to_owned(),
        unknown: false,
        reason: "keys_on_several_servers".to_owned(),
        meaning: "The keys of the request, or of the transaction, are stored on different servers."
            .to_owned(),
        count: 17,
        age_seconds: 4,
        reply: "ERR keys 'a' and 'b' are stored on different servers; give them a common hash tag, such as '{a}'"
            .to_owned(),
    };
    Refusals {
        refusals: vec![refused],
    }
}
