//! What the jobs are called of metrics that no configuration names: rules and dashboards select by them. The public sets
//! agree on `kube-state-metrics`, `kubelet`, `kube-scheduler` and the like, and on these three they do not.

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobNames {
    pub node: String,
    pub cadvisor: String,
    pub api_server: String,
}

impl JobNames {
    /// By the set's name: `mixins` are node-mixin and kubernetes-mixin as they are (of the latter, the node's is another).
    pub fn parse(set: &str) -> Result<JobNames, String> {
        match set {
            "mixins" => Ok(JobNames::default()),
            "kube-prometheus" => Ok(JobNames::of("node-exporter", "kubelet", "apiserver")),
            other => Err(format!("{other:?} is not known; use mixins or kube-prometheus")),
        }
    }

    fn of(node: &str, cadvisor: &str, api_server: &str) -> JobNames {
        let [node, cadvisor, api_server] = [node, cadvisor, api_server].map(str::to_owned);
        JobNames { node, cadvisor, api_server }
    }
}

impl Default for JobNames {
    fn default() -> JobNames {
        JobNames::of("node", "cadvisor", "kube-apiserver")
    }
}
