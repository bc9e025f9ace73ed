//! The files under `deploy/` say only what this binary understands, and fit one another.

use super::{Cli, Flags};
use clap::{CommandFactory, Parser};
use serde_yaml_ng::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn documents(path: &str) -> Vec<Value> {
    serde_yaml_ng::Deserializer::from_str(&read(path))
        .map(|document| serde::Deserialize::deserialize(document).unwrap_or_else(|e| panic!("{path}: {e}")))
        .collect()
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_sequence().unwrap_or_else(|| panic!("a list is expected: {value:?}"));
    list.iter().map(|item| item.as_str().unwrap_or_else(|| panic!("a text: {item:?}")).to_owned()).collect()
}

/// What follows the program's name is a command line that starts.
fn assert_parses(place: &str, arguments: &[String]) {
    let line = std::iter::once("binnacle".to_owned()).chain(arguments.iter().cloned());
    if let Err(wrong) = Cli::try_parse_from(line) {
        panic!("{place}: binnacle {}: {wrong}", arguments.join(" "));
    }
}

/// The environment variables that a command reads.
fn variables_of(command: &str) -> BTreeSet<String> {
    let cli = Cli::command();
    let command = cli.find_subcommand(command).unwrap_or_else(|| panic!("no command {command}"));
    command.get_arguments().filter_map(|a| a.get_env()?.to_str().map(str::to_owned)).collect()
}

fn assert_known(place: &str, command: &str, variable: &str) {
    let known = variables_of(command);
    assert!(known.contains(variable), "{place}: binnacle {command} reads no {variable}; it reads {known:?}");
}

#[test]
fn the_image_starts_what_the_binary_knows() {
    let text = read("deploy/Dockerfile");
    let of = |word: &str| {
        let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(word)).collect();
        lines.last().unwrap_or_else(|| panic!("no {word}")).trim().to_owned()
    };
    let list = |word: &str| serde_json::from_str::<Vec<String>>(&of(word)).unwrap();
    assert_eq!(list("ENTRYPOINT"), ["/usr/local/bin/binnacle"]);
    assert_parses("Dockerfile", &list("CMD"));
    let user = of("USER");
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user} is not a plain user");
    for line in text.lines().filter_map(|line| line.strip_prefix("ENV ")) {
        let (variable, _) = line.split_once('=').unwrap();
        assert_known("Dockerfile", "up", variable);
    }
    // What is copied by name is there.
    for line in text.lines().filter(|line| line.starts_with("COPY dashboards")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        for path in &words[1..words.len() - 1] {
            assert!(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "{path}");
        }
    }
}

#[test]
fn manifests_start_what_the_binary_knows_with_the_least_privilege() {
    let kustomization = &documents("deploy/kubernetes/kustomization.yaml")[0];
    let mut started = BTreeSet::new();
    for file in texts(&kustomization["resources"]) {
        for document in documents(&format!("deploy/kubernetes/{file}")) {
            let place =
                format!("{file}: {} {}", text(&document["kind"]), text(&document["metadata"]["name"]));
            if let Some(toml) = document["data"]["binnacle.toml"].as_str() {
                Flags::from_toml(toml).unwrap_or_else(|e| panic!("{place}: {e:#}"));
            }
            let pod = &document["spec"]["template"];
            if !pod.is_mapping() {
                continue;
            }
            assert_eq!(document["spec"]["selector"]["matchLabels"], pod["metadata"]["labels"], "{place}");
            assert_volumes_fit(&place, &document);
            for container in pod["spec"]["containers"].as_sequence().unwrap() {
                let arguments = texts(&container["args"]);
                assert_parses(&place, &arguments);
                started.insert(arguments[0].clone());
                for entry in container["env"].as_sequence().into_iter().flatten() {
                    let name = text(&entry["name"]);
                    if name.starts_with("BINNACLE_") {
                        assert_known(&place, &arguments[0], &name);
                    }
                }
                let context = &container["securityContext"];
                assert_eq!(context["allowPrivilegeEscalation"], Value::Bool(false), "{place}");
                assert_eq!(context["readOnlyRootFilesystem"], Value::Bool(true), "{place}");
                assert_eq!(texts(&context["capabilities"]["drop"]), ["ALL"], "{place}");
                assert_ports_fit(&place, container);
            }
        }
    }
    assert_eq!(started, BTreeSet::from(["agent".to_owned(), "up".to_owned()]));
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Every mount has its volume, and none lies below another that cannot be written to: its folder could not be made.
fn assert_volumes_fit(place: &str, document: &Value) {
    let pod = &document["spec"]["template"]["spec"];
    let names = |list: &Value, name: &dyn Fn(&Value) -> String| -> BTreeSet<String> {
        list.as_sequence().into_iter().flatten().map(name).collect()
    };
    let mut volumes = names(&pod["volumes"], &|v| text(&v["name"]));
    volumes.extend(names(&document["spec"]["volumeClaimTemplates"], &|v| text(&v["metadata"]["name"])));
    for container in pod["containers"].as_sequence().unwrap() {
        let mounts = container["volumeMounts"].as_sequence().unwrap();
        for mount in mounts {
            assert!(volumes.contains(&text(&mount["name"])), "{place}: no volume {:?}", mount["name"]);
            let path = text(&mount["mountPath"]);
            for other in mounts.iter().filter(|other| other["readOnly"] == Value::Bool(true)) {
                let above = format!("{}/", text(&other["mountPath"]));
                assert!(!path.starts_with(&above), "{place}: {path} lies in the read-only {above}");
            }
        }
    }
}

/// Probes name ports of the container.
fn assert_ports_fit(place: &str, container: &Value) {
    let ports: BTreeMap<String, u64> = container["ports"]
        .as_sequence()
        .into_iter()
        .flatten()
        .map(|port| (text(&port["name"]), port["containerPort"].as_u64().unwrap()))
        .collect();
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let get = &container[probe]["httpGet"];
        if let Some(name) = get["port"].as_str() {
            assert!(ports.contains_key(name), "{place}: {probe} asks port {name}, known are {ports:?}");
            assert!(["/health/live", "/health/ready"].contains(&text(&get["path"]).as_str()), "{place}");
        }
    }
}

#[test]
fn the_unit_starts_what_the_binary_knows() {
    let unit = read("deploy/systemd/binnacle.service");
    let of = |key: &str| -> Vec<String> {
        unit.lines().filter_map(|line| line.strip_prefix(key)).map(str::to_owned).collect()
    };
    let [start] = of("ExecStart=").try_into().unwrap();
    let words: Vec<String> = start.split_whitespace().map(str::to_owned).collect();
    assert_eq!(words[0], "/usr/local/bin/binnacle");
    assert_parses("binnacle.service", &words[1..]);
    for variable in of("Environment=") {
        assert_known("binnacle.service", &words[1], variable.split_once('=').unwrap().0);
    }
    // Also with what is only there to be switched on.
    let toml = read("deploy/systemd/binnacle.toml");
    Flags::from_toml(&toml).unwrap();
    let switched_on: Vec<&str> = toml
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|l| l.contains(" = ")).unwrap_or(line))
        .collect();
    assert!(!Flags::from_toml(&switched_on.join("\n")).unwrap().webhook.is_empty());
}

/// Every source that a dashboard names is provisioned, or a variable.
#[test]
fn dashboards_find_their_data_sources_in_grafana() {
    let provisioned = &documents("deploy/grafana/provisioning/datasources/binnacle.yaml")[0];
    let sources: BTreeMap<String, String> = provisioned["datasources"]
        .as_sequence()
        .unwrap()
        .iter()
        .map(|source| (text(&source["uid"]), text(&source["type"])))
        .collect();
    let kinds: BTreeSet<&str> = sources.values().map(String::as_str).collect();
    assert!(kinds.is_superset(&BTreeSet::from(["prometheus", "loki", "tempo"])), "{kinds:?}");
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("dashboards/grafana");
    let mut dashboards = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let dashboard: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        dashboards += 1;
        let variables: BTreeMap<&str, &str> = dashboard["templating"]["list"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|variable| variable["type"] == "datasource")
            .filter_map(|variable| Some((variable["name"].as_str()?, variable["query"].as_str()?)))
            .collect();
        let mut wrong = vec![];
        each_source(&dashboard, &mut |kind, uid| {
            let fits = match uid.strip_prefix('$').map(|name| name.trim_matches(['{', '}'])) {
                Some(name) => variables.get(name).is_some_and(|query| *query == kind && kinds.contains(kind)),
                None => sources.get(uid).is_some_and(|known| known == kind) || uid == "-- Grafana --",
            };
            if !fits {
                wrong.push(format!("{kind} {uid}"));
            }
        });
        assert_eq!(wrong, Vec::<String>::new(), "{}", path.display());
    }
    assert!(dashboards >= 4, "{dashboards}");
}

fn each_source(value: &serde_json::Value, see: &mut dyn FnMut(&str, &str)) {
    match value {
        serde_json::Value::Object(fields) => {
            if let Some(source) = fields.get("datasource")
                && let (Some(kind), Some(uid)) = (source["type"].as_str(), source["uid"].as_str())
            {
                see(kind, uid);
            }
            fields.values().for_each(|field| each_source(field, see));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| each_source(item, see)),
        _ => {}
    }
}
