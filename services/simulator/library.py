"""The output files: drawn when they are first asked for, in threads of their own, and kept while there is room."""

import asyncio
import base64
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

from simulator.drawing import draw_picture
from simulator.prediction import Prediction
from simulator.sounds import play_melody
from simulator.videos import film

CACHE_BYTES = 64 << 20
"""What the cache of files may take; files that leave it are drawn again, to the same bytes."""


class Library:
    """Draws files. Two threads, so that the API answers while pictures are made."""

    def __init__(self) -> None:
        """Nothing is drawn yet."""
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="draw")
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._size = 0
        self._at_work: dict[tuple[str, int], asyncio.Future[bytes]] = {}

    async def file(self, prediction: Prediction, index: int) -> bytes:
        """The bytes of a prediction's file. Those who ask for the same file at the same time share one drawing."""
        key = (prediction.id, index)
        if (content := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return content
        if key not in self._at_work:
            loop = asyncio.get_running_loop()
            self._at_work[key] = loop.run_in_executor(self._threads, draw, prediction, index)
            self._at_work[key].add_done_callback(lambda _: self._at_work.pop(key))
        content = await asyncio.shield(self._at_work[key])
        self._keep(key, content)
        return content

    async def data_uri(self, prediction: Prediction) -> str:
        """The first file as a data: URI."""
        content = base64.b64encode(await self.file(prediction, 0)).decode()
        return f"data:{prediction.files[0].media_type};base64,{content}"

    def _keep(self, key: tuple[str, int], content: bytes) -> None:
        if key in self._kept:
            return
        self._kept[key] = content
        self._size += len(content)
        while self._size > CACHE_BYTES:
            _, dropped = self._kept.popitem(last=False)
            self._size -= len(dropped)

    def close(self) -> None:
        """Ends the threads; what they draw now is finished first."""
        self._threads.shutdown(cancel_futures=True)


def draw(prediction: Prediction, index: int) -> bytes:
    """The bytes of a file; the same for the same prompt, seed, index and parameters."""
    values = prediction.input or {}
    if prediction.model.media == "audio":
        return play_melody(prediction.prompt, prediction.seed, seconds=int(values.get("duration", 8)))
    if prediction.model.media == "video":
        return film(prediction.prompt, prediction.seed)
    return draw_picture(prediction.prompt, prediction.seed + index, values, prediction.files[index].name.rpartition(".")[2])
