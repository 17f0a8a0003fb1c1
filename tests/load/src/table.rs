//! The printed table: what, how much, the target, and Mesos's published figure where there is one.

/// One line.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) target: Option<f64>,
    /// The target is the least, not the most.
    pub(crate) is_least: bool,
    pub(crate) mesos: &'static str,
}

impl Row {
    /// A line that stands for itself.
    pub(crate) fn new(what: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self {
            what: what.into(),
            value,
            unit,
            target: None,
            is_least: false,
            mesos: "-",
        }
    }

    /// With what was promised.
    pub(crate) fn target(mut self, most: f64) -> Self {
        self.target = Some(most);
        self
    }

    /// With the least that was promised.
    pub(crate) fn at_least(mut self, least: f64) -> Self {
        (self.target, self.is_least) = (Some(least), true);
        self
    }

    /// With what Mesos has published.
    pub(crate) fn mesos(mut self, figure: &'static str) -> Self {
        self.mesos = figure;
        self
    }
}

/// Prints the table to standard output.
pub(crate) fn print(rows: &[Row]) {
    println!(
        "{:<58} {:>13} {:>10}  {:<6} Mesos",
        "what", "measured", "target", ""
    );
    for row in rows {
        let target = row
            .target
            .map_or_else(|| "-".to_owned(), |most| format!("{most}"));
        let verdict = match row.target {
            Some(least) if row.is_least && row.value < least => "BELOW",
            Some(most) if !row.is_least && row.value > most => "ABOVE",
            Some(_) => "ok",
            None => "",
        };
        println!(
            "{:<58} {:>10.2} {:<2} {target:>10}  {verdict:<6} {}",
            row.what, row.value, row.unit, row.mesos
        );
    }
}

/// The value below which the part `share` of the values lies. Sorts them; 0 without any.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    let index = (last as f64 * share).round() as usize;
    values.get(index).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let mut values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(quantile(&mut values, 0.5), 3.0);
        assert_eq!(quantile(&mut values, 0.99), 5.0);
        assert_eq!(quantile(&mut [], 0.5), 0.0);
    }
}
