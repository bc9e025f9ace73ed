//! The web page and the Grafana dashboards, embedded.
