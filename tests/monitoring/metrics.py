"""Which metrics there are, and which ones an expression of PromQL names."""

import re
from dataclasses import dataclass

from services import ROOT

PAGE = (ROOT / "docs" / "metrics.md").read_text().split("<!--")[1]

OWN = {
    name: (kind, frozenset(re.findall(r"`(\w+)`", labels)))
    for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", PAGE, re.MULTILINE)
}
"""What our services export, with type and labels: tests/unit/test_metrics_page.py holds the page to their registries."""

OTHERS = {
    "Prometheus": {"up"},
    "RabbitMQ (rabbitmq_prometheus)": {
        "rabbitmq_alarms_free_disk_space_watermark",
        "rabbitmq_alarms_memory_used_watermark",
        "rabbitmq_disk_space_available_bytes",
        "rabbitmq_disk_space_available_limit_bytes",
        "rabbitmq_global_messages_acknowledged_total",
        "rabbitmq_global_messages_delivered_total",
        "rabbitmq_global_messages_received_total",
        "rabbitmq_global_messages_redelivered_total",
        "rabbitmq_process_resident_memory_bytes",
        "rabbitmq_queue_messages_ready",
        "rabbitmq_queue_messages_unacked",
        "rabbitmq_resident_memory_limit_bytes",
    },
    "kube-state-metrics": {
        "kube_deployment_spec_replicas",
        "kube_deployment_status_replicas_available",
        "kube_horizontalpodautoscaler_spec_max_replicas",
        "kube_horizontalpodautoscaler_status_current_replicas",
        "kube_horizontalpodautoscaler_status_desired_replicas",
        "kube_pod_container_resource_limits",
        "kube_pod_container_resource_requests",
        "kube_pod_container_status_last_terminated_reason",
        "kube_pod_container_status_restarts_total",
    },
    "kubelet (cAdvisor)": {
        "container_cpu_cfs_periods_total",
        "container_cpu_cfs_throttled_periods_total",
        "container_cpu_usage_seconds_total",
        "container_memory_working_set_bytes",
    },
    "cert-manager": {"certmanager_certificate_expiration_timestamp_seconds"},
}
"""What dashboards and rules may ask of others."""

TARGET_LABELS = {"namespace", "release", "instance", "job"}
"""What a scrape adds to every series."""

_WORDS = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring", "group_left", "group_right", "inf", "nan"}
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_NAME = re.compile(r"(?<![\w:.$])([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?\s*(\()?")


@dataclass(frozen=True)
class Selector:
    """A metric in an expression."""

    name: str
    matchers: dict[str, str]
    """Label to value; of several matchers of one label the last."""
    text: str
    """As it is written, with its matchers."""

    @property
    def family(self) -> str:
        """The name without what a histogram adds to it."""
        short = re.sub(r"_(bucket|sum|count)$", "", self.name)
        return short if OWN.get(short, ("",))[0] == "histogram" else self.name


def selectors(expr: str) -> list[Selector]:
    """Every metric that an expression names."""
    strings: list[str] = []

    def keep(found: re.Match[str]) -> str:
        strings.append(found[0])
        return f'"{len(strings) - 1}"'

    bare = _STRING.sub(keep, expr)
    bare = re.sub(r"\[[^\]]*\]|\boffset\s+\w+", " ", bare)  # ranges
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)  # lists of labels
    found = []
    for name, braces, call in _NAME.findall(bare):
        if not call and name not in _WORDS:
            matchers = {
                label: strings[int(number)][1:-1] for label, number in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"(\d+)"', braces)
            }
            text = name + re.sub(r'"(\d+)"', lambda number: strings[int(number[1])], braces)
            found.append(Selector(name, matchers, text))
    return found


def grouping(expr: str) -> set[str]:
    """The labels that an expression groups by."""
    return {label for labels in re.findall(r"\bby\s*\(([^)]*)\)", expr) for label in re.split(r"[,\s]+", labels.strip()) if label}
