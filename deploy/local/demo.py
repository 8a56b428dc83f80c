"""`make demo`: posts one job as any client would, shows how it goes on, and leaves what was made in files."""

import mimetypes
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

POLL_SECONDS = 0.25
FINAL = ("completed", "failed", "canceled")
# What mimetypes does not know, or names unlike a person would.
EXTENSIONS = {"image/webp": ".webp", "image/jpeg": ".jpg", "audio/mpeg": ".mp3", "audio/wav": ".wav", "video/webm": ".webm"}


class DemoFailed(Exception):
    """The job did not end as it should; the message is for the person who asked for it."""


def run_job(console: Console, url: str, api_key: str, prompt: str, model: str, folder: Path) -> list[Path]:
    """Post the prompt, follow the job to its end, and return the files that its outputs were written to."""
    headers = {"Authorization": f"Bearer {api_key}"}
    try:
        # The machine's own proxy settings have no say in what goes to loopback.
        with httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
            job_id = _post(client, prompt, model)
            console.print(f"job {job_id} was accepted", highlight=False)
            job = _follow(console, client, job_id)
            if job["status"] != "completed":
                raise DemoFailed(
                    f"the job ended as {job['status']}: {job['error_message'] or job['error_code'] or 'no reason given'}"
                )
            return _save(client, job, folder, _slug(prompt))
    except httpx.HTTPError as error:
        raise DemoFailed(f"the gateway at {url} did not answer: {error}") from error


def _post(client: httpx.Client, prompt: str, model: str) -> str:
    body = {"prompt": prompt, **({"model": model} if model else {})}
    response = client.post("/api/v1/generate", json=body)
    if response.status_code != 202:
        raise DemoFailed(f"the job was refused: {_reason(response)}")
    return str(response.json()["id"])


def _reason(response: httpx.Response) -> str:
    """What a problem document says."""
    try:
        problem = response.json()
    except ValueError:
        return f"status {response.status_code}"
    return str(problem.get("detail") or problem.get("title") or f"status {response.status_code}")


def _follow(console: Console, client: httpx.Client, job_id: str) -> dict[str, Any]:
    """Show the job's state until it is final: a bar on a terminal, a line for each change elsewhere."""
    job: dict[str, Any] = {}
    if not console.is_terminal:
        shown = ""
        for job in _states(client, job_id):
            if _words(job) != shown:
                shown = _words(job)
                console.print(shown, highlight=False)
        return job
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[percent]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("pending", total=1.0, percent="")
        for job in _states(client, job_id):
            done = 1.0 if job["status"] == "completed" else job["progress"]
            percent = "" if done is None else f"{done:4.0%}"
            # A bar without a total pulses: the job goes on, and the model does not say how far it is.
            total = None if done is None and job["status"] == "processing" else 1.0
            progress.update(task, description=_words(job), completed=done or 0.0, total=total, percent=percent)
    return job


def _states(client: httpx.Client, job_id: str) -> Iterator[dict[str, Any]]:
    """The job as it is now and then, to its final state."""
    while True:
        response = client.get(f"/api/v1/status/{job_id}")
        if response.status_code == 429 or response.status_code >= 500:  # passing
            time.sleep(1)
            continue
        if response.status_code != 200:
            raise DemoFailed(f"the job's status was refused: {_reason(response)}")
        job: dict[str, Any] = response.json()
        yield job
        if job["status"] in FINAL:
            return
        time.sleep(POLL_SECONDS)


def _words(job: dict[str, Any]) -> str:
    waiting = f", waits for {job['waiting_for'].replace('_', ' ')}" if job["waiting_for"] else ""
    retries = f", retry {job['retry_count']}" if job["retry_count"] else ""
    return f"{job['status']}{waiting}{retries}"


def _save(client: httpx.Client, job: dict[str, Any], folder: Path, name: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for output in job["outputs"]:
        number = f"-{output['index'] + 1}" if output["index"] else ""
        content_type = output["content_type"].partition(";")[0]
        extension = EXTENSIONS.get(content_type) or mimetypes.guess_extension(content_type) or ".bin"
        file = folder / f"{name}{number}{extension}"
        if output["url"] is None:
            file.write_text(f"{output['value']}\n")
        else:
            with client.stream("GET", output["url"]) as response, file.open("wb") as stream:
                if response.status_code != 200:
                    raise DemoFailed(f"output {output['index']} could not be read: status {response.status_code}")
                for chunk in response.iter_bytes():
                    stream.write(chunk)
        files.append(file)
    return files


def _slug(prompt: str) -> str:
    """A file name that a person recognizes the prompt by."""
    return re.sub(r"[^\w]+", "-", prompt.lower()).strip("-_")[:60].rstrip("-") or "picture"


def console_for_output() -> Console:
    """A console that writes whole lines where nobody watches: a log or a pipe is not wrapped at 80 columns."""
    return Console() if sys.stdout.isatty() else Console(width=200)
