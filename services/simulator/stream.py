"""Server-sent events of a language model's prediction: urls.stream."""

import time
from collections.abc import AsyncIterator

import anyio
import orjson

from simulator.prediction import Prediction


async def events(prediction: Prediction) -> AsyncIterator[str]:
    """The events output, error and done, as the prediction goes on."""
    sent = 0
    pieces = prediction.output if isinstance(prediction.output, list) else []
    while True:
        status, end = prediction.at(time.time())
        ready = len(pieces) if status == "succeeded" else int(prediction.done(time.time()) * len(pieces))
        for place in range(sent, ready):
            lines = "".join(f"data: {line}\n" for line in str(pieces[place]).split("\n"))
            yield f"event: output\nid: {prediction.seq}:{place}\n{lines}\n"
        sent = max(sent, ready)
        if end is not None:
            if status == "failed":
                yield f"event: error\ndata: {orjson.dumps({'detail': prediction.error}).decode()}\n\n"
            reason = {} if status == "succeeded" else {"reason": "error" if status == "failed" else "canceled"}
            yield f"event: done\ndata: {orjson.dumps(reason).decode()}\n\n"
            return
        await anyio.sleep(0.05)
