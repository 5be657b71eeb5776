//! Answers about users, as text for people.

use crate::admin::api::answers::{DeletedUser, User, Users};
use crate::ctl::cells::{printable, table};
use crate::text::Align::{Left, Right};

pub(super) fn users(answer: &Users) -> String {
    let rows = answer.users.iter().map(|user| {
        let passwords = match user.passwords {
            _ if user.nopass => "any".to_owned(),
            number => number.to_string(),
        };
        [
            printable(&user.pool),
            printable(&user.user),
            if user.enabled { "on" } else { "off" }.to_owned(),
            passwords,
            user.clients.to_string(),
            printable(&user.keys),
            printable(&user.channels),
            printable(&user.commands),
        ]
    });
    let columns = [
        ("POOL", Left),
        ("USER", Left),
        ("STATE", Left),
        ("PASSWORDS", Right),
        ("CLIENTS", Right),
        ("KEYS", Left),
        ("CHANNELS", Left),
        ("COMMANDS", Left),
    ];
    table(columns, rows.collect())
}

pub(super) fn user(answer: User) -> String {
    users(&Users {
        users: vec![answer],
    })
}

pub(super) fn deleted(answer: &DeletedUser) -> String {
    format!(
        "pool '{}': user '{}' deleted, clients disconnected: {}\n",
        printable(&answer.pool),
        printable(&answer.user),
        answer.clients
    )
}
