"""The README's commands are commands, and its map of the command line is true."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from edgekit.cli.parser import parser
from edgekit.comparing import ALL
from edgekit_converters import parse_recipe

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), ROOT / "CONTRIBUTING.md"]


def code_lines() -> list[tuple[str, str]]:
    """(page, line) of every line in a code block, continuation lines joined."""
    found = []
    for page in PAGES:
        if page.is_file():
            for block in re.findall(r"^```[^\n]*\n(.*?)^```", page.read_text(), re.M | re.S):
                lines = block.replace("\\\n", " ").splitlines()
                found += [(page.name, line.removeprefix("$ ").strip()) for line in lines]
    return found


def commands(program: str) -> list[str]:
    return sorted({line for _, line in code_lines() if line.split(" ")[0] == program})


def words(command: str) -> list[str]:
    return shlex.split(command, comments=True)[1:]


def test_the_readme_has_commands_to_check() -> None:
    assert len(commands("edgekit")) >= 3
    assert len(commands("make")) >= 2


@pytest.mark.parametrize("command", commands("edgekit"))
def test_an_edgekit_command_is_understood(command: str) -> None:
    options = parser().parse_args(words(command))
    for recipe in [*getattr(options, "recipes", ()), getattr(options, "recipe", None) or "base"]:
        if recipe != ALL:
            parse_recipe(recipe)


@pytest.mark.parametrize("command", commands("make"))
def test_a_make_target_exists(command: str) -> None:
    targets = [word for word in words(command) if "=" not in word]
    done = subprocess.run(
        ["make", "--dry-run", *targets], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_recipe_in_the_text_is_one() -> None:
    text = (ROOT / "README.md").read_text()
    recipes = re.findall(r"`(lcrm[^`]*|int8[^`]*|float16[^`]*)`", text)
    assert recipes
    for recipe in recipes:
        parse_recipe(recipe)


def test_every_linked_file_is_there() -> None:
    for page in PAGES:
        if page.is_file():
            for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text()):
                assert (page.parent / target).exists(), f"{page.name} links {target}"


def test_every_option_in_the_text_exists() -> None:
    text = (ROOT / "README.md").read_text()
    known = set()
    for action in parser()._subparsers._group_actions[0].choices.values():
        known |= set(action._option_string_actions)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known


def test_make_help_names_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.M)
    assert phony
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("make ")}
    assert listed == set(phony[1].split()) - {"help"}
