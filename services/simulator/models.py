"""What a model is: its name, its versions, and the schema that its inputs are checked against."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from jsonschema_rs import Validator, validator_for

Media = Literal["image", "video", "audio", "text"]
"""What a model makes."""

Shape = Literal["file", "files", "text"]
"""How its output looks: one URL, a list of URLs, or a list of pieces of text."""

_URI = {"type": "string", "format": "uri"}
_OUTPUTS: Mapping[Shape, Mapping[str, Any]] = {
    "file": {"title": "Output", **_URI},
    "files": {"title": "Output", "type": "array", "items": _URI},
    "text": {
        "title": "Output",
        "type": "array",
        "items": {"type": "string"},
        "x-cog-array-type": "iterator",
        "x-cog-array-display": "concatenate",
    },
}


@dataclass(frozen=True)
class Field:
    """One parameter of a model."""

    type: Literal["string", "integer", "number", "boolean"]
    description: str
    required: bool = False
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    enum: tuple[str, ...] = ()
    uri: bool = False
    """The parameter is a file: a URL or a data: URI."""


@dataclass(frozen=True)
class Model:
    """A model of the catalogue.

    Unknown inputs pass, as Replicate has historically ignored them: Cog's schemas don't say `additionalProperties: false`,
    and none here does. They are kept and echoed. It is unknown keys beside `input` that the API refuses.
    """

    name: str
    """owner/name."""

    description: str
    media: Media
    output: Shape
    inputs: Mapping[str, Field]
    versions: tuple[str, ...] = ()
    """64 hexadecimal digits each, newest first; an official model has none, and its predictions say `hidden`."""

    @property
    def official(self) -> bool:
        """Whether predictions are made by the model's name alone."""
        return not self.versions

    @property
    def streams(self) -> bool:
        """Whether its predictions have a `urls.stream`."""
        return self.media == "text"

    @cached_property
    def openapi_schema(self) -> dict[str, Any]:
        """The document that Cog makes: components.schemas.Input and .Output, enums in siblings behind `allOf` and `$ref`."""
        schemas: dict[str, Any] = {}
        properties: dict[str, Any] = {}
        for order, (name, spec) in enumerate(self.inputs.items()):
            known = {"description": spec.description, "x-order": order}
            limits = {"default": spec.default, "minimum": spec.minimum, "maximum": spec.maximum}
            known |= {key: value for key, value in limits.items() if value is not None}
            if spec.enum:
                about = {"description": "An enumeration.", "title": name, "type": spec.type}
                schemas[name] = {**about, "enum": list(spec.enum)}
                properties[name] = {"allOf": [{"$ref": f"#/components/schemas/{name}"}], **known}
            else:
                title = name.replace("_", " ").title()
                uri = {"format": "uri"} if spec.uri else {}
                properties[name] = {"type": spec.type, "title": title, **uri, **known}
        required = [name for name, spec in self.inputs.items() if spec.required]
        schemas["Input"] = {"type": "object", "title": "Input", "properties": properties}
        schemas["Input"] |= {"required": required} if required else {}
        schemas["Output"] = dict(_OUTPUTS[self.output])
        info = {"title": "Cog", "version": "0.1.0"}
        return {"openapi": "3.0.2", "info": info, "paths": {}, "components": {"schemas": schemas}}

    @cached_property
    def input_validator(self) -> Validator:
        """Checks an input; the `$ref`s of the enums resolve within the whole document."""
        document = {**self.openapi_schema, "$ref": "#/components/schemas/Input"}
        return validator_for(document, validate_formats=False)

    def version_object(self, version: str) -> dict[str, Any]:
        """A version as the API shows it."""
        return {
            "id": version,
            "created_at": "2024-08-01T12:00:00.000000Z",
            "cog_version": "0.9.20",
            "openapi_schema": self.openapi_schema,
        }

    def model_object(self) -> dict[str, Any]:
        """The model as the API shows it. An official one has a latest version too: its schema is nowhere else."""
        owner, name = self.name.split("/")
        # The client parses latest_version.id as a string; Replicate gives official models a real one here.
        latest = self.versions[0] if self.versions else hashlib.sha256(self.name.encode()).hexdigest()
        return {
            "url": f"https://replicate.com/{self.name}",
            "owner": owner,
            "name": name,
            "description": self.description,
            "visibility": "public",
            "is_official": self.official,
            "github_url": None,
            "paper_url": None,
            "license_url": None,
            "run_count": 1_000_000,
            "cover_image_url": None,
            "default_example": None,
            "latest_version": self.version_object(latest),
        }
