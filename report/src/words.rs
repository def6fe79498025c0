//! Figures and names as they are written.

pub use qemu::bench::figures::with_commas;

/// A figure in three places or less, with k, M or G.
#[must_use]
pub fn short(figure: f64) -> String {
    let (by, unit) = match figure.abs() {
        0.0..1e3 => (1.0, ""),
        1e3..1e6 => (1e3, " k"),
        1e6..1e9 => (1e6, " M"),
        _ => (1e9, " G"),
    };
    let figure = figure / by;
    let places = if figure.abs() >= 100.0 || figure.fract() == 0.0 {
        0
    } else if figure.abs() >= 10.0 || (figure * 10.0).fract().abs() < 1e-6 {
        1
    } else {
        2
    };
    let text = format!("{figure:.places$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

/// Bytes, with a binary unit.
#[must_use]
pub fn bytes(figure: f64) -> String {
    let (by, unit) = match figure.abs() {
        0.0..1024.0 => (1.0, "B"),
        1024.0..1_048_576.0 => (1024.0, "KiB"),
        1_048_576.0..1_073_741_824.0 => (1_048_576.0, "MiB"),
        _ => (1_073_741_824.0, "GiB"),
    };
    let figure = figure / by;
    if figure == 0.0 {
        return "0".to_owned();
    }
    let places = usize::from(figure.fract().abs() > 0.05 && figure < 100.0);
    format!("{figure:.places$} {unit}")
}

/// A share as per cent, whole ones without a place.
#[must_use]
pub fn per_cent(share: f64) -> String {
    let of_hundred = share * 100.0;
    if of_hundred == 0.0 || of_hundred >= 10.0 || of_hundred.fract() == 0.0 {
        format!("{of_hundred:.0} %")
    } else {
        format!("{of_hundred:.1} %")
    }
}

/// A ratio in three places.
#[must_use]
pub fn ratio(ratio: f64) -> String {
    match ratio {
        0.0..0.1 => format!("{ratio:.3}"),
        0.1..10.0 => format!("{ratio:.2}"),
        _ => format!("{ratio:.1}"),
    }
}

/// A name of the figures as words.
#[must_use]
pub fn spaced(name: &str) -> String {
    name.replace('_', " ")
}

/// `a`, `a and b`, `a, b and c`.
#[must_use]
pub fn and(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// One of them, or that many: `1 row`, `2 rows`.
#[must_use]
pub fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures as they are written.
    #[test]
    fn forms() {
        let written = [0.0, 7.0, 999.0, 1000.0, 1500.0, 1250.0, 22_000.0, 123_456.0, 4e6, 2.5e9].map(short);
        assert_eq!(written, ["0", "7", "999", "1 k", "1.5 k", "1.25 k", "22 k", "123 k", "4 M", "2.5 G"]);
        let written = [0.0, 512.0, 4096.0, 16_986_931.0, 33_554_432.0, 1_073_741_824.0].map(bytes);
        assert_eq!(written, ["0", "512 B", "4 KiB", "16.2 MiB", "32 MiB", "1 GiB"]);
        assert_eq!(
            [0.0, 0.05, 0.063, 0.29, 1.0, 2.5].map(per_cent),
            ["0 %", "5 %", "6.3 %", "29 %", "100 %", "250 %"]
        );
        assert_eq!([0.0634, 0.29, 1.0, 12.34].map(ratio), ["0.063", "0.29", "1.00", "12.3"]);
        assert_eq!(
            [and(&[]), and(&["a"]), and(&["a", "b"]), and(&["a", "b", "c"])],
            ["", "a", "a and b", "a, b and c"]
        );
        assert_eq!([count(1, "row"), count(2, "row")], ["1 row", "2 rows"]);
        assert_eq!(spaced("cow_4k_child"), "cow 4k child");
    }
}
