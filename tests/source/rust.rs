//! Rust's text with comments and literals blanked out, line for line: enough to find a keyword.

/// `text` with each character of a comment, a string or a character literal replaced by a space; line ends stay.
pub(crate) fn code_only(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = literal_or_comment(rest, code.chars().next_back());
        let taken = if length == 0 { first.len_utf8() } else { length };
        if length == 0 {
            code.push(first);
        } else {
            code.extend(rest[..taken].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = &rest[taken..];
    }
    code
}

/// The length in bytes of the comment or literal that `rest` begins with; 0 if it begins with neither.
fn literal_or_comment(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if rest.starts_with('"') {
        return until_quote(rest, '"');
    }
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if !in_word && (rest.starts_with("r\"") || rest.starts_with("r#") || rest.starts_with("br")) {
        return raw_string(rest);
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    0
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn until_quote(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> usize {
    let start = if rest.starts_with("br") { 2 } else { 1 };
    let hashes = rest[start..].bytes().take_while(|byte| *byte == b'#').count();
    if !rest[start + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = start + hashes + 1;
    rest[body..].find(&end).map_or(rest.len(), |at| body + at + end.len())
}

/// A character literal, not a lifetime: `'x'` or `'\…'`.
fn character(rest: &str) -> usize {
    let mut characters = rest.chars().skip(1);
    match (characters.next(), characters.next()) {
        (Some('\\'), _) => until_quote(rest, '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

/// Only code remains, on the lines where it was.
#[test]
fn comments_and_literals_are_blanked() {
    let text = "a // unsafe\nb /* unsafe /* x */ unsafe\n */ c \"unsafe \\\" unsafe\" d r#\"unsafe\" \"# e 'u' '\\'' f<'u> unsafe";
    let words: Vec<Vec<String>> =
        code_only(text).lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
    assert_eq!(words, [vec!["a"], vec!["b"], vec!["c", "d", "e", "f<'u>", "unsafe"]]);
}
