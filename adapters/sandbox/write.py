"""Write the invented patients to a folder: `python -m adapters.sandbox.write FOLDER`.

Makes `dicom/<patient>/<SOP Instance UID>.dcm` and `fhir/<patient>.json` (a
transaction Bundle each), for loading into a PACS or a FHIR server of one's own.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from adapters.sandbox import chart
from adapters.sandbox.images import instances
from adapters.sandbox.patients import PEOPLE

__all__ = ["main", "write_dicom", "write_fhir"]


def write_dicom(folder: Path) -> Iterator[Path]:
    """Write each instance as a PS3.10 file; yields the path of each."""
    for one in PEOPLE:
        place = folder / one.id
        place.mkdir(parents=True, exist_ok=True)
        for made in instances(one):
            path = place / f"{made.SOPInstanceUID}.dcm"
            made.save_as(path, enforce_file_format=True)
            yield path


def write_fhir(folder: Path) -> Iterator[Path]:
    """Write a transaction Bundle for the hospital and one for each patient; yields the path of each."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [("hospital", chart.hospital()), *((one.id, chart.of(one)) for one in PEOPLE)]
    for name, resources in parts:
        path = folder / f"{name}.json"
        path.write_bytes(orjson.dumps(chart.transaction(resources), option=orjson.OPT_INDENT_2))
        yield path


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m adapters.sandbox.write", description="Write invented patients.")
    parser.add_argument("folder", type=Path, help="where to write; made if absent")
    folder: Path = parser.parse_args(arguments).folder
    images = sum(1 for _ in write_dicom(folder / "dicom"))
    charts = sum(1 for _ in write_fhir(folder / "fhir"))
    sys.stdout.write(f"{images} DICOM files and {charts} FHIR bundles in {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
