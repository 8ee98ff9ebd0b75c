"""Rules of the house that no single room can test: the error tree, sizes, the import contract."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import redoubt
from redoubt.errors import ExitStatus, RedoubtError, by_code

ROOT = Path(__file__).parents[1]
SOURCES = sorted(Path(redoubt.__file__).parent.rglob("*.py"))
MODULE_LINES = 450
#: Modules that may be longer, each with its reason.
LONGER = {"errors.py": "the whole exception tree, in one place on purpose; it has no logic"}


def tree(root: type[RedoubtError] = RedoubtError) -> list[type[RedoubtError]]:
    return [root, *(found for cls in root.__subclasses__() for found in tree(cls))]


ERRORS = tree()


# --- errors -----------------------------------------------------------------------------------------------------------
def test_codes_are_unique() -> None:
    assert len({cls.code for cls in ERRORS}) == len(ERRORS)
    assert by_code() == {cls.code: cls for cls in ERRORS}


@pytest.mark.parametrize("cls", ERRORS, ids=lambda cls: cls.__name__)
def test_every_error_explains_itself(cls: type[RedoubtError]) -> None:
    """Code, cause, next step and docstring are the class's own; the exit status may be the family's."""
    assert re.fullmatch(r"redoubt|[a-z]+\.[a-z_0-9]+", cls.code)
    for name in ("code", "cause", "next_step", "__doc__"):
        text = cls.__dict__[name]
        assert text.strip(), name
    assert cls.cause.endswith(".")
    assert cls.next_step.endswith(".") or cls.next_step.endswith("`.")
    assert cls.exit_status not in (ExitStatus.OK,)
    error = cls("what failed", hint="do that")
    assert str(error) == f"[{cls.code}] what failed"
    assert error.explain().splitlines() == [str(error), f"Why: {cls.cause}", "Next: do that"]
    assert cls("x").explain().endswith(cls.next_step)


def test_errors_survive_pickling_with_their_hint() -> None:
    import pickle

    for cls in ERRORS:
        again = pickle.loads(pickle.dumps(cls("what", hint="hint", why="why")))
        assert (type(again), again.what, again.hint, again.why) == (cls, "what", "hint", "why")


def test_children_share_their_familys_first_word() -> None:
    for family in RedoubtError.__subclasses__():
        assert len({cls.code.partition(".")[0] for cls in tree(family)}) == 1


def test_java_throws_only_codes_of_the_tree() -> None:
    java = (ROOT / "jvm/src/main/java/io/redoubt/ErrorCode.java").read_text()
    codes = re.findall(r'^ {4}[A-Z_]+\("([^"]+)"\)', java, re.MULTILINE)
    assert len(codes) > 10
    assert set(codes) <= set(by_code())


def test_no_module_defines_errors_of_its_own() -> None:
    """What leaves a public call is in the tree, so nothing else may be an exception class."""
    strays = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and path.name != "errors.py":
                bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
                if any(base.endswith(("Error", "Error_", "Exception")) or base in _NAMES for base in bases):
                    strays.append(f"{path.name}: {node.name}")
    assert set(strays) <= _CAUGHT_INSIDE


#: Control flow of the JSON parser: raised and caught within it, so none of them leaves a public call.
_CAUGHT_INSIDE = {"json_tokens.py: Malformed", "json_lines.py: _OddError"}
_NAMES = {cls.__name__ for cls in ERRORS}


# --- modules ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT / "src").as_posix())
def test_modules_stay_small_and_say_what_they_are_for(path: Path) -> None:
    text = path.read_text()
    lines = text.count("\n")
    assert (lines > MODULE_LINES) == (path.name in LONGER and lines > MODULE_LINES), f"{lines} lines"
    assert ast.get_docstring(ast.parse(text)), "a module without a docstring"


def test_exceptions_to_the_rule_are_still_needed() -> None:
    long = {path.name for path in SOURCES if path.read_text().count("\n") > MODULE_LINES}
    assert long == set(LONGER)


def test_lint_checks_the_import_contract() -> None:
    assert "lint-imports" in (ROOT / "Makefile").read_text()
    assert "redoubt.crypto" in (ROOT / "pyproject.toml").read_text()


def test_no_pickle_and_no_shell_in_our_own_protocols() -> None:
    """Pickles are never read (Spark's own channel is Spark's), and no command goes through a shell."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                shell = any(word.arg == "shell" for word in node.keywords)
                if called in {"pickle.loads", "pickle.load", "os.system", "eval", "exec"} or shell:
                    found.append(f"{path.name}:{node.lineno}: {called}")
    assert found == []


def test_tls_verification_is_never_turned_off() -> None:
    for path in SOURCES:
        assert not re.search(r"CERT_NONE|_create_unverified_context|check_hostname\s*=\s*False", path.read_text()), path
