"""Documentation is compared with reality: generated pages, links, the configuration keys that pages name."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from redoubt.spark.conf import settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("redoubt_docs", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["errors.md", "cli.md", "tee-tables.md"])
def test_generated_page_is_current(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == generator().PAGES[name](), "run: python docs/generate.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_error_codes_in_prose_exist(page: Path) -> None:
    from redoubt.errors import by_code

    rooms = {code.partition(".")[0] for code in by_code() if "." in code}
    named = re.findall(rf"`\[?((?:{'|'.join(rooms)})\.[a-z_]+)\]?`", page.read_text())
    settings_files_and_claims = {"spark.authenticate", "spark.io", "endpoint.json", "broker.toml", "key.txt"}
    settings_files_and_claims |= {"ear.conformant", "ear.profile"}
    assert set(named) <= {*by_code(), *settings_files_and_claims}


@pytest.mark.parametrize("page", [it for it in PAGES if it.parent.name != "adr"], ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    """Errors' next steps among them: errors.md has each. Placeholders are in capitals, alternatives have a bar."""
    commands: dict[str, set[str]] = {}
    for name, *children in filter(None, generator()._commands()):
        commands.setdefault(name, set()).update(children)
    known = (ROOT / "docs/cli.md").read_text()
    for text in re.findall(r"`redoubt ([^`\n]+)`", page.read_text()):
        words = [it for it in re.split(r"\s+", text.partition(" -- ")[0]) if it]
        names = [it for it in words[:2] if re.fullmatch(r"[a-z][a-z-]*", it)]
        if not names or words[0] != names[0]:
            continue
        assert names[0] in commands, text
        if len(names) == 2 and commands[names[0]]:
            assert names[1] in commands[names[0]], text
        for option in words:
            if option.startswith("--") and option != "--":
                assert re.search(rf"{re.escape(option.partition('=')[0])}\b", known), text


def test_settings_have_reasons_and_no_secrets() -> None:
    made = settings(endpoint=Path("/e"), jar=Path("/j"), sockets=Path("/s"))
    assert len({setting.key for setting in made}) == len(made)
    for setting in made:
        assert setting.reason
        assert "secret" not in setting.key


def test_options_and_settings_of_the_page_about_submit_exist() -> None:
    from redoubt.spark.conf_legacy import LEGACY
    from redoubt.spark.submission import configuration

    page = (ROOT / "docs/submit.md").read_text()
    commands = (ROOT / "docs/cli.md").read_text()
    for option in set(re.findall(r"(?<=[`\s])--[a-z][a-z-]+", page)):
        assert option in commands or option == "--month", option
    known = {it.key for it in configuration({}).settings} | {it.key for it in LEGACY}
    known |= {"spark.option", "spark.executor.memory", "spark.authenticate.secret"}
    named = set(re.findall(r"spark(?:\.[a-zA-Z]+)+", page)) - {"spark.md", "spark.ssl"}
    assert named <= known
