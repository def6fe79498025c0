//! What the kernel reports: KTAP (Linux `Documentation/dev-tools/ktap.rst`), one level deep.
//!
//! ```text
//!   KTAP version 1
//!   1..3
//!   # buddy::split: 512 pages
//!   ok 1 buddy::split
//!   not ok 2 hvo::restore
//!   ok 3 thp::promote # SKIP needs two CPUs
//! ```
//!
//! Anything else on the console is passed over, but kept as the lines of the test that it stands before. A report
//! that ends early is a failure of the machine, never a short success: [`Report::faults`] says what is wrong.

/// How one test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// `ok`.
    Passed,
    /// `not ok`.
    Failed,
    /// `ok … # SKIP reason`.
    Skipped(String),
}

/// One result line, with the lines before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The name of the test.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was written since the previous result, the result line included.
    pub lines: Vec<String>,
}

/// One run of tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The number of tests announced (`1..N`).
    pub plan: Option<usize>,
    /// The results, in order.
    pub cases: Vec<Case>,
    /// Why the kernel gave up (`Bail out!`).
    pub bail_out: Option<String>,
    /// Numbers that are out of order, names that came twice, a second plan.
    disorder: Vec<String>,
    pending: Vec<String>,
}

/// All reports in `log`, in order: one for each line `KTAP version 1`.
#[must_use]
pub fn parse(log: &str) -> Vec<Report> {
    let mut reports: Vec<Report> = Vec::new();
    for line in log.lines().map(str::trim_end) {
        if line.starts_with("KTAP version ") {
            reports.push(Report::default());
        } else if let Some(report) = reports.last_mut() {
            report.read(line);
        }
    }
    reports
}

impl Report {
    fn read(&mut self, line: &str) {
        self.pending.push(line.to_owned());
        if let Some(reason) = line.strip_prefix("Bail out!") {
            self.bail_out = Some(reason.trim().to_owned());
        } else if let Some(count) = line.strip_prefix("1..").and_then(|count| count.parse().ok()) {
            if self.plan.replace(count).is_some() {
                self.disorder.push("a second plan".to_owned());
            }
        } else if let Some((number, name, verdict)) = result(line) {
            self.add(number, name, verdict);
        }
    }

    fn add(&mut self, number: usize, name: &str, verdict: Verdict) {
        if number != self.cases.len() + 1 {
            self.disorder.push(format!("`{name}` has number {number} and comes after {}", self.cases.len()));
        }
        if self.case(name).is_some() {
            self.disorder.push(format!("`{name}` came twice"));
        }
        let lines = std::mem::take(&mut self.pending);
        self.cases.push(Case { name: name.to_owned(), verdict, lines });
    }

    /// The result of the test `name`, if it has one.
    #[must_use]
    pub fn case(&self, name: &str) -> Option<&Case> {
        self.cases.iter().find(|case| case.name == name)
    }

    /// The number of tests that failed.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.cases.iter().filter(|case| case.verdict == Verdict::Failed).count()
    }

    /// What is wrong with the report as a whole; nothing for one that is complete, whatever its results.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.disorder.clone();
        if let Some(reason) = &self.bail_out {
            faults.push(format!("the kernel bailed out: {reason}"));
        }
        match self.plan {
            None => faults.push("no plan".to_owned()),
            Some(0) => faults.push("the plan is empty".to_owned()),
            Some(count) if count != self.cases.len() => {
                faults.push(format!("{count} tests were announced, {} reported", self.cases.len()));
            }
            Some(_) => {}
        }
        faults
    }
}

/// The parts of a result line: number, name, verdict.
fn result(line: &str) -> Option<(usize, &str, Verdict)> {
    let (passed, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok ")?),
    };
    let (number, rest) = rest.split_once(' ')?;
    let number = number.parse().ok()?;
    let rest = rest.trim_start_matches("- ");
    let (name, directive) = rest.split_once(" # ").unwrap_or((rest, ""));
    let verdict = match directive.strip_prefix("SKIP") {
        _ if !passed => Verdict::Failed,
        Some(reason) => Verdict::Skipped(reason.trim().to_owned()),
        None => Verdict::Passed,
    };
    Some((number, name.trim(), verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(log: &str) -> Report {
        let mut reports = parse(log);
        assert_eq!(reports.len(), 1);
        reports.remove(0)
    }

    /// Results, skips and the lines that belong to them; carriage returns and noise before the report do not
    /// matter.
    #[test]
    fn a_whole_report() {
        let report =
            one("boot\r\nok 9 noise\r\nKTAP version 1\r\n1..3\r\n# buddy: 3 blocks\r\nok 1 buddy::split\r\n\
             expected 1, found 2\r\nnot ok 2 - hvo::restore\r\nok 3 thp::promote # SKIP one CPU\r\nquire> ");
        assert_eq!(report.faults(), Vec::<String>::new());
        assert_eq!(report.failures(), 1);
        let verdicts: Vec<_> = report.cases.iter().map(|case| (case.name.as_str(), &case.verdict)).collect();
        let skipped = Verdict::Skipped("one CPU".into());
        let expected = [
            ("buddy::split", &Verdict::Passed),
            ("hvo::restore", &Verdict::Failed),
            ("thp::promote", &skipped),
        ];
        assert_eq!(verdicts, expected);
        assert_eq!(
            report.case("hvo::restore").unwrap().lines,
            ["expected 1, found 2", "not ok 2 - hvo::restore"]
        );
        assert_eq!(report.case("absent"), None);
    }

    /// A run that stops half-way is a fault, and the tests without a result have none.
    #[test]
    fn a_report_that_ends_early() {
        let report = one("KTAP version 1\n1..2\nok 1 a\nsynchronous exception\n");
        assert_eq!(report.faults(), ["2 tests were announced, 1 reported"]);
        assert_eq!(one("KTAP version 1\nok 1 a\n").faults(), ["no plan"]);
        assert_eq!(one("KTAP version 1\n1..0\n").faults(), ["the plan is empty"]);
        let report = one("KTAP version 1\n1..1\nok 1 a\nBail out! no memory\n");
        assert_eq!(report.faults(), ["the kernel bailed out: no memory"]);
        assert!(parse("no report at all\nok 1 a\n").is_empty());
    }

    /// Results that cannot be trusted are faults even if their number fits.
    #[test]
    fn disorder_is_a_fault() {
        assert_eq!(one("KTAP version 1\n1..2\nok 1 a\nok 2 a\n").faults(), ["`a` came twice"]);
        assert_eq!(one("KTAP version 1\n1..1\nok 2 a\n").faults(), ["`a` has number 2 and comes after 0"]);
        assert_eq!(one("KTAP version 1\n1..1\n1..1\nok 1 a\n").faults(), ["a second plan"]);
    }

    /// `not ok` stays a failure whatever directive follows; words that only begin like a result are none.
    #[test]
    fn result_lines() {
        assert_eq!(result("not ok 4 x # SKIP no"), Some((4, "x", Verdict::Failed)));
        assert_eq!(result("ok 4 x # SKIP"), Some((4, "x", Verdict::Skipped(String::new()))));
        assert_eq!(result("ok four x"), None);
        assert_eq!(result("okay 4 x"), None);
        assert_eq!(result("  ok 4 x"), None);
    }

    /// Two runs on one console are two reports.
    #[test]
    fn two_reports() {
        let reports = parse("KTAP version 1\n1..1\nok 1 a\nKTAP version 1\n1..1\nnot ok 1 a\n");
        assert_eq!(reports.iter().map(Report::failures).collect::<Vec<_>>(), [0, 1]);
    }
}
