"""Which formats a run can be exported to, as a table, and how each is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from tellapart.engines.onnx import save_openvino
from tellapart.engines.openvino import import_openvino
from tellapart.errors import BundleError
from tellapart.exporting.job import Job
from tellapart.extras import missing_of, require_pytorch
from tellapart.files import write_bytes
from tellapart.wording import did_you_mean, listed, quoted


@dataclass(frozen=True)
class Format:
    """One format: what writes it, and what runs it."""

    name: str
    #: For people.
    title: str
    #: The model's file; what else is written lies beside it and begins with "model.".
    file: str
    #: Python packages that writing and checking it need.
    packages: tuple[str, ...]
    #: Writes the model into a folder.
    write: Callable[[Job, Path], None]
    #: Hugging Face's name of the library.
    library: str
    #: Whether it can be quantised.
    takes_int8: bool = False
    #: Whether it is made of an ONNX graph, which some networks give without PyTorch.
    takes_plain: bool = False
    #: Its models take normalised pixels, whatever is asked for.
    normalised: bool = False


def _write_onnx(job: Job, folder: Path) -> None:
    from tellapart.exporting.quantise import quantised_onnx

    content = quantised_onnx(job) if job.int8 else job.onnx
    write_bytes(folder / "model.onnx", content)


def _write_openvino(job: Job, folder: Path) -> None:
    from tellapart.exporting.quantise import quantised_openvino

    model = import_openvino().Core().read_model(BytesIO(job.onnx))
    if job.int8:
        model = quantised_openvino(model, job)
    for key, text in job.around.metadata.items():
        model.set_rt_info(text, ["tellapart", key])
    save_openvino(model, folder / "model.xml", len(job.onnx))


def _write_torch(job: Job, folder: Path) -> None:
    import torch

    from tellapart.exporting.module import examples_for

    examples = examples_for(job.around)
    try:
        with torch.no_grad():
            program = torch.export.export(
                job.module,
                examples,
                dynamic_shapes=(tuple({0: torch.export.Dim.DYNAMIC} for _ in examples),),
            )
    except (MemoryError, OSError):
        raise
    except Exception as error:  # the exporter raises many kinds
        raise BundleError(
            f"PyTorch's exporter cannot take this network ({str(error).strip()[:200]})."
        ) from error
    content = BytesIO()
    torch.export.save(program, content, extra_files=dict(job.around.metadata))
    write_bytes(folder / "model.pt2", content.getvalue())


def _write_timm(job: Job, folder: Path) -> None:
    from tellapart.exporting.timm_folder import write_timm

    write_timm(job, folder)


#: A new one is a row here; its script is a row of ``exporting.script.RUNTIMES``.
FORMATS: Mapping[str, Format] = {
    row.name: row
    for row in (
        Format("onnx", "ONNX", "model.onnx", ("onnx", "onnxruntime"), _write_onnx,
               "onnx", takes_int8=True, takes_plain=True),
        Format("openvino", "OpenVINO", "model.xml", ("onnx", "openvino"),
               _write_openvino, "openvino", takes_int8=True, takes_plain=True),
        Format("torch", "PyTorch (torch.export)", "model.pt2", ("torch",), _write_torch,
               "pytorch"),
        Format("timm", "timm", "model.safetensors", ("torch", "timm"), _write_timm, "timm",
               normalised=True),
    )
}  # fmt: skip


def format_named(
    name: str, *, int8: bool = False, float_input: bool = False, plain: bool = False
) -> Format:
    """The row of :data:`FORMATS` of this name, if all that it needs is here.

    Args:
        plain: the network can be written without PyTorch.

    Raises:
        BundleError: there is none, it cannot do that, or a package is missing.
        MissingPackageError: it needs PyTorch, which is not installed.
    """
    row = FORMATS.get(name)
    if row is None:
        raise BundleError(
            f"--to takes {listed(tuple(FORMATS), last='or')}; received '{name}'."
            f"{did_you_mean(name, FORMATS)}"
        )
    if int8 and not row.takes_int8:
        able = tuple(other.name for other in FORMATS.values() if other.takes_int8)
        raise BundleError(f"--int8 goes with --to {quoted(able)}, not with --to {name}.")
    if float_input and row.normalised:
        raise BundleError(
            f"--float has no effect with --to {name}, whose models take normalised pixels anyway; "
            "leave it out."
        )
    if not (plain and row.takes_plain):
        require_pytorch(f"Exporting this network with --to {name}")
    exporter = ["onnxscript"] if row.takes_plain and not plain else []
    missing = missing_of([*row.packages, *exporter, *(["nncf"] if int8 else [])])
    if missing:
        raise BundleError(
            f"--to {name}{' --int8' if int8 else ''} needs {listed(missing, last='and')}: "
            "pip install 'tellapart[export]'."
        )
    return row
