import pytest

from chassis.settings import HostPort, load_settings
from gateway.settings import Settings
from signing import SECRET

S3 = {"GATEWAY_S3_ENDPOINT": "https://s3.example.com/", "GATEWAY_S3_ACCESS_KEY": "key", "GATEWAY_S3_SECRET_KEY": "very-secret"}


def test_the_settings_have_defaults_and_hide_the_secret(monkeypatch):
    for name, value in {**S3, "GATEWAY_LISTEN": "[::1]:80", "GATEWAY_CORS_ORIGINS": "https://a.example.com, http://b:8080"}.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(Settings)
    assert settings.listen == HostPort("::1", 80) and settings.jobs_address == HostPort("127.0.0.1", 50051)
    assert settings.s3_endpoint == "https://s3.example.com" and settings.s3_bucket == "media"
    assert settings.cors_origins == ("https://a.example.com", "http://b:8080")
    assert settings.replicate_webhook_secret == ()
    assert "very-secret" not in repr(settings)


def test_two_webhook_secrets_may_hold_at_once_and_are_hidden(monkeypatch):
    for name, value in {**S3, "GATEWAY_REPLICATE_WEBHOOK_SECRET": f"{SECRET}, {SECRET}"}.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(Settings)
    assert [secret.get_secret_value() for secret in settings.replicate_webhook_secret] == [SECRET, SECRET]
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GATEWAY_LISTEN", "8080"),
        ("GATEWAY_JOBS_ADDRESS", "jobs"),
        ("GATEWAY_S3_ENDPOINT", None),
        ("GATEWAY_S3_ENDPOINT", "127.0.0.1:9000"),
        ("GATEWAY_S3_ENDPOINT", "http://127.0.0.1:9000/very-secret"),
        ("GATEWAY_S3_ENDPOINT", "http://127.0.0.1:port"),
        ("GATEWAY_S3_SECRET_KEY", None),
        ("GATEWAY_CORS_ORIGINS", "https://a.example.com/path"),
        ("GATEWAY_CORS_ORIGINS", "a.example.com"),
        ("GATEWAY_MAX_BODY_BYTES", "lots"),
        ("GATEWAY_REPLICATE_WEBHOOK_SECRET", "very-secret"),
        ("GATEWAY_REPLICATE_WEBHOOK_SECRET", "whsec_"),
        ("GATEWAY_REPLICATE_WEBHOOK_SECRET", "whsec_dG9vc2hvcnQ="),
        ("GATEWAY_REPLICATE_WEBHOOK_SECRET", "whsec_very-secret-but-not-base64"),
        ("GATEWAY_REPLICATE_WEBHOOK_SECRET", ",".join([SECRET] * 3)),
        ("GATEWAY_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_or_missing_setting_is_named_in_one_line_that_does_not_tell_its_value(variable, value, monkeypatch, capsys):
    for name, good in S3.items():
        monkeypatch.setenv(name, good)
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as ended:
        load_settings(Settings)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert len(said.splitlines()) == 1 and said.startswith(f"{variable}: ") and "very-secret" not in said
