"""A jobs service that keeps finished jobs for seconds: `python -m bench.forgetful serve`, with the settings of any jobs service.

JOBS_RETENTION_SECONDS is a day at least, and no less than idempotency keys are kept. A run of an hour that is to see both deleted
has BENCH_RETENTION_SECONDS instead. All else is the product's own, started by its own composition root: statements, batches and
the pauses between them.
"""

import os
from typing import Any

import jobs.__main__ as product
from jobs import forgetting


def keeping(retention_seconds: float) -> Any:
    """In place of Forgetting: the product's own, whatever the settings say of how long jobs and their keys are kept."""
    short = {"idempotency_seconds": retention_seconds, "retention_seconds": retention_seconds}
    return lambda *arguments, **settings: forgetting.Forgetting(*arguments, **{**settings, **short})


if __name__ == "__main__":
    assert hasattr(product, "Forgetting"), "the composition root has no Forgetting any more"
    product.Forgetting = keeping(float(os.environ["BENCH_RETENTION_SECONDS"]))
    product.cli()
