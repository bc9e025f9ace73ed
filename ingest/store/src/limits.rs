//! What one record, and one tenant, may be. A refusal names the field here, which is also the key that sets it.

use crate::config::LogLimits;
use model::Tenant;
use std::collections::HashMap;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Labels of one series or stream.
    pub labels_max: usize,
    /// Names and values of one series or stream together.
    pub label_bytes_max: usize,
    /// One name, one value of a series.
    pub label_name_bytes_max: usize,
    pub label_value_bytes_max: usize,
    /// Bytes of one log line; Loki's own limit is 256 KB, real stack dumps are longer.
    pub line_bytes_max: usize,
    /// Names and values of one exemplar together, without those of its series.
    pub exemplar_bytes_max: usize,
    /// Active series of one tenant: those with a sample in the last 10 to 20 minutes. 0 is no limit, as for the next.
    pub series_max: usize,
    pub series_of_metric_max: usize,
    /// How far behind this machine's clock a sample may be; 0 is any time since 1970.
    pub past_max: Duration,
    /// How far ahead of it a sample or a line may be; a span, [`model::FUTURE_MS_MAX`].
    pub future_max: Duration,
    pub logs: LogLimits,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            labels_max: 128,
            label_bytes_max: 64 << 10,
            label_name_bytes_max: 1 << 10,
            label_value_bytes_max: 64 << 10,
            line_bytes_max: 2 << 20,
            exemplar_bytes_max: 1 << 10,
            series_max: 2_000_000,
            series_of_metric_max: 0,
            past_max: Duration::ZERO,
            future_max: Duration::from_millis(model::FUTURE_MS_MAX as u64),
            logs: LogLimits::default(),
        }
    }
}

/// Of `--memory`, what one active series may take at most: in the memtable, in the indexes of parts, in queries over all of
/// them.
const SERIES_MEMORY: usize = 2 << 10;

impl Limits {
    /// The defaults of a process with so much memory: no tenant alone has more active series than fit.
    pub fn within(memory_bytes: usize) -> Limits {
        let limits = Limits::default();
        Limits { series_max: limits.series_max.min(memory_bytes / SERIES_MEMORY), ..limits }
    }

    /// Those of all tenants, then those that differ for some.
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let count = || value.parse::<usize>().map_err(|_| format!("{key}: {value:?} is no whole number"));
        let span =
            || duration(value).ok_or_else(|| format!("{key}: {value:?} is no duration; write 30m, 12h, 7d"));
        match key {
            "labels_max" => self.labels_max = count()?,
            "label_bytes_max" => self.label_bytes_max = count()?,
            "label_name_bytes_max" => self.label_name_bytes_max = count()?,
            "label_value_bytes_max" => self.label_value_bytes_max = count()?,
            "line_bytes_max" => self.line_bytes_max = count()?,
            "exemplar_bytes_max" => self.exemplar_bytes_max = count()?,
            "series_max" => self.series_max = count()?,
            "series_of_metric_max" => self.series_of_metric_max = count()?,
            "past_max" => self.past_max = span()?,
            "future_max" => self.future_max = span()?,
            _ => {
                return Err(format!(
                    "{key:?} is no limit; one of labels_max, label_bytes_max, label_name_bytes_max, label_value_bytes_max, \
                     line_bytes_max, exemplar_bytes_max, series_max, series_of_metric_max, past_max, future_max"
                ));
            }
        }
        Ok(())
    }
}

pub(crate) fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = (text[..at].parse::<u64>().ok()?, &text[at..]);
    let seconds = match unit {
        "" if number == 0 => 0,
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        "y" => 31_536_000,
        _ => return None,
    };
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

/// The limits of every tenant.
#[derive(Clone, Debug, Default)]
pub struct LimitBook {
    all: Limits,
    own: HashMap<Tenant, Limits>,
}

impl LimitBook {
    /// From lines `key=value` for all tenants and `tenant/key=value` for one; what a tenant has no line of its own for is as
    /// for all, whatever their order; what has no line, as in `defaults`.
    pub fn parse(lines: &[String], defaults: Limits) -> Result<LimitBook, String> {
        let mut book = LimitBook { all: defaults, own: HashMap::new() };
        let mut own = vec![];
        for line in lines {
            let (key, value) = line
                .split_once('=')
                .map(|(key, value)| (key.trim(), value.trim()))
                .ok_or_else(|| format!("{line:?}: write KEY=VALUE, or TENANT/KEY=VALUE"))?;
            match key.rsplit_once('/') {
                None => book.all.set(key, value)?,
                Some((tenant, key)) => {
                    let tenant = Tenant::new(tenant).map_err(|wrong| format!("{line:?}: {wrong}"))?;
                    own.push((tenant, key, value));
                }
            }
        }
        for (tenant, key, value) in own {
            book.own.entry(tenant).or_insert_with(|| book.all.clone()).set(key, value)?;
        }
        Ok(book)
    }

    /// What holds for the log lines of every tenant; `line_bytes_max` where it is set beside the lines.
    pub fn with_logs(mut self, logs: LogLimits, line_bytes_max: Option<usize>) -> LimitBook {
        for limits in std::iter::once(&mut self.all).chain(self.own.values_mut()) {
            limits.logs = logs.clone();
            limits.line_bytes_max = line_bytes_max.unwrap_or(limits.line_bytes_max);
        }
        self
    }

    pub fn of(&self, tenant: &Tenant) -> &Limits {
        self.own.get(tenant).unwrap_or(&self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_process_has_fewer_series_unless_told_otherwise() {
        let small = Limits::within(700 << 20);
        assert_eq!(small.series_max, 358_400);
        assert_eq!(Limits::within(64 << 30), Limits::default());
        let book = LimitBook::parse(&["a/series_max=9".to_owned()], small).unwrap();
        let of = |tenant: &str| book.of(&Tenant::new(tenant).unwrap()).series_max;
        assert_eq!((of("a"), of("b")), (9, 358_400));
    }

    #[test]
    fn a_tenant_has_its_own_lines_and_else_those_of_all() {
        let lines = ["team-a/series_max=5", "series_max=10", " labels_max = 3", "past_max=2h"];
        let book = LimitBook::parse(&lines.map(str::to_owned), Limits::default()).unwrap();
        let (a, b) = (Tenant::new("team-a").unwrap(), Tenant::new("b").unwrap());
        assert_eq!((book.of(&a).series_max, book.of(&b).series_max), (5, 10));
        assert_eq!((book.of(&a).labels_max, book.of(&a).past_max.as_secs()), (3, 7_200));
        for (line, told) in [
            ("series=1", "\"series\" is no limit; one of labels_max"),
            ("series_max", "write KEY=VALUE"),
            ("series_max=many", "series_max: \"many\" is no whole number"),
            ("past_max=2", "past_max: \"2\" is no duration"),
        ] {
            let wrong = LimitBook::parse(&[line.to_owned()], Limits::default()).unwrap_err();
            assert!(wrong.contains(told), "{line}: {wrong}");
        }
    }
}
