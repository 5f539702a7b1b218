"""Build wheel and sdist, check them, and run the demo from the wheel in a fresh environment.

Usage: python tools/release.py [--no-demo]   (``make release``)

Nothing is uploaded. The wheel must hold the package and nothing else: no tests, no caches.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
#: What has no place in a release.
UNWANTED = ("test", "cache", ".pyc", "/runs/", ".venv", ".git/", ".DS_Store")
#: A wheel above this holds something that it should not.
LARGEST_WHEEL_BYTES = 2_000_000


def run(*words: str | Path, cwd: Path = ROOT) -> None:
    """Run a command, show it, and stop where it fails."""
    print("$", *words, flush=True)
    subprocess.run([str(word) for word in words], cwd=cwd, check=True)


def content(wheel: Path) -> list[str]:
    """List a wheel; stop where it holds what it should not.

    Raises:
        SystemExit: it does, or it lacks what it needs.
    """
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    for name, size in sizes.items():
        print(f"{size:>10,}  {name}")
    print(f"{wheel.stat().st_size:>10,}  {wheel.name}, {len(sizes)} files")
    own = [name for name in sizes if "dist-info" not in name]
    # cache.py and manage_cache.py are modules of ours.
    wrong = [n for n in own if any(w in n.replace("cache.py", "") for w in UNWANTED)]
    wrong += [name for name in own if not name.startswith("tellapart/")]
    if wrong or wheel.stat().st_size > LARGEST_WHEEL_BYTES:
        raise SystemExit(f"the wheel holds what it should not: {wrong or 'too much'}")
    for needed in ("tellapart/py.typed", "tellapart/recipes/probe.yaml",
                   "tellapart/report/style.css"):  # fmt: skip
        if needed not in sizes:
            raise SystemExit(f"the wheel lacks {needed}")
    return list(sizes)


def main() -> None:
    """Build, check, install, try."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "pip", "install", "--quiet", "build", "twine")
    run(sys.executable, "-m", "build", "--outdir", DIST)
    run(sys.executable, "-m", "twine", "check", "--strict", *DIST.iterdir())
    wheel = next(DIST.glob("*.whl"))
    content(wheel)
    with tarfile.open(next(DIST.glob("*.tar.gz"))) as archive:
        print(f"sdist: {len(archive.getnames())} files")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        venv.create(place / "venv", with_pip=True)
        python = place / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        run(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt",
            f"{wheel}[demo]")  # fmt: skip
        run(python, "-m", "tellapart", "--version", cwd=place)
        run(python, "-m", "tellapart", "doctor", cwd=place)
        if "--no-demo" not in sys.argv:
            run(python, "-m", "tellapart", "demo", cwd=place)
    print("The release is in", DIST)


if __name__ == "__main__":
    main()
