import asyncio
import sys
from pathlib import Path


async def test_a_thousand_requests_get_no_answer_that_the_openapi_document_does_not_promise(gateway, tmp_path: Path):
    """Schemathesis makes them from the document: right ones, wrong ones, and walks from answer to request."""
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"http://127.0.0.1:{gateway.port}/openapi.json"),
        *("--header", "Authorization: Bearer mg_test", "--max-examples", "30", "--no-color"),
        # It takes a repeated Idempotency-Key and U+0000 for valid; no schema can say that they are not.
        *("--exclude-checks", "positive_data_acceptance"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert "7 selected / 7 total" in said.decode()
