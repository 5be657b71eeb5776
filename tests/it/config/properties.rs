//! Properties of the parser for any file.

use proptest::prelude::*;
use ringroad::config::Config;
use ringroad::net::ServerAddr;

use super::pools;

/// Lines that look like a configuration file, so that random ones reach the checks behind the YAML.
fn plausible() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z]{1,3}:\n",
        "  [a-z_]{1,9}: [ -~]{0,12}\n",
        Just("  listen: ".to_owned()),
        Just("  servers:\n".to_owned()),
        "    - [a-z0-9:/ ]{0,12}\n",
        "[\\[\\]{}&*!|>'\"#%@`,?:\\-\t\r\n\u{e9}\u{0}]{1,3}",
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn parser_does_not_panic_on_any_text(text in any::<String>()) {
        let _ = Config::parse(&text, "F");
    }

    #[test]
    fn parser_errors_on_plausible_text_have_a_position(text in plausible()) {
        match Config::parse(&text, "F") {
            Ok(config) => prop_assert!(!config.pools.is_empty()),
            Err(problems) => {
                let lines = text.split(['\r', '\n']).count();
                prop_assert!(problems.iter().count() > 0);
                for problem in problems.iter() {
                    let line = problem.at.unwrap().line;
                    prop_assert!((1..=lines + 1).contains(&line), "{problem:?}");
                }
            }
        }
    }

    #[test]
    fn parser_does_not_panic_on_any_file(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let _ = Config::load(file.path(), ringroad::control::CHECKS);
    }

    #[test]
    fn server_line_round_trips(host in "[a-z0-9.-]{1,12}", port in 1..=65535_u16, weight in 1..=1000_u32) {
        let text = format!("a: {{listen: 'h:1', redis: true, servers: ['{host}:{port}:{weight}']}}");
        let server = pools(&text).remove(0).servers.remove(0);
        prop_assert_eq!(server.weight, weight);
        prop_assert_eq!(server.address, ServerAddr::Tcp { host, port });
    }
}
