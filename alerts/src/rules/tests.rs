use super::*;

#[test]
fn every_field_of_a_group_is_read() {
    let groups = parse(
        "groups:\n- name: g\n  interval: 30s\n  limit: 5\n  labels: { team: a }\n  rules:\n  - record: a:b\n    expr: sum(x)\n    labels: { n: 1 }\n  \
         - alert: Down\n    expr: up == 0\n    for: 5m\n    keep_firing_for: 1m\n    labels: { severity: page, team: b }\n    annotations: { summary: '{{ $labels.job }} is down' }\n",
    )
    .unwrap();
    let group = &groups[0];
    assert_eq!((group.interval, group.limit), (Some(Duration::from_secs(30)), 5));
    assert_eq!(group.rules[0].labels, [("n".into(), "1".into()), ("team".into(), "a".into())]);
    assert_eq!(group.rules[1].labels, [("severity".into(), "page".into()), ("team".into(), "b".into())]);
    let Kind::Alert { hold, keep_firing, annotations, .. } = &group.rules[1].kind else { panic!() };
    assert_eq!((hold.as_secs(), keep_firing.as_secs(), annotations.len()), (300, 60, 1));
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let told =
        |text: &str| -> Vec<String> { parse(text).unwrap_err().iter().map(ToString::to_string).collect() };
    let all = told(
        "groups:\n- name: g\n  intervall: 5s\n  rules:\n  - record: a b\n    expr: x\n    for: 5m\n  - alert: A\n    expr: y\n    for: soon\n    annotations: { s: '{{ $labels.job ' }\n  - expr: z\n  - record: r\n",
    );
    for part in [
        "3:3",
        "intervall",
        "5:13",
        "metric name",
        "7:10",
        "10:10",
        "soon",
        "template",
        "`record` or `alert`",
        "`expr` is missing",
    ] {
        assert!(all.iter().any(|mistake| mistake.contains(part)), "{part}: {all:#?}");
    }
    assert!(told("groups:\n- name: g\n- name: g\n")[0].contains("twice"));
    assert!(told("groups:\n- name: g\n---\ngroups:\n- name: g\n")[0].contains("twice"));
    assert!(told("rules: []\n")[0].contains("unknown field"));
    assert!(
        told("groups:\n- name: g\n  rules:\n  - {alert: A, record: b, expr: c}\n")[0].contains("not both")
    );
    assert!(told("groups:\n- name: g\n  rules:\n  - {alert: '', expr: c}\n")[0].contains("`alert` is empty"));
    assert!(told("groups: 5")[0].contains("list"));
    assert!(
        told("groups:\n- name: g\n  rules:\n  - {alert: A, expr: c, labels: {__name__: x}}\n")[0]
            .contains("__name__")
    );
}

#[test]
fn a_kubernetes_manifest_is_read() {
    let groups = parse(
        "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {name: x}\nspec:\n  groups:\n  - name: k\n    rules: [{record: a, expr: b}]\n",
    )
    .unwrap();
    assert_eq!(groups[0].rules.len(), 1);
}

#[test]
fn an_empty_file_has_no_groups() {
    assert_eq!(parse("").unwrap(), []);
    assert_eq!(parse("{}\n").unwrap(), []);
}
