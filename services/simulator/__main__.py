"""The simulator, a double of the Replicate API: `python -m simulator`."""

from contextlib import AsyncExitStack

import structlog

from chassis.http import serving
from chassis.lifecycle import Lifecycle, run
from chassis.settings import load_settings
from chassis.telemetry import configure_logging
from simulator.account import Account
from simulator.api import create_app
from simulator.files import create_files_app
from simulator.library import Library
from simulator.settings import Settings

AT_THE_END = {"notice_seconds": 0, "drain_seconds": 2}
"""How long clients and open requests are waited for after SIGTERM. Nothing is lost with them: a restart forgets all anyway."""

log = structlog.get_logger()


async def main() -> int:
    """Serves the API and the files until SIGTERM."""
    settings = load_settings(Settings)
    configure_logging("simulator", settings.log_level)
    async with AsyncExitStack() as stack:
        lifecycle = await stack.enter_async_context(Lifecycle())
        library = Library()
        stack.callback(library.close)
        account = Account(settings)
        await stack.enter_async_context(serving(create_files_app(account, library), settings.files_listen, **AT_THE_END))
        await stack.enter_async_context(serving(create_app(account, library), settings.listen, **AT_THE_END))
        lifecycle.spawn(account.webhooks.run(), "webhooks")
        log.info(
            "simulator.ready",
            api=f"http://{settings.listen}",
            files=f"http://{settings.files_listen}",
            control=settings.control,
        )
        await lifecycle.until_stopped()
        return lifecycle.exit_code


if __name__ == "__main__":
    run(main)
