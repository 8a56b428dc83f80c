"""What a generator refuses to start with, and in which words."""

import pytest

from chassis.settings import load_settings
from generator.hosts import HostPattern
from generator.settings import Settings

GIVEN = {
    "GENERATOR_WORKER_TOKEN": "t",
    "GENERATOR_AMQP_URL": "amqp://a:b@c/d",
    "GENERATOR_S3_ACCESS_KEY": "k",
    "GENERATOR_S3_SECRET_KEY": "hush",
    "GENERATOR_REPLICATE_TOKEN": "r8_hush",
}


def load(monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> Settings:
    for name, value in {**GIVEN, **{f"GENERATOR_{key.upper()}": value for key, value in changes.items()}}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    return load_settings(Settings)


def test_a_token_of_replicate_is_enough_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch)
    assert (settings.slots, str(settings.replicate_url)) == (100, "https://api.replicate.com/")
    assert settings.output_hosts == (HostPattern("replicate.delivery", None), HostPattern("*.replicate.delivery", None))
    assert "hush" not in repr(settings)


def test_a_simulator_needs_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, replicate_token=None, replicate_url="http://127.0.0.1:8090", output_hosts="127.0.0.1:8091")
    assert settings.replicate_token is None
    assert settings.output_hosts == (HostPattern("127.0.0.1", 8091),)


@pytest.mark.parametrize(
    "url", ["https://mediagen.example.com/base", "http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost"]
)
def test_webhooks_come_over_https_or_from_this_machine(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    assert str(load(monkeypatch, webhook_url=url).webhook_url).rstrip("/") == url


@pytest.mark.parametrize(
    ("changes", "variable"),
    [
        ({"replicate_token": None}, "GENERATOR_REPLICATE_TOKEN"),
        ({"replicate_token": ""}, "GENERATOR_REPLICATE_TOKEN"),
        ({"worker_token": None}, "GENERATOR_WORKER_TOKEN"),
        ({"jobs_address": "nowhere"}, "GENERATOR_JOBS_ADDRESS"),
        ({"webhook_url": "http://hush.example.com"}, "GENERATOR_WEBHOOK_URL"),
        ({"webhook_url": "https://example.com/?hush=1"}, "GENERATOR_WEBHOOK_URL"),
        ({"webhook_url": "https://someone:hush@example.com"}, "GENERATOR_WEBHOOK_URL"),
        ({"webhook_url": "mediagen.example.com"}, "GENERATOR_WEBHOOK_URL"),
        ({"slots": "0"}, "GENERATOR_SLOTS"),
        ({"slots": "5001"}, "GENERATOR_SLOTS"),
        ({"output_hosts": "https://replicate.delivery"}, "GENERATOR_OUTPUT_HOSTS"),
        ({"s3_endpoint": "127.0.0.1:9000"}, "GENERATOR_S3_ENDPOINT"),
        ({"s3_bucket": "Not_A_Bucket"}, "GENERATOR_S3_BUCKET"),
        ({"s3_secret_key": None}, "GENERATOR_S3_SECRET_KEY"),
    ],
)
def test_a_setting_that_is_wrong_or_missing_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], changes: dict[str, str | None], variable: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        load(monkeypatch, **changes)
    assert exit_.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{variable}: ")
    assert "hush" not in line
