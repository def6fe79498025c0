//! `make teeth`: breaks the code in every way of the list, and tells which test notices.
#![forbid(unsafe_code, unstable_features)]

use std::process::ExitCode;
use std::time::Instant;

use tests::teeth::list::{self, Mutation};
use tests::teeth::run::{self, Verdict};
use tests::teeth::table;

/// What the command line asks for.
struct Wish {
    only: Option<String>,
    table: bool,
}

fn main() -> ExitCode {
    match wish().and_then(|wish| teeth(&wish)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("teeth: {error}");
            ExitCode::FAILURE
        }
    }
}

fn wish() -> Result<Wish, String> {
    let mut wish = Wish { only: None, table: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--only" => wish.only = Some(arguments.next().ok_or("--only needs the name of a mutation")?),
            "--table" => wish.table = true,
            _ => return Err(format!("{argument}: `--only NAME,..` and `--table` are known")),
        }
    }
    if wish.table && wish.only.is_some() {
        return Err("the table is written from a run of all mutations, not of one".to_owned());
    }
    Ok(wish)
}

fn teeth(wish: &Wish) -> Result<ExitCode, String> {
    let (root, begun) = (qemu::root(), Instant::now());
    let mut list = list::read(root)?;
    if let Some(only) = &wish.only {
        list.retain(|mutation| only.split(',').any(|name| name == mutation.name));
    }
    if list.is_empty() {
        return Err(format!("no mutation is named {}", wish.only.as_deref().unwrap_or("anything")));
    }
    let verdicts = run::run(root, &list, tell)?;
    let caught: Vec<(&Mutation, &str)> = list.iter().zip(&verdicts).filter_map(caught_by).collect();
    if wish.table && caught.len() == list.len() {
        table::write(root, caught.iter().copied())?;
    }
    println!("took {} s", begun.elapsed().as_secs());
    println!("teeth: {} mutations, {} caught", list.len(), caught.len());
    Ok(if caught.len() == list.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn caught_by<'a>((mutation, verdict): (&'a Mutation, &'a Verdict)) -> Option<(&'a Mutation, &'a str)> {
    match verdict {
        Verdict::CaughtBy(test) => Some((mutation, test)),
        Verdict::NotCaught(_) | Verdict::Error(_) => None,
    }
}

fn tell(mutation: &Mutation, verdict: &Verdict) {
    match verdict {
        Verdict::CaughtBy(test) => println!("{} ... caught by {test}", mutation.name),
        Verdict::NotCaught(why) => println!("{} ... NOT CAUGHT: {why}", mutation.name),
        Verdict::Error(error) => println!("{} ... ERROR: {error}", mutation.name),
    }
}
