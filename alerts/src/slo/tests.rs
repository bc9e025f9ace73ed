use super::*;
use crate::rules::Kind;
use std::collections::HashSet;

fn parse(text: &str) -> Result<Vec<Slo>, Vec<String>> {
    let file = File::parse(text).unwrap();
    let found = read(&file, "slo.yaml");
    if file.is_right() {
        Ok(found.slos)
    } else {
        Err(file.mistakes().iter().map(ToString::to_string).collect())
    }
}

fn slo(indicator: &str, objective: &str) -> String {
    format!(
        "apiVersion: openslo/v1\nkind: SLO\nmetadata: {{ name: shop }}\nspec:\n  service: web\n  budgetingMethod: Occurrences\n  \
         timeWindow: [{{ duration: 30d, isRolling: true }}]\n  indicator: {{ spec: {{ {indicator} }} }}\n  objectives: [{{ {objective} }}]\n"
    )
}

fn metric(query: &str) -> String {
    format!("{{ metricSource: {{ type: Prometheus, spec: {{ query: '{query}' }} }} }}")
}

fn availability() -> Slo {
    let ratio = format!(
        "ratioMetric: {{ counter: true, good: {}, total: {} }}",
        metric("ok_total"),
        metric("all_total")
    );
    parse(&slo(&ratio, "target: 0.99")).unwrap().remove(0)
}

fn exprs(slo: &Slo) -> Vec<(String, String)> {
    let (group, _) = rules::group(slo, Duration::from_secs(60));
    group.rules.iter().map(|rule| (rule.name().to_owned(), rule.expr.clone())).collect()
}

#[test]
fn availability_becomes_rules_and_four_alerts() {
    let slo = availability();
    let all = exprs(&slo);
    let find =
        |name: &str| all.iter().find(|(known, _)| known == name).map(|(_, expr)| expr.as_str()).unwrap();
    let total = "sum(rate(all_total[5m]))";
    assert_eq!(find("slo:events_total:rate5m"), total);
    assert_eq!(find("slo:events_bad:rate5m"), format!("{total} - (sum(rate(ok_total[5m])) or {total} * 0)"));
    assert!(find("slo:sli_error:ratio_rate1h").contains("ok_total[1h]"));
    assert_eq!(
        find("slo:sli_error:ratio_rate3d"),
        "sum_over_time(slo:events_bad:rate5m{slo=\"shop\",slo_service=\"web\"}[3d]) / \
         (sum_over_time(slo:events_total:rate5m{slo=\"shop\",slo_service=\"web\"}[3d]) > 0)"
    );
    assert!(find("slo:sli_error:ratio_rate30d").contains("[30d]"));
    let (group, recorded) = rules::group(&slo, Duration::from_secs(60));
    assert_eq!(group.rules[recorded.whole].name(), "slo:sli_error:ratio_rate30d");
    let alerts: Vec<&crate::rules::Rule> =
        group.rules.iter().filter(|rule| matches!(rule.kind, Kind::Alert { .. })).collect();
    assert_eq!(alerts.len(), 4);
    assert_eq!(
        alerts[0].expr,
        "slo:sli_error:ratio_rate5m{slo=\"shop\",slo_service=\"web\"} > (14.4 * 0.01) and ignoring(slo_window) \
         slo:sli_error:ratio_rate1h{slo=\"shop\",slo_service=\"web\"} > (14.4 * 0.01)"
    );
    for (alert, part) in alerts.iter().zip(["_rate1h{", "_rate6h{", "_rate1d{", "_rate3d{"]) {
        assert!(alert.expr.contains(part), "{}", alert.expr);
    }
    let names: HashSet<_> = group.rules.iter().map(|rule| rule.identity()).collect();
    assert_eq!(names.len(), group.rules.len(), "no rule twice");
}

#[test]
fn a_threshold_is_a_share_of_time() {
    let text =
        slo(&format!("thresholdMetric: {}", metric("latency_p99")), "op: lte, value: 0.5, targetPercent: 99");
    let slo = parse(&text).unwrap().remove(0);
    assert_eq!(slo.target, 0.99);
    let all = exprs(&slo);
    assert_eq!(all[0].1, "1 - avg(((latency_p99) == (latency_p99)) <= bool 0.5)");
    assert!(all[1].1.starts_with("avg_over_time(slo:sli_error:ratio_now{"));
}

#[test]
fn slices_count_as_wholes() {
    let text = slo(
        &format!("ratioMetric: {{ bad: {}, total: {} }}", metric("bad_total"), metric("all_total")),
        "target: 0.95, timeSliceTarget: 0.9, timeSliceWindow: 1m",
    )
    .replace("Occurrences", "Timeslices");
    let all = exprs(&parse(&text).unwrap()[0]);
    assert!(all[0].1.ends_with("> bool 0.1") && all[0].1.contains("bad_total[1m]"), "{}", all[0].1);
}

#[test]
fn a_shared_indicator_is_found_and_other_kinds_are_left_alone() {
    let text = format!(
        "apiVersion: openslo/v1\nkind: Service\nmetadata: {{ name: web }}\nspec: {{}}\n---\napiVersion: openslo/v1\nkind: SLI\nmetadata: {{ name: ok }}\nspec:\n  \
         ratioMetric: {{ rawType: success, raw: {} }}\n---\n{}",
        metric("ratio"),
        slo("", "target: 0.9").replace("indicator: { spec: {  } }", "indicatorRef: ok")
    );
    let slos = parse(&text).unwrap();
    assert_eq!(slos[0].indicator, Indicator::Share { query: "ratio".into(), of_good: true });
}

#[test]
fn every_mistake_has_its_place() {
    let good = format!("thresholdMetric: {}", metric("x"));
    let told = |text: &str, part: &str| {
        let all = parse(text).expect_err(text);
        assert!(all.iter().any(|mistake| mistake.contains(part)), "{part}: {all:?}");
    };
    told(&slo(&good, "op: lte, value: 1, target: 1.0"), "less than 1");
    told(&slo(&good, "op: lte, value: 1, target: 0.9999999999"), "no budget");
    told(&slo(&good, "op: lte, value: 1"), "`target` is missing");
    told(&slo(&good, "op: about, value: 1, target: 0.9"), "lt, lte");
    told(&slo("", "target: 0.9"), "ratioMetric");
    told(&slo(&good, "op: lte, value: 1, target: 0.9").replace("30d", "forever"), "7:28");
    told(&slo(&good, "op: lte, value: 1, target: 0.9").replace("openslo/v1", "openslo/v0"), "1:13");
    told(
        &slo(&good, "op: lte, value: 1, target: 0.9")
            .replace("isRolling: true", "calendar: { startTime: x }"),
        "calendar",
    );
    told(&slo(&good.replace("Prometheus", "Datadog"), "op: lte, value: 1, target: 0.9"), "Datadog");
    let ratio = format!("ratioMetric: {{ good: {}, total: {} }}", metric("a + b"), metric("c"));
    told(&slo(&ratio, "target: 0.9"), "{{.window}}");
    told("apiVersion: openslo/v1\nkind: Wish\n", "kind of OpenSLO");
}

#[test]
fn a_name_with_quotes_stays_a_name() {
    let text = slo(&format!("thresholdMetric: {}", metric("x")), "op: lte, value: 1, target: 0.9");
    let slos = parse(&text.replace("name: shop", "name: 'sh\"o\\p é'")).unwrap();
    let all = exprs(&slos[0]);
    assert!(all[1].1.contains(r#"{slo="sh\"o\\p é",slo_service="web"}"#), "{}", all[1].1);
}

#[test]
fn objectives_of_one_slo_are_told_apart() {
    let text = slo(
        &format!("thresholdMetric: {}", metric("x")),
        "op: lte, value: 1, target: 0.9, displayName: fast }, { op: lte, value: 5, target: 0.99",
    );
    let slos = parse(&text).unwrap();
    assert_eq!((slos[0].objective.as_str(), slos[1].objective.as_str()), ("fast", "2"));
    assert_ne!(rules::group(&slos[0], Duration::ZERO).0.name, rules::group(&slos[1], Duration::ZERO).0.name);
}
