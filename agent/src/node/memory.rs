//! Every field of /proc/meminfo, and the part of /proc/vmstat that node_exporter keeps.

use crate::host::Root;
use crate::samples::Samples;

pub fn meminfo(root: &Root, out: &mut Samples) -> Option<()> {
    for line in root.text("proc/meminfo")?.lines() {
        let Some((field, rest)) = line.split_once(':') else { continue };
        let mut words = rest.split_ascii_whitespace();
        let Some(number) = words.next().and_then(|word| word.parse::<f64>().ok()) else { continue };
        // `Active(anon)` is `Active_anon`.
        let field = field.replace('(', "_").replace(')', "");
        let (field, number) = match words.next() {
            Some("kB") => (format!("{field}_bytes"), number * 1024.0),
            _ => (field, number),
        };
        let help = format!("Memory information field {field}.");
        out.gauge(&format!("node_memory_{field}"), &help, &[], number);
    }
    Some(())
}

pub fn vmstat(root: &Root, out: &mut Samples) -> Option<()> {
    for line in root.text("proc/vmstat")?.lines() {
        let Some((field, value)) = line.split_once(' ') else { continue };
        let kept = field == "oom_kill"
            || field.starts_with("pgpg")
            || field.starts_with("pswp")
            || (field.starts_with("pg") && field.contains("fault"));
        if let (true, Ok(value)) = (kept, value.trim().parse()) {
            let help = format!("/proc/vmstat information field {field}.");
            out.untyped(&format!("node_vmstat_{field}"), &help, &[], value);
        }
    }
    Some(())
}
