"""The pods: what they use of what they were given, and what the cluster did to them."""

from grafana import Dashboard, Panel, Query, Row

PODS = 'namespace=~"$namespace",container=~"gateway|jobs|generator"'
"""The services' containers, as kubelets and kube-state-metrics name them. Neither knows the release."""
OURS = 'job=~"gateway|jobs|generator"'
"""What every process exports, ours only: the chart's monitors name the job by the component."""
NAMES = 'namespace=~"$namespace",deployment=~".*-(gateway|jobs|generator)"'


def _usage(usage: str, resource: str) -> list[Query]:
    """Use of a resource by container, the largest pod's, with what is requested and where the limit is."""
    return [
        Query(f"max by (container) ({usage})", "{{container}}: used"),
        Query(
            f'max by (container) (kube_pod_container_resource_requests{{{PODS},resource="{resource}"}})', "{{container}}: requested"
        ),
        Query(f'max by (container) (kube_pod_container_resource_limits{{{PODS},resource="{resource}"}})', "{{container}}: limit"),
    ]


DASHBOARD = Dashboard(
    "kubernetes",
    "Kubernetes",
    "Pods of the namespace, by kubelets (cAdvisor) and kube-state-metrics, which know nothing of releases.",
    [
        Row(
            "Replicas",
            [
                Panel(
                    "Ready and wanted",
                    "Replicas of each Deployment. Good: as many ready as wanted.",
                    "short",
                    [
                        Query(
                            f"sum by (deployment) (kube_deployment_status_replicas_available{{{NAMES}}})",
                            "{{deployment}}: available",
                        ),
                        Query(f"sum by (deployment) (kube_deployment_spec_replicas{{{NAMES}}})", "{{deployment}}: wanted"),
                    ],
                ),
                Panel(
                    "Autoscaling",
                    "Replicas that an autoscaler (an HPA, or KEDA's) has and wants, and its most. Good: below the most.",
                    "short",
                    [
                        Query(
                            f'max by (horizontalpodautoscaler) (kube_horizontalpodautoscaler_{kind}{{namespace=~"$namespace"}})',
                            f"{{{{horizontalpodautoscaler}}}}: {name}",
                        )
                        for kind, name in (
                            ("status_current_replicas", "has"),
                            ("status_desired_replicas", "wants"),
                            ("spec_max_replicas", "most"),
                        )
                    ],
                ),
                Panel(
                    "Restarts in an hour",
                    "Containers that were started again. Good: 0.",
                    "short",
                    [
                        Query(
                            f"sum by (pod) (increase(kube_pod_container_status_restarts_total{{{PODS}}}[1h]))",
                            "{{pod}}",
                        )
                    ],
                    limits=(1, 3),
                ),
                Panel(
                    "Why containers ended last",
                    "Containers by the reason of their last end. Good: Completed; OOMKilled asks for more memory, or "
                    "for fewer slots.",
                    "short",
                    [
                        Query(
                            f"sum by (container, reason) (kube_pod_container_status_last_terminated_reason{{{PODS}}})",
                            "{{container}}: {{reason}}",
                        )
                    ],
                ),
            ],
        ),
        Row(
            "Resources",
            [
                Panel(
                    "CPU of the busiest pod",
                    "Cores. Good: near the request. One process uses one core at most: beyond that, add replicas.",
                    "none",
                    _usage(f"sum by (pod, container) (rate(container_cpu_usage_seconds_total{{{PODS}}}[$__rate_interval]))", "cpu"),
                ),
                Panel(
                    "Memory of the largest pod",
                    "Working set, of which a limit counts. Good: steady, below the request.",
                    "bytes",
                    _usage(f"container_memory_working_set_bytes{{{PODS}}}", "memory"),
                ),
                Panel(
                    "CPU throttled",
                    "Share of the periods in which a container was held back by its CPU limit. Good: 0; the chart "
                    "sets no CPU limit.",
                    "percentunit",
                    [
                        Query(
                            f"sum by (container) (rate(container_cpu_cfs_throttled_periods_total{{{PODS}}}[$__rate_interval])) "
                            f"/ sum by (container) (rate(container_cpu_cfs_periods_total{{{PODS}}}[$__rate_interval]))",
                            "{{container}}",
                        )
                    ],
                    limits=(0.05, 0.25),
                ),
            ],
        ),
        Row(
            "Processes",
            [
                Panel(
                    "Memory",
                    "Resident memory of each process, as it says itself. Good: steady.",
                    "bytes",
                    [Query(f"process_resident_memory_bytes{{SCOPE,{OURS}}}", "{{instance}}")],
                ),
                Panel(
                    "CPU",
                    "Cores that each process uses, as it says itself. Good: below 0.8; a process uses one core at most.",
                    "none",
                    [Query(f"rate(process_cpu_seconds_total{{SCOPE,{OURS}}}[$__rate_interval])", "{{instance}}")],
                    limits=(0.8, 0.95),
                ),
                Panel(
                    "Open files",
                    "Share of the file descriptors that each process may have. Good: below half.",
                    "percentunit",
                    [Query(f"process_open_fds{{SCOPE,{OURS}}} / process_max_fds{{SCOPE,{OURS}}}", "{{instance}}")],
                    limits=(0.5, 0.8),
                ),
                Panel(
                    "Versions",
                    "What runs, by component and version. Good: one version, but during an upgrade.",
                    "short",
                    [Query("sum by (component, version) (mediagen_build_info{SCOPE})", "{{component}} {{version}}")],
                ),
            ],
        ),
    ],
)
