"""What an operator's tools ask of a gateway: `/metrics` once a second, and one dashboard's stream."""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.request


def watch(http_url: str, api_key: str) -> None:
    """Scrape and read until the gateway ends; meant for a process of its own."""
    threading.Thread(target=_scrape, args=(http_url,), daemon=True).start()
    request = urllib.request.Request(f"{http_url}/dashboard/stream")
    request.add_header("Authorization", f"Bearer {api_key}")
    with urllib.request.urlopen(request, timeout=30) as stream:
        print(json.dumps({"watching": True}), flush=True)
        while stream.readline():
            pass


def _scrape(http_url: str) -> None:
    while True:
        with urllib.request.urlopen(f"{http_url}/metrics", timeout=5) as answer:
            answer.read()
        time.sleep(1)


if __name__ == "__main__":
    watch(sys.argv[1], sys.argv[2])
