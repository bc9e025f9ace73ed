//! TLS on the listeners of HTTP, OTLP and PostgreSQL, as callers with one authority meet it.

use crate::server::{Server, command, eventually, program, signal};
use crate::shippers::run;
use std::path::Path;
use std::process::Command;

/// An authority, and a certificate for `localhost` that it signed: `ca.pem`, `cert.pem`, `key.pem`.
pub fn certificates(dir: &Path) {
    let openssl = |arguments: &[&str]| run(Command::new(program("openssl")).args(arguments).current_dir(dir));
    let request = ["req", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
    openssl(
        &[&request[..], &["-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test CA"]].concat(),
    );
    openssl(&[&request[..4], &["-keyout", "key.pem", "-out", "csr.pem", "-subj", "/CN=localhost"]].concat());
    std::fs::write(dir.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
    let signed = ["x509", "-req", "-in", "csr.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
    openssl(&[&signed[..], &["-out", "cert.pem", "-days", "2", "-extfile", "names"]].concat());
}

/// What `binnacle sql` says as a caller that trusts the authority alone.
fn asked(server: &Server, authority: &str) -> Result<String, String> {
    let port = server.address("http").rsplit_once(':').unwrap().1;
    let output = Command::new(env!("CARGO_BIN_EXE_binnacle"))
        .args(["sql", "--format", "csv", "--server", &format!("https://localhost:{port}")])
        .arg("select count(*) > 0 as any from metrics where name = 'node_load1'")
        .env("SSL_CERT_FILE", authority)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// What `psql` answers to a statement, and whether it was let in.
fn psql(server: &Server, tls: &str, statement: &str) -> (bool, String) {
    let port = server.address("pg").rsplit_once(':').unwrap().1;
    let to = format!("host=localhost port={port} user=binnacle dbname=default {tls}");
    let output = Command::new(program("psql")).args(["-XAtw", &to, "-c", statement]).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).trim().to_owned())
}

#[test]
fn listeners_speak_tls_alone() {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (cert, key, ca) = (file("cert.pem"), file("key.pem"), file("ca.pem"));
    let pem = ["--tls-cert", &cert, "--tls-key", &key];
    let own = ["--no-web", "--collect-interval", "1s", "--self-telemetry", "self"];
    let server = Server::up(&[&pem[..], &own[..]].concat());

    // What runs in the process reaches it, and so does who trusts the authority; nobody else does.
    eventually("metrics of this machine", || {
        asked(&server, &ca).is_ok_and(|said| said.contains("true")).then_some(())
    });
    assert!(server.http.get(server.url("/health/ready")).send().is_err(), "it speaks TLS alone");
    let other = tempfile::tempdir().unwrap();
    certificates(other.path());
    let stranger = other.path().join("ca.pem").display().to_string();
    assert!(asked(&server, &stranger).unwrap_err().contains("certificate"));

    let trusting = format!("sslmode=verify-full sslrootcert={ca}");
    assert_eq!(psql(&server, &trusting, "select 41 + 1"), (true, "42".to_owned()));
    let (let_in, said) = psql(&server, "sslmode=disable", "select 1");
    assert!(!let_in && said.contains("sslmode=require"), "{said}");

    // An agent of another process, by HTTPS.
    let away = tempfile::tempdir().unwrap();
    let port = server.address("http").rsplit_once(':').unwrap().1;
    let mut agent = command("agent", away.path());
    agent.args(["--ingest", &format!("https://localhost:{port}"), "--cluster-name", "away"]);
    let _agent =
        Server::watch(agent.args(["--collect-interval", "1s"]).env("SSL_CERT_FILE", &ca), away.path());
    eventually("the agent's metrics", || {
        let statement = "select count(*) > 100 from series where labels['cluster'] = 'away'";
        (psql(&server, &trusting, statement).1 == "t").then_some(())
    });

    // A renewed certificate is shown after SIGHUP.
    for name in ["cert.pem", "key.pem"] {
        std::fs::copy(other.path().join(name), dir.path().join(name)).unwrap();
    }
    signal(server.pid(), "HUP");
    eventually("the renewed certificate", || asked(&server, &stranger).ok());
    assert!(asked(&server, &ca).is_err());

    // And one that is renewed without it, as in a secret of Kubernetes.
    certificates(other.path());
    for name in ["cert.pem", "key.pem"] {
        std::fs::copy(other.path().join(name), dir.path().join(name)).unwrap();
    }
    eventually("the certificate after that", || asked(&server, &stranger).ok());
}

/// What an own command says to a server over TLS, by its flags alone.
fn own(server: &Server, command: &[&str], pem: &[&str]) -> Result<String, String> {
    let port = server.address("http").rsplit_once(':').unwrap().1;
    let output = Command::new(env!("CARGO_BIN_EXE_binnacle"))
        .args(command)
        .args(["--server", &format!("https://localhost:{port}")])
        .args(pem)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// A server that asks its callers for a certificate, and every own client that calls one.
#[test]
fn own_clients_show_a_certificate() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificates(dir.path());
    certificates(other.path());
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (cert, key, ca) = (file("cert.pem"), file("key.pem"), file("ca.pem"));
    let pem = ["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &ca];
    let server = Server::up(&[&pem[..], &["--no-web", "--collect-interval", "1s"]].concat());
    let shown = ["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key];

    let count =
        ["sql", "--format", "csv", "select count(*) > 0 as any from metrics where name = 'node_load1'"];
    eventually("metrics of this machine", || {
        own(&server, &count, &shown).is_ok_and(|said| said.contains("true")).then_some(())
    });
    assert!(own(&server, &["promql", "1 + 1"], &shown).unwrap().contains('2'));
    assert!(
        own(&server, &["agent", "top", "--once", "--every", "0.2"], &shown).unwrap().contains("of a core")
    );
    let without = own(&server, &["promql", "1"], &["--tls-ca", &ca]).unwrap_err();
    assert!(without.contains("--tls-cert"), "{without}");
    let stranger = other.path().join("ca.pem").display().to_string();
    let unknown = own(&server, &["promql", "1"], &["--tls-ca", &stranger]).unwrap_err();
    assert!(unknown.contains("--tls-ca"), "{unknown}");
    let half = own(&server, &["promql", "1"], &["--tls-cert", &cert]).unwrap_err();
    assert!(half.contains("--tls-cert needs --tls-key"), "{half}");

    // An agent of another process begins with a certificate that the server does not know, and is given another.
    let (away, own_pem) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let give = |from: &Path| {
        for name in ["key.pem", "cert.pem"] {
            let (new, place) = (own_pem.path().join("new"), own_pem.path().join(name));
            std::fs::copy(from.join(name), &new).unwrap();
            std::fs::rename(new, place).unwrap();
        }
    };
    give(other.path());
    let own_file = |name: &str| own_pem.path().join(name).display().to_string();
    let port = server.address("http").rsplit_once(':').unwrap().1;
    let mut agent = command("agent", away.path());
    agent.args(["--ingest", &format!("https://localhost:{port}"), "--cluster-name", "away"]);
    agent.args(["--ingest-tls-ca", &ca, "--ingest-tls-cert", &own_file("cert.pem")]);
    agent.args(["--ingest-tls-key", &own_file("key.pem"), "--collect-interval", "1s"]);
    let agent = Server::watch(&mut agent, away.path());
    eventually("refusals", || {
        let text = agent.get("/metrics").text().unwrap();
        let failures = text.lines().find(|line| line.starts_with("binnacle_agent_send_failures_total"))?;
        (failures.rsplit(' ').next()?.parse::<f64>().ok()? > 0.0).then_some(())
    });
    give(dir.path());
    let arrived = [
        "sql",
        "--format",
        "csv",
        "select count(*) > 100 as many from series where labels['cluster'] = 'away'",
    ];
    eventually("the agent's metrics", || {
        own(&server, &arrived, &shown).is_ok_and(|said| said.contains("true")).then_some(())
    });
}
