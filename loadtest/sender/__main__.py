"""`python -m loadtest.sender FOLDER`: sends what lies in the folder, and does nothing else meanwhile.

It tells what it does in lines of JSON on standard output: `ready`, then `sent`, `done` and `seconds` at times, and
`report` in the end; or `mistake` when it cannot begin. After `ready` it waits for the instant of CLOCK_MONOTONIC to
start at, in nanoseconds, as a line on standard input; when that is closed, the process ends itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

from loadtest.sender.run import main

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
