"""A password may be a setting of its own, as whatever generates secrets knows nothing of percent-encoding."""

from urllib.parse import unquote, urlsplit

import pytest
from pydantic import SecretStr

from chassis.settings import load_settings, with_password
from generator.settings import Settings as GeneratorSettings
from jobs.settings import Settings as JobsSettings

HOSTILE = "p@ss:w/rd?#%&=+ ü"


@pytest.mark.parametrize("url", ["amqp://me@host:5672/vhost", "amqp://me:another@host:5672/vhost", "amqp://me@host:5672"])
def test_a_password_of_its_own_wins_and_is_encoded(url):
    parts = urlsplit(str(with_password(url, SecretStr(HOSTILE))))
    assert (parts.username, unquote(parts.password or ""), parts.hostname, parts.port) == ("me", HOSTILE, "host", 5672)
    assert parts.path == urlsplit(url).path


@pytest.mark.parametrize("password", [None, SecretStr("")])
def test_without_one_the_url_stays_as_it_is(password):
    assert with_password("amqp://me:in-the-url@host/", password) == "amqp://me:in-the-url@host/"


def test_a_url_without_a_user_is_refused():
    with pytest.raises(ValueError, match="must name the user"):
        with_password("amqp://host/", SecretStr(HOSTILE))


def test_the_services_take_passwords_that_no_url_could_hold_as_they_are(monkeypatch):
    environment = {
        "JOBS_DATABASE_URL": "postgresql://me@db:5432/mediagen",
        "JOBS_DATABASE_PASSWORD": HOSTILE,
        "JOBS_AMQP_URL": "amqp://me@mq:5672/mediagen",
        "JOBS_AMQP_PASSWORD": HOSTILE,
        "JOBS_WORKER_TOKEN": "a-worker-token-of-tests",
        "GENERATOR_AMQP_URL": "amqp://me@mq:5672/mediagen",
        "GENERATOR_AMQP_PASSWORD": HOSTILE,
        "GENERATOR_WORKER_TOKEN": "a-worker-token-of-tests",
        "GENERATOR_S3_ACCESS_KEY": "key",
        "GENERATOR_S3_SECRET_KEY": "secret",
        "GENERATOR_REPLICATE_TOKEN": "token",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    jobs, generator = load_settings(JobsSettings), load_settings(GeneratorSettings)
    urls = [str(jobs.database_url), str(jobs.amqp_url), generator.amqp_url.get_secret_value()]
    assert [unquote(urlsplit(url).password or "") for url in urls] == [HOSTILE] * 3
    assert [urlsplit(url).path for url in urls] == ["/mediagen"] * 3
