"""What is compiled, and what may not be."""

from importlib import import_module
from types import ModuleType

import msgspec
import pydantic
import pytest

from runtime.shared.builds import BUILDS
from scripts import compile as compiler


def declaring(model: type) -> ModuleType:
    """Return a module that declares a class under `model`."""
    module = ModuleType("runtime.engine.planted")
    module.Planted = type(model)("Planted", (model,), {"__module__": module.__name__})  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize("model", [msgspec.Struct, pydantic.BaseModel])
def test_a_compiled_module_may_declare_no_model(model: type) -> None:
    with pytest.raises(SystemExit, match=r"runtime\.engine\.planted is compiled, and may declare no .* was Planted"):
        compiler.refuse_models([declaring(model)])


def test_a_compiled_module_may_use_models_of_others() -> None:
    using = declaring(msgspec.Struct)
    using.Planted.__module__ = "runtime.shared.messages"
    compiler.refuse_models([using])


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
def test_what_is_compiled_declares_none(build: compiler.Build) -> None:
    compiler.refuse_models(import_module(f"runtime.{build.package}.{name}") for name in build.modules)


def test_without_a_compiler_all_runs_interpreted_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setattr(compiler, "make", pytest.fail)
    assert compiler.main() == 0
    assert "will run interpreted: no C compiler (no-such-compiler)" in capsys.readouterr().out
