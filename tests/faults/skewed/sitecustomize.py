"""Found first on a worker's path, it sets that process's clocks off by AUREUS_TEST_SKEW seconds."""

import datetime
import os
import time

SKEW = float(os.environ.get("AUREUS_TEST_SKEW", "0"))
_time, _time_ns, _real = time.time, time.time_ns, datetime.datetime


class _AsBefore(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _real)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, _real)


class Skewed(_real, metaclass=_AsBefore):  # type: ignore[misc, valid-type]
    """A datetime whose `now` is off; what it makes are ordinary ones."""

    @classmethod
    def now(cls, tz=None):
        return _real.now(tz) + datetime.timedelta(seconds=SKEW)

    @classmethod
    def utcnow(cls):
        return _real.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=SKEW)


if SKEW:
    time.time = lambda: _time() + SKEW
    time.time_ns = lambda: _time_ns() + int(SKEW * 1e9)
    datetime.datetime = Skewed  # type: ignore[misc]
