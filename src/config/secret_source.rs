//! Where the value of a password directive comes from: the file itself, the environment, or another file.
//!
//! Invariant: no message contains what may be a password, other than the name of a variable or of a file.

use std::env;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use super::client_password::ClientPassword;
use super::secret::Secret;
use crate::file;

/// The maximum size of a file with one secret.
const FILE_MAX_BYTES: usize = 64 << 10;
/// The time limit for the writer of a file that is a pipe.
const READ_WITHIN: Duration = Duration::from_secs(1);

const ESCAPED: &str = "a password that begins like this is written with 'literal:' before it";

/// The secret that a text of the configuration stands for. `directory` is that of the file.
pub(super) fn secret(text: &str, directory: &Path) -> Result<Secret, String> {
    if let Some(password) = text.strip_prefix("literal:") {
        return non_empty(password.as_bytes(), || "'literal:' has no value".to_owned());
    }
    if let Some(path) = text.strip_prefix("file:") {
        return of_file(path, directory);
    }
    if text.starts_with("sha256:") {
        return Err(format!(
            "a hash will not do, since the password itself must be sent; {ESCAPED}"
        ));
    }
    match text.strip_prefix("${") {
        Some(rest) => of_variable(rest),
        None => Ok(Secret::new(text.as_bytes())),
    }
}

/// The same, for what is only compared: it may be a hash.
pub(super) fn client_password(text: &str, directory: &Path) -> Result<ClientPassword, String> {
    match text.strip_prefix("sha256:") {
        Some(digits) => ClientPassword::hashed(digits)
            .ok_or_else(|| format!("'sha256:' needs 64 hexadecimal digits; {ESCAPED}")),
        None => secret(text, directory).map(ClientPassword::Plain),
    }
}

fn of_variable(rest: &str) -> Result<Secret, String> {
    let name = rest.strip_suffix('}').filter(|name| is_name(name));
    let name = name.ok_or_else(|| {
        format!("is not the name of one variable, as in '${{NAME}}', and nothing else; {ESCAPED}")
    })?;
    let value = env::var_os(name)
        .ok_or_else(|| format!("the environment has no variable '{name}'; {ESCAPED}"))?;
    non_empty(value.as_bytes(), || {
        format!("the variable '{name}' of the environment is empty")
    })
}

fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.bytes().all(is_part) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// The whole file, without the end of its one line.
fn of_file(path: &str, directory: &Path) -> Result<Secret, String> {
    let path = directory.join(OsStr::new(path));
    let shown = path.display();
    let content = file::read(&path, FILE_MAX_BYTES, READ_WITHIN)
        .map_err(|error| format!("'{shown}' cannot be read: {error}; {ESCAPED}"))?;
    let line = content.strip_suffix(b"\n").unwrap_or(&content);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if memchr::memchr(b'\n', line).is_some() {
        return Err(format!("'{shown}' has more than one line"));
    }
    non_empty(line, || format!("'{shown}' is empty"))
}

fn non_empty(bytes: &[u8], error: impl FnOnce() -> String) -> Result<Secret, String> {
    if bytes.is_empty() {
        Err(error())
    } else {
        Ok(Secret::new(bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn read(text: &str, directory: &Path) -> Result<Vec<u8>, String> {
        secret(text, directory).map(|secret| secret.expose().to_vec())
    }

    #[test]
    fn secret_is_read_from_its_source() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("password");
        let in_file = |content: &[u8]| {
            fs::write(&path, content).unwrap();
            read("file:password", directory.path())
        };
        assert_eq!(in_file(b"hunter2\n").unwrap(), b"hunter2");
        assert_eq!(in_file(b"hunter2\r\n").unwrap(), b"hunter2");
        assert_eq!(in_file(b" \xff ${X}").unwrap(), b" \xff ${X}");
        let absolute = format!("file:{}", path.display());
        assert_eq!(read(&absolute, Path::new("/")).unwrap(), b" \xff ${X}");
        for content in [&b""[..], b"\n", b"\r\n"] {
            assert!(in_file(content).unwrap_err().ends_with("is empty"));
        }
        let error = in_file(b"one\nhunter2\n").unwrap_err();
        assert!(error.ends_with("has more than one line"), "{error}");
        let error = read("file:missing", directory.path()).unwrap_err();
        assert!(
            error.contains("missing' cannot be read: No such file"),
            "{error}"
        );
        let path = env::var_os("PATH").unwrap();
        assert_eq!(read("${PATH}", Path::new("")).unwrap(), path.as_bytes());
        let error = read("${RINGROAD_NO_SUCH}", Path::new("")).unwrap_err();
        assert!(
            error.starts_with("the environment has no variable 'RINGROAD_NO_SUCH'"),
            "{error}"
        );
    }

    #[test]
    fn every_password_can_be_written() {
        for text in [
            "${PATH}",
            "file:/etc/passwd",
            "sha256:00",
            "literal:x",
            "${",
            "x",
        ] {
            let escaped = format!("literal:{text}");
            assert_eq!(read(&escaped, Path::new("")).unwrap(), text.as_bytes());
        }
        for text in ["hunter2", "$PATH", "x${PATH}", "File:x", "$", " file:x"] {
            assert_eq!(read(text, Path::new("")).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn faulty_source_is_not_shown() {
        for text in [
            "${hunter2",
            "${hun-ter2}",
            "${a}hunter2",
            "${}",
            "${1hunter2}",
            "literal:",
            "sha256:hunter2",
        ] {
            let error = read(text, Path::new("")).unwrap_err();
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
        let error = client_password("sha256:hunter2", Path::new("")).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
