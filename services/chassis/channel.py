"""gRPC as every service calls it: a channel that heals."""

import json
from collections.abc import Sequence

import grpc
from google.protobuf.descriptor import MethodDescriptor

from chassis.settings import HostPort
from chassis.tls import ClientTls, client_credentials

REQUEST_ID = "x-request-id"
"""Metadata key of the request id, the same as the HTTP header."""

TRACEPARENT = "traceparent"
"""Metadata key of the W3C trace context, likewise."""

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""A batch of 256 jobs of the largest size fits."""

KEEPALIVE_SECONDS = 10
"""How long a connection is silent before it is asked whether it lives."""

KEEPALIVE_ANSWER_SECONDS = 5
"""How long the answer to that may take. A connection that a NAT forgot is noticed after both: within half a lease."""

CONNECT_SECONDS = 5
"""How long the making of a connection may take before it is tried anew; gRPC itself would wait for 20 s."""


def channel(target: HostPort, tls: ClientTls | None = None, *, once: Sequence[MethodDescriptor] = ()) -> grpc.aio.Channel:
    """A channel to every address of `target` that says it serves, in turn. A call whose server went away is repeated.

    With `tls`, servers have to show a certificate for the host's name.

    Every call needs a timeout of its own. Every RPC of ours may be repeated, but for those of `once`.
    """
    not_repeated = {"name": [{"service": method.containing_service.full_name, "method": method.name} for method in once]}
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": ""},  # a server that is to end says so before it does
        "methodConfig": [
            *([not_repeated] if once else []),
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    # CANCELLED is what a server that stops makes of a call that reaches it then. Our own cancellations end a call.
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                },
            },
        ],
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},  # half of them may be spent at once, by all that was under way
    }
    options: list[tuple[str, str | int]] = [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_ANSWER_SECONDS * 1000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),  # as many as that takes; else two, and then one a minute
        # No keepalive is sent while another ping, of flow control, is not answered; gRPC itself would wait a minute for that.
        ("grpc.http2.ping_timeout_ms", KEEPALIVE_ANSWER_SECONDS * 1000),
        ("grpc.min_reconnect_backoff_ms", CONNECT_SECONDS * 1000),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # In an upgrade every address changes within a minute; gRPC would look the name up every 30 s at most.
        ("grpc.dns_min_time_between_resolutions_ms", 2_000),
    ]
    if tls is None:
        return grpc.aio.insecure_channel(f"dns:///{target}", options=options)
    return grpc.aio.secure_channel(f"dns:///{target}", client_credentials(tls), options=options)
