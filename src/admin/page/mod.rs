//! The page: files that are part of the program, without a build step and without anything from elsewhere.
//!
//! Both listeners serve the same files; the first one says which operations there are, and how much of the answers is shown.
//! The content security policy allows nothing but these files and the API beside them.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use hyper::Method;
use hyper::http::request::Parts;

use super::api::Access;

/// The first file, with placeholders.
const INDEX: &str = include_str!("files/index.html");
/// The placeholder of the path of the operations.
const API: &str = "{{api}}";
/// The placeholder of what the reader may do and see.
const ACCESS: &str = "{{access}}";

/// The folder of the other files.
const FOLDER: &str = "/page/";

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($name:literal $kind:ident,)*) => {
        /// The other files: name, type, text.
        const FILES: &[(&str, &str, &str)] = &[$(($name, $kind, include_str!(concat!("files/", $name)))),*];
    };
}

files! {
    "style.css" CSS,
    "panels.css" CSS,
    "icon.svg" SVG,
    "main.js" JS,
    "actions.js" JS,
    "api.js" JS,
    "charts.js" JS,
    "dialogs.js" JS,
    "dom.js" JS,
    "format.js" JS,
    "health.js" JS,
    "model.js" JS,
    "moves.js" JS,
    "panels.js" JS,
    "pools.js" JS,
    "resharding.js" JS,
    "ring.js" JS,
    "servers.js" JS,
    "table.js" JS,
    "theme.js" JS,
}

/// The response to a request for the page or one of its files; none if it asks for something else. `api` is the path of the
/// operations, without a slash at its end.
pub(super) fn respond(head: &Parts, api: &str, access: Access) -> Option<Response<Body>> {
    if head.method != Method::GET && head.method != Method::HEAD {
        return None;
    }
    let path = head.uri.path();
    if path == "/" {
        return accepts_html(head).then(|| {
            let index = INDEX.replace(API, api).replace(ACCESS, name(access));
            response("text/html; charset=utf-8", index)
        });
    }
    let name = path.strip_prefix(FOLDER)?;
    let mut files = FILES.iter();
    let (_, kind, text) = files.find(|(known, ..)| *known == name)?;
    Some(response(kind, (*text).to_owned()))
}

/// Returns true for a browser: curl and scripts get the index for programs.
fn accepts_html(head: &Parts) -> bool {
    let accepted = head.headers.get_all(header::ACCEPT).iter();
    let mut accepted = accepted.filter_map(|accepted| accepted.to_str().ok());
    accepted.any(|accepted| accepted.contains("text/html"))
}

fn name(access: Access) -> &'static str {
    match access {
        Access::Full => "full",
        Access::Read { shows_keys: true } => "keys",
        Access::Read { shows_keys: false } => "redacted",
    }
}

fn response(kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::OK;
    let headers: [(HeaderName, &'static str); 7] = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in headers {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/admin/page/files");
        let names = fs::read_dir(folder).unwrap();
        let mut there: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "index.html")
            .collect();
        let mut served: Vec<_> = FILES.iter().map(|(name, ..)| (*name).to_owned()).collect();
        there.sort();
        served.sort();
        assert_eq!(there, served);
    }

    #[test]
    fn files_name_no_other_site() {
        let texts = FILES.iter().map(|(_, _, text)| *text);
        for text in texts.chain([INDEX]) {
            let urls = text.split("://").skip(1);
            let hosts = urls.map(|rest| rest.split(['/', '"', '\'', ' ', '`']).next().unwrap());
            for host in hosts {
                assert_eq!(host, "www.w3.org", "the name space of SVG alone");
            }
            assert!(!text.contains("innerHTML"), "names are text");
        }
    }
}
