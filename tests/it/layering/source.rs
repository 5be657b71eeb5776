//! Cuts Rust source into tokens, and leaves out what only tests see.

/// The code of a file without its tests.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) tokens: Vec<String>,
    /// The modules that stand in other files and are tests.
    pub(super) test_modules: Vec<String>,
}

/// Words, `::` and single characters, without comments, texts and white space.
pub(super) fn tokens(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = text_length(rest) {
            length
        } else if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        let is_code = token == "::" || token.chars().all(is_word) || token.len() == 1;
        if is_code && !token.trim().is_empty() {
            found.push(token.to_owned());
        }
        rest = after;
    }
    found
}

/// The length of the string or character that `rest` begins with.
fn text_length(rest: &str) -> Option<usize> {
    let unprefixed = rest.trim_start_matches(['b', 'c', 'r']);
    let prefix = rest.len() - unprefixed.len();
    if prefix > 2 {
        return None;
    }
    let hashes = unprefixed.len() - unprefixed.trim_start_matches('#').len();
    let is_raw = rest[..prefix].ends_with('r');
    if is_raw && unprefixed[hashes..].starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let text = prefix + hashes + 1;
        return Some(text + rest[text..].find(&end)? + end.len());
    }
    let quote = unprefixed.chars().next()?;
    let mut inside = unprefixed.char_indices().skip(1);
    match quote {
        '"' => {
            while let Some((at, c)) = inside.next() {
                match c {
                    '\\' => drop(inside.next()),
                    '"' => return Some(prefix + at + 1),
                    _ => {}
                }
            }
            None
        }
        // Not a lifetime.
        '\'' => {
            let (_, first) = inside.next()?;
            let (at, second) = inside.next()?;
            if first == '\\' {
                let end = unprefixed[at + second.len_utf8()..].find('\'')?;
                Some(prefix + at + second.len_utf8() + end + 1)
            } else {
                (second == '\'').then_some(prefix + at + 1)
            }
        }
        _ => None,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Leaves out each item under `#[cfg(test)]`.
pub(super) fn without_tests(mut rest: Vec<String>) -> Code {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut code = Code {
        tokens: Vec::new(),
        test_modules: Vec::new(),
    };
    while let Some(start) = rest.windows(MARK.len()).position(|window| window == MARK) {
        code.tokens.extend(rest.drain(..start));
        rest.drain(..MARK.len());
        let end = item_end(&rest);
        let item: Vec<_> = rest.drain(..end).collect();
        if let Some(at) = item.iter().position(|token| token == "mod")
            && item.get(at + 2).is_some_and(|token| token == ";")
        {
            code.test_modules.push(item[at + 1].clone());
        }
    }
    code.tokens.extend(rest);
    code
}

/// The number of tokens of the item that `tokens` begins with: to its semicolon, or its block's closing brace.
fn item_end(tokens: &[String]) -> usize {
    let mut depth = 0;
    let is_use = tokens.iter().take(4).any(|token| token == "use");
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "(" | "[" | "{" => depth += 1,
            "}" if depth == 1 && !is_use => return at + 1,
            ")" | "]" | "}" => depth -= 1,
            ";" | "," if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

#[test]
fn tokens_leave_out_comments_and_texts() {
    let source =
        "use a::b; // use c::d;\n/* e */ f(\"g \\\" h\", b'\\'', 'i', r#\"j \" k\"#, &'l m)";
    let expected = "use a :: b ; f ( , , , , & ' l m )";
    assert_eq!(tokens(source).join(" "), expected);
}

#[test]
fn items_of_tests_are_left_out() {
    let cases = [
        ("a; #[cfg(test)] mod t { b {} c; } d", "a ; d", ""),
        ("a; #[cfg(test)] mod t; d", "a ; d", "t"),
        ("#[cfg(test)] use a::{b, c}; d", "d", ""),
        (
            "#[cfg(test)] #[expect(a, b)] pub fn f(a: [u8; 2]) -> B { c } d",
            "d",
            "",
        ),
        (
            "struct S { #[cfg(test)] a: B, c: D }",
            "struct S { c : D }",
            "",
        ),
    ];
    for (source, expected, modules) in cases {
        let code = without_tests(tokens(source));
        assert_eq!(code.tokens.join(" "), expected, "{source}");
        assert_eq!(code.test_modules.join(" "), modules, "{source}");
    }
}
