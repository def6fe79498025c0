//! `quire-report`: writes the page of plots, and opens it as a reader does.
#![forbid(unsafe_code, unstable_features)]

use report::browser::{Browser, VIEWS};
use report::error::Error;
use report::page;
use report::store::Store;
use std::process::ExitCode;

const USAGE: &str = "usage: quire-report [--check]

Writes target/report/index.html from the figures of target/bench and, where there are none, of
tests/figures, and prints where it is. --check then opens it in chromium (CHROMIUM= names another
program), on a phone and on a desk, in light and in dark, says what is wrong, and leaves pictures
beside the page. The exit status is 1 if something is wrong.";

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let result = match words[..] {
        [] => write(),
        ["--check"] => write().and_then(|_| check()),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("quire-report: {error}");
        ExitCode::from(2)
    })
}

fn write() -> Result<ExitCode, Error> {
    println!("{}", page::write(&Store::of_the_tree())?.display());
    Ok(ExitCode::SUCCESS)
}

fn check() -> Result<ExitCode, Error> {
    let findings = Browser::start()?.check(&page::file())?;
    for finding in &findings {
        println!("{finding}");
    }
    println!("report-check: {} views, {} findings", VIEWS.len(), findings.len());
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
