"""Annotations in the layout of EPIC-KITCHENS-100, with 150 actions and few segments."""

from pathlib import Path

PAIRS = [(verb, noun) for verb in range(15) for noun in range(10)]
_HEAD = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp"


def annotation_rows(prefix: str, pairs, *, labelled: bool) -> str:
    head = _HEAD + (",verb_class,noun_class" if labelled else "")
    rows = [
        f"{prefix}_{index},P01,{prefix},00:00:{index % 50 + 1:02d}.00,00:00:{index % 50 + 2:02d}.00"
        + (f",{verb},{noun}" if labelled else "")
        for index, (verb, noun) in enumerate(pairs)
    ]
    return "\n".join([head, *rows]) + "\n"


def write_epic100(folder: Path) -> Path:
    for kind, size in (("verb", 97), ("noun", 300)):
        rows = "".join(f"{index},{kind}-{index},['x'],c\n" for index in range(size))
        (folder / f"EPIC_100_{kind}_classes.csv").write_text(f"id,key,instances,category\n{rows}")
        (folder / f"EPIC_100_tail_{kind}s.csv").write_text(f"{kind}\n1\n")
    files = {
        "unseen_participant_ids_validation": "participant_id\nP02\n",
        "train": annotation_rows("P01_01", PAIRS, labelled=True),
        "validation": annotation_rows("P02_01", PAIRS[:20], labelled=True),
        "test_timestamps": annotation_rows("P01_101", PAIRS[:6], labelled=False),
    }
    for name, text in files.items():
        (folder / f"EPIC_100_{name}.csv").write_text(text)
    return folder
