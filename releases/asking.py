"""What a request may say: bodies that refuse what they do not know, and who asks."""

from __future__ import annotations

import json
import re
from typing import Any, cast

from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from aureus.journal.actor import Actor

LARGEST_FREE = 65_536
# Line breaks forge lines of a log; marks of direction let a text read as another one.
_NOT_IN_A_LINE = re.compile(r"[\t\r\n\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Line(serializers.CharField):
    """One line of text, exactly as it was sent."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise ValidationError("must be text")
        text = super().to_internal_value(data)
        if _NOT_IN_A_LINE.search(text):
            raise ValidationError("must be one line of plain text")
        return text


class Words(serializers.CharField):
    """Text of some lines, such as a reason."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"max_length": 2000, **kwargs})

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise ValidationError("must be text")
        return super().to_internal_value(data)


class Free(serializers.JSONField):
    """Anything that is JSON, kept as it is."""

    def __init__(self, *, largest: int = LARGEST_FREE, **kwargs: Any) -> None:
        self.largest = largest
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> Any:
        size = len(json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode())
        if size > self.largest:
            raise ValidationError(f"has {size} bytes; at most {self.largest} are kept")
        return data


class FreeObject(Free):
    """Any JSON object."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise ValidationError("must be an object")
        return super().to_internal_value(data)


class Body(serializers.Serializer):
    """A request's body. An unknown field is a mistake, not something to pass over."""

    @classmethod
    def read(cls, request: Request) -> dict[str, Any]:
        """The checked body. Raises ValidationError with every mistake."""
        asked = cls(data=request.data)
        asked.is_valid(raise_exception=True)
        return cast(dict[str, Any], asked.validated_data)

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise ValidationError({"non_field_errors": ["the body must be a JSON object"]})
        strange = {name: [self.why_not(name)] for name in data if name not in self.fields}
        try:
            known = super().to_internal_value(data)
        except ValidationError as error:
            raise ValidationError({**strange, **cast(dict[str, Any], error.detail)}) from error
        if strange:
            raise ValidationError(strange)
        return known

    def why_not(self, name: str) -> str:
        """What to say of a field that is not taken."""
        return f"there is no such field; there is: {', '.join(self.fields)}"


def actor_of(request: Request) -> Actor:
    """Who asks: always the owner of the token, whatever a body says."""
    return cast(Actor, request.user)
