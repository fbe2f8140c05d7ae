"""A process of attackers, a thread for each; obeys "attack NAMES" and "rest" on stdin, answers in JSON.

It ends with its stdin, or after the seconds that it was given, whichever comes first.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time

from .attacks import ATTACKS, Attack, Target
from .pacing import Pace
from .wire import give_way

#: How much attackers give way to everybody else on the machine.
NICE = 10
_JOIN_SECONDS = 5.0


class Attackers:
    """Attacks under way, and what they managed."""

    def __init__(self, target: Target, attacks: list[Attack], pace: float) -> None:
        self._began, self._cpu = time.monotonic(), time.process_time()
        self._paces = {attack.name: Pace(attack.most * pace) for attack in attacks}
        self._threads = [
            threading.Thread(target=attack.run, args=(target, self._paces[attack.name]), name=attack.name)
            for attack in attacks
        ]
        for thread in self._threads:
            thread.daemon = True
            thread.start()

    def end(self) -> dict[str, object]:
        """Stop all of them, and return seconds, CPU seconds, and by name what each did.

        Raises RuntimeError when one does not stop, or had ended by itself: the figures would be of fewer.
        """
        seconds = time.monotonic() - self._began
        gone = [thread.name for thread in self._threads if not thread.is_alive()]
        for pace in self._paces.values():
            pace.stop()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)
        stuck = [thread.name for thread in self._threads if thread.is_alive()]
        if gone or stuck:
            raise RuntimeError(f"attackers that ended too early: {gone}; that do not end: {stuck}")
        managed = {name: {"done": p.done, "shut_out": p.shut_out} for name, p in self._paces.items()}
        return {"seconds": seconds, "cpu": time.process_time() - self._cpu, "attacks": managed}


def main() -> None:
    """Obey stdin."""
    parser = argparse.ArgumentParser()
    for name in ("ws-port", "http-port", "seconds"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--pace", type=float, required=True)
    arguments = parser.parse_args()
    signal.alarm(arguments.seconds)
    give_way()
    os.nice(NICE)
    target = Target(arguments.ws_port, arguments.http_port)
    attackers: Attackers | None = None
    for line in sys.stdin:
        command, _, names = line.strip().partition(" ")
        if command == "attack":
            chosen = [attack for attack in ATTACKS if attack.name in names.split(",")]
            attackers = Attackers(target, chosen, arguments.pace)
        elif attackers is not None:
            print(json.dumps(attackers.end()), flush=True)
            attackers = None


if __name__ == "__main__":
    main()
