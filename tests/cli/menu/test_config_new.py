"""``config new`` in a real pseudo-terminal: answers, wrong answers, leaving at each question."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest
import yaml

from magneton_tasks.config.read import load_config
from tests.helpers import volumes

#: The questions in their order, each by a piece of its text.
QUESTIONS = (
    "Affinity map",
    "Method",
    "Which channel is which axis",
    "Offset sign",
    "Inverted",
    "Stored value that means affinity 1",
    "Block size",
    "Overlap of blocks",
    "Threshold",
    "Segmentation to write",
    "Work directory",
    "Chunk size",
    "Write .*",
)


SHAPE = (32, 32, 32)

pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("input")
    labels = volumes.cells(SHAPE, n=8)
    volumes.write_precomputed(folder / "affinity", volumes.affinities(labels, noise=0.1))
    return folder / "affinity"


class Dialog:
    """A run of ``magneton config new volume.yaml`` in a folder, and what is typed into it."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = ["-m", "magneton_tasks", "config", "new", "volume.yaml", *options]
        self.child = pexpect.spawn(
            sys.executable, command, cwd=folder, encoding="utf-8", timeout=300, dimensions=(40, 200)
        )
        self.folder = folder

    def answer(self, question: str, text: str = "") -> None:
        self.child.expect(f"{question}[^\r\n]*: $")
        self.child.sendline(text)

    def end(self) -> tuple[int | None, str]:
        self.child.expect(pexpect.EOF)
        self.child.close()
        return self.child.exitstatus, str(self.child.before)


def answers(source: Path) -> list[str]:
    """Of the method that has the more questions; all else by Enter."""
    given = {"Affinity map": str(source), "Method": "overlap"}
    return [next((v for k, v in given.items() if q.startswith(k)), "") for q in QUESTIONS]


def test_enter_takes_each_proposal(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    dialog = Dialog(tmp_path)
    given = {"Affinity map": str(source), "Segmentation": f"{tmp_path}/out/seg"}
    for question in QUESTIONS:
        if not question.startswith("Overlap"):  # which the exact method has none of
            text = next((v for k, v in given.items() if question.startswith(k)), "")
            dialog.answer(question, text)
    code, said = dialog.end()
    assert code == 0 and "next:" in said
    made = load_config(tmp_path / "volume.yaml")
    assert made.paths.input == f"file://{source}"
    assert made.paths.output == f"file://{tmp_path}/out/seg"
    assert (made.method, made.segment.threshold) == ("exact", None)
    assert (made.input.channels, made.block.size) == ("zyx", SHAPE)
    assert (made.method, made.segment.threshold) == ("exact", None)
    assert "method" not in yaml.safe_load((tmp_path / "volume.yaml").read_text())
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "out",
        "volume-convention.png",
        "volume.yaml",
    ]


def test_the_exact_method_has_no_overlap_to_ask_for(source: Path, tmp_path: Path) -> None:
    dialog = Dialog(tmp_path)
    for question, text in zip(QUESTIONS, answers(source), strict=True):
        if not question.startswith("Overlap"):
            text = {"Method": "exact", "Segmentation to write": f"{tmp_path}/seg"}.get(
                question, text
            )
            dialog.answer(question, text)
    assert dialog.end()[0] == 0
    made = load_config(tmp_path / "volume.yaml")
    assert (made.method, made.block.size) == ("exact", SHAPE)


def test_a_wrong_answer_is_explained_and_asked_again(source: Path, tmp_path: Path) -> None:
    dialog = Dialog(tmp_path)
    wrong = {
        "Affinity map": (str(tmp_path / "none"), "doesn't exist"),
        "Method": ("best", "'overlap' or 'exact'"),
        "Which channel": ("zzy", "order of the letters"),
        "Offset sign": ("2", "-1"),
        "Inverted": ("perhaps", "boolean"),
        "Block size": ("[32, 48]", "too few values"),
        "Overlap": ("[30, 16, 16]", "half the block size"),
        "Threshold": ("1.5", "less than or equal to 1"),
        "Segmentation": (str(source / "inside"), "must not contain one another"),
        "Work directory": (str(source), "must not contain one another"),
        "Chunk size": ("-1", "apply.chunk_size"),
        "Write": ("maybe", "answer y or n"),
    }
    right = {"Block size": "[32, 48, 48]", "Overlap": "[8, 16, 16]", "Threshold": "0.6"}
    for question, text in zip(QUESTIONS, answers(source), strict=True):
        for start, (typed, said) in wrong.items():
            if question.startswith(start):
                dialog.answer(question, typed)
                dialog.child.expect(said)
        value = next((v for k, v in right.items() if question.startswith(k)), text)
        if question == "Segmentation to write":
            value = str(tmp_path / "segmentation")
        dialog.answer(question, value)
    assert dialog.end()[0] == 0
    made = load_config(tmp_path / "volume.yaml")
    assert (made.block.size, made.block.overlap) == ((32, 48, 48), (8, 16, 16))
    assert made.segment.threshold == 0.6


@pytest.mark.parametrize("leave", range(len(QUESTIONS)), ids=QUESTIONS)
def test_q_leaves_at_each_question_and_writes_nothing(
    leave: int, source: Path, tmp_path: Path
) -> None:
    before = sorted(source.parent.rglob("*"))
    dialog = Dialog(tmp_path)
    for n, (question, text) in enumerate(zip(QUESTIONS, answers(source), strict=True)):
        dialog.answer(question, "q" if n == leave else text)
        if n == leave:
            break
    code, said = dialog.end()
    assert code == 0 and "nothing was changed" in said
    assert list(tmp_path.iterdir()) == []
    assert sorted(source.parent.rglob("*")) == before


def test_the_picture_is_there_while_the_questions_are_asked_and_gone_after(
    source: Path, tmp_path: Path
) -> None:
    dialog = Dialog(tmp_path, "--input", str(source))
    dialog.answer("Method")
    dialog.child.expect("picture: ([^\r\n]+)")
    found = dialog.child.match
    assert isinstance(found, re.Match)
    picture = Path(found.group(1))
    dialog.child.expect("Which channel")
    assert picture.read_bytes().startswith(b"\x89PNG")
    dialog.child.sendline("q")
    assert dialog.end()[0] == 0
    assert not picture.parent.exists()


def test_no_at_the_end_writes_nothing(source: Path, tmp_path: Path) -> None:
    dialog = Dialog(tmp_path)
    for question, text in zip(QUESTIONS, [*answers(source)[:-1], "n"], strict=True):
        dialog.answer(question, text)
    assert dialog.end()[0] == 0
    assert list(tmp_path.iterdir()) == []


def test_an_existing_config_is_replaced_only_when_told_so(source: Path, tmp_path: Path) -> None:
    config = tmp_path / "volume.yaml"
    config.write_text("mine")
    dialog = Dialog(tmp_path)
    dialog.answer("volume.yaml: replace", "")
    assert dialog.end()[0] == 0
    assert config.read_text() == "mine"
    dialog = Dialog(tmp_path, "--input", str(source))
    dialog.answer("volume.yaml: replace", "y")
    for question, text in list(zip(QUESTIONS, answers(source), strict=True))[1:]:
        dialog.answer(
            question, text if question != "Segmentation to write" else str(tmp_path / "seg")
        )
    assert dialog.end()[0] == 0
    assert load_config(config).paths.input == f"file://{source}"


def test_without_a_terminal_it_says_what_to_do_instead(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "magneton_tasks", "config", "new", "volume.yaml"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 64
    assert "no terminal" in done.stderr and "--yes" in done.stderr
    assert list(tmp_path.iterdir()) == []
