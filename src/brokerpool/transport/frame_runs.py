"""Messages of one size that were read together, handed over at once; everything else is picows'."""

from __future__ import annotations

from collections.abc import Callable, Collection

#: Of binary frames that end a message, without reserved bits: how each frame of a run begins.
_WHOLE_BINARY = 0x82
#: The second byte says the size itself up to 125, and with this that two bytes of size follow (RFC 6455 5.2).
_TWO_BYTES_OF_SIZE = 126
_LONGEST_HEAD = 4


class FrameRuns:
    """Stands between what is read and picows' protocol, which takes a while for each frame.

    Some brokers send each packet in a message of its own, all of one size, a hundred of them in a read. Such
    a run passes picows by; what is no run, and what must not be taken now, goes through it in its place. The
    beginning of one more frame of the run waits here for its end, since picows could not give it back.
    """

    __slots__ = ("_buffer", "_free", "_own", "_sizes", "_take", "_updated", "_waiting", "clean")

    def __init__(
        self,
        *,
        buffer: Callable[[int], memoryview],
        updated: Callable[[int], None],
        sizes: Collection[int],
        read_bytes: int,
        free: Callable[[], bool],
        take: Callable[[memoryview, int, int], None],
    ) -> None:
        """`buffer` and `updated` are picows'; a read brings `read_bytes` at most.

        While `free` says that it may, `take` gets frames of one of the `sizes`: their bytes, how many of
        these are the head of each, and that size.
        """
        self._buffer, self._updated = buffer, updated
        self._sizes = frozenset(sizes)
        self._free, self._take = free, take
        self._own = memoryview(bytearray(read_bytes + max(sizes) + _LONGEST_HEAD))
        #: Bytes at the beginning of our own buffer, of a frame whose end has not come.
        self._waiting = 0
        #: True while picows is between two frames; to be set with each one that it hands over.
        self.clean = False

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._own[self._waiting :]

    def buffer_updated(self, nbytes: int) -> None:
        left = self._own[: self._waiting + nbytes]
        self._waiting = 0
        while self.clean and self._free():
            head, size = _head(left)
            if size not in self._sizes:
                break
            end = _alike(left, head, head + size)
            if not end:
                self._own[: len(left)] = left
                self._waiting = len(left)
                return
            self._take(left[:end], head, size)
            left = left[end:]
            if not left:
                return
        self._hand_on(left)

    def _hand_on(self, left: memoryview) -> None:
        self.clean = False
        while left:
            room = self._buffer(-1)
            part = left[: len(room)]
            room[: len(part)] = part
            left = left[len(part) :]
            self._updated(len(part))


def _head(data: memoryview) -> tuple[int, int]:
    """Return the bytes of the first frame's head and of what it carries; -1 for what is no frame of a run."""
    if len(data) >= _LONGEST_HEAD and data[0] == _WHOLE_BINARY:
        size = data[1]
        if size < _TWO_BYTES_OF_SIZE:
            return 2, size
        if size == _TWO_BYTES_OF_SIZE:
            return 4, data[2] << 8 | data[3]
    return 0, -1


def _alike(data: memoryview, head: int, stride: int) -> int:
    """Return where the last of the whole frames ends that begin as the first one does; 0 for none."""
    end = len(data) // stride * stride
    if end > stride:
        for at in range(head):
            column = bytes(data[at:end:stride])
            end = stride * (len(column) - len(column.lstrip(column[:1])))
    return end
