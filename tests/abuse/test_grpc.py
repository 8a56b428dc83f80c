"""Bytes that are no message, to every method of both gRPC services: each is answered with a typed status, and the service lives."""

import math
import os
import random
import struct
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from chassis.errors import DOMAIN
from chassis.rpc import MAX_MESSAGE_BYTES
from client import Client
from mediagen.jobs.v1 import jobs_pb2, worker_pb2
from stack import Stack

SERVICES = {
    "JobsService": jobs_pb2.DESCRIPTOR.services_by_name["JobsService"],
    "WorkerService": worker_pb2.DESCRIPTOR.services_by_name["WorkerService"],
}
METHODS = [(service, method.name) for service, described in SERVICES.items() for method in described.methods]

RANDOM = random.Random(20_261_124)  # the same bytes in every run
LARGE = 4 * 1024 * 1024

EXAMPLES = int(os.environ.get("ABUSE_EXAMPLES", "30"))
"""How many messages each method gets that are made up from its fields."""

TYPED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
"""What a client may have done wrong; anything else would be ours."""


def field(number: int, wire_type: int, content: bytes = b"") -> bytes:
    """One field as it travels."""
    return varint(number << 3 | wire_type) + content


def varint(value: int) -> bytes:
    """A number as it travels."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def text(number: int, content: bytes) -> bytes:
    """A field of bytes, text or a message."""
    return field(number, 2, varint(len(content)) + content)


def nested(depth: int) -> bytes:
    """A message in a message, and so on."""
    content = b""
    for _ in range(depth):
        content = text(1, content)
    return content


BROKEN = {
    "a tag that is cut off": b"\x80",
    "a tag that never ends": b"\xff" * 20,
    "field number zero": field(0, 0, b"\x01"),
    "a length beyond the end": field(1, 2, varint(1000) + b"abc"),
    "a length of 2^63": field(1, 2, varint(2**63) + b"abc"),
    "a group that never ends": field(1, 3),
    "a group that never began": field(1, 4),
    "wire type 6": field(1, 6, b"\0" * 8),
    "wire type 7": field(2, 7, b"\0" * 8),
    "text that is not UTF-8": text(1, b"\xff\xfe\xfd"),
    "a surrogate in UTF-8": text(1, b"\xed\xa0\x80"),
    "half a number of eight bytes": field(3, 1, b"\0\0\0"),
    "a varint of eleven bytes": field(3, 0, b"\xff" * 11),
}
"""What no message can be, whichever it is; though text that is not UTF-8 is a fine message where field 1 is none."""

ODD = {
    "nothing": b"",
    "fields that nobody knows": field(536_870_911, 0, b"\x01") + text(50_000, b"x" * 1000),
    "a number where text is expected": field(1, 0, b"\x01"),
    "text where a number is expected": text(3, b"text") + text(4, b"text"),
    "a float where text is expected": field(1, 1, struct.pack("<d", float("nan"))),
    "text with zeros": text(1, b"\0" * 100),
    "text of 4 MiB": text(1, b"a" * LARGE),
    "200,000 empty entries": text(2, b"") * 200_000,
    "200,000 empty ids": text(1, b"") * 200_000,
    "a thousand levels": nested(1000),
    "fifty levels": nested(50),
    "the same field, ten thousand times": text(1, b"01938c2e-7b1a-7c3e-8f00-3d2f6a1b5c4d") * 10_000,
    "numbers beyond all bounds": b"".join(field(number, 0, varint(2**64 - 1)) for number in range(1, 12)),
    "text that breaks out of a header": text(1, "\r\nx: y\u0000\u202e".encode()),
}
"""What may be a message, and asks for nothing that makes sense."""


class Services(NamedTuple):
    """A channel to each service, and what it lets in."""

    channels: dict[str, grpc.aio.Channel]
    tokens: dict[str, str]

    async def call(self, service: str, method: str, content: bytes, authorization: str | None = None, watched: float = 3) -> str:
        """Sends these bytes and returns the reason of the refusal, or OK; fails where the answer is no typed one of ours.

        A stream that goes on is left after `watched` seconds, and OK.
        """
        path = f"/mediagen.jobs.v1.{service}/{method}"
        shown = f"Bearer {self.tokens[service]}" if authorization is None else authorization
        metadata = (("authorization", shown),)
        streams = SERVICES[service].methods_by_name[method].server_streaming
        try:
            if streams:
                async for _ in self.channels[service].unary_stream(path)(content, timeout=watched, metadata=metadata):
                    pass
            else:
                await self.channels[service].unary_unary(path)(content, timeout=20, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            if streams and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return "OK"
            status = rpc_status.from_call(error)  # type: ignore[arg-type]
            assert status is not None and error.code() in TYPED, f"{method}: {error.code()} {error.details()}"
            info = error_details_pb2.ErrorInfo()
            assert status.details[0].Unpack(info) and info.domain == DOMAIN
            assert not any(word in status.message for word in ("Traceback", "Error", "asyncpg", "protobuf", "<class")), (
                status.message
            )
            return info.reason
        return "OK"


@pytest_asyncio.fixture
async def services(system: Stack) -> AsyncIterator[Services]:
    unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    channels = {
        "JobsService": grpc.aio.insecure_channel(system.jobs_address, options=unlimited),
        "WorkerService": grpc.aio.insecure_channel(system.worker_address, options=unlimited),
    }
    yield Services(channels, {"JobsService": system.api_key, "WorkerService": system.worker_token})
    for channel in channels.values():
        await channel.close()


async def still_works(system: Stack) -> None:
    """The service lives, has nothing to be ashamed of in its log, and takes a job to its end."""
    failures = [line for line in system.log("jobs").splitlines() if "rpc.failed" in line or "Traceback" in line]
    assert failures == [], failures[:3]
    client = Client(system)
    job = await client.finished(await client.post("a fox that nobody disturbed"), seconds=60)
    assert job["status"] == "completed", job
    await client.http.aclose()


@pytest.mark.parametrize(("service", "method"), METHODS, ids=[method for _, method in METHODS])
async def test_bytes_that_are_no_message_are_an_invalid_argument(services: Services, service: str, method: str) -> None:
    first = SERVICES[service].methods_by_name[method].input_type.fields_by_number[1]
    is_text = first.type == first.TYPE_STRING
    for name, content in BROKEN.items():
        reason = await services.call(service, method, content)
        assert reason == "REQUEST_UNDECODABLE" or ("UTF-8" in name and not is_text), (name, reason)


@pytest.mark.parametrize(("service", "method"), METHODS, ids=[method for _, method in METHODS])
async def test_messages_that_make_no_sense_have_a_typed_answer(services: Services, service: str, method: str) -> None:
    for content in ODD.values():
        await services.call(service, method, content)
    for size in (1, 2, 3, 10, 100, 1000):
        for _ in range(5):
            await services.call(service, method, RANDOM.randbytes(size))


async def test_a_message_beyond_the_limit_is_refused_by_grpc_itself(services: Services, system: Stack) -> None:
    metadata = (("authorization", f"Bearer {system.api_key}"),)
    for service, method in (("JobsService", "CreateJob"), ("WorkerService", "Complete")):
        call = services.channels[service].unary_unary(f"/mediagen.jobs.v1.{service}/{method}")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(text(1, bytes(MAX_MESSAGE_BYTES)), timeout=60, metadata=metadata)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await still_works(system)


async def test_no_word_opens_the_door_but_the_right_one(services: Services) -> None:
    right = services.tokens
    for service, method in (("JobsService", "ListJobs"), ("WorkerService", "Claim")):
        for shown in (
            *(
                "",
                "Bearer",
                "Bearer ",
                "Basic " + right[service],
                right[service],
                f"Bearer {right[service]}x",
                "Bearer " + "a" * 5000,
            ),
            *(f"Bearer {right[service][:-1]}", f"Bearer {right[service].swapcase()}", "Bearer mg_' OR 1=1 --"),
            f"Bearer {right['WorkerService' if service == 'JobsService' else 'JobsService']}",
        ):
            assert (await services.call(service, method, b"", shown)).startswith(("API_KEY", "WORKER_TOKEN")), shown
    assert await services.call("JobsService", "ListJobs", BROKEN["a tag that is cut off"], "Bearer wrong") == "API_KEY_INVALID"


class Imagination:
    """Messages with values that are just possible, or just not."""

    def __init__(self, seed: int, ids: Sequence[str]) -> None:
        """`ids` are jobs that exist."""
        self._chance = random.Random(seed)
        self._ids = [*ids, str(uuid.UUID(int=0)), str(uuid.uuid4())]
        self.worker = str(uuid.uuid4())

    def message(self, described: Any, depth: int = 0) -> Message:
        """One message, some of its fields set."""
        made: Message = GetMessageClass(described)()
        for field_ in described.fields:
            if (self._chance.random() < 0.2 and field_.name not in ("worker_id", "job_id")) or depth > 4:
                continue
            if field_.message_type is not None and field_.message_type.GetOptions().map_entry:
                for _ in range(self._chance.choice((0, 1, 20))):
                    getattr(made, field_.name)[self._text("key")] = self._text("value")
            elif field_.is_repeated:
                values = [self._value(field_, depth) for _ in range(self._chance.choice((0, 1, 2, 5)))]
                getattr(made, field_.name).extend(values)
            elif field_.message_type is not None:
                getattr(made, field_.name).CopyFrom(self._value(field_, depth))
            else:
                setattr(made, field_.name, self._value(field_, depth))
        return made

    def _value(self, field_: Any, depth: int) -> Any:
        if field_.message_type is not None:
            return self.message(field_.message_type, depth + 1)
        if field_.type == field_.TYPE_STRING:
            return self._text(field_.name)
        if field_.type == field_.TYPE_BYTES:
            return self._chance.randbytes(20)
        if field_.type == field_.TYPE_BOOL:
            return self._chance.random() < 0.5
        if field_.type in (field_.TYPE_DOUBLE, field_.TYPE_FLOAT):
            return self._chance.choice((0.0, -1.0, 1e300, -1e300, math.inf, -math.inf, math.nan, 5e-324, 3.0))
        bits = 63 if field_.type in (field_.TYPE_INT64, field_.TYPE_SINT64, field_.TYPE_SFIXED64) else 31
        return self._chance.choice((0, 1, 2, 3, -1, 4, 7, 100, 2**31 - 1, -(2**31), 2**bits - 1, -(2**bits)))

    def _text(self, name: str) -> str:
        if name == "worker_id" and self._chance.random() < 0.9:
            return self.worker
        if name.startswith(("job_id", "intent_id")) and self._chance.random() < 0.9:
            return self._chance.choice(self._ids)
        return self._chance.choice(
            (
                *(
                    "",
                    "a",
                    "\0",
                    "a" * 5000,
                    "\u202e\uffff\U0010ffff",
                    "'; DROP TABLE jobs; --",
                    "%s%n{0}",
                    "null",
                    "{}",
                    "[]",
                    "1e999",
                ),
                *(
                    '{"a": NaN}',
                    '{"seed": 1e-16000}',
                    "[" * 2000,
                    '{"a":' * 500 + "1" + "}" * 500,
                    "owner/name",
                    "../../etc",
                    "p-1,p-2",
                ),
                *("-1", "9" * 400, "\r\n", "\u0001", "2026-13-45T99:99:99Z", "01938c2e-7b1a-7c3e-8f00-3d2f6a1b5c4d"),
            )
        )

    def damaged(self, content: bytes) -> bytes:
        """The same bytes with a few of them changed, lost or added."""
        damaged = bytearray(content)
        for _ in range(self._chance.randint(1, 4)):
            place = self._chance.randint(0, len(damaged))
            match self._chance.randrange(3):
                case 0:
                    damaged[place : place + 1] = self._chance.randbytes(1)
                case 1:
                    del damaged[place : place + self._chance.randint(1, 9)]
                case _:
                    damaged[place:place] = self._chance.randbytes(self._chance.randint(1, 9))
        return bytes(damaged)


@pytest.mark.parametrize(("service", "method"), METHODS, ids=[method for _, method in METHODS])
async def test_values_that_are_just_possible_or_just_not_have_a_typed_answer(
    system: Stack, services: Services, service: str, method: str
) -> None:
    """As they are, and with a few of their bytes damaged; about jobs that exist, among others."""
    client = Client(system)
    ids = await client.post_many(["a fox that is reported of"] * 3)
    await client.http.aclose()
    imagination = Imagination(METHODS.index((service, method)), ids)
    described = SERVICES[service].methods_by_name[method].input_type
    for _ in range(EXAMPLES):
        content = imagination.message(described).SerializeToString()
        await services.call(service, method, content, watched=0.2)
        await services.call(service, method, imagination.damaged(content), watched=0.2)


async def test_after_all_of_this_the_service_works_as_before(system: Stack) -> None:
    await still_works(system)
