//! What one record, and one tenant, may be. A refusal names the field here, which is also the key that sets it.

use crate::config::{LogLimits, Rate};
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
            "max_line_size" => self.line_bytes_max = bytes(key, value)? as usize,
            _ => self.logs.set(key, value)?,
        }
        Ok(())
    }
}

impl LogLimits {
    /// By the names that Loki's `limits_config` and its overrides of a tenant have.
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let count = || value.parse::<usize>().map_err(|_| format!("{key}: {value:?} is no whole number"));
        let span =
            || duration(value).ok_or_else(|| format!("{key}: {value:?} is no duration; write 30m, 12h, 7d"));
        let megabytes = || {
            let number = value.parse::<f64>().ok().filter(|mb| *mb > 0.0 && mb.is_finite());
            number.map(|mb| mb * MB).ok_or_else(|| format!("{key}: {value:?} is no number above 0"))
        };
        match key {
            "max_label_names_per_series" => self.label_names_max = count()?,
            "max_label_name_length" => self.label_name_bytes_max = count()?,
            "max_label_value_length" => self.label_value_bytes_max = count()?,
            "reject_old_samples_max_age" => self.age_max = Some(span()?),
            "creation_grace_period" => self.future_max = Some(span()?),
            "ingestion_rate_mb" => self.rate = Some(Rate::of_tenant(megabytes()?, None)),
            "ingestion_burst_size_mb" => burst_of(&mut self.rate, key, megabytes()?)?,
            "per_stream_rate_limit" => self.stream_rate = Some(Rate::of_stream(bytes(key, value)?, None)),
            "per_stream_rate_limit_burst" => burst_of(&mut self.stream_rate, key, bytes(key, value)?)?,
            _ => {
                return Err(format!(
                    "{key:?} is no limit; one of labels_max, label_bytes_max, label_name_bytes_max, label_value_bytes_max, \
                     line_bytes_max, exemplar_bytes_max, series_max, series_of_metric_max, past_max, future_max, and of logs \
                     max_line_size, max_label_names_per_series, max_label_name_length, max_label_value_length, \
                     reject_old_samples_max_age, creation_grace_period, ingestion_rate_mb, ingestion_burst_size_mb, \
                     per_stream_rate_limit, per_stream_rate_limit_burst"
                ));
            }
        }
        Ok(())
    }
}

/// What Loki takes for a megabyte.
const MB: f64 = 1048576.0;

impl Rate {
    /// Loki's own burst is 6 MB for 4 MB a second,
    pub fn of_tenant(bytes_per_s: f64, burst_bytes: Option<f64>) -> Rate {
        Rate { bytes_per_s, burst_bytes: burst_bytes.unwrap_or(bytes_per_s * 1.5) }
    }

    /// and 15 MB for 3 MB a second of a stream.
    pub fn of_stream(bytes_per_s: f64, burst_bytes: Option<f64>) -> Rate {
        Rate { bytes_per_s, burst_bytes: burst_bytes.unwrap_or(bytes_per_s * 5.0) }
    }
}

fn burst_of(rate: &mut Option<Rate>, key: &str, burst_bytes: f64) -> Result<(), String> {
    let rate = rate.as_mut().ok_or_else(|| format!("{key}: set the rate that it is the burst of, too"))?;
    rate.burst_bytes = burst_bytes;
    Ok(())
}

/// `3MB`, `512KB`, or a number of bytes.
fn bytes(key: &str, value: &str) -> Result<f64, String> {
    let (number, unit) = value.split_at(value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len()));
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => Some(1.0),
        "kb" => Some(1024.0),
        "mb" => Some(MB),
        "gb" => Some(1024.0 * MB),
        _ => None,
    };
    let bytes = factor.zip(number.parse::<f64>().ok()).map(|(factor, number)| number * factor);
    bytes
        .filter(|bytes| *bytes > 0.0)
        .ok_or_else(|| format!("{key}: {value:?} is no size above 0; write 512KB, 3MB"))
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
        let mut written = vec![];
        for line in lines {
            let pair = line.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
            let (key, value) =
                pair.ok_or_else(|| format!("{line:?}: write KEY=VALUE, or TENANT/KEY=VALUE"))?;
            written.push((line, key, value));
        }
        // A rate has its usual burst until it is given another.
        written.sort_by_key(|(_, key, _)| key.contains("burst"));
        for (line, key, value) in written {
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
            ("ingestion_rate_mb=0", "is no number above 0"),
            ("per_stream_rate_limit=fast", "is no size above 0"),
            ("a/ingestion_burst_size_mb=6", "set the rate that it is the burst of"),
        ] {
            let wrong = LimitBook::parse(&[line.to_owned()], Limits::default()).unwrap_err();
            assert!(wrong.contains(told), "{line}: {wrong}");
        }
    }

    #[test]
    fn a_tenant_has_limits_of_logs_by_their_names_in_loki() {
        let lines = [
            "busy/ingestion_burst_size_mb=20",
            "busy/ingestion_rate_mb=8",
            "ingestion_rate_mb=4",
            "busy/per_stream_rate_limit=3MB",
            "busy/reject_old_samples_max_age=1w",
            "busy/max_line_size=256KB",
            "busy/max_label_names_per_series=15",
        ];
        let flags = LogLimits { label_name_bytes_max: 9, ..LogLimits::default() };
        let defaults = Limits { logs: flags, ..Limits::default() };
        let book = LimitBook::parse(&lines.map(str::to_owned), defaults).unwrap();
        let (busy, other) = (Tenant::new("busy").unwrap(), Tenant::new("other").unwrap());
        let rate = |bytes_per_s: f64, burst_bytes: f64| Some(Rate { bytes_per_s, burst_bytes });
        assert_eq!(book.of(&busy).logs.rate, rate(8.0 * MB, 20.0 * MB));
        assert_eq!(book.of(&other).logs.rate, rate(4.0 * MB, 6.0 * MB));
        assert_eq!(book.of(&busy).logs.stream_rate, rate(3.0 * MB, 15.0 * MB));
        assert_eq!(book.of(&other).logs.stream_rate, None);
        let of_busy = book.of(&busy);
        assert_eq!((of_busy.line_bytes_max, of_busy.logs.label_names_max), (256 << 10, 15));
        assert_eq!(of_busy.logs.age_max.map(|age| age.as_secs()), Some(604_800));
        assert_eq!((of_busy.logs.label_name_bytes_max, book.of(&other).logs.label_name_bytes_max), (9, 9));
    }
}
