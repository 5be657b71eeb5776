//! The commands that a new server connection begins with.

use bytes::BytesMut;

use crate::protocol::ConnProfile;
use crate::protocol::redis::resp::encode::write_request;
use crate::protocol::redis::resp::version::Resp;
use crate::protocol::redis::state::profile;
use crate::protocol::redis::state::settings::Settings;

/// Writes the commands that bring a connection into its profile. Returns the number of replies. The password is sent by
/// AUTH in every profile, so that a server accepts or refuses it in all alike.
pub(crate) fn write(settings: &Settings, profile: ConnProfile, out: &mut BytesMut) -> usize {
    let (resp, db) = profile::meaning(profile, settings);
    let digits = db.to_string();
    let steps: [Option<(&[u8], &[u8])>; 2] = [
        (resp == Resp::Three).then_some((b"HELLO", b"3")),
        (db > 0).then_some((b"SELECT", digits.as_bytes())),
    ];
    let mut replies = 0;
    if let Some(auth) = &settings.server_auth {
        write_request(&auth.words(), out);
        replies += 1;
    }
    for (name, argument) in steps.into_iter().flatten() {
        write_request(&[name, argument], out);
        replies += 1;
    }
    replies
}
