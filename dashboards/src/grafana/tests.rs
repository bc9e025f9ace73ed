use super::*;
use std::collections::HashSet;

#[test]
fn every_file_is_a_dashboard_with_a_uid_of_its_own() {
    assert_eq!(grafana().len(), TEXTS.len(), "a file of grafana/ is not JSON with uid and title");
    let uids: HashSet<&str> = grafana().iter().map(|dashboard| dashboard.uid.as_str()).collect();
    assert_eq!(uids.len(), grafana().len());
}

#[test]
fn each_of_the_four_areas_has_one() {
    let tags: HashSet<&str> =
        grafana().iter().flat_map(|dashboard| &dashboard.tags).map(String::as_str).collect();
    for area in ["infrastructure", "application", "business", "cost"] {
        assert!(tags.contains(area), "no dashboard is tagged {area}");
    }
}

/// What deploy/grafana provisions; a panel with another data source stays empty in Grafana.
const SOURCES: &[&str] =
    &["binnacle-metrics", "binnacle-logs", "binnacle-traces", "binnacle-sql", "-- Grafana --", "-- Mixed --"];

#[test]
fn panels_ask_the_provisioned_data_sources_and_do_not_overlap() {
    for dashboard in grafana() {
        let value: Value = serde_json::from_str(dashboard.json).unwrap();
        let mut taken = HashSet::new();
        for panel in value["panels"].as_array().unwrap() {
            let name = format!("{}: {}", dashboard.uid, panel["title"]);
            for target in panel["targets"].as_array().map(Vec::as_slice).unwrap_or_default() {
                let uid = target["datasource"]["uid"].as_str().unwrap_or_default();
                assert!(SOURCES.contains(&uid), "{name} asks {uid:?}");
            }
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap_or_else(|| panic!("{name}: no {key}"));
            assert!(at("x") + at("w") <= 24, "{name} is wider than the grid");
            for cell in
                (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y)))
            {
                assert!(taken.insert(cell), "{name} overlaps at {cell:?}");
            }
        }
    }
}
