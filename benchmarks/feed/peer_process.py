"""The process of an official client: `python -m benchmarks.feed.peer_process NAME_peer [URL]`.

With a URL it receives there until the server closes, and prints packets and seconds of CPU. Without, it reads
messages on stdin, a line of JSON for a list of them, and for each empty line after that decodes all of them
once and prints the seconds. brokerpool need not be installed where it runs.
"""

from __future__ import annotations

import gc
import json
import sys
from base64 import b64decode
from importlib import import_module

from benchmarks.feed.timing import cpu_of


def main() -> None:
    peer = import_module(f"benchmarks.feed.{sys.argv[1]}")
    gc.freeze()
    if sys.argv[2:]:
        print(json.dumps(peer.receive(sys.argv[2])))
        return
    decode = peer.decode()
    frames: list[bytes] = []
    for line in sys.stdin:
        if line.strip():
            frames = [b64decode(frame) for frame in json.loads(line)]
            print(sum(len(decode(frame)) for frame in frames), flush=True)
        else:
            print(cpu_of(decode, frames), flush=True)


if __name__ == "__main__":
    main()
