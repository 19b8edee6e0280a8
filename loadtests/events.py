"""How the events of a streamed answer are told apart and read."""

from collections.abc import Iterator
from typing import Any, Final

import orjson

_DATA: Final = b"data:"
_DONE: Final = b"[DONE]"


class Events:
    """Cuts a stream of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) into JSON.

    Only what model servers send: `data:` of one line each; comments, other fields and empty lines are passed over.
    """

    def __init__(self) -> None:
        """Begin at the start of a stream."""
        self._rest = b""
        self.done = False
        """Whether `[DONE]` came: a stream that ends without was cut."""

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the events that end in these bytes; an unreadable one is a ValueError."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if self.done or not line.startswith(_DATA):
                continue
            body = line[len(_DATA) :].strip()
            if body == _DONE:
                self.done = True
            else:
                event = orjson.loads(body)
                if not isinstance(event, dict):
                    message = f"an event that is no object: {event!r}"
                    raise ValueError(message)
                yield event


def text_of(event: dict[str, Any]) -> str:
    """Return the text that an event adds to the answer, empty for the role, the end, the usage and what is unknown."""
    try:
        text = event["choices"][0]["delta"]["content"]
    except (KeyError, IndexError, TypeError):
        return ""
    return text if isinstance(text, str) else ""
