//! Conversations with the binary: flags, what they print, how they exit.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::{Process, fresh_ip, show};

const SOUND: &str =
    "a:\n  listen: 127.0.0.1:22121\n  redis: true\n  servers:\n    - 127.0.0.1:6379:1\n";
const BROKEN: &str = "a:\n  listen: 127.0.0.1:22121\n  redis: true\n  hassh: md5\n  servers:\n    - 127.0.0.1:6379:1\n";

fn ringroad(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringroad"))
        .current_dir(dir)
        .args(args)
        .output()
        .unwrap()
}

/// A directory with `sound.yml` and `broken.yml`.
fn files() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("sound.yml"), SOUND).unwrap();
    std::fs::write(dir.path().join("broken.yml"), BROKEN).unwrap();
    dir
}

fn version() -> String {
    format!("This is ringroad-{}\n", env!("CARGO_PKG_VERSION"))
}

#[test]
fn help_and_version_go_to_stderr_and_exit_0() {
    let dir = files();
    let cases: [(&[&str], &str, &str); 11] = [
        (&["-V"], &version(), "\n\n"),
        (&["--version"], &version(), "\n\n"),
        (&["--vers"], &version(), "\n\n"),
        (&["-h"], &version(), "print completions for a shell\n"),
        (&["--help"], &version(), "print completions for a shell\n"),
        (&["-Vh"], &version(), "print completions for a shell\n"),
        (&["-D"], &version(), "\n"),
        (
            &["-t", "-c", "sound.yml"],
            "ringroad: configuration file 'sound.yml' syntax is ok\n",
            "",
        ),
        (
            &["-tcsound.yml"],
            "ringroad: configuration file 'sound.yml' syntax is ok\n",
            "",
        ),
        (&["-t", "-V", "-c", "broken.yml"], &version(), ""),
        (&["-t", "-D", "-c", "broken.yml"], &version(), ""),
    ];
    for (args, start, end) in cases {
        let output = ringroad(dir.path(), args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{args:?}");
        assert!(
            stderr.starts_with(start) && stderr.ends_with(end),
            "{args:?}: {stderr}"
        );
    }
}

#[test]
fn option_error_names_the_option_and_exits_1() {
    let dir = files();
    let cases: [(&[&str], &str); 39] = [
        (&["-z"], "invalid option -- 'z'"),
        (&["-?"], "invalid option -- '?'"),
        (&["-tz"], "invalid option -- 'z'"),
        (&["--foo"], "unrecognized option '--foo'"),
        (&["--foo=1"], "unrecognized option '--foo'"),
        (&["foo"], "unexpected argument 'foo'"),
        (&["-t", "foo"], "unexpected argument 'foo'"),
        (&["-c"], "option -c requires a file name"),
        (&["-o"], "option -o requires a file name"),
        (&["--pid-file"], "option -p requires a file name"),
        (&["-v"], "option -v requires a number"),
        (&["-s"], "option -s requires a number"),
        (&["-i"], "option -i requires a number"),
        (&["-m"], "option -m requires a number"),
        (&["--workers"], "option --workers requires a number"),
        (&["-a"], "option -a requires a string"),
        (&["-a", ""], "option -a requires a host name or an address"),
        (&["-v", "x"], "option -v requires a number"),
        (&["-v", "-1"], "option -v requires a number"),
        (&["-s", "+1"], "option -s requires a number"),
        (&["-i", "1 "], "option -i requires a number"),
        (&["-s", "0"], "option -s value 0 is not a valid port"),
        (
            &["-s", "99999"],
            "option -s value 99999 is not a valid port",
        ),
        (
            &["-i", "2147483648"],
            "option -i value 2147483648 is above 2147483647 msec",
        ),
        (&["-m", "x"], "option -m requires a non-zero number"),
        (&["-m", "0"], "option -m requires a non-zero number"),
        (
            &["-m", "511"],
            "option -m: mbuf chunk size must be between 512 and 16777216 bytes",
        ),
        (
            &["-m", "16777217"],
            "option -m: mbuf chunk size must be between 512 and 16777216 bytes",
        ),
        (
            &["--workers=0"],
            "option --workers must be between 1 and 1024",
        ),
        (
            &["--workers=99999999999999999999999"],
            "option --workers must be between 1 and 1024",
        ),
        (&["-h", "-z"], "invalid option -- 'z'"),
        (&["-V=3"], "invalid option -- '='"),
        (&["--admin"], "option --admin requires a file name"),
        (&["--log-format"], "option --log-format requires a string"),
        (
            &["--log-format", "xml"],
            "option --log-format must be text or json",
        ),
        (&["man", "ringroad"], "unexpected argument 'ringroad'"),
        (
            &["completions"],
            "completions requires a shell: bash, zsh or fish",
        ),
        (
            &["completions", "csh"],
            "completions requires a shell: bash, zsh or fish",
        ),
        (&["--version=3"], "option -V takes no value"),
    ];
    for (args, message) in cases {
        let output = ringroad(dir.path(), args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        let expected = format!("ringroad: {message}\nUsage: ringroad [-hVdDt] ");
        assert!(stderr.starts_with(&expected), "{args:?}: {stderr}");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn config_check_prints_every_error_and_the_result() {
    let dir = files();
    let cases = [
        (
            "broken.yml",
            "broken.yml:4: pool 'a': key 'hassh': unknown directive; did you mean 'hash'?\n\
             ringroad: configuration file 'broken.yml' syntax is invalid\n",
        ),
        (
            "none.yml",
            "none.yml: cannot be read: No such file or directory (os error 2)\n\
             ringroad: configuration file 'none.yml' syntax is invalid\n",
        ),
    ];
    for (file, expected) in cases {
        let output = ringroad(dir.path(), &["-t", "-c", file]);
        assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
        assert_eq!(output.status.code(), Some(1));
    }
    let output = ringroad(dir.path(), &["-t"]);
    let expected = "ringroad: configuration file 'conf/nutcracker.yml' syntax is invalid\n";
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .ends_with(expected)
    );
}

#[test]
fn config_check_resolves_listen_hosts_but_not_servers() {
    let dir = files();
    let text = SOUND.replace("127.0.0.1:6379", "no-such-host.invalid:6379");
    std::fs::write(dir.path().join("server.yml"), &text).unwrap();
    assert_eq!(
        ringroad(dir.path(), &["-t", "-c", "server.yml"])
            .status
            .code(),
        Some(0)
    );
    let text = SOUND.replace("127.0.0.1:22121", "no-such-host.invalid:22121");
    std::fs::write(dir.path().join("listen.yml"), &text).unwrap();
    let output = ringroad(dir.path(), &["-t", "-c", "listen.yml"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let start =
        "listen.yml:2: pool 'a': key 'listen': 'no-such-host.invalid:22121' cannot be resolved: ";
    assert!(stderr.starts_with(start), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn pools_on_the_same_address_are_refused() {
    let dir = files();
    let here = dir.path().display().to_string();
    std::os::unix::fs::symlink(".", dir.path().join("link")).unwrap();
    let unix = |path: &str| format!("{here}/{path}");
    let cases = [
        ("127.0.0.1:22121".to_owned(), "127.1:22121".to_owned()),
        ("127.0.0.1:22121".to_owned(), "127.0.0.1:022121".to_owned()),
        ("127.0.0.1:22121".to_owned(), "0.0.0.0:22121".to_owned()),
        ("0.0.0.0:22121".to_owned(), "127.0.0.2:22121".to_owned()),
        ("[::]:22121".to_owned(), "127.0.0.1:22121".to_owned()),
        (unix("a.sock"), unix("a.sock 0660")),
        (unix("a.sock"), unix("link/./a.sock")),
    ];
    let file = |first: &str, second: &str, more: &str| {
        let pool = |name: &str, listen: &str| {
            SOUND.replace(
                "a:\n  listen: 127.0.0.1:22121",
                &format!("{name}:\n  listen: '{listen}'{more}"),
            )
        };
        let text = pool("a", first) + &pool("b", second);
        std::fs::write(dir.path().join("two.yml"), text).unwrap();
    };
    for (first, second) in &cases {
        file(first, second, "");
        let expected = format!(
            "two.yml:7: pool 'b': key 'listen': '{second}' overlaps with '{first}', the address of pool 'a' on line 2\n"
        );
        for args in [&["-t", "-c", "two.yml"][..], &["-c", "two.yml"]] {
            let output = ringroad(dir.path(), args);
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(
                stderr.starts_with(&expected),
                "{args:?}: {stderr}\n{expected}"
            );
            assert_eq!(output.status.code(), Some(1), "{args:?}");
        }
    }
    for (first, second, more) in [
        ("127.0.0.1:22121", "127.0.0.1:22122", ""),
        ("127.0.0.1:22121", "127.0.0.2:22121", ""),
        ("127.0.0.1:22121", "0.0.0.0:22121", "\n  reuseport: true"),
    ] {
        file(first, second, more);
        let output = ringroad(dir.path(), &["-t", "-c", "two.yml"]);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{first} {second}: {}",
            show(&output.stderr)
        );
    }
}

#[test]
fn failed_start_prints_the_reason_and_exits_1() {
    let dir = files();
    let hassh = "broken.yml:4: pool 'a': key 'hassh': unknown directive; did you mean 'hash'?\n";
    let log =
        "ringroad: opening log file 'none/log' failed: No such file or directory (os error 2)\n";
    let pid = "writing pid file 'none/pid' failed: No such file or directory (os error 2)\n";
    // The pid file is written once everything listens, so this case needs its own address.
    let ip = fresh_ip(&[22121, 22222]).to_string();
    let lonely = SOUND.replace("listen: 127.0.0.1", &format!("listen: {ip}"));
    std::fs::write(dir.path().join("lonely.yml"), lonely).unwrap();
    let cases: [(&[&str], &str); 6] = [
        (&["-c", "broken.yml"], hassh),
        (&["-d", "-c", "broken.yml"], hassh),
        (&["-c", "sound.yml", "-o", "none/log"], log),
        (&["-d", "-c", "sound.yml", "-o", "none/log"], log),
        (
            &["-c", "lonely.yml", "-a", &ip, "-o", "log", "-p", "none/pid"],
            pid,
        ),
        (
            &["-d", "-c", "lonely.yml", "-a", &ip, "-p", "none/pid"],
            pid,
        ),
    ];
    for (args, end) in cases {
        let output = ringroad(dir.path(), args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.ends_with(end), "{args:?}: {stderr}");
        assert_eq!(output.status.code(), Some(1), "{args:?}");
    }
}

#[test]
fn route_has_its_own_options() {
    let dir = files();
    let cases: [(&[&str], &str); 5] = [
        (&["route"], "route requires at least one key"),
        (
            &["route", "-c", "sound.yml"],
            "route requires at least one key",
        ),
        (&["route", "-c"], "option -c requires a file name"),
        (&["route", "-s", "1", "key"], "invalid option -- 's'"),
        (
            &["-c", "sound.yml", "route", "key"],
            "option --conf-file cannot be used before 'route'",
        ),
    ];
    for (args, message) in cases {
        let output = ringroad(dir.path(), args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            stderr.starts_with(&format!("ringroad: {message}\nUsage:")),
            "{args:?}: {stderr}"
        );
        assert_eq!(output.status.code(), Some(1), "{args:?}");
    }
}

#[test]
fn route_prints_the_server_of_each_key_to_stdout() {
    let dir = files();
    let two = format!(
        "{SOUND}{}",
        SOUND.replace("a:", "b:").replace(":22121", ":22122")
    );
    std::fs::write(dir.path().join("two.yml"), two).unwrap();
    let cases: [(&[&str], usize); 3] = [
        (&["route", "-c", "two.yml", "key"], 2),
        (&["route", "-c", "two.yml", "--pool", "b", "key"], 1),
        (&["route", "-c", "two.yml", "--", "-key", "key"], 4),
    ];
    for (args, servers) in cases {
        let output = ringroad(dir.path(), args);
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(output.stderr.is_empty(), "{args:?}");
        let rows = stdout
            .lines()
            .filter(|line| line.ends_with("127.0.0.1:6379"));
        assert_eq!(rows.count(), servers, "{args:?}: {stdout}");
    }
    let output = ringroad(
        dir.path(),
        &["route", "-c", "two.yml", "--pool", "c", "key"],
    );
    assert_eq!(output.status.code(), Some(1));
    let expected = "ringroad: no pool 'c' in 'two.yml'\n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), expected);
}

#[test]
fn a_worker_that_cannot_start_fails_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let ip = fresh_ip(&[22121, 22222]).to_string();
    let pool = SOUND.replace("127.0.0.1:22121", &format!("{ip}:22121"));
    std::fs::write(dir.path().join("pool.yml"), pool).unwrap();
    // Enough for the listeners and a few workers.
    let mut command = Command::new("sh");
    command
        .current_dir(dir.path())
        .args(["-c", "ulimit -n 40; exec \"$@\"", "sh"])
        .args([env!("CARGO_BIN_EXE_ringroad"), "-c", "pool.yml"])
        .args(["-a", &ip, "--workers", "64"]);
    let process = Process::spawn(command);
    assert_eq!(process.exit().code(), Some(1));
    process.await_output("\nringroad: failed to start worker ");
    process.await_output("Too many open files (os error 24); lower --workers or raise the limits");
}
