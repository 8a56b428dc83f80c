"""Values that cannot work are refused, each with the sentence that says what to set; and all of them at once."""

import pytest

from chart.rendering import MAJORS, VALUES, Refused, render

DEFAULT, EXTERNAL = VALUES["default"], VALUES["external"]


@pytest.mark.parametrize(
    ("base", "values", "says"),
    [
        (
            DEFAULT,
            {"simulator": {"enabled": False}},
            "name the Secret with your API token as replicate.existingSecret, or set simulator",
        ),
        (DEFAULT, {"replicate": {"existingSecret": "r"}}, "either simulator.enabled or replicate.existingSecret"),
        (
            DEFAULT,
            {"replicate": {"webhook": {"url": "https://a", "existingSecret": "r"}}},
            "replicate.webhook.url is for Replicate",
        ),
        (EXTERNAL, {"replicate": {"webhook": {"existingSecret": ""}}}, "belong together"),
        (EXTERNAL, {"replicate": {"webhook": {"url": ""}}}, "belong together"),
        (EXTERNAL, {"replicate": {"webhook": {"url": "http://a"}}}, "has to begin with https://"),
        (DEFAULT, {"postgresql": {"external": {"host": "h"}}}, "either postgresql.embedded.enabled or postgresql.external.host"),
        (
            EXTERNAL,
            {"postgresql": {"external": {"host": ""}}},
            "Set postgresql.external.host and postgresql.external.existingSecret",
        ),
        (EXTERNAL, {"postgresql": {"external": {"existingSecret": ""}}}, "Set postgresql.external.existingSecret"),
        (DEFAULT, {"rabbitmq": {"external": {"host": "h"}}}, "either rabbitmq.embedded.enabled or rabbitmq.external.host"),
        (EXTERNAL, {"rabbitmq": {"external": {"host": ""}}}, "Set rabbitmq.external.host and rabbitmq.external.existingSecret"),
        (EXTERNAL, {"rabbitmq": {"external": {"existingSecret": ""}}}, "Set rabbitmq.external.existingSecret"),
        (DEFAULT, {"objectStorage": {"external": {"endpoint": "http://h"}}}, "either objectStorage.embedded.enabled or"),
        (EXTERNAL, {"objectStorage": {"external": {"endpoint": ""}}}, "Set objectStorage.external.endpoint and"),
        (EXTERNAL, {"objectStorage": {"external": {"existingSecret": ""}}}, "Set objectStorage.external.existingSecret"),
        (DEFAULT, {"migrations": {"mode": "hook"}}, "it cannot reach postgresql.embedded"),
        (DEFAULT, {"generator": {"keda": {"enabled": True}, "autoscaling": {"enabled": True}}}, "two autoscalers"),
        (
            DEFAULT,
            {"generator": {"keda": {"enabled": True}, "replicas": 2}},
            "generator.replicas has no effect beside an autoscaler",
        ),
        (DEFAULT, {"generator": {"autoscaling": {"enabled": True}, "replicas": 2}}, "generator.replicas has no effect"),
        (DEFAULT, {"generator": {"keda": {"minReplicas": 11}}}, "generator.keda.minReplicas is greater"),
        (DEFAULT, {"jobs": {"autoscaling": {"enabled": True, "minReplicas": 9}}}, "jobs.autoscaling.minReplicas is greater"),
        (DEFAULT, {"simulator": {"replicas": 2}}, "simulator.replicas may be 0 or 1"),
        (DEFAULT, {"ingress": {"enabled": True}}, "needs ingress.hosts"),
        (DEFAULT, {"gatewayApi": {"httpRoute": {"enabled": True}}}, "needs gatewayApi.httpRoute.parentRefs"),
        (DEFAULT, {"gatewayApi": {"grpcRoute": {"enabled": True}}}, "needs gatewayApi.grpcRoute.parentRefs"),
        (DEFAULT, {"tls": {"enabled": True}}, "tls.enabled needs tls.secretName"),
        (DEFAULT, {"tls": {"mutual": True}}, "tls.mutual is a part of TLS"),
        (DEFAULT, {"tls": {"secretName": "t"}}, "tls.secretName has no effect"),
        (DEFAULT, {"tls": {"enabled": True, "secretName": "t", "clientSecretName": "c"}}, "set tls.mutual=true"),
        (DEFAULT, {"replicate": {"url": "https://r"}}, "replicate.url has no effect"),
        (DEFAULT, {"objectStorage": {"external": {"readOnlySecret": "r"}}}, "readOnlySecret has no effect"),
        (DEFAULT, {"postgresql": {"external": {"caSecret": "c"}}}, "caSecret has no effect"),
        (
            DEFAULT,
            {"networkPolicy": {"enabled": True}, "gatewayApi": {"grpcRoute": {"enabled": True, "parentRefs": [{"name": "p"}]}}},
            "needs networkPolicy.grpcFrom",
        ),
        (DEFAULT, {"jobs": {"service": {"port": 50052}}}, "jobs.service.port cannot be 50052"),
        (DEFAULT, {"jobs": {"service": {"port": 9100}}}, "jobs.service.port cannot be 9100"),
        (DEFAULT, {"gateway": {"preStopSleepSeconds": 16}}, "gateway.terminationGracePeriodSeconds has to be at least 36"),
        (DEFAULT, {"jobs": {"terminationGracePeriodSeconds": 29}}, "jobs.terminationGracePeriodSeconds has to be at least 30"),
        (DEFAULT, {"generator": {"terminationGracePeriodSeconds": 39}}, "generator.terminationGracePeriodSeconds has to be"),
        (DEFAULT, {"customCA": {"configMap": "a", "secret": "b"}}, "either customCA.configMap or customCA.secret"),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_set(base, values, says):
    with pytest.raises(Refused) as refused:
        render(base, values)
    assert says in str(refused.value)


@pytest.mark.parametrize("major", MAJORS)
def test_without_any_value_everything_that_is_missing_is_said_at_once(major):
    with pytest.raises(Refused) as refused:
        render({}, major=major)
    for words in (
        "Nothing would generate",
        "postgresql.external.host",
        "rabbitmq.external.host",
        "objectStorage.external.endpoint",
    ):
        assert words in str(refused.value)
