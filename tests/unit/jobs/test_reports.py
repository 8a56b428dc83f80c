"""What is kept of a report."""

from uuid import uuid4

import orjson
import pytest

from jobs import reports
from mediagen.jobs.v1 import worker_pb2 as pb

WORKER = uuid4()


def kept(*outputs: pb.StoredOutput) -> list[dict[str, object]]:
    completion = pb.Completion(job_id=str(uuid4()), epoch=1, prediction_id="p", outputs=outputs)
    report = reports.completion(completion, WORKER)
    assert report.outputs is not None
    return orjson.loads(report.outputs)


def test_an_output_is_kept_with_every_field_and_with_those_that_may_be_absent_where_they_are_there():
    picture = pb.StoredOutput(index=1, content_type="image/png", size=2**40, sha256="00", width=3, height=4, object_key="out/a.png")
    assert kept(picture, pb.StoredOutput(value="1")) == [
        {
            **{"index": 1, "content_type": "image/png", "size": 2**40, "sha256": "00", "width": 3, "height": 4},
            **{"object_key": "out/a.png", "value": ""},
        },
        {"index": 0, "content_type": "", "size": 0, "sha256": "", "object_key": "", "value": "1"},
    ]


@pytest.mark.parametrize("text", ["a\0b", "ends with it\0", "\0", r"a\u0000b", "\\\0"])
def test_a_text_with_the_character_that_postgresql_has_not_stays_the_json_that_it_was(text):
    value = orjson.dumps(text).decode()
    [one] = kept(pb.StoredOutput(value=value, content_type="text/\0plain"))
    assert (one["value"], one["content_type"]) == (value, "text/plain")
    assert orjson.loads(str(one["value"])) == text
