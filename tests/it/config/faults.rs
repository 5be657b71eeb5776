//! Invalid files, and the exact errors of each.

use ringroad::config::Config;

use super::pool_with;

fn errors(text: &str) -> Vec<String> {
    match Config::parse(text, "F") {
        Ok(config) => panic!("accepted: {config:?}\n{text}"),
        Err(errors) => errors.to_string().lines().map(str::to_owned).collect(),
    }
}

#[test]
fn invalid_value_error_names_the_valid_ones() {
    let number = "is not a number; write decimal digits only";
    let range = "is out of range; it must be from";
    let cases = [
        ("hash: mur", "key 'hash': 'mur' is not a valid hash; choose one of one_at_a_time, md5, crc16, crc32, crc32a, fnv1_64, fnv1a_64, fnv1_32, fnv1a_32, hsieh, murmur, jenkins".to_owned()),
        ("hash: MD5", "key 'hash': 'MD5' is not a valid hash; did you mean 'md5'?".to_owned()),
        ("hash: [md5]", "key 'hash': must be one value, not a list".to_owned()),
        ("hash_tag: '{'", "key 'hash_tag': '{' is not two bytes; write them in quotes, as in \"{}\"".to_owned()),
        ("hash_tag: {}", "key 'hash_tag': bare braces are a YAML mapping; write \"{}\" in quotes".to_owned()),
        ("distribution: modulo", "key 'distribution': 'modulo' is not a valid distribution; did you mean 'modula'?".to_owned()),
        ("timeout: 4OO", format!("key 'timeout': '4OO' {number}")),
        ("timeout: -1", format!("key 'timeout': '-1' {number}")),
        ("timeout: 1_000", format!("key 'timeout': '1_000' {number}")),
        ("timeout: 2147483648", format!("key 'timeout': 2147483648 {range} 0 to 2147483647")),
        ("timeout: 99999999999", format!("key 'timeout': 99999999999 {range} 0 to 2147483647")),
        ("timeout:", "key 'timeout': has no value".to_owned()),
        ("timeout: ''", "key 'timeout': has no value".to_owned()),
        ("backlog: 0x10", format!("key 'backlog': '0x10' {number}")),
        ("client_connections: many", format!("key 'client_connections': 'many' {number}")),
        ("tcpkeepalive: yes", "key 'tcpkeepalive': 'yes' is not 'true' or 'false'; did you mean 'true'?".to_owned()),
        ("reuseport: 0", "key 'reuseport': '0' is not 'true' or 'false'; did you mean 'false'?".to_owned()),
        ("preconnect: maybe", "key 'preconnect': 'maybe' is not 'true' or 'false'".to_owned()),
        ("auto_eject_hosts: True", "key 'auto_eject_hosts': 'True' is not 'true' or 'false'; did you mean 'true'?".to_owned()),
        ("redis_db: one", format!("key 'redis_db': 'one' {number}")),
        ("disabled_commands: KEYS", "key 'disabled_commands': must be a list of commands".to_owned()),
        ("disabled_commands: {KEYS: 1}", "key 'disabled_commands': must be a list of commands, not a mapping".to_owned()),
        ("disabled_commands: [[KEYS]]", "key 'disabled_commands': an entry must be a command, not a list".to_owned()),
        ("server_connections: 0", format!("key 'server_connections': 0 {range} 1 to 65535")),
        ("server_retry_timeout: 1s", format!("key 'server_retry_timeout': '1s' {number}")),
        ("server_failure_limit: 1.5", format!("key 'server_failure_limit': '1.5' {number}")),
        ("hashtag: ab", "key 'hashtag': unknown directive; did you mean 'hash_tag'?".to_owned()),
        ("clusters: [a]", "key 'clusters': unknown directive".to_owned()),
        ("redis_auth: \"\\n\\e[0m\"\nredis_auth: x", "key 'redis_auth': is a duplicate; the first is on line 6".to_owned()),
        ("hash: \"a\\nb\"", "key 'hash': 'a\\nb' is not a valid hash; choose one of one_at_a_time, md5, crc16, crc32, crc32a, fnv1_64, fnv1a_64, fnv1_32, fnv1a_32, hsieh, murmur, jenkins".to_owned()),
        ("? [a]\n: b", "a directive's name must be a text, not a list".to_owned()),
    ];
    for (lines, message) in cases {
        let found = errors(&pool_with(lines));
        let line = 5 + lines.lines().count();
        let line = if lines.starts_with('?') {
            line - 1
        } else {
            line
        };
        assert_eq!(found, [format!("F:{line}: pool 'a': {message}")], "{lines}");
    }
}

#[test]
fn invalid_server_error_names_the_valid_form() {
    let format = "is not of the form 'host:port:weight [name]' or '/path:weight [name]'";
    let example = "the form is 'host:port:weight [name]' or '/path:weight [name]'";
    let port = "has an invalid port; a port is a number from 1 to 65535";
    let cases = [
        ("s", format!("'s' {format}")),
        ("s:1", format!("'s:1' {format}")),
        ("'s:1:1 '", format!("'s:1:1 ' {format}")),
        (
            "s:1:0",
            format!(
                "'s:1:0' has an invalid weight: 0 is out of range; it must be from 1 to 2147483647; {example}"
            ),
        ),
        (
            "s:1:x",
            format!(
                "'s:1:x' has an invalid weight: 'x' is not a number; write decimal digits only; {example}"
            ),
        ),
        (
            "s:1:1 my name",
            format!(
                "'s:1:1 my name' has an invalid weight: '1 my' is not a number; write decimal digits only; {example}"
            ),
        ),
        ("s:0:1", format!("'s:0:1' {port}; {example}")),
        ("s:70000:1", format!("'s:70000:1' {port}; {example}")),
        (
            "/a:b:1",
            "'/a:b:1' has a ':' in its socket path, which cannot be told from the weight"
                .to_owned(),
        ),
        (
            "[s:1:1]",
            "an entry must be a server, not a list".to_owned(),
        ),
        ("", "an entry must be a server, not nothing".to_owned()),
    ];
    for (entry, message) in cases {
        let text =
            format!("a:\n  listen: h:1\n  redis: true\n  servers:\n    - {entry}\n    - t:1:1\n");
        let line = if entry.is_empty() {
            error_line(&text)
        } else {
            5
        };
        assert_eq!(
            errors(&text),
            [format!("F:{line}: pool 'a': key 'servers': {message}")],
            "{entry}"
        );
    }
}

/// The line of the only error.
fn error_line(text: &str) -> usize {
    Config::parse(text, "F")
        .unwrap_err()
        .iter()
        .next()
        .unwrap()
        .at
        .unwrap()
        .line
}

#[test]
fn all_config_errors_are_reported_at_once() {
    let cases: [(&str, &[&str]); 17] = [
        ("", &["F:1: has no pools"]),
        ("# nothing\n", &["F:1: has no pools"]),
        ("{}", &["F:1: has no pools"]),
        ("alpha", &["F:1: must be a mapping of pools, not a text"]),
        ("- a\n", &["F:1: must be a mapping of pools, not a list"]),
        (
            "a:\n",
            &["F:1: pool 'a': must be a mapping of directives, not nothing"],
        ),
        (
            "a: b\n",
            &["F:1: pool 'a': must be a mapping of directives, not a text"],
        ),
        (
            "a: {}\n",
            &[
                "F:1: pool 'a': key 'listen': is missing",
                "F:1: pool 'a': key 'servers': is missing",
            ],
        ),
        (
            "a:\n  listen: h:1\n  redis: false\n  redis_auth: x\n  servers: []\n",
            &[
                "F:4: pool 'a': key 'redis_auth': is only valid with 'redis: true'",
                "F:5: pool 'a': key 'servers': has no servers",
            ],
        ),
        (
            "a:\n  listen: h:1\n  redis: yes\n  servers: s:1:1\n",
            &[
                "F:3: pool 'a': key 'redis': 'yes' is not 'true' or 'false'; did you mean 'true'?",
                "F:4: pool 'a': key 'servers': must be a list of servers, one '- ' line each",
            ],
        ),
        (
            "a:\n  listen: h\n  redis: true\n  servers:\n    - s:1:1 x\n    - t:1:1 x\n    - s:2:1\n    - s:2:3\n",
            &[
                "F:2: pool 'a': key 'listen': 'h' has no port; write host:port or an absolute /path",
                "F:6: pool 'a': key 'servers': has servers with the same name 'x'; the first is on line 5",
                "F:8: pool 'a': key 'servers': has servers with the same name 's:2'; the first is on line 7",
            ],
        ),
        (
            "a:\n  listen: h:1\n  redis: true\n  servers:\n    - s:1:2147483647\n    - t:1:1\n",
            &[
                "F:5: pool 'a': key 'servers': the weights add up to 2147483648, more than 2147483647",
            ],
        ),
        (
            "a: {listen: 'h:1', redis: true, servers: ['s:1:1']}\n\
             b: {listen: 'h:1', redis: true, servers: ['s:1:1'], hassh: md5}\n\
             a: {listen: 'h:2', redis: true, servers: ['s:1:1']}\n",
            &[
                "F:2: pool 'b': key 'listen': 'h:1' is also the address of pool 'a'",
                "F:2: pool 'b': key 'hassh': unknown directive; did you mean 'hash'?",
                "F:3: pool 'a': has the same name as the pool on line 1",
            ],
        ),
        (
            "a:\n  listen: &l h:1\n  redis: !!bool true\n  servers:\n    - s:1:1\n  redis_auth: *l\n  hash: *m\n",
            &[
                "F:2: anchors (&) are not supported; write the value where it is used",
                "F:3: tags (!) are not supported; values are read as text",
                "F:6: aliases (*) are not supported; write the value out",
                "F:7: aliases (*) are not supported; write the value out",
            ],
        ),
        (
            "a: {listen: 'h:1', redis: true, servers: ['s:1:1']}\n---\nb: c\n",
            &["F:3: a second YAML document; put all pools into one"],
        ),
        (
            "'': {}\n",
            &["F:1: a pool's name must be a text, not nothing"],
        ),
        (
            "a:\n  listen:\n    b:\n      c: d\n  redis: true\n  servers: ['s:1:1']\n",
            &["F:3: pool 'a': key 'listen': must be one value, not a mapping"],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(errors(text), expected, "{text}");
    }
}

#[test]
fn yaml_error_is_reported_at_its_position() {
    let cases: [(&str, &[&str]); 5] = [
        (
            "a:\n\tlisten: h:1\n",
            &["F:2: invalid YAML: tabs disallowed within this context (block indentation)"],
        ),
        (
            "a:\n  listen: host: 1\n",
            &[
                "F:2: invalid YAML: mapping values are not allowed in this context; check the indentation and the line before, and quote a value that contains ': '",
            ],
        ),
        (
            "a:\n  hash_tag: \"{}\n  listen: h:1\n",
            &[
                "F:3: invalid YAML: invalid indentation in multiline quoted scalar; is a quote left open on an earlier line?",
            ],
        ),
        (
            "a:\n  servers: [s:1:1\n  redis: true\n",
            &[
                "F:3: invalid YAML: illegal placement of ':' indicator; is a '[' or '{' left open on an earlier line?",
            ],
        ),
        (
            "a:\n  listen: h:1\n  redis true\n  servers:\n    - s:1:1\n",
            &["F:3: invalid YAML: simple key expected ':'; write 'directive: value'"],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(errors(text), expected, "{text}");
    }
}

#[test]
fn config_error_exposes_its_parts() {
    let errors = Config::parse(&pool_with("hassh: md5"), "F").unwrap_err();
    let problem = errors.iter().next().unwrap();
    let at = problem.at.unwrap();
    assert_eq!((at.line, at.column), (6, 3));
    assert_eq!(
        (problem.pool.as_deref(), problem.key.as_deref()),
        (Some("a"), Some("hassh"))
    );
}

#[test]
fn nesting_is_bounded() {
    for deep in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
    ] {
        let found = errors(&deep);
        assert!(
            found.len() == 1 && found[0].starts_with("F:1: invalid YAML: "),
            "{found:?}"
        );
    }
}

#[test]
fn disabled_commands_must_exist() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let commands =
        "[FLUSHALL, config|set, CLIENT kill, FLUSHAL, 'config sett', frobnicate, get set]";
    let text = pool_with(&format!("disabled_commands: {commands}"));
    std::fs::write(file.path(), text).unwrap();
    let errors = Config::load(file.path(), ringroad::control::CHECKS).unwrap_err();
    let texts: Vec<&str> = errors.iter().map(|problem| &*problem.text).collect();
    assert_eq!(
        texts,
        [
            "'FLUSHAL' is not a command; did you mean 'FLUSHALL'?",
            "'config sett' is not a command; did you mean 'CONFIG SET'?",
            "'frobnicate' is not a command",
            "'get set' is not a command; did you mean 'GETSET'?",
        ]
    );
}

#[test]
fn non_utf8_file_is_refused_at_its_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"a:\n  hash: \xff\n").unwrap();
    let errors = Config::load(file.path(), ringroad::control::CHECKS).unwrap_err();
    assert_eq!(
        errors.to_string(),
        format!("{}:2: is not UTF-8 text", file.path().display())
    );
}
