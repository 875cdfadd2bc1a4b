"""Mutated files of predictions: one clear error, or the numbers that were written."""

import json
import struct

import fuzz_targets
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sgear.errors import PredictionError
from sgear.predictions import Predictions
from sgear.predictions.table import FORMAT_WITHOUT_CHECKSUM

MANY = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
ORIGINAL = fuzz_targets.example_table()
JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=4)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("sound") / "a.safetensors"
    ORIGINAL.save(path)
    return path.read_bytes()


def parts(data: bytes) -> tuple[dict, bytes]:
    (num_bytes,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + num_bytes]), data[8 + num_bytes :]


def unchecked(sound: bytes, texts: dict[str, str], changes: dict | None = None) -> bytes:
    """The file as the format without a checksum has it, with other texts in its header."""
    header, tensors = parts(sound)
    header["__metadata__"] = header["__metadata__"] | {"format": FORMAT_WITHOUT_CHECKSUM} | texts
    return fuzz_targets.safetensors_bytes(json.dumps(header | (changes or {})).encode(), tensors)


def judge(data, folder, sound):
    return fuzz_targets.assert_predictions_are_read_rightly(
        data, folder / "a.safetensors", ORIGINAL, fuzz_targets.checksum_of(sound)
    )


def test_the_example_itself_is_read_with_and_without_its_checksum(sound, tmp_path):
    assert judge(sound, tmp_path, sound) is not None
    assert judge(unchecked(sound, {}), tmp_path, sound) is not None


@MANY
@given(st.data())
def test_flipped_bits_never_change_a_number(sound, tmp_path, data):
    changed = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 5))):
        bit = data.draw(st.integers(0, 8 * len(changed) - 1))
        changed[bit // 8] ^= 1 << bit % 8
    table = judge(bytes(changed), tmp_path, sound)
    if table is not None:
        fuzz_targets.assert_equal_tables(table, ORIGINAL)


@pytest.mark.parametrize("field", ["logits", "targets", "uids", "protocol", "taxonomy"])
def test_one_flipped_bit_in_any_part_is_found(sound, tmp_path, field):
    header, _ = parts(sound)
    if field in header:
        place = len(sound) - len(parts(sound)[1]) + header[field]["data_offsets"][0] + 2
    else:
        place = sound.index(header["__metadata__"][field][:12].replace('"', '\\"').encode()) + 8
    changed = bytearray(sound)
    changed[place] ^= 1
    (tmp_path / "a.safetensors").write_bytes(bytes(changed))
    with pytest.raises(PredictionError, match=r"a\.safetensors: damaged"):
        Predictions.load(tmp_path / "a.safetensors")


@MANY
@given(st.integers(0, 10**6))
def test_a_truncated_file_is_refused(sound, tmp_path, length):
    assert judge(sound[: length % len(sound)], tmp_path, sound) is None


@MANY
@given(st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 5000)))
def test_any_header_length_is_refused_or_right(sound, tmp_path, length):
    judge(struct.pack("<Q", length) + sound[8:], tmp_path, sound)


def test_a_negative_header_length_is_refused(sound, tmp_path):
    assert judge(struct.pack("<q", -8) + sound[8:], tmp_path, sound) is None


@MANY
@given(st.binary(max_size=300))
def test_any_bytes_are_refused(sound, tmp_path, data):
    assert judge(data, tmp_path, sound) is None


@MANY
@given(st.sampled_from(["uids", "taxonomy", "protocol", "provenance"]), JSON_VALUES)
def test_a_header_of_other_types_is_refused_or_right(sound, tmp_path, name, value):
    table = judge(unchecked(sound, {name: json.dumps(value)}), tmp_path, sound)
    assert table is None or name == "provenance"


@MANY
@given(st.sampled_from(["verbs", "nouns", "action_pairs", "action_names"]), JSON_VALUES, st.integers(0, 9))
def test_a_vocabulary_of_other_types_is_refused(sound, tmp_path, name, value, place):
    taxonomy = ORIGINAL.taxonomy.to_dict()
    taxonomy[name] = [*taxonomy[name][:place], value, *taxonomy[name][place + 1 :]]
    table = judge(unchecked(sound, {"taxonomy": json.dumps(taxonomy)}), tmp_path, sound)
    assert table is None or (isinstance(value, str) and name != "action_pairs")


@MANY
@given(st.sampled_from(["kind", "tau_a_s", "tau_o_s", "fps", "short_history", "views", "num_steps"]), JSON_VALUES)
def test_a_protocol_of_other_values_is_refused_or_kept(sound, tmp_path, name, value):
    judge(unchecked(sound, {"protocol": json.dumps(fuzz_targets.PROTOCOL | {name: value})}), tmp_path, sound)


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({"uids": '["a_0", "a_0"]'}, "more than once"),
        ({"uids": '["a_0"]'}, "for 1 uids"),
        ({"uids": '"ab"'}, "uids should be list"),
        ({"uids": '["a_0", 1]'}, "uids should be str"),
        ({"uids": '["a_0", "\\ud800"]'}, "surrogates"),
        ({"provenance": "[]"}, "provenance should be dict"),
        ({"protocol": '{"kind": "anticipation", "tau_a_s": 1e308, "tau_o_s": 1e308, "fps": 1e308}'}, "infinity"),
        ({"protocol": '{"kind": ["vjepa"]}'}, "kind of the protocol"),
        ({"taxonomy": '{"verbs": []}'}, "lacks"),
        ({"taxonomy": "[" * 20_000}, "recursion"),
        ({"format": "sgear-predictions-9"}, "not a table of predictions"),
    ],
)
def test_a_refusal_says_what_is_wrong(sound, tmp_path, texts, reason):
    (tmp_path / "a.safetensors").write_bytes(unchecked(sound, texts))
    with pytest.raises(PredictionError, match=reason):
        Predictions.load(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("logits", np.nan, "not finite, first 'a_1'"),
        ("targets", 110, r"true actions must all be in 0\.\.109"),
        ("targets", -2, "true actions must all be"),
    ],
)
def test_a_wrong_number_in_a_file_is_refused(tmp_path, sound, name, value, reason):
    header, tensors = parts(sound)
    begin, end = header[name]["data_offsets"]
    values = np.frombuffer(tensors[begin:end], dtype=np.float32 if name == "logits" else np.int64).copy()
    values[-1] = value
    header["__metadata__"]["format"] = FORMAT_WITHOUT_CHECKSUM
    changed = tensors[:begin] + values.tobytes() + tensors[end:]
    data = fuzz_targets.safetensors_bytes(json.dumps(header).encode(), changed)
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(PredictionError, match=reason):
        Predictions.load(tmp_path / "a.safetensors")


def test_scores_of_another_type_are_refused(sound, tmp_path):
    header, _ = parts(sound)
    changes = {"logits": header["logits"] | {"dtype": "I32"}}
    (tmp_path / "a.safetensors").write_bytes(unchecked(sound, {}, changes))
    with pytest.raises(PredictionError, match="logits are I32, expected F32"):
        Predictions.load(tmp_path / "a.safetensors")
