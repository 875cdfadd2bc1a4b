"""The documentation leads nowhere that is not there, and its commands are those of the command line."""

import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest
import typer

from page_commands import commands_under, words_of
from sgear.cli.main import app
from sgear.experiment import compose_experiment
from sgear.experiment.build import build_protocol
from sgear.experiment.recipes import recipe_of_run
from sgear.predictions import Predictions
from sgear.taxonomy import Taxonomy

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
# [text](target) and ![text](target "title"), and the definitions [name]: target.
_LINKS = (re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)"), re.compile(r"^\[[^\]]+\]:\s*(\S+)", re.MULTILINE))
_CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def links_of(text: str) -> list[str]:
    """Targets of the links of a page, without those that leave the repository."""
    plain = _CODE.sub("", text)
    targets = [target for pattern in _LINKS for target in pattern.findall(plain)]
    return [target for target in targets if not re.match(r"[a-z][a-z+.-]*:", target)]


def anchors_of(text: str) -> set[str]:
    """Names under which the headings of a page can be linked to."""
    headings = re.findall(
        r"^#+ +(.+?) *$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_relative_link_leads_to_a_file_and_a_heading_in_it(page):
    broken = []
    for target in links_of(page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in anchors_of(path.read_text(encoding="utf-8"))):
            broken.append(target)
    assert broken == []


def test_links_are_found_in_all_their_forms():
    text = (
        'a [b](c.md), ![d](<e.png> "f") and [g][h], not `[i](j)`.\n\n[h]: k/l.md\n\n```\n[m](n)\n```\n[o](https://p.q)'
    )
    assert links_of(text) == ["c.md", "e.png", "k/l.md"]
    assert anchors_of("# A, `b` and C\n## d-e f\n```\n# g\n```\n") == {"a-b-and-c", "d-e-f"}


@pytest.mark.parametrize(
    ("page", "heading"),
    [
        ("epic-kitchens.md", "With the real data"),
        ("epic-kitchens.md", "In miniature"),
        ("features.md", "Make, import, look, export"),
        ("features.md", "Several modalities"),
    ],
)
def test_the_command_line_takes_the_commands_of_a_page(page, heading):
    """Names and options exist, and settings compose to an experiment; nothing is run."""
    variables = {"small": "optim.epochs=1"}
    commands = [words_of(line, variables) for line in commands_under(REPOSITORY / "docs" / page, heading)]
    ours = [words for program, *words in commands if program == "sgear"]
    assert ours
    for words in ours:
        command, verbs = typer.main.get_command(app), []
        while isinstance(command, click.Group):
            verbs.append(words.pop(0))
            command = command.commands[verbs[-1]]
        command.make_context(" ".join(verbs), list(words))
        if verbs == ["train"]:
            compose_experiment(words)


_FUSIONS = re.compile(r"sgear fuse ([^`\n]+)")


def fusions() -> set[tuple[str, ...]]:
    """The words of each command on a page, or in the head of a recipe, that fuses runs of recipes."""
    conf = REPOSITORY / "src" / "sgear" / "experiment" / "conf"
    texts = [path.read_text(encoding="utf-8") for path in (*PAGES, *conf.rglob("*.yaml"))]
    lines = [line for text in texts for line in _FUSIONS.findall(re.sub(r"\\\n#?", " ", text))]
    return {words for line in lines if recipe_of_run((words := tuple(shlex.split(line)))[0].removeprefix("runs/"))}


def test_runs_that_are_fused_answer_one_question_by_the_published_rule():
    commands = fusions()
    assert {len([word for word in words if word.startswith("runs/")]) for words in commands} == {2, 4}
    for words in commands:
        recipes = [recipe_of_run(word.removeprefix("runs/")) for word in words if word.startswith("runs/")]
        configs = [compose_experiment([f"experiment={recipe}"]) for recipe in recipes]
        assert len({config.dataset.name for config in configs}) == 1
        tables = [_no_segments(build_protocol(config.protocol).to_dict()) for config in configs]
        for other in tables[1:]:
            tables[0].check_comparable(other)
        assert words[words.index("--rule") + 1] == "avt", f"weights {words} are of logits"


def _no_segments(protocol: dict[str, float | str]) -> Predictions:
    taxonomy = Taxonomy(verbs=("take",), nouns=("cup",), action_pairs=((0, 0),))
    scores = np.zeros((0, 1), dtype=np.float32)
    return Predictions(uids=(), logits=scores, targets=np.zeros(0, np.int64), taxonomy=taxonomy, protocol=protocol)
