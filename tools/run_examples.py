"""Run the examples and write their notebooks: examples/NAME.py -> examples/NAME.ipynb.

Usage: python tools/run_examples.py [--into FOLDER] [NAME ...]

Each script (jupytext, "percent" format) becomes a notebook that is run in a folder of its own, with
its outputs, without bars of progress and without the names of machines and kernels. Pictures of
your own are found as ``examples/at_hand.py`` says; without any the notebooks run on drawn ones.
``--into`` writes the notebooks elsewhere than beside the scripts.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from base64 import b64decode, b64encode
from io import BytesIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
#: A notebook whose outputs are larger is not written.
LARGEST_BYTES = 250_000
#: Pictures are made no wider than this.
WIDEST_PIXELS = 800
#: A PNG within HTML.
_EMBEDDED = re.compile(r"(data:image/png;base64,)([\w+/=]+)")
#: An hour is more than any cell needs beside other work.
SECONDS_A_CELL = 3600


def names() -> list[str]:
    """The examples: every script that begins with a cell."""
    return sorted(
        file.stem for file in EXAMPLES.glob("*.py")
        if file.read_text("utf-8").startswith("# %%")
    )  # fmt: skip


def unrun(name: str) -> Any:
    """The notebook of a script, without outputs."""
    import jupytext

    notebook = jupytext.read(EXAMPLES / f"{name}.py")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # else they are drawn anew each time
        cell.metadata.clear()
    notebook.metadata = {
        "jupytext": {"formats": "ipynb,py:percent"},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def run(name: str) -> Any:
    """The notebook of a script, with what its cells gave.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
        SystemExit: an output names a folder of this machine, or all are too large.
    """
    from nbclient import NotebookClient

    notebook = unrun(name)
    own = os.environ.get("TELLAPART_EXAMPLES")
    with tempfile.TemporaryDirectory(prefix="tellapart-example-") as folder:
        for file in EXAMPLES.glob("*.py"):
            if file.stem not in names():
                shutil.copy(file, folder)
        if own:
            os.environ["TELLAPART_EXAMPLES"] = str(Path(own).resolve())
        NotebookClient(
            notebook, timeout=SECONDS_A_CELL, startup_timeout=SECONDS_A_CELL, kernel_name="python3",
            resources={"metadata": {"path": folder}},
        ).execute()  # fmt: skip
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata.clear()
            cell["outputs"] = joined([kept for out in cell.outputs if (kept := cleaned(out))])
    return notebook


def cleaned(output: Any) -> Any | None:
    """An output as the repository has it; None: it is not kept.

    Bars of progress and what goes to standard error are not; neither is the text that stands for
    a picture or a table where those cannot be shown.
    """
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    data = output.get("data", {})
    if output.output_type == "display_data" and "image/png" not in data:
        return None
    if len(data) > 1:
        data.pop("text/plain", None)
    if "image/png" in data:
        data["image/png"] = small_png(data["image/png"])
    if "text/html" in data:
        data["text/html"] = _EMBEDDED.sub(
            lambda found: found[1] + small_png(found[2]), data["text/html"]
        )
    output.metadata = {}
    return output


def joined(outputs: list[Any]) -> list[Any]:
    """What was printed, in one piece where nothing else lies between."""
    together: list[Any] = []
    for output in outputs:
        if output.output_type == "stream" and together and together[-1].output_type == "stream":
            together[-1].text += output.text
        else:
            together.append(output)
    return together


def small_png(encoded: str) -> str:
    """A figure no wider than WIDEST_PIXELS, in 64 colours; both as base64."""
    from PIL import Image

    picture = Image.open(BytesIO(b64decode(encoded))).convert("RGB")
    picture.thumbnail((WIDEST_PIXELS, 10 * WIDEST_PIXELS), Image.Resampling.LANCZOS)
    buffer = BytesIO()
    picture.quantize(64).save(buffer, "PNG", optimize=True)
    return b64encode(buffer.getvalue()).decode()


def check(name: str, text: str) -> None:
    """An example's notebook is small and names no folder of the machine it ran on.

    Raises:
        SystemExit: it is not so.
    """
    places = [Path.home(), Path(tempfile.gettempdir()), ROOT, ROOT.parent, Path(sys.prefix)]
    for place in [*places, os.environ.get("TELLAPART_EXAMPLES")]:
        if place and len(str(place)) > 1 and f"{place}/" in text:
            raise SystemExit(f"{name}: an output names {place}")
    if len(text) > LARGEST_BYTES:
        raise SystemExit(f"{name}: {len(text):,} bytes are too many; show less")


def main() -> None:
    """Run what was asked for, or all."""
    import jupytext

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=names(), metavar="NAME")
    parser.add_argument("--into", type=Path, default=EXAMPLES)
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    for name in given.names:
        text = jupytext.writes(run(name), fmt="ipynb")
        check(name, text)
        (given.into / f"{name}.ipynb").write_text(text, "utf-8")
        print(f"{name}: {len(text):,} bytes", flush=True)


if __name__ == "__main__":
    main()
