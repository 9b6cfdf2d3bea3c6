//! Distance of a table from its next automatic vacuum or analyze.

/// Autovacuum settings of the server, or of a table with its own storage parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VacuumSettings {
    /// True if autovacuum processes the table.
    pub is_enabled: bool,
    /// Dead rows that start a vacuum, besides the share of all rows.
    pub vacuum_threshold: f64,
    /// Share of all rows, added to the threshold of dead rows.
    pub vacuum_scale_factor: f64,
    /// Upper limit of the trigger in rows, since PostgreSQL 18. Negative or `None` for no limit.
    pub vacuum_threshold_max: Option<f64>,
    /// Inserted rows that start a vacuum; negative for never.
    pub insert_threshold: f64,
    /// Share of all rows, added to the threshold of inserted rows.
    pub insert_scale_factor: f64,
    /// Changed rows that start an analyze, besides the share of all rows.
    pub analyze_threshold: f64,
    /// Share of all rows, added to the threshold of changed rows.
    pub analyze_scale_factor: f64,
    /// Percent of a heap page that inserts fill.
    pub fillfactor: f64,
}

impl Default for VacuumSettings {
    /// Defaults of PostgreSQL.
    fn default() -> Self {
        Self {
            is_enabled: true,
            vacuum_threshold: 50.0,
            vacuum_scale_factor: 0.2,
            vacuum_threshold_max: None,
            insert_threshold: 1000.0,
            insert_scale_factor: 0.2,
            analyze_threshold: 50.0,
            analyze_scale_factor: 0.1,
            fillfactor: 100.0,
        }
    }
}

/// Distance from each trigger: 1 is at the trigger, 2 is twice its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VacuumDistance {
    /// Dead rows that start a vacuum.
    pub trigger: f64,
    /// Distance for dead rows.
    pub pressure: f64,
    /// Distance for inserted rows; `None` if inserts start no vacuum.
    pub insert_pressure: Option<f64>,
    /// Distance of the next analyze.
    pub analyze_pressure: f64,
}

impl VacuumSettings {
    /// Applies a table's storage parameters, each as `name=value`. Unknown names and invalid values change nothing.
    pub fn with_options<'a>(mut self, options: impl IntoIterator<Item = &'a str>) -> Self {
        for (name, value) in options.into_iter().filter_map(|option| option.split_once('=')) {
            if name == "autovacuum_enabled" {
                self.is_enabled = boolean(value).unwrap_or(self.is_enabled);
            }
            let Some(number) = value.parse().ok().filter(|number: &f64| number.is_finite()) else { continue };
            match name {
                "autovacuum_vacuum_threshold" => self.vacuum_threshold = number,
                "autovacuum_vacuum_scale_factor" => self.vacuum_scale_factor = number,
                "autovacuum_vacuum_max_threshold" => self.vacuum_threshold_max = Some(number),
                "autovacuum_vacuum_insert_threshold" => self.insert_threshold = number,
                "autovacuum_vacuum_insert_scale_factor" => self.insert_scale_factor = number,
                "autovacuum_analyze_threshold" => self.analyze_threshold = number,
                "autovacuum_analyze_scale_factor" => self.analyze_scale_factor = number,
                "fillfactor" => self.fillfactor = number,
                _ => {}
            }
        }
        self
    }

    /// Distance of a table. `rows` is the server's estimate from the last vacuum or analyze; 0 before the first.
    pub fn distance(&self, rows: f64, dead: f64, inserted: f64, changed: f64) -> VacuumDistance {
        let rows = rows.max(0.0);
        let limit = self.vacuum_threshold_max.filter(|limit| *limit >= 0.0).unwrap_or(f64::INFINITY);
        let trigger = (self.vacuum_threshold + self.vacuum_scale_factor * rows).min(limit);
        let insert_trigger = self.insert_threshold + self.insert_scale_factor * rows;
        VacuumDistance {
            trigger,
            pressure: share(dead, trigger),
            insert_pressure: (self.insert_threshold >= 0.0).then(|| share(inserted, insert_trigger)),
            analyze_pressure: share(changed, self.analyze_threshold + self.analyze_scale_factor * rows),
        }
    }
}

/// Ratio of a count to its trigger. A trigger of 0 counts as 1, so the first row reaches it.
fn share(of: f64, trigger: f64) -> f64 {
    of.max(0.0) / trigger.max(1.0)
}

/// Boolean in PostgreSQL's syntax: any unique beginning of the words; `None` for other texts.
fn boolean(value: &str) -> Option<bool> {
    let value = value.to_ascii_lowercase();
    let begins = |word: &str, from: usize| value.len() >= from && word.starts_with(&value);
    if begins("true", 1) || begins("yes", 1) || begins("on", 2) || value == "1" {
        return Some(true);
    }
    (begins("false", 1) || begins("no", 1) || begins("off", 2) || value == "0").then_some(false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_table_at_its_trigger_has_a_pressure_of_one() {
        let distance = VacuumSettings::default().distance(1000.0, 250.0, 1200.0, 75.0);
        assert_eq!(distance, VacuumDistance { trigger: 250.0, pressure: 1.0, insert_pressure: Some(1.0), analyze_pressure: 0.5 });
    }

    #[test]
    fn the_limit_of_18_holds_for_large_tables_and_can_be_taken_away() {
        let settings = VacuumSettings { vacuum_threshold_max: Some(1e8), ..VacuumSettings::default() };
        assert_eq!(settings.distance(1e10, 2e8, 0.0, 0.0).pressure, 2.0);
        assert_eq!(settings.distance(1000.0, 250.0, 0.0, 0.0).pressure, 1.0);
        let unlimited = settings.with_options(["autovacuum_vacuum_max_threshold=-1"]);
        assert_eq!(unlimited.distance(1e9, 2e8 + 50.0, 0.0, 0.0).pressure, 1.0);
    }

    #[test]
    fn storage_parameters_of_a_table_override_the_servers_settings() {
        let options =
            ["autovacuum_enabled=off", "autovacuum_vacuum_scale_factor=0", "autovacuum_vacuum_insert_threshold=-1", "fillfactor=70"];
        let settings = VacuumSettings::default().with_options(options);
        assert!(!settings.is_enabled);
        assert_eq!(settings.fillfactor, 70.0);
        let distance = settings.distance(1e6, 100.0, 1e6, 0.0);
        assert_eq!((distance.pressure, distance.insert_pressure), (2.0, None));
    }

    #[test]
    fn booleans_are_read_as_postgresql_reads_them() {
        for (text, expected) in [("on", Some(true)), ("OFF", Some(false)), ("f", Some(false)), ("Ye", Some(true)), ("o", None), ("", None)]
        {
            assert_eq!(boolean(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn options_of_any_text_leave_numbers_that_can_be_judged(options in proptest::collection::vec("[a-z_]{0,40}=?[-0-9a-zA-Z.]{0,10}", 0..5)) {
            let settings = VacuumSettings::default().with_options(options.iter().map(String::as_str));
            let distance = settings.distance(1e6, 10.0, 10.0, 10.0);
            prop_assert!(distance.pressure.is_finite() && distance.analyze_pressure.is_finite());
        }
    }
}
