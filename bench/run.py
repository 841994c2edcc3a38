"""The benchmarks against alternatives, and how cost grows: tables, and the same as JSON.

    python3 bench/run.py [--out bench/results.json] [--plot docs/scaling.png] [--largest 100000]

About ten minutes on two cores. Ratios are within this run; a figure that says by how much a thing is faster is the
median of repeats, beside their range.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path


FOLDER = Path(__file__).parent
PARTS = ("step", "startup", "training", "scaling", "frontend")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=FOLDER / "results.json")
    parser.add_argument("--plot", type=Path, default=FOLDER.parent / "docs" / "scaling.png")
    parser.add_argument("--largest", type=int, default=100_000)
    options = parser.parse_args()
    found = {}
    # Each part in a process of its own: devices are set up once in a process, and memory is not given back.
    with tempfile.TemporaryDirectory() as folder:
        for part in PARTS:
            out = Path(folder) / f"{part}.json"
            more = ["--plot", str(options.plot), "--largest", str(options.largest)] if part == "scaling" else []
            subprocess.run([sys.executable, str(FOLDER / f"{part}.py"), "--out", str(out), *more], check=True)
            found[part] = json.loads(out.read_text())
    options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
