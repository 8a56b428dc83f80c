"""JSON answers of the API that come slowly, or with a Content-Length that is wrong."""

from collections.abc import Callable

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from simulator import call_rules
from simulator.connection import connection_of, gone
from simulator.faults import Faults, Target


class Spoiled:
    """An answer that takes its time, or ends otherwise than it promised."""

    def __init__(self, answer: Response, slow: call_rules.AnswerSlow | None, length: call_rules.AnswerLength | None) -> None:
        """At least one of the two rules is given."""
        self._answer = answer
        self._slow = slow
        self._length = length
        self.effects = [rule.effect for rule in (slow, length) if rule is not None]
        self.on_sent: Callable[[], None] = lambda: None
        """Told where the answer was sent to its end, and was what it promised."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it. After a wrong length the connection ends, as there is no telling where its next answer would begin."""
        connection, body = connection_of(scope), bytes(self._answer.body)
        promised = len(body)
        if self._length is not None:
            promised = len(body) * 2 if self._length.promises == "more" else len(body) // 2
        headers = [(name, value) for name, value in self._answer.raw_headers if name != b"content-length"]
        headers.append((b"content-length", str(promised).encode()))
        await send({"type": "http.response.start", "status": self._answer.status_code, "headers": headers})
        step = max(1, self._slow.bytes_per_second // 10) if self._slow else len(body)
        kept = min(promised, len(body))
        for at in range(0, kept, step):
            if not connection.open:
                await gone(receive)
                return
            piece = body[at : min(at + step, kept)]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            if self._slow is not None:
                await anyio.sleep(len(piece) / self._slow.bytes_per_second)
        if self._length is not None:
            connection.hang_up(body[kept:])
            await gone(receive)
            return
        await send({"type": "http.response.body"})
        self.on_sent()


def spoiled(faults: Faults, target: Target, answer: Response) -> Spoiled | None:
    """The answer as the rules want it; None where they let it be."""
    slow, length = faults.take(call_rules.AnswerSlow, target), faults.take(call_rules.AnswerLength, target)
    return Spoiled(answer, slow, length) if slow or length else None
