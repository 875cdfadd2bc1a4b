"""Laws of RULSTM, and its equations once more with loops."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sgear.errors import ConfigError
from sgear.models import EncoderConfig, RulstmConfig, build_model, model_config
from sgear.models.rulstm import Rulstm

NUM_ACTIONS, HIDDEN_DIM, MAX_STEPS = 7, 6, 10
ONE, THREE = [5], [5, 3, 4]


def tiny_model(modalities: list[int], **settings) -> Rulstm:
    torch.manual_seed(0)
    config = model_config(
        name="rulstm",
        max_steps=MAX_STEPS,
        encoder=EncoderConfig(feature_dim=sum(modalities)),
        rulstm=RulstmConfig(modalities=modalities, hidden_dim=HIDDEN_DIM, **settings),
    )
    model = build_model(config, num_actions=NUM_ACTIONS)
    assert isinstance(model, Rulstm)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model.eval()


def clip_of(model: Rulstm, seed: int, batch: int, steps: int) -> torch.Tensor:
    return torch.randn(batch, steps, sum(model.widths), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("modalities", [ONE, THREE])
@given(seed=st.integers(0, 1000), steps=st.integers(2, MAX_STEPS), data=st.data())
def test_changing_a_step_leaves_every_output_before_it_equal(modalities, seed, steps, data):
    model = tiny_model(modalities)
    changed_idx = data.draw(st.integers(0, steps - 1))
    clip = clip_of(model, seed, 2, steps)
    other = clip.clone()
    other[:, changed_idx] += 1.0
    with torch.no_grad():
        before, after = model(clip), model(other)
    for name in ("observed", "predicted", "next_logits"):
        assert torch.equal(getattr(before, name)[:, :changed_idx], getattr(after, name)[:, :changed_idx])
    assert not torch.equal(before.logits, after.logits)


@pytest.mark.parametrize("modalities", [ONE, THREE])
@given(seed=st.integers(0, 1000), first=st.integers(1, 3), second=st.integers(1, 3))
def test_a_clip_does_not_see_its_batch_mates(modalities, seed, first, second):
    model = tiny_model(modalities)
    clips = clip_of(model, seed, first + second, 5)
    with torch.no_grad():
        together = model(clips).next_logits
        apart = torch.cat([model(clips[:first]).next_logits, model(clips[first:]).next_logits])
    # Matrix products of another batch size may sum in another order.
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("modalities", [ONE, THREE])
@pytest.mark.parametrize("sequence_completion", [False, True])
@given(seed=st.integers(0, 1000), steps=st.integers(2, MAX_STEPS), data=st.data())
def test_steps_that_do_not_exist_change_nothing(modalities, sequence_completion, seed, steps, data):
    model = tiny_model(modalities, sequence_completion=sequence_completion)
    num_missing = data.draw(st.integers(1, steps - 1))
    mask = torch.ones(2, steps, dtype=torch.bool)
    mask[:, :num_missing] = False
    clip = clip_of(model, seed, 2, steps)
    with torch.no_grad():
        whole, suffix = model(clip, mask), model(clip[:, num_missing:])
    torch.testing.assert_close(whole.next_logits[:, num_missing:], suffix.next_logits, rtol=1e-5, atol=1e-5)
    clip[:, :num_missing] = 100.0
    with torch.no_grad():
        assert torch.equal(model(clip, mask).logits, whole.logits)


def test_clips_of_one_batch_may_begin_at_different_steps():
    model = tiny_model(THREE)
    clip = clip_of(model, 3, 2, 6)
    mask = torch.tensor([[False] * 4 + [True] * 2, [True] * 6])
    with torch.no_grad():
        both = model(clip, mask).logits
        expected = torch.cat([model(clip[:1, 4:]).logits, model(clip[1:]).logits])
    torch.testing.assert_close(both, expected, rtol=1e-5, atol=1e-5)


def lstm_by_hand(cell: torch.nn.LSTMCell, step, hidden, memory):
    """One step of an LSTM, gate by gate."""
    size = cell.hidden_size
    sums = [
        sum(cell.weight_ih[row, j] * step[j] for j in range(len(step)))
        + sum(cell.weight_hh[row, j] * hidden[j] for j in range(size))
        + cell.bias_ih[row]
        + cell.bias_hh[row]
        for row in range(4 * size)
    ]
    gates = torch.stack(sums)
    keep_new, keep_old = torch.sigmoid(gates[:size]), torch.sigmoid(gates[size : 2 * size])
    new, show = torch.tanh(gates[2 * size : 3 * size]), torch.sigmoid(gates[3 * size :])
    memory = keep_old * memory + keep_new * new
    return show * torch.tanh(memory), memory


def branch_by_hand(branch, clip, *, steps_ahead, sequence_completion):
    """One clip [T F]: rolling states, ends of the unrollings and scores after each step."""
    hidden = memory = torch.zeros(HIDDEN_DIM)
    states = []
    for t, step in enumerate(clip):
        hidden, memory = lstm_by_hand(branch.rolling, step, hidden, memory)
        ahead, carried = hidden, memory
        # Steps until the action starts, and one more; in sequence completion, what is left of the clip.
        reads = list(clip[t:]) if sequence_completion else [step] * (len(clip) - 1 - t + steps_ahead + 1)
        for read in reads:
            ahead, carried = lstm_by_hand(branch.unrolling, read, ahead, carried)
        states.append((hidden, memory, ahead, branch.classifier.weight @ ahead + branch.classifier.bias))
    return states


@pytest.mark.parametrize("sequence_completion", [False, True])
@torch.no_grad()
def test_one_branch_equals_its_twin_with_loops(sequence_completion):
    model = tiny_model(ONE, sequence_completion=sequence_completion, step_s=0.5, tau_a_s=1.0)
    clip = clip_of(model, 1, 1, 4)
    states = branch_by_hand(model.branches[0], clip[0], steps_ahead=2, sequence_completion=sequence_completion)
    output = model(clip)
    for t, (hidden, _, ahead, scores) in enumerate(states):
        torch.testing.assert_close(output.observed[0, t], hidden)
        torch.testing.assert_close(output.predicted[0, t], ahead)
        torch.testing.assert_close(output.next_logits[0, t], scores)


@pytest.mark.parametrize("attention", ["released", "paper"])
@torch.no_grad()
def test_modality_attention_equals_its_twin_with_loops(attention):
    model = tiny_model(THREE, attention=attention)
    clip = clip_of(model, 2, 1, 3)
    parts = clip[0].split(THREE, dim=-1)
    states = [
        branch_by_hand(branch, part, steps_ahead=1, sequence_completion=False)
        for branch, part in zip(model.branches, parts, strict=True)
    ]
    output = model(clip)
    layers = [layer for layer in model.modality_attention.layers if isinstance(layer, torch.nn.Linear)]
    assert [layer.out_features for layer in layers] == [2 * 3 * HIDDEN_DIM // 4, 2 * 3 * HIDDEN_DIM // 8, 3]
    for t in range(3):
        memory = []
        for branch in states:
            hidden, cell, ahead, _ = branch[t]
            memory += [ahead if attention == "released" else hidden, cell]
        signal = torch.cat(memory)
        for index, layer in enumerate(layers):
            signal = layer.weight @ signal + layer.bias
            signal = signal.clamp(min=0) if index < 2 else signal
        shares = [float(signal[m].exp() / sum(value.exp() for value in signal)) for m in range(3)]
        expected = sum(shares[m] * states[m][t][3] for m in range(3))
        torch.testing.assert_close(output.next_logits[0, t], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_sequence_completion_changes_the_unrolling_alone():
    plain = tiny_model(THREE)
    completing = tiny_model(THREE, sequence_completion=True)
    completing.load_state_dict(plain.state_dict(), strict=True)
    clip = clip_of(plain, 0, 2, 6)
    anticipated, completed = plain(clip), completing(clip)
    assert torch.equal(anticipated.observed, completed.observed)
    assert not torch.allclose(anticipated.predicted, completed.predicted)


@torch.no_grad()
def test_sequence_completion_reads_the_steps_that_follow():
    model = tiny_model(ONE, sequence_completion=True)
    clip = clip_of(model, 0, 1, 5)
    other = clip.clone()
    other[:, 3] += 1.0
    changed = (model(clip).predicted - model(other).predicted).abs().amax(dim=-1)[0] > 0
    assert changed.tolist() == [True, True, True, True, True]
    # The last step has nothing to follow, so it alone is read there.
    assert not torch.equal(model(clip).predicted[:, -1], model(clip[:, -1:]).predicted[:, -1])


@torch.no_grad()
def test_sequence_completion_of_a_still_clip_equals_a_shorter_unrolling():
    # Where nothing changes, the following steps and the last one again and again are the same.
    completing = tiny_model(ONE, sequence_completion=True, step_s=1.0, tau_a_s=1.0)
    plain = tiny_model(ONE, step_s=1.0, tau_a_s=1.0)
    plain.steps_ahead = 0
    still = clip_of(plain, 5, 2, 1).expand(-1, 4, -1)
    torch.testing.assert_close(completing(still).predicted, plain(still).predicted)


@pytest.mark.parametrize(("modalities", "objective"), [(ONE, "logits"), (THREE, "logits"), (THREE, "horizon_logits")])
def test_gradients_reach_all_parameters(modalities, objective):
    model = tiny_model(modalities, dropout=0.0).train()
    getattr(model(clip_of(model, 0, 3, 5)), objective).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_dropout_acts_on_features_and_before_the_classifier_in_training_alone():
    model = tiny_model(ONE, dropout=0.5)
    clip = clip_of(model, 0, 2, 4)
    with torch.no_grad():
        assert torch.equal(model(clip).logits, model(clip).logits)
        model.train()
        first, second = model(clip), model(clip)
        assert not torch.equal(first.observed, second.observed)
        assert not torch.equal(first.predicted, second.predicted)
    branch = model.branches[0]
    torch.manual_seed(0)
    states = branch(clip, torch.ones(2, 4, dtype=torch.bool), steps_ahead=1)
    assert not torch.equal(states.scores, branch.classifier(states.anticipated))


def test_horizons_count_back_from_the_action():
    model = tiny_model(ONE, step_s=0.25, tau_a_s=0.5, anticipation_steps=4)
    assert model.horizons_s(10) == [1.0, 0.75, 0.5]
    assert model.horizons_s(2) == [0.75, 0.5]
    with torch.no_grad():
        clip = clip_of(model, 0, 2, 6)
        assert torch.equal(model.horizon_logits(clip), model(clip).next_logits[:, -3:])


@torch.no_grad()
def test_an_early_horizon_of_a_long_clip_is_the_last_one_of_a_short_clip():
    model = tiny_model(THREE)
    clip = clip_of(model, 0, 2, 9)
    late = model.horizon_logits(clip)
    model.set_tau_a(1.0)
    torch.testing.assert_close(model(clip[:, :-3]).logits, late[:, -4], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tau_a_s", [0.0, 0.3, 2.25])
def test_an_anticipation_time_between_steps_or_too_long_is_refused(tau_a_s):
    with pytest.raises(ConfigError, match=rf"anticipation_steps=8 whole steps.*tau_a_s={tau_a_s}"):
        tiny_model(ONE).set_tau_a(tau_a_s)


def test_horizons_in_sequence_completion_are_refused():
    model = tiny_model(ONE, sequence_completion=True)
    with pytest.raises(ConfigError, match="no anticipation"):
        model.horizon_logits(clip_of(model, 0, 1, 3))


@pytest.mark.parametrize("steps", range(1, MAX_STEPS + 1))
def test_any_length_up_to_the_built_one_is_read(steps):
    model = tiny_model(THREE)
    output = model(clip_of(model, 0, 2, steps))
    assert output.logits.shape == (2, NUM_ACTIONS)
    assert output.next_logits.shape == (2, steps, NUM_ACTIONS)
    assert output.horizon_logits.shape == (2, min(steps, 8), NUM_ACTIONS)
    assert output.past_logits is None


def test_a_clip_longer_than_built_for_is_refused_with_both_lengths():
    model = tiny_model(ONE)
    with pytest.raises(ValueError, match=r"11 steps.*at most 10"):
        model(clip_of(model, 0, 1, 11))


def test_a_clip_of_another_width_is_refused_with_both_widths():
    with pytest.raises(ConfigError, match=r"widths \(5, 3, 4\), 12 in all.*\(1, 3, 5\)"):
        tiny_model(THREE)(torch.zeros(1, 3, 5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": EncoderConfig(feature_dim=9)}, r"modalities=\[5\] adds up to 5.*feature_dim=9"),
        ({"encoder": EncoderConfig(name="vit_tiny_patch16_224")}, "reads stored features, not pixels of 'vit_tiny"),
        ({"rulstm": RulstmConfig()}, r"modalities=\[\] adds up to 0"),
    ],
)
def test_a_model_that_cannot_be_built_says_why(settings, message):
    config = model_config(name="rulstm", encoder=EncoderConfig(feature_dim=5), rulstm=RulstmConfig(modalities=ONE))
    with pytest.raises(ConfigError, match=message):
        build_model(replace(config, **settings), num_actions=NUM_ACTIONS)


def test_an_unknown_attention_is_refused():
    with pytest.raises(ConfigError, match="attention='mean' is unknown; choose released, paper"):
        tiny_model(THREE, attention="mean")
