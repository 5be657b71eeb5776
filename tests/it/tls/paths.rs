//! Where files of TLS are looked for.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::{Pool, Proxy, RedisServer, show};

use super::certificates::{Ca, Files};
use super::{NAME, connect};

/// A pool with files in a directory beside its configuration file.
fn pool(server: &RedisServer) -> Pool {
    Pool::of([server])
        .listening_for_tls()
        .with("tls_cert", "tls/cert.pem")
        .with("tls_key", "./tls/key.pem")
}

/// Puts the files where that pool has them.
fn install(files: &Files, conf: &Path) {
    let dir = conf.parent().unwrap().join("tls");
    fs::create_dir(&dir).unwrap();
    fs::copy(&files.cert, dir.join("cert.pem")).unwrap();
    fs::copy(&files.key, dir.join("key.pem")).unwrap();
}

#[test]
fn relative_paths_begin_at_the_configuration_file() {
    let (ca, server) = (Ca::new(), RedisServer::start());
    let proxy = Proxy::ringroad(&Pool::of([&server]));
    install(&ca.issue("proxy", &[NAME]), proxy.conf());
    proxy.reload(&pool(&server));
    assert_eq!(show(&connect(&proxy, &ca).ask("PING")), "+PONG\\r\\n");
    // They are followed there, too.
    let next = ca.issue("next", &[NAME]);
    let dir = proxy.conf().parent().unwrap().join("tls");
    let installed = Files {
        cert: dir.join("cert.pem"),
        key: dir.join("key.pem"),
    };
    installed.become_those_of(&next);
    proxy.process().await_output("tls_cert: ");
    assert_eq!(show(&connect(&proxy, &ca).ask("PING")), "+PONG\\r\\n");
}

#[test]
fn relative_paths_do_not_depend_on_the_working_directory() {
    let (ca, server) = (Ca::new(), RedisServer::start());
    let yaml = pool(&server).yaml("127.0.0.1:16121".parse().unwrap());
    let conf = ca.write("pool.yml", &yaml);
    let check = |directory: &Path, conf: &Path| -> Output {
        Command::new(env!("CARGO_BIN_EXE_ringroad"))
            .current_dir(directory)
            .arg("-t")
            .arg("-c")
            .arg(conf)
            .output()
            .unwrap()
    };
    let output = check(Path::new("/"), &conf);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let missing = conf.parent().unwrap().join("tls/cert.pem");
    let text = format!("'{}' cannot be read", missing.display());
    let shown = String::from_utf8(output.stderr).unwrap();
    assert!(shown.contains(&text), "{shown}");
    install(&ca.issue("proxy", &[NAME]), &conf);
    for (directory, conf) in [
        (Path::new("/"), &*conf),
        (conf.parent().unwrap(), Path::new("pool.yml")),
    ] {
        let output = check(directory, conf);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
}
