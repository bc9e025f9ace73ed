//! What the store says of itself on `/metrics`.

use crate::part::Signal;
use crate::store::Store;
use model::Reading;
use std::sync::atomic::Ordering;

impl Store {
    pub fn readings(&self) -> Vec<Reading> {
        let (syncs, sync_us) = self.wal.syncs();
        let counts = &self.counts;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let mut readings = vec![
            Reading::gauge(
                "binnacle_store_wal_bytes",
                "Bytes of the write-ahead log on disk",
                self.wal.bytes() as f64,
            ),
            Reading::counter(
                "binnacle_store_wal_records_total",
                "Records ever written to the log",
                self.wal.next_seq() as f64 - 1.0,
            ),
            Reading::counter(
                "binnacle_store_wal_syncs_total",
                "fsyncs of the log since the start",
                syncs as f64,
            ),
            Reading::counter(
                "binnacle_store_wal_sync_seconds_total",
                "Time in fsyncs of the log since the start",
                sync_us as f64 / 1e6,
            ),
            Reading::gauge(
                "binnacle_store_memtable_bytes",
                "Bytes of memtables, sealed ones too",
                self.memory_bytes() as f64,
            ),
            Reading::gauge(
                "binnacle_store_memory_max_bytes",
                "Bytes of memtables past which writes are refused",
                self.config.memory_bytes_max as f64,
            ),
            Reading::counter(
                "binnacle_store_flushes_total",
                "Memtables that became parts",
                count(&counts.flushes),
            ),
            Reading::counter(
                "binnacle_store_flush_errors_total",
                "Flushes that failed and are tried again",
                count(&counts.flush_errors),
            ),
            Reading::counter("binnacle_store_merges_total", "Merges of parts", count(&counts.merges)),
            Reading::counter(
                "binnacle_store_parts_expired_total",
                "Parts that retention removed",
                count(&counts.parts_expired),
            ),
            Reading::counter(
                "binnacle_store_series_deletions_total",
                "Calls that deleted series",
                count(&counts.series_deletions),
            ),
            Reading::counter(
                "binnacle_store_log_deletions_total",
                "Deletions of log lines that were asked for",
                count(&counts.log_deletions),
            ),
            Reading::counter(
                "binnacle_store_damaged_reads_total",
                "Reads that met a part that cannot be read",
                count(&counts.damaged_parts),
            ),
        ];
        let (exemplars, exemplar_bytes) = {
            let book = self.exemplars.lock();
            (book.len(), book.bytes())
        };
        readings.extend([
            Reading::gauge("binnacle_store_exemplars", "Exemplars kept", exemplars as f64),
            Reading::gauge(
                "binnacle_store_exemplar_bytes",
                "Bytes of exemplars in memory, at most a fixed number",
                exemplar_bytes as f64,
            ),
            Reading::gauge(
                "binnacle_store_decoded_page_bytes",
                "Bytes of decoded pages kept for the next query, at most a fixed number",
                self.objects.decoded.bytes() as f64,
            ),
        ]);
        let state = self.state.read();
        let tombstones: usize = state.tombstones.values().map(Vec::len).sum();
        readings.push(Reading::gauge(
            "binnacle_store_tombstones",
            "Deletions that are not carried out on disk yet",
            tombstones as f64,
        ));
        let waiting = state.log_deletions.values().flatten().filter(|deletion| !deletion.processed).count();
        readings.push(Reading::gauge(
            "binnacle_store_log_deletions_waiting",
            "Deletions of log lines that are not carried out on disk yet",
            waiting as f64,
        ));
        for signal in Signal::ALL {
            let parts = || state.parts.iter().filter(|((_, of), _)| *of == signal).flat_map(|(_, list)| list);
            let of = |reading: Reading| reading.with("signal", signal.as_str());
            readings.push(of(Reading::gauge(
                "binnacle_store_parts",
                "Parts on disk",
                parts().count() as f64,
            )));
            let bytes: i64 = parts().map(|part| part.meta.bytes).sum();
            readings.push(of(Reading::gauge(
                "binnacle_store_parts_bytes",
                "Bytes of parts on disk",
                bytes as f64,
            )));
            let rows: i64 = parts().map(|part| part.meta.rows).sum();
            readings.push(of(Reading::gauge("binnacle_store_parts_rows", "Records in parts", rows as f64)));
        }
        let active: usize = self.active.lock().values().map(|active| active.lock().len()).sum();
        readings.push(Reading::gauge(
            "binnacle_store_active_series",
            "Series with a sample in the last 10 to 20 minutes",
            active as f64,
        ));
        let series: usize = state.tenants.values().map(|tables| tables.metrics.read().series_count()).sum();
        readings.push(Reading::gauge(
            "binnacle_store_head_series",
            "Series with samples in memory",
            series as f64,
        ));
        readings
    }
}
