"""Refusals, as Qdrant words them."""


class RefusedError(Exception):
    """A request that is not carried out; `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        """Keep what the client is told."""
        super().__init__(message)
        self.status = status


def wrong(message: str) -> RefusedError:
    """Return the refusal of a request that is not one of the protocol."""
    return RefusedError(400, f"Wrong input: {message}")


def missing(what: str) -> RefusedError:
    """Return the refusal of a request for what is not there."""
    return RefusedError(404, f"Not found: {what} doesn't exist!")


def unspoken(what: str) -> RefusedError:
    """Return the refusal of what Qdrant's own server knows and this one does not."""
    return RefusedError(501, f"Not implemented: {what}; this server speaks a part of Qdrant's protocol")
