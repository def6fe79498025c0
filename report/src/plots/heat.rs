//! Ways of counting × questions: how often an answer is the truth.

use super::{Drawn, Plot, Table, both};
use crate::canvas::{Drawing, Pen, Window};
use crate::error::Error;
use crate::palette::{HEATS, Ink};
use crate::store::{Set, Store, once};
use crate::words::{and, spaced};
use plotters::style::text_anchor::HPos;

pub(super) const PLOT: Plot = Plot {
    id: "questions",
    title: "Who maps a folio, and how often: which way of counting knows?",
    short: "Ways of counting × questions",
    experiment: "mapcount",
    about: "Per cent of answers that are the truth, of the same random states for each way of counting (mapcount=). \
            ↑: the other answers are over it; ↓: under it; ↕: either. What has no arrow is always the truth.",
    draw,
};

/// Questions that have a longer name than their rows.
const CALLED: [(&str, &str); 6] = [
    ("mapped", "mapped at all"),
    ("entries", "leaf entries"),
    ("page_entries", "entries of a page"),
    ("pages_mapped", "pages mapped"),
    ("shared", "shared"),
    ("average", "share of a page (PSS)"),
];

/// How often answers are the truth, over it and under it, of 10,000.
#[derive(Clone, Copy)]
struct Answers {
    exact: i64,
    over: i64,
    under: i64,
}

impl Answers {
    fn of(set: &Set, scheme: &str, question: &str) -> Option<Answers> {
        let value = |what: &str| set.value(&format!("{scheme}.{question}.{what}"));
        Some(Answers { exact: value("exact")?, over: value("over")?, under: value("under")? })
    }

    fn sign(self) -> &'static str {
        match (self.over > 0, self.under > 0) {
            (false, false) => "",
            (true, false) => " ↑",
            (false, true) => " ↓",
            (true, true) => " ↕",
        }
    }

    fn text(self) -> String {
        let exact = if self.exact == 10_000 {
            "100".to_owned()
        } else {
            // What is not always the truth is not rounded up to that.
            format!("{:.1}", (self.exact as f64 / 100.0).min(99.9))
        };
        exact + self.sign()
    }

    /// The field of the map: the last one is for what is always the truth.
    fn heat(self) -> usize {
        let below = HEATS - 1;
        if self.exact == 10_000 {
            below
        } else {
            (self.exact.max(0) as usize * below / 10_000).min(below - 1)
        }
    }
}

fn called(question: &str) -> String {
    let known = CALLED.iter().find(|(name, _)| *name == question);
    known.map_or_else(|| spaced(question), |(_, called)| (*called).to_owned())
}

/// A text in lines, each but the last one word or more of at most so many letters.
fn folded(text: &str, letters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.len() + word.len() < letters => *line = format!("{line} {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

struct Map<'a> {
    set: &'a Set,
    schemes: Vec<&'a str>,
    questions: Vec<&'a str>,
}

const ROW: i32 = 36;

impl Map<'_> {
    fn head(window: Window) -> i32 {
        window.pick(30, 58)
    }

    /// In a narrow window the name of a scheme stands above its fields.
    fn row(window: Window) -> i32 {
        window.pick(ROW, ROW + 20)
    }

    fn height(&self, window: Window) -> i32 {
        Map::head(window) + self.schemes.len() as i32 * Map::row(window) + 2
    }

    fn draw(&self, pen: &Pen) -> Drawing {
        let window = pen.window;
        let left = window.pick(160, 0);
        let width = (window.width() - left) / self.questions.len() as i32;
        for (n, question) in self.questions.iter().enumerate() {
            let lines = folded(&called(question), window.pick(40, 8));
            let x = left + n as i32 * width + width / 2;
            let first = Map::head(window) - 10 - 13 * (lines.len() as i32 - 1);
            for (n, line) in lines.iter().enumerate() {
                pen.text((x, first + 13 * n as i32), HPos::Center, Ink::Muted, line)?;
            }
        }
        for (row, scheme) in self.schemes.iter().enumerate() {
            let top = Map::head(window) + row as i32 * Map::row(window);
            match window {
                Window::Wide => pen.text((left - 12, top + ROW / 2), HPos::Right, Ink::Text, scheme)?,
                Window::Narrow => pen.text((2, top + 11), HPos::Left, Ink::Text, scheme)?,
            }
            let top = top + window.pick(0, 20);
            for (column, question) in self.questions.iter().enumerate() {
                let x = left + column as i32 * width;
                let (corner, other) = ((x + 1, top + 1), (x + width - 1, top + ROW - 1));
                let Some(answers) = Answers::of(self.set, scheme, question) else {
                    pen.text((x + width / 2, top + ROW / 2), HPos::Center, Ink::Muted, super::NOTHING)?;
                    continue;
                };
                pen.rectangle(corner, other, Ink::Heat(answers.heat()))?;
                let ink = Ink::OnHeat(answers.heat());
                pen.text((x + width / 2, top + ROW / 2), HPos::Center, ink, &answers.text())?;
                let share = |of: i64| of as f64 / 100.0;
                let tip = format!(
                    "{scheme}, {}: {:.2} % the truth, {:.2} % over, {:.2} % under",
                    called(question),
                    share(answers.exact),
                    share(answers.over),
                    share(answers.under)
                );
                pen.tip(corner, other, tip)?;
            }
        }
        Ok(())
    }

    fn finding(&self) -> String {
        let exact = |scheme: &&str| {
            let answers =
                self.questions.iter().filter_map(|question| Answers::of(self.set, scheme, question));
            answers.filter(|answers| answers.exact == 10_000).count()
        };
        let most = self.schemes.iter().map(exact).max().unwrap_or(0);
        let best: Vec<_> = self.schemes.iter().filter(|scheme| exact(scheme) == most).copied().collect();
        let sound = self.schemes.iter().filter(|scheme| {
            let answers =
                self.questions.iter().filter_map(|question| Answers::of(self.set, scheme, question));
            answers.clone().count() > 0 && answers.clone().all(|answers| answers.under == 0)
        });
        let sound: Vec<_> = sound.copied().collect();
        let first = format!(
            "{} always {} {most} of {} questions right, more than any other.",
            and(&best),
            if best.len() == 1 { "gets" } else { "get" },
            self.questions.len()
        );
        if sound.is_empty() {
            first
        } else {
            format!("{first} {} never say less than the truth.", and(&sound))
        }
    }
}

fn draw(store: &Store) -> Result<Option<Drawn>, Error> {
    let Some(set) = store.set(PLOT.experiment)? else { return Ok(None) };
    let answers = || set.parts::<3>().filter(|([_, _, what], _)| *what == "exact");
    let map = Map {
        set: &set,
        schemes: once(answers().map(|([scheme, _, _], _)| scheme)),
        questions: once(answers().map(|([_, question, _], _)| question)),
    };
    if map.schemes.is_empty() {
        return Ok(None);
    }
    let label = "Heat map: ways of counting against questions, per cent of true answers";
    let pictures = both(label, |window| map.height(window), |pen| map.draw(pen))?;
    let heads =
        ["way of counting".to_owned()].into_iter().chain(map.questions.iter().map(|name| called(name)));
    let mut table = Table::new(heads);
    for scheme in &map.schemes {
        let cell = |question: &&str| match Answers::of(&set, scheme, question) {
            Some(Answers { exact, over, under }) => {
                let [exact, over, under] = [exact, over, under].map(|of| of as f64 / 100.0);
                format!("{exact:.2} %, over {over:.2}, under {under:.2}")
            }
            None => super::NOTHING.to_owned(),
        };
        table.push([(*scheme).to_owned()].into_iter().chain(map.questions.iter().map(cell)));
    }
    let finding = map.finding();
    Ok(Some(Drawn { finding, pictures, legend: Vec::new(), table, origin: set.origin.clone() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is always the truth has a field and a text of its own; an arrow says on which side the others are.
    #[test]
    fn answers_are_judged() {
        let answers = |exact, over, under| Answers { exact, over, under };
        assert_eq!((answers(10_000, 0, 0).text().as_str(), answers(10_000, 0, 0).heat()), ("100", HEATS - 1));
        assert_eq!((answers(9999, 1, 0).text().as_str(), answers(9999, 1, 0).heat()), ("99.9 ↑", HEATS - 2));
        assert_eq!((answers(835, 0, 9165).text().as_str(), answers(835, 0, 9165).heat()), ("8.3 ↓", 0));
        assert_eq!(answers(6772, 712, 2516).text(), "67.7 ↕");
    }

    /// Names are folded between words.
    #[test]
    fn names_are_folded() {
        assert_eq!(folded("share of a page (PSS)", 8), ["share of", "a page", "(PSS)"]);
        assert_eq!(folded("shared", 3), ["shared"]);
        assert_eq!(folded("mapped at all", 40), ["mapped at all"]);
    }
}
