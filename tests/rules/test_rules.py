"""Every gradient rule, compared with the float64 reference in `tests/reference.py`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from art_snn import (
    LIF,
    DirectEncoder,
    EventFrameEncoder,
    GradientRuleModule,
    PoissonEncoder,
    SpikingNetwork,
)
from art_snn.engine.unrolling import unroll_rate
from art_snn.errors import InexactReplayWarning
from art_snn.rules import CBA, HART, RGA, STBP
from art_snn.rules.base import GradientRule
from tests.reference import (
    RATE_RULES,
    ann_forward,
    decision_margin,
    forward,
    input_gradient,
    rate_magnification,
    weight_gradients,
)
from tests.rules.networks import (
    BATCH,
    CLASSES,
    LABELS,
    MAGNIFICATION,
    MARGIN,
    RULE_CLASSES,
    THRESHOLDS,
    TOLERANCE,
    assert_every_layer_fires,
    assert_matches_reference,
    direct_case,
    draw,
    draw_for_float32,
    error,
    event_case,
    firing_network,
    gradient_of,
    loss_gradient,
    max_pool_body,
    mixed_neuron,
    neuron_of,
    same_neuron,
    threshold_case,
)


@pytest.mark.parametrize("time_steps", [1, 4, 8])
@pytest.mark.parametrize("decay", [0.5, 0.9, 1.0])
@pytest.mark.parametrize("reset", ["hard", "soft"])
class TestEverySetting:
    """All rules on static images, over reset, retention and time-steps."""

    def test_the_networks_fire_and_leave_a_margin(self, reset: str, decay: float, time_steps: int) -> None:
        network, x = direct_case(decay, reset, time_steps)
        x_seq = network.encode(x.double())
        _, traces = forward(network, x_seq)
        _, ann_traces = ann_forward(network, x_seq)
        assert len(traces) == len(ann_traces) == 6
        assert_every_layer_fires(traces)
        assert_every_layer_fires(ann_traces)
        for trace in traces:
            assert trace.spikes.shape[0] == time_steps
            assert trace.params.decay == decay
            assert trace.params.reset == reset
        assert min(trace.distance.abs().min() for trace in traces) > MARGIN
        assert decision_margin(traces, ann_traces) > MARGIN
        assert rate_magnification(traces) < MAGNIFICATION

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
    @pytest.mark.parametrize("rule", list(RULE_CLASSES))
    def test_rule_equals_reference(
        self, rule: str, reset: str, decay: float, time_steps: int, dtype: torch.dtype
    ) -> None:
        assert_matches_reference(*direct_case(decay, reset, time_steps), rule, dtype=dtype)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
    def test_cba_loss_on_the_ann_logits(self, reset: str, decay: float, time_steps: int, dtype: torch.dtype) -> None:
        network, x = direct_case(decay, reset, time_steps)
        module = GradientRuleModule(copy.deepcopy(network).to(dtype), CBA()).eval()
        logits, gradient = gradient_of(lambda x: next(module.attack_samples(x)), x.to(dtype))

        x_seq = network.encode(x.double())
        ann_logits, _ = ann_forward(network, x_seq)
        expected = input_gradient(network, x_seq, loss_gradient(ann_logits), "cba").sum(0)
        assert error(logits, ann_logits) <= TOLERANCE[dtype]
        assert error(gradient, expected) <= TOLERANCE[dtype]
        assert error(ann_logits, forward(network, x_seq)[0]) > 1e-3, "the two networks' logits must be told apart"

    @pytest.mark.parametrize("rule", ["hart", "rga", "bptr", "rate"])
    def test_unrolled_form_equals_reference(self, rule: str, reset: str, decay: float, time_steps: int) -> None:
        network, x = direct_case(decay, reset, time_steps)
        doubled, x = copy.deepcopy(network).double(), x.double()
        logits, gradient = gradient_of(lambda x: unroll_rate(doubled, doubled.encode(x), RULE_CLASSES[rule]()), x)

        x_seq = network.encode(x)
        expected_logits, _ = forward(network, x_seq)
        expected = input_gradient(network, x_seq, loss_gradient(expected_logits), rule).sum(0)
        assert error(logits, expected_logits) <= TOLERANCE[torch.float64]
        assert error(gradient, expected) <= TOLERANCE[torch.float64]

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
    def test_hart_by_replay_equals_hart_unrolled(
        self, reset: str, decay: float, time_steps: int, dtype: torch.dtype
    ) -> None:
        network, x = direct_case(decay, reset, time_steps)
        network, x = copy.deepcopy(network).to(dtype), x.to(dtype)
        replayed_logits, replayed = gradient_of(GradientRuleModule(network, HART()).eval(), x)
        unrolled_logits, unrolled = gradient_of(lambda x: unroll_rate(network, network.encode(x), HART()), x)
        assert error(replayed_logits, unrolled_logits) <= TOLERANCE[dtype]
        assert error(replayed, unrolled) <= TOLERANCE[dtype]

    @pytest.mark.parametrize("rule", list(RULE_CLASSES))
    def test_attack_logits_are_the_logits_except_for_cba(
        self, rule: str, reset: str, decay: float, time_steps: int
    ) -> None:
        network, x = direct_case(decay, reset, time_steps)
        module = GradientRuleModule(copy.deepcopy(network).double(), RULE_CLASSES[rule]()).eval()
        x = x.double()
        logits, gradient = gradient_of(module, x)
        attack_logits, attack_gradient = gradient_of(lambda x: next(module.attack_samples(x)), x)
        same = rule != "cba"
        assert (error(attack_logits, logits) <= TOLERANCE[torch.float64]) == same
        assert (error(attack_gradient, gradient) <= TOLERANCE[torch.float64]) == same


class TestHyperparameters:
    """Settings of the rules other than their defaults."""

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
    @pytest.mark.parametrize("gamma", [0.3, 0.7, 2.0])
    @pytest.mark.parametrize(("decay", "reset"), [(0.5, "hard"), (1.0, "soft")])
    @pytest.mark.parametrize("rule", ["hart", "stbp"])
    def test_gamma(self, rule: str, decay: float, reset: str, gamma: float, dtype: torch.dtype) -> None:
        assert_matches_reference(*direct_case(decay, reset, 4), rule, dtype=dtype, gamma=gamma)

    @pytest.mark.parametrize("gamma", [0.3, 0.7, 1.0, 2.0])
    @pytest.mark.parametrize("reset", ["hard", "soft"])
    def test_hart_equals_stbp_with_one_step(self, reset: str, gamma: float) -> None:
        network, x = direct_case(0.9, reset, 1)
        network, x = copy.deepcopy(network).double(), x.double()
        hart_logits, hart = gradient_of(GradientRuleModule(network, HART(gamma=gamma)).eval(), x)
        stbp_logits, stbp = gradient_of(GradientRuleModule(network, STBP(gamma=gamma)).eval(), x)
        assert error(hart_logits, stbp_logits) <= TOLERANCE[torch.float64]
        assert error(hart, stbp) <= TOLERANCE[torch.float64]

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
    @pytest.mark.parametrize("decay", [0.5, 1.0])
    @pytest.mark.parametrize("reset", ["hard", "soft"])
    def test_stbp_detach_reset(self, reset: str, decay: float, dtype: torch.dtype) -> None:
        network, x = direct_case(decay, reset, 4)
        detached = assert_matches_reference(network, x, "stbp", dtype=dtype, detach_reset=True)
        attached = assert_matches_reference(network, x, "stbp", dtype=dtype, detach_reset=False)
        assert error(detached, attached.double()) > 1e-2

    def test_stbp_ignores_what_the_neurons_do_in_training(self) -> None:
        """A neuron's own surrogate and detached reset are for training alone."""
        network, x = direct_case(0.9, "soft", 4)
        other = firing_network(
            DirectEncoder(time_steps=4),
            same_neuron(decay=0.9, reset="soft", surrogate=torch.zeros_like, detach_reset=True),
        )
        expected = assert_matches_reference(network, x, "stbp")
        assert error(assert_matches_reference(other, x, "stbp"), expected) <= TOLERANCE[torch.float64]

    @pytest.mark.parametrize("slope_below", [0.0, 0.5])
    @pytest.mark.parametrize("decay", [0.5, 0.9])
    def test_rga_slope_below(self, decay: float, slope_below: float) -> None:
        assert_matches_reference(*direct_case(decay, "hard", 4), "rga", slope_below=slope_below)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
    @pytest.mark.parametrize("hyper", [{"activation": "relu"}, {"levels": 4}], ids=["relu", "levels"])
    @pytest.mark.parametrize("thresholds", ["one", "high", "mixed"])
    def test_cba_activation(self, thresholds: str, hyper: dict[str, Any], dtype: torch.dtype) -> None:
        network, _ = direct_case(0.9, "hard", 4) if thresholds == "one" else threshold_case(thresholds)
        x = draw_for_float32(network, (BATCH, 2, 8, 8), **hyper)
        assert_matches_reference(network, x, "cba", dtype=dtype, **hyper)

        module = GradientRuleModule(copy.deepcopy(network).to(dtype), CBA(**hyper)).eval()
        logits, gradient = gradient_of(lambda x: next(module.attack_samples(x)), x.to(dtype))
        x_seq = network.encode(x.double())
        ann_logits, _ = ann_forward(network, x_seq, **hyper)
        expected = input_gradient(network, x_seq, loss_gradient(ann_logits), "cba", **hyper).sum(0)
        assert error(logits, ann_logits) <= TOLERANCE[dtype]
        assert error(gradient, expected) <= TOLERANCE[dtype]

    @pytest.mark.parametrize(
        "make",
        [
            lambda: HART(gamma=0),
            lambda: HART(gamma=-1),
            lambda: HART(gamma=float("nan")),
            lambda: STBP(gamma=0),
            lambda: CBA(levels=0),
            lambda: CBA(activation="tanh"),
            lambda: RGA(slope_below=2),
        ],
        ids=["hart-0", "hart-negative", "hart-nan", "stbp-0", "cba-levels", "cba-activation", "rga-slope"],
    )
    def test_bad_values_are_refused(self, make: Callable[[], GradientRule]) -> None:
        with pytest.raises(ValueError, match=r"gamma|levels|activation|slope_below"):
            make()


class TestNeurons:
    """Thresholds other than 1, and layers that differ from one another."""

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
    @pytest.mark.parametrize("rule", list(RULE_CLASSES))
    @pytest.mark.parametrize("thresholds", list(THRESHOLDS))
    def test_thresholds(self, thresholds: str, rule: str, dtype: torch.dtype) -> None:
        network, x = threshold_case(thresholds)
        _, traces = forward(network, network.encode(x.double()))
        assert_every_layer_fires(traces)
        assert any(trace.params.threshold != 1 for trace in traces)
        assert_matches_reference(network, x, rule, dtype=dtype)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
    @pytest.mark.parametrize("time_steps", [1, 4])
    @pytest.mark.parametrize(
        ("rule", "hyper"),
        [*((rule, {}) for rule in RULE_CLASSES), ("cba", {"activation": "relu"})],
        ids=[*RULE_CLASSES, "cba-relu"],
    )
    def test_currents_on_the_steps_of_the_rules(
        self, rule: str, hyper: dict[str, Any], time_steps: int, dtype: torch.dtype
    ) -> None:
        """Where a rule jumps, it takes the side that the formulas say; samples without drive do no harm."""
        # theta = 1, lambda = 0.5: RGA jumps at 0, 0.5 and 2, the slope of QCFS at 0 and 1, spikes at 1
        x = torch.tensor(
            [
                [-0.0625, 0.0, 0.0625, 0.1875, 0.5, 0.75, 0.9375, 1.0, 1.0625, 1.5, 2.0, 2.0625],
                [-1.0, -0.5, -0.25, -2.0, -0.125, -1.5, -3.0, -0.75, -0.0625, -4.0, -1.25, -2.5],
                [0.0] * 12,
            ]
        )
        layers = [nn.Flatten(), LIF(decay=0.5), nn.Linear(12, CLASSES, bias=False)]
        network = SpikingNetwork(DirectEncoder(time_steps=time_steps), nn.Sequential(*layers)).eval()
        with torch.no_grad():
            layers[2].weight.copy_(draw((CLASSES, 12), 2) - 0.5)
        gradient = assert_matches_reference(network, x, rule, dtype=dtype, **hyper)
        if rule not in ("hart", "stbp"):
            assert gradient[1].count_nonzero() == 0


class TestEncoders:
    """Inputs that differ between time-steps."""

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
    @pytest.mark.parametrize("rule", list(RULE_CLASSES))
    @pytest.mark.parametrize(
        ("decay", "reset", "time_steps"), [(0.5, "hard", 1), (0.5, "hard", 4), (0.9, "soft", 4), (1.0, "soft", 5)]
    )
    def test_event_frames(self, rule: str, decay: float, reset: str, time_steps: int, dtype: torch.dtype) -> None:
        network, x = event_case(decay, reset, time_steps)
        _, traces = forward(network, network.encode(x.double()))
        assert_every_layer_fires(traces)
        gradient = assert_matches_reference(network, x, rule, dtype=dtype)
        assert gradient.shape == x.shape
        if time_steps > 1:
            same_in_every_frame = torch.equal(gradient, gradient[:, :1].expand_as(gradient))
            assert same_in_every_frame == (rule != "stbp")

    @pytest.mark.parametrize("rule", list(RULE_CLASSES))
    def test_event_counts(self, rule: str) -> None:
        network = firing_network(EventFrameEncoder(), mixed_neuron)
        x = torch.poisson(draw((BATCH, 6, 2, 8, 8), 11), generator=torch.Generator().manual_seed(12))
        assert x.max() > 1
        _, traces = forward(network, network.encode(x.double()))
        assert_every_layer_fires(traces)
        assert_matches_reference(network, x, rule)

    @pytest.mark.filterwarnings("ignore::art_snn.errors.InputRangeWarning")
    @pytest.mark.parametrize("rule", list(RULE_CLASSES))
    @pytest.mark.parametrize("reset", ["hard", "soft"])
    def test_poisson(self, rule: str, reset: str) -> None:
        """Both passes of a rule see one sample; the gradient is the intensity's, and 0 where that is none."""

        def poisson_network() -> SpikingNetwork:
            encoder = PoissonEncoder(time_steps=6, generator=torch.Generator())
            return firing_network(encoder, neuron_of(0.9, reset)).double()

        x = draw((BATCH, 2, 8, 8), 5).double() * 1.2 - 0.1
        inside = (x >= 0) & (x <= 1)
        assert 0 < (~inside).sum() < x.numel() / 2
        network = poisson_network()
        network.encoder.generator.manual_seed(123)
        x_seq = network.encode(x)
        assert set(x_seq.unique().tolist()) == {0.0, 1.0}
        expected_logits, traces = forward(network, x_seq)
        assert_every_layer_fires(traces)
        expected = input_gradient(network, x_seq, loss_gradient(expected_logits), rule).sum(0) * inside

        module = GradientRuleModule(poisson_network(), RULE_CLASSES[rule]()).eval()
        module.network.encoder.generator.manual_seed(123)
        logits, gradient = gradient_of(module, x)
        assert error(logits, expected_logits) <= TOLERANCE[torch.float64]
        assert error(gradient, expected) <= TOLERANCE[torch.float64]


class TestMaxPool:
    """A layer between neurons that is not affine: replay is not exact, the unrolled form is."""

    @pytest.mark.parametrize("event_frames", [False, True], ids=["direct", "events"])
    @pytest.mark.parametrize("rule", RATE_RULES)
    @pytest.mark.parametrize(("decay", "reset"), [(0.5, "hard"), (0.9, "hard"), (1.0, "soft")])
    def test_rate_rules_warn_and_are_unrolled(self, rule: str, decay: float, reset: str, event_frames: bool) -> None:
        encoder = EventFrameEncoder() if event_frames else DirectEncoder(time_steps=4)
        network = firing_network(encoder, neuron_of(decay, reset), body=max_pool_body)
        x = draw((BATCH, 4, 2, 8, 8) if event_frames else (BATCH, 2, 8, 8), 3)
        _, traces = forward(network, network.encode(x.double()))
        assert_every_layer_fires(traces)
        with pytest.warns(InexactReplayWarning):
            assert_matches_reference(network, x, rule)

    @pytest.mark.parametrize("rule", ["stbp", "cba"])
    def test_other_rules_need_no_warning(self, rule: str) -> None:
        network = firing_network(DirectEncoder(time_steps=4), neuron_of(0.9, "hard"), body=max_pool_body)
        assert_matches_reference(network, draw((BATCH, 2, 8, 8), 3), rule)

    @pytest.mark.parametrize("rule", list(RULE_CLASSES))
    def test_one_step_is_replayed_exactly(self, rule: str) -> None:
        network = firing_network(DirectEncoder(time_steps=1), neuron_of(0.9, "hard"), body=max_pool_body)
        assert_matches_reference(network, draw((BATCH, 2, 8, 8), 3), rule)


class TestWeightGradients:
    """Parameters stay in the graph, and get the gradient that the papers write."""

    @pytest.mark.parametrize("time_steps", [1, 4])
    @pytest.mark.parametrize(("decay", "reset"), [(0.5, "hard"), (1.0, "soft")])
    def test_replay_equals_unrolled_sum_over_time(self, decay: float, reset: str, time_steps: int) -> None:
        network, x = direct_case(decay, reset, time_steps)
        network, x = copy.deepcopy(network).double(), x.double()
        names, params = zip(*network.named_parameters(), strict=True)

        def param_gradients(logits: Tensor) -> dict[str, Tensor]:
            gradients = torch.autograd.grad(cross_entropy(logits, LABELS), params)
            return dict(zip(names, gradients, strict=True))

        replayed = param_gradients(GradientRuleModule(network, HART()).eval()(x.clone().requires_grad_()))
        unrolled = param_gradients(unroll_rate(network, network.encode(x.clone().requires_grad_()), HART()))
        for name in names:
            assert error(replayed[name], unrolled[name]) <= TOLERANCE[torch.float64], name

        x_seq = network.encode(x)
        expected = weight_gradients(network, x_seq, loss_gradient(forward(network, x_seq)[0]), "hart")
        norms = {name for name, module in network.named_modules() if isinstance(module, nn.BatchNorm2d)}
        assert set(expected) == {name for name in names if name.rpartition(".")[0] not in norms}
        for name, gradient in expected.items():
            assert error(replayed[name], gradient) <= TOLERANCE[torch.float64], name
