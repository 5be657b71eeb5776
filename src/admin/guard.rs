//! Protection of both listeners against other sites that are open in an operator's browser.
//!
//! A browser reaches the stats port of any host, and the admin socket through `ssh -L`. Another site may send requests there
//! (cross-site requests), or may have its own name resolve to that address and read the answers (DNS rebinding). Programs
//! other than browsers send none of the headers that are refused here. The routes of the stats port and the admin socket
//! call this module; `/stats`, `/metrics` and `/healthz` stay open to every name, as monitoring uses them.

use std::net::{IpAddr, Ipv6Addr};

use hyper::Method;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The ends of names that no site of the internet has.
const PRIVATE: [&str; 4] = [".localhost", ".local", ".internal", ".home.arpa"];

/// The names under which a listener may be reached, besides addresses and names without a dot.
#[derive(Debug)]
pub(super) struct Guard {
    names: Vec<String>,
}

/// The reason why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Its `Host` may be a name of another site, which resolves to this address.
    #[error(
        "the host name '{0}' may be that of another site; use an IP address, a name without a dot, or the name that --stats-addr has"
    )]
    Host(String),
    /// A page of another site has made it.
    #[error("the request comes from the site '{0}', not from a page of this listener")]
    Site(String),
    /// A form can have made it.
    #[error("the body of a request from a browser must have the content type application/json")]
    ContentType,
}

impl Guard {
    /// The guard of a listener that is bound to `address`, an IP address or a name.
    pub(super) fn new(address: Option<&str>) -> Self {
        let node = rustix::system::uname();
        let node = node.nodename().to_string_lossy().into_owned();
        let names = [Some(node), address.map(str::to_owned)];
        Self {
            names: names.into_iter().flatten().collect(),
        }
    }

    /// Checks a request that is answered with facts, or changes something.
    pub(super) fn check(&self, head: &Parts) -> Result<(), Untrusted> {
        self.check_host(head)?;
        check_site(head)?;
        if head.method == Method::POST {
            check_content_type(&head.headers)?;
        }
        Ok(())
    }

    /// Checks the name only, which suffices for what is the same for everybody.
    pub(super) fn check_host(&self, head: &Parts) -> Result<(), Untrusted> {
        let of_uri = head.uri.authority().map(Authority::as_str);
        let Some(given) = of_uri.or_else(|| text(&head.headers, &header::HOST)) else {
            // Browsers always send one; those who forget it are scripts with HTTP/1.0.
            return if head.headers.contains_key(header::HOST) {
                Err(Untrusted::Host("?".to_owned()))
            } else {
                Ok(())
            };
        };
        let host = given
            .parse()
            .ok()
            .as_ref()
            .map(|given: &Authority| given.host().to_owned());
        match host {
            Some(host) if self.is_trusted(&host) && !given.contains('@') => Ok(()),
            _ => Err(Untrusted::Host(given.to_owned())),
        }
    }

    fn is_trusted(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok()
            || bare.parse::<Ipv6Addr>().is_ok()
            || !host.contains('.')
            || PRIVATE.iter().any(|end| host.ends_with(end))
            || self
                .names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(&host))
    }
}

/// Refuses what a page of another site has made. Following a link is no such request: its page cannot read the answer.
fn check_site(head: &Parts) -> Result<(), Untrusted> {
    let headers = &head.headers;
    if headers.contains_key(header::ORIGIN) {
        let origin = text(headers, &header::ORIGIN).unwrap_or_default();
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        let host = text(headers, &header::HOST);
        let is_own = authority
            .zip(host)
            .is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host));
        if !is_own {
            return Err(Untrusted::Site(origin.to_owned()));
        }
    }
    let is_link = head.method == Method::GET
        && text(headers, &SEC_FETCH_MODE).is_some_and(|mode| mode == "navigate");
    match text(headers, &SEC_FETCH_SITE) {
        Some(site @ ("cross-site" | "same-site")) if !is_link => {
            Err(Untrusted::Site(site.to_owned()))
        }
        _ => Ok(()),
    }
}

/// Refuses the content types of forms, which a browser sends without asking. curl, which is documented, sends one of them
/// by default: that one is refused only of a browser.
fn check_content_type(headers: &HeaderMap) -> Result<(), Untrusted> {
    let given = text(headers, &header::CONTENT_TYPE).unwrap_or_default();
    let kind = given.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    let is_browser = headers.contains_key(header::ORIGIN) || headers.contains_key(&SEC_FETCH_SITE);
    match kind.as_str() {
        "application/json" => Ok(()),
        "text/plain" | "multipart/form-data" => Err(Untrusted::ContentType),
        _ if is_browser => Err(Untrusted::ContentType),
        _ => Ok(()),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn head(method: &str, headers: &[(&str, &str)]) -> Parts {
        let request = Request::builder().method(method).uri("/status");
        let request = headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        request.body(()).unwrap().into_parts().0
    }

    fn outcome(method: &str, headers: &[(&str, &str)]) -> Result<(), Untrusted> {
        Guard::new(Some("proxy.example.com")).check(&head(method, headers))
    }

    #[test]
    fn host_must_not_be_a_name_of_another_site() {
        let own = rustix::system::uname();
        let own = own.nodename().to_str().unwrap();
        for host in [
            "127.0.0.1:22222",
            "10.1.2.3",
            "[::1]:22222",
            "[fe80::1]",
            "localhost:8080",
            "LOCALHOST",
            "ringroad",
            "proxy",
            "x.localhost:1",
            "ringroad.cache.svc.cluster.local:22222",
            "proxy.example.com:22222",
            "proxy.example.com.",
            own,
        ] {
            assert_eq!(outcome("GET", &[("host", host)]), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:22222",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "proxy.example.com.evil.example",
            "127.0.0.1:22222@evil.example",
            "evil.example@127.0.0.1",
            "local.evil",
            "",
        ] {
            let refused = Untrusted::Host(host.to_owned());
            assert_eq!(outcome("GET", &[("host", host)]), Err(refused), "{host}");
        }
        assert_eq!(outcome("GET", &[]), Ok(()), "HTTP/1.0");
    }

    #[test]
    fn requests_of_other_sites_are_refused() {
        let (host, json) = (
            ("host", "localhost:8080"),
            ("content-type", "application/json"),
        );
        let own = [
            host,
            json,
            ("origin", "http://localhost:8080"),
            ("sec-fetch-site", "same-origin"),
        ];
        assert_eq!(outcome("POST", &own), Ok(()));
        for origin in ["http://localhost:8081", "http://evil.example", "null", ""] {
            for method in ["GET", "POST"] {
                let refused = Untrusted::Site(origin.to_owned());
                let headers = [host, json, ("origin", origin)];
                assert_eq!(outcome(method, &headers), Err(refused), "{method} {origin}");
            }
        }
        for site in ["cross-site", "same-site"] {
            let refused = Err(Untrusted::Site(site.to_owned()));
            let site = ("sec-fetch-site", site);
            let link = ("sec-fetch-mode", "navigate");
            assert_eq!(outcome("GET", &[host, site]), refused);
            assert_eq!(outcome("POST", &[host, json, site, link]), refused);
            assert_eq!(outcome("GET", &[host, site, link]), Ok(()), "a link");
        }
    }

    #[test]
    fn bodies_that_a_form_can_send_are_refused() {
        let host = ("host", "localhost:8080");
        let browser = ("sec-fetch-site", "same-origin");
        let form = ("content-type", "application/x-www-form-urlencoded");
        let text = ("content-type", "text/plain;charset=UTF-8");
        let json = ("content-type", "application/json; charset=utf-8");
        let refused = Err(Untrusted::ContentType);
        assert_eq!(outcome("POST", &[host, form]), Ok(()), "curl -d");
        assert_eq!(outcome("POST", &[host]), Ok(()), "ringroad ctl");
        assert_eq!(outcome("POST", &[host, json, browser]), Ok(()));
        assert_eq!(outcome("POST", &[host, text]), refused);
        assert_eq!(outcome("POST", &[host, form, browser]), refused);
        assert_eq!(outcome("POST", &[host, browser]), refused);
    }
}
