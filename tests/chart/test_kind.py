"""What `make kind` uses: values that the chart takes, and a port that leads to the gateway."""

import yaml

from chart.rendering import MAJORS, render
from services import ROOT

KIND = ROOT / "deploy" / "kind"


def test_its_values_are_rendered_by_both_helms_and_ask_for_little():
    for major in MAJORS:
        rendered = render(KIND / "values.yaml", major=major)
        for name, one in rendered.containers():
            if not name.startswith("Pod/"):
                assert one["resources"]["requests"]["cpu"] == "10m", name


def test_its_port_leads_to_the_gateway():
    cluster = yaml.safe_load((KIND / "cluster.yaml").read_text())
    (mapping,) = cluster["nodes"][0]["extraPortMappings"]
    (port,) = render(KIND / "values.yaml")["Service/gateway"]["spec"]["ports"]
    assert (mapping["containerPort"], port["targetPort"]) == (port["nodePort"], "http")
    assert f"http://127.0.0.1:{mapping['hostPort']}" in (KIND / "up.py").read_text()


def test_its_namespace_is_the_one_of_the_release_and_restricted():
    namespace = yaml.safe_load((KIND / "namespace.yaml").read_text())["metadata"]
    assert namespace == {"name": "mediagen", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    cluster = yaml.safe_load((KIND / "cluster.yaml").read_text())
    assert cluster["name"] == namespace["name"]
