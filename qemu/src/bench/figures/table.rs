//! A table of figures, and how figures are written.

use std::fmt::Write as _;

/// Where there is no figure.
const NOTHING: &str = "–";

/// How a figure is written.
#[derive(Clone, Copy)]
pub(super) enum Form {
    /// With commas.
    Number,
    /// Bytes, as MiB.
    Mib,
    /// Of all 262,144 entries of 4 KiB that a page of 1 GiB has: how much for each.
    OfEntries,
    /// Of so many: how much for each, rounded.
    Of(i64),
    /// Of 1000: by how many per cent it is more.
    More,
    /// Of 10,000: per cent.
    PerCent,
    /// With commas; below zero it is the number of an error: the operation was refused.
    Cost,
    /// Of 1000: per cent, with a place after the point below ten. In a column it is what the first of two figures is of
    /// the second.
    Share,
}

/// A column: its head, the figures whose sum it has, with `@` for the line's name and before a colon their experiment, where
/// it is not the table's, and how it is written. `linux NAME` is the figure of Linux 7.2, `against NAME` that of the boot
/// which an experiment holds its own against.
pub(super) struct Column(pub(super) &'static str, pub(super) &'static [&'static str], pub(super) Form);

/// A table of the page.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The head of the first column; or of several, between them a bar, as there are in what each line is called.
    pub(super) corner: &'static str,
    pub(super) experiment: &'static str,
    /// The name in the figures, and what the page calls it.
    pub(super) lines: &'static [(&'static str, &'static str)],
    pub(super) columns: &'static [Column],
}

impl Table {
    /// The experiment and the name of what stands for `key` in the line of `name`.
    fn figure_of(&self, key: &str, name: &str) -> (String, String) {
        let key = key.replace('@', name);
        let (experiment, name) = key.split_once(':').unwrap_or((self.experiment, &key));
        (experiment.to_owned(), name.to_owned())
    }

    /// All figures, as [`Self::figure_of`] has them.
    pub(super) fn figures(&self) -> impl Iterator<Item = (String, String)> {
        let keys = self.columns.iter().flat_map(|column| column.1);
        keys.flat_map(|key| self.lines.iter().map(|(name, _)| self.figure_of(key, name)))
    }

    pub(super) fn write(&self, to: &mut String, figure: &dyn Fn(&str, &str) -> Option<i64>) {
        let heads: Vec<_> = self.columns.iter().map(|column| column.0).collect();
        let lefts = "---|".repeat(1 + self.corner.matches('|').count());
        let rights: Vec<_> = self.columns.iter().map(|_| "--:").collect();
        // Writing to a string cannot fail.
        let _ = writeln!(to, "| {} | {} |\n|{lefts}{}|", self.corner, heads.join(" | "), rights.join("|"));
        for (name, called) in self.lines {
            let cell = |column: &Column| {
                let one = |key: &&str| {
                    let (experiment, name) = self.figure_of(key, name);
                    figure(&experiment, &name)
                };
                let figures: Option<Vec<i64>> = column.1.iter().map(one).collect();
                let written = figures.and_then(|figures| column.2.cell(&figures));
                written.unwrap_or(NOTHING.to_owned())
            };
            let cells: Vec<_> = self.columns.iter().map(cell).collect();
            let _ = writeln!(to, "| {called} | {} |", cells.join(" | "));
        }
    }
}

impl Form {
    /// What stands in a cell of these figures; `None`: nothing can be said.
    fn cell(self, figures: &[i64]) -> Option<String> {
        match (self, figures) {
            (Form::Share, &[part, whole]) => (part * 1000).checked_div(whole).map(|of| self.write(of)),
            _ => Some(self.write(figures.iter().sum())),
        }
    }

    fn write(self, figure: i64) -> String {
        match self {
            Form::Mib if figure != 0 => format!("{} MiB", figure as f64 / f64::from(1 << 20)),
            Form::Of(all) => with_commas((figure + all / 2) / all),
            Form::More => format!("{:+.1} %", (figure - 1000) as f64 / 10.0),
            Form::PerCent if figure % 100 == 0 => (figure / 100).to_string(),
            Form::PerCent => format!("{:.1}", figure as f64 / 100.0),
            Form::Share if figure < 100 => format!("{:.1} %", figure as f64 / 10.0),
            Form::Share => format!("{} %", with_commas((figure + 5) / 10)),
            Form::Cost if figure < 0 => "refused".to_owned(),
            Form::OfEntries => format!("{:.2}", figure as f64 / f64::from(1 << 18)),
            Form::Number | Form::Mib | Form::Cost => with_commas(figure),
        }
    }
}

/// `1234567` as `1,234,567`.
#[must_use]
pub fn with_commas(figure: i64) -> String {
    let digits = figure.unsigned_abs().to_string();
    let mut text = String::from(if figure < 0 { "-" } else { "" });
    for (n, digit) in digits.chars().enumerate() {
        if n != 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures as they are written.
    #[test]
    fn forms() {
        let written = [0, 999, 1000, 22_932, -1_234_567].map(|figure| Form::Number.write(figure));
        assert_eq!(written, ["0", "999", "1,000", "22,932", "-1,234,567"]);
        assert_eq!([0, 1_614_187].map(|figure| Form::OfEntries.write(figure)), ["0.00", "6.16"]);
        assert_eq!([9, 511_999].map(|figure| Form::Of(512).write(figure)), ["0", "1,000"]);
        let written = [0, 10_000, 2611, 9999].map(|figure| Form::PerCent.write(figure));
        assert_eq!(written, ["0", "100", "26.1", "100.0"]);
        assert_eq!([-11, 124_026].map(|figure| Form::Cost.write(figure)), ["refused", "124,026"]);
        let written = [0, 82, 995, 12_304].map(|figure| Form::Share.write(figure));
        assert_eq!(written, ["0.0 %", "8.2 %", "100 %", "1,230 %"]);
        assert_eq!(Form::Share.cell(&[1, 3]).as_deref(), Some("33 %"));
        assert_eq!((Form::Share.cell(&[1, 0]), Form::Number.cell(&[1, 2]).as_deref()), (None, Some("3")));
        let written = [1000, 1030, 562, 4757].map(|figure| Form::More.write(figure));
        assert_eq!(written, ["+0.0 %", "+3.0 %", "-43.8 %", "+375.7 %"]);
        let written = [0, 1 << 20, 1_835_008, 2 << 20].map(|figure| Form::Mib.write(figure));
        assert_eq!(written, ["0", "1 MiB", "1.75 MiB", "2 MiB"]);
    }

    /// A figure may be of the experiment that its line names.
    #[test]
    fn figures_of_a_line() {
        let table =
            Table { name: "", corner: "", experiment: "a", lines: &[("b", ""), ("c:d", "")], columns: &[] };
        let of = |name: &str| table.figure_of("@.e", name);
        assert_eq!([of("b"), of("c:d")], [("a", "b.e"), ("c", "d.e")].map(|(a, b)| (a.into(), b.into())));
    }
}
