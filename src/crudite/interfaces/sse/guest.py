"""How an event stream ends: it cannot show other credentials, so it tells why and its client comes back."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

from crudite.auth import Stay
from crudite.errors import Problem, Unexpected
from crudite.interfaces.events import encode
from crudite.interfaces.sse.retelling import Retelling

_log = logging.getLogger("crudite")

_LAST_TRY = 1.0  # seconds for the last words of a stream that has had its time


class StreamGuest:
    """What all streams have in common as guests (`auth.Guest`): `stay` is there before anything is asked for, and
    `patience` bounds what is sent."""

    stay: Stay
    patience: asyncio.Timeout | None = None
    retelling: Retelling | None = None
    _problem: Problem | None = None

    async def retold(self, messages: AsyncIterator[Sequence[bytes]]) -> AsyncIterator[Sequence[bytes]]:
        """What of the stream's messages its client is told, in the words of its style."""
        if (retelling := self.retelling) is not None:
            yield (retelling.opening,)
        async for parts in messages:
            try:
                told = parts if retelling is None else (await retelling.retell(parts),)
            except Problem as problem:
                self._problem = problem
                return
            except Exception as error:  # of what the application does with what is shown
                _log.exception("what a stream shows cannot be worked out", exc_info=error)
                self._problem = Unexpected("Something went wrong here; the server's log has the details.")
                return
            if any(told):
                yield told

    @property
    def has_ids(self) -> bool:
        """Whether its client is told ids to go on from. What is told in the words of a style is worked out from the
        whole set, and so begins with one."""
        return self.retelling is None

    @property
    def last_words(self) -> bytes:
        """Why the stream has ended, if anything but the client has ended it."""
        if self._problem is None:
            return b""
        return f"event: problem\ndata: {encode({'problem': self._problem.as_json()})}\n\n".encode()

    async def answered(self) -> None:
        """Nothing: a stream asks for nothing more."""

    def warn(self, seconds: int) -> None:
        """Nothing: a stream cannot show other credentials, its client comes back with them."""

    def cut(self) -> None:
        """The client is not waited for any longer."""
        if self.patience is not None:
            self.patience.reschedule(asyncio.get_running_loop().time() + _LAST_TRY)
