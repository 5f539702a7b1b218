"""Optional packages: what is not here is said in one sentence, with the command."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec

import pytest

from tellapart import extras
from tellapart.errors import MissingPackageError, TellapartError
from tellapart.extras import missing_of, pytorch_is_here, require_pytorch


def test_what_is_installed_is_not_missing_and_not_imported() -> None:
    sys.modules.pop("this", None)
    assert missing_of(("json", "no_such_module", "this")) == ("no_such_module",)
    assert "this" not in sys.modules


def test_pytorch_is_here_where_all_of_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pytorch_is_here()
    require_pytorch("Nothing")
    monkeypatch.setattr(extras, "_is_here", lambda name: name != "accelerate")
    assert not pytorch_is_here()
    with pytest.raises(MissingPackageError) as caught:
        require_pytorch("The network 'vgg16'")
    assert str(caught.value) == (
        "The network 'vgg16' needs PyTorch, which is not installed; "
        "pip install 'tellapart[train]' brings it."
    )
    assert isinstance(caught.value, TellapartError)


def test_a_finder_that_refuses_a_module_is_taken_at_its_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Refuses:
        def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
            if name == "torch_of_somebody":
                raise ImportError("not here")
            return None

    monkeypatch.setattr(sys, "meta_path", [Refuses(), *sys.meta_path])
    assert missing_of(("torch_of_somebody",)) == ("torch_of_somebody",)
