//! The page: what was measured and on what, then a card for each plot.

use crate::error::Error;
use crate::plots::{Drawn, PLOTS, Plot, Table};
use crate::store::{Origin, Place, Store};
use crate::words::count;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use qemu::bench::commits;
use qemu::bench::experiment::{self, Experiment};
use qemu::bench::peers::Peers;
use qemu::{Options, root};
use std::path::PathBuf;

const STYLE: &str = include_str!("page.css");
/// What measures an experiment.
const MEASURE: &str = "make bench EXPERIMENT=";
/// What measures Linux, and holds both side by side.
const COMPARE: &str = "make compare-linux";

/// Where the page stands.
#[must_use]
pub fn file() -> PathBuf {
    root().join("target/report/index.html")
}

/// Writes the page.
///
/// # Errors
/// [`Error::Tree`]: a file of figures is no list of them, or the page cannot be written. A page that is there stays.
pub fn write(store: &Store) -> Result<PathBuf, Error> {
    let (page, file) = (page(store)?, file());
    let folder = root().join("target/report");
    std::fs::create_dir_all(&folder).map_err(qemu::Error::file(&folder))?;
    std::fs::write(&file, page).map_err(qemu::Error::file(&file))?;
    Ok(file)
}

/// The text of the page.
///
/// # Errors
/// As for [`write()`], and what plotters says.
pub fn page(store: &Store) -> Result<String, Error> {
    let drawn = PLOTS.iter().map(|plot| Ok((*plot, (plot.draw)(store)?)));
    let drawn: Vec<(&Plot, Option<Drawn>)> = drawn.collect::<Result<_, Error>>()?;
    let (facts, experiments) = (facts(&drawn)?, experiment::all()?);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Quire: what it measures" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "Quire" }
                    p.lead {
                        "What memory management costs on a bare-metal aarch64 kernel that runs designs side by side, \
                         and on Linux beside it. Counted in guest instructions: the same figures at each run, on any \
                         host."
                    }
                    dl.facts {
                        @for (name, fact) in &facts { div { dt { (name) } dd { (fact) } } }
                    }
                    nav aria-label="Plots" {
                        @for (plot, _) in &drawn { a href={ "#" (plot.id) } { (plot.short) } }
                    }
                }
                main { @for (plot, drawn) in &drawn { (card(plot, drawn.as_ref(), experiments.iter().find(|one| one.name == plot.experiment))) } }
                footer {
                    p {
                        "One guest instruction is one nanosecond of the machine that measures. "
                        code { "make bench" } " measures anew, " code { "make report" } " writes this page."
                    }
                }
            }
        }
    };
    Ok(page.into_string())
}

fn card(plot: &Plot, drawn: Option<&Drawn>, experiment: Option<&Experiment>) -> Markup {
    let compared = drawn.is_some_and(|drawn| matches!(drawn.origin.place, Place::Compared(_)));
    let bench = format!("{MEASURE}{}", plot.experiment);
    let measure = if compared { COMPARE } else { bench.as_str() };
    html! {
        section.card id=(plot.id) {
            h2 { (plot.title) }
            @match drawn {
                Some(drawn) => {
                    p.finding { (drawn.finding) }
                    @if !drawn.legend.is_empty() {
                        ul.legend {
                            @for (swatch, name) in &drawn.legend { li { (PreEscaped(swatch)) (name) } }
                        }
                    }
                    div.plot { @for picture in &drawn.pictures { (PreEscaped(picture)) } }
                    p.about { (plot.about) }
                    p.how {
                        (origin(&drawn.origin)) " Again: " code { (measure) }
                        @if let Some(experiment) = experiment {
                            @if experiment.is_whole_on_the_console() { ", on the console: " }
                            @else { ", a part of it on the console: " }
                            code { "experiment " (plot.experiment) }
                        }
                        "."
                    }
                    @if let Some(experiment) = experiment { (what_is_done(experiment)) }
                    details {
                        summary { "The figures" }
                        (table(&drawn.table))
                    }
                }
                None => div.missing {
                    p { "There are no figures for this plot yet. To have them, run" }
                    p { code { (measure) } }
                    p { "and then " code { "make report" } "." }
                    p.about { (plot.about) }
                },
            }
        }
    }
}

/// What the experiment's own file says of it.
fn what_is_done(experiment: &Experiment) -> Markup {
    html! {
        details {
            summary { "What is done" }
            dl.done {
                dt { "Workload" } dd { (experiment.workload) }
                dt { "Beside each other" } dd { (experiment.compares) }
                dt { "Booted with" } dd { (booted_with(experiment)) }
                dt { "Comes from" } dd { (experiment.seed) }
            }
        }
    }
}

/// The choices of its boots.
fn booted_with(experiment: &Experiment) -> String {
    let boots: Vec<_> = experiment.each().into_iter().filter(|choices| !choices.is_empty()).collect();
    if boots.is_empty() { "the defaults".to_owned() } else { boots.join("; ") }
}

fn table(table: &Table) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Figures" {
            table {
                thead { tr { @for head in &table.heads { th scope="col" { (head) } } } }
                tbody {
                    @for line in &table.lines {
                        tr {
                            @for (n, cell) in line.iter().enumerate() {
                                @if n == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn origin(origin: &Origin) -> Markup {
    html! {
        @match &origin.place {
            Place::Measured(day) | Place::Compared(day) => { span.badge.here { "Measured in this checkout" } " on " (day) },
            Place::Stored => { span.badge { "Stored figures" } },
        }
        @if !origin.commits.is_empty() { ", of commit " (listed(&origin.commits)) } "."
    }
}

/// Commits in a row.
fn listed(commits: &[String]) -> String {
    commits.join("; ")
}

/// What was measured: of the tree, of the machine, of Linux.
fn facts(drawn: &[(&Plot, Option<Drawn>)]) -> Result<Vec<(&'static str, String)>, Error> {
    let (machine, peers) = (Options::for_bench()?, Peers::load()?);
    let mut facts = Vec::new();
    let of = |all: Vec<String>, (_, drawn): &(&Plot, Option<Drawn>)| {
        drawn.as_ref().map_or_else(|| all.clone(), |drawn| commits::union(&all, &drawn.origin.commits))
    };
    let commits = drawn.iter().fold(Vec::new(), of);
    if !commits.is_empty() {
        facts.push(("Kernel", format!("commit {}", listed(&commits))));
    }
    let cpus = count(machine.smp as usize, "CPU");
    facts.push((
        "Machine",
        format!("{cpus} {}, {} of RAM, under QEMU; what has other boots says so", machine.cpu, machine.mem),
    ));
    facts.push((
        "Stored Linux",
        format!("6.1 and 7.2, measured under QEMU {} on the same machine", peers.qemu()),
    ));
    let here = drawn.iter().flat_map(|(_, drawn)| drawn);
    let measured = here.clone().filter(|drawn| !matches!(drawn.origin.place, Place::Stored)).count();
    let stored = here.count() - measured;
    let missing = drawn.len() - measured - stored;
    let parts =
        [(measured, "measured in this checkout"), (stored, "of stored figures"), (missing, "to be measured")];
    let parts: Vec<_> =
        parts.iter().filter(|part| part.0 > 0).map(|(number, what)| format!("{number} {what}")).collect();
    facts.push(("Plots", parts.join(", ")));
    Ok(facts)
}
