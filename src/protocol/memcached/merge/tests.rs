use crate::protocol::memcached::merge::*;

/// Merges `replies` to `keys`, with the index of each key's server in `owners`.
fn merged(
    keys: &[&str],
    owners: &[u16],
    replies: &[Result<&'static str, UpstreamError>],
) -> Result<String, UpstreamError> {
    let frame = format!("get {}\r\n", keys.join(" "));
    let mut at = 4;
    let spans: Vec<KeySpan> = keys
        .iter()
        .map(|key| {
            let span = crate::protocol::Span {
                start: at,
                end: at + key.len(),
            };
            at = span.end + 1;
            KeySpan {
                key: span,
                unit: span,
            }
        })
        .collect();
    let context = merge_context(MergeSpec::Keys { prefix: 3 }, frame.as_bytes(), &spans);
    let replies = replies
        .iter()
        .map(|reply| reply.map(|text| Bytes::from_static(text.as_bytes())))
        .collect();
    let mut out = WriteBuf::new();
    merge(&context, owners, replies, &mut out)?;
    Ok(String::from_utf8_lossy(out.tail()).into_owned())
}

#[test]
fn values_follow_key_order_and_misses_are_left_out() {
    for (keys, owners, replies, expected) in [
        (
            vec!["a", "b", "c"],
            vec![1, 0, 1],
            vec![
                Ok("VALUE b 0 2\r\nbb\r\nEND\r\n"),
                Ok("VALUE a 1 1 77\r\na\r\nVALUE c 0 0\r\n\r\nEND\r\n"),
            ],
            "VALUE a 1 1 77\r\na\r\nVALUE b 0 2\r\nbb\r\nVALUE c 0 0\r\n\r\nEND\r\n",
        ),
        (
            vec!["a", "b", "c", "d"],
            vec![0, 1, 0, 1],
            vec![Ok("VALUE c 0 1\r\nc\r\nEND\r\n"), Ok("END\r\n")],
            "VALUE c 0 1\r\nc\r\nEND\r\n",
        ),
        (
            vec!["a", "b", "a"],
            vec![0, 1, 0],
            vec![
                Ok("VALUE a 0 1\r\n1\r\nVALUE a 0 1\r\n2\r\nEND\r\n"),
                Ok("VALUE b 0 1\r\n3\r\nEND\r\n"),
            ],
            "VALUE a 0 1\r\n1\r\nVALUE b 0 1\r\n3\r\nVALUE a 0 1\r\n2\r\nEND\r\n",
        ),
        (
            vec!["k", "kk", "x"],
            vec![0, 0, 1],
            vec![Ok("VALUE kk 0 5\r\nEND\r\n\r\nEND\r\n"), Ok("END\r\n")],
            "VALUE kk 0 5\r\nEND\r\n\r\nEND\r\n",
        ),
    ] {
        assert_eq!(
            merged(&keys, &owners, &replies),
            Ok(expected.to_owned()),
            "{keys:?}"
        );
    }
}

#[test]
fn first_server_error_is_the_whole_reply() {
    let value = "VALUE a 0 1\r\na\r\nEND\r\n";
    let oom = "SERVER_ERROR out of memory writing get response\r\n";
    for (replies, expected) in [
        (vec![Ok(value), Ok(oom)], Ok(oom.to_owned())),
        (
            vec![Ok("VALUE a 0 1\r\na\r\nERROR\r\n"), Ok(oom)],
            Ok("ERROR\r\n".to_owned()),
        ),
        (
            vec![Ok(value), Err(UpstreamError::TimedOut)],
            Err(UpstreamError::TimedOut),
        ),
        (
            vec![Err(UpstreamError::Closed), Err(UpstreamError::TimedOut)],
            Err(UpstreamError::Closed),
        ),
        (
            vec![Ok(oom), Err(UpstreamError::TimedOut)],
            Ok(oom.to_owned()),
        ),
    ] {
        assert_eq!(
            merged(&["a", "b"], &[0, 1], &replies),
            expected,
            "{replies:?}"
        );
    }
}

#[test]
fn unrequested_value_fails_the_request() {
    for reply in [
        "VALUE x 0 1\r\nx\r\nEND\r\n",
        "VALUE a 0 1\r\na\r\nVALUE a 0 1\r\na\r\nEND\r\n",
        "VALUE aa 0 1\r\na\r\nEND\r\n",
    ] {
        let outcome = merged(&["a", "b"], &[0, 1], &[Ok(reply), Ok("END\r\n")]);
        assert_eq!(outcome, Err(UpstreamError::Fragment), "{reply:?}");
    }
}

#[test]
fn noreply_to_all_servers_has_no_reply() {
    let context = MergeContext::AllServers {
        which: AllServers::FlushAll,
        is_muted: true,
    };
    let mut out = WriteBuf::new();
    let replies = vec![Ok(Bytes::new()), Err(UpstreamError::TimedOut)];
    assert_eq!(merge(&context, &[], replies, &mut out), Ok(()));
    assert!(out.is_empty());
}
