"""The masked multi-head distribution against torch's own."""

import math

import pytest
import torch
from gymnasium import spaces
from torch import Tensor
from torch.distributions import Categorical, kl_divergence
from torch.testing import assert_close

from rbc_rllib.play.distribution import FORBIDDEN, MultiHeadCategorical, head_sizes_of
from tests.play.networks import normal

HEADS = {"one head": (5,), "equal heads": (3, 3, 3), "unequal heads": (11, 11, 5, 2, 2, 11, 1, 4)}
LEADING = [(), (4,), (2, 3), (2, 3, 2)]
DRAWS = 200_000

MASKS = {
    "first forbidden": [0, 1, 1, 1, 1, 1],
    "last forbidden": [1, 1, 1, 1, 1, 0],
    "both ends forbidden": [0, 0, 1, 1, 0, 0],
    "middle forbidden": [1, 1, 0, 0, 1, 1],
    "every other forbidden": [0, 1, 0, 1, 0, 1],
    "only the first allowed": [1, 0, 0, 0, 0, 0],
    "only a middle one allowed": [0, 0, 0, 1, 0, 0],
    "only the last allowed": [0, 0, 0, 0, 0, 1],
}


def by_head(logits: Tensor, head_sizes: tuple[int, ...]) -> list[Categorical]:
    return [Categorical(logits=part) for part in logits.split(list(head_sizes), dim=-1)]


def logp_by_head(logits: Tensor, values: Tensor, head_sizes: tuple[int, ...]) -> Tensor:
    columns = values.unsqueeze(-1) if len(head_sizes) == 1 else values
    heads = by_head(logits, head_sizes)
    return torch.stack([head.log_prob(columns[..., h]) for h, head in enumerate(heads)]).sum(0)


def entropy_by_head(logits: Tensor, head_sizes: tuple[int, ...]) -> Tensor:
    return torch.stack([head.entropy() for head in by_head(logits, head_sizes)]).sum(0)


def random_values(head_sizes: tuple[int, ...], leading: tuple[int, ...], generator: torch.Generator) -> Tensor:
    columns = [torch.randint(size, leading, generator=generator) for size in head_sizes]
    return columns[0] if len(columns) == 1 else torch.stack(columns, dim=-1)


def gradient(output: Tensor, weights: Tensor, inputs: Tensor) -> Tensor:
    return torch.autograd.grad((output * weights).sum(), inputs, retain_graph=True)[0]


@pytest.mark.parametrize("leading", LEADING, ids=str)
@pytest.mark.parametrize("head_sizes", HEADS.values(), ids=HEADS)
def test_logp_entropy_and_their_gradients_are_those_of_independent_categoricals(head_sizes, leading, torch_rng):
    logits = normal(*leading, sum(head_sizes), generator=torch_rng, scale=3.0).requires_grad_()
    values = random_values(head_sizes, leading, torch_rng)
    weights = normal(*leading, generator=torch_rng)
    distribution = MultiHeadCategorical(logits, head_sizes)
    for actual, expected in (
        (distribution.logp(values), logp_by_head(logits, values, head_sizes)),
        (distribution.entropy(), entropy_by_head(logits, head_sizes)),
    ):
        assert actual.shape == leading
        assert_close(actual, expected, rtol=1e-12, atol=1e-12)
        assert_close(gradient(actual, weights, logits), gradient(expected, weights, logits), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("head_sizes", HEADS.values(), ids=HEADS)
def test_kl_and_its_gradients_are_those_of_independent_categoricals(head_sizes, torch_rng):
    p, q = (normal(2, 3, sum(head_sizes), generator=torch_rng, scale=3.0).requires_grad_() for _ in range(2))
    pairs = zip(by_head(p, head_sizes), by_head(q, head_sizes), strict=True)
    expected = torch.stack([kl_divergence(*pair) for pair in pairs]).sum(0)
    actual = MultiHeadCategorical(p, head_sizes).kl(MultiHeadCategorical(q, head_sizes))
    assert_close(actual, expected, rtol=1e-12, atol=1e-12)
    weights = normal(2, 3, generator=torch_rng)
    for logits in (p, q):
        actual_gradient, expected_gradient = (gradient(kl, weights, logits) for kl in (actual, expected))
        assert_close(actual_gradient, expected_gradient, rtol=1e-10, atol=1e-12)


def test_heads_that_differ_by_hundreds_do_not_underflow(torch_rng):
    """exp(-200) is 0 in float32: a shift common to all heads would lose those that lie lower."""
    head_sizes = (3, 4, 2, 3)
    levels = torch.tensor([200.0, 0.0, -200.0, 1e4]).repeat_interleave(torch.tensor(head_sizes))
    logits = (levels + torch.randn(50, 12, generator=torch_rng)).requires_grad_()
    values = random_values(head_sizes, (50,), torch_rng)
    exact = logits.detach().double().requires_grad_()
    distribution = MultiHeadCategorical(logits, head_sizes)
    weights = torch.randn(50, generator=torch_rng)
    for actual, expected in (
        (distribution.logp(values), logp_by_head(exact, values, head_sizes)),
        (distribution.entropy(), entropy_by_head(exact, head_sizes)),
    ):
        assert_close(actual.double(), expected, rtol=1e-5, atol=1e-5)
        assert_close(
            gradient(actual, weights, logits).double(), gradient(expected, weights, exact), rtol=1e-4, atol=1e-5
        )


def test_options_that_differ_by_hundreds_inside_a_head_stay_exact():
    logits = torch.tensor([[0.0, -200.0, -200.0, 500.0]], requires_grad=True)
    distribution = MultiHeadCategorical(logits, (2, 2))
    assert_close(distribution.logp(torch.tensor([[1, 0]])), torch.tensor([-900.0]))
    assert_close(distribution.logp(torch.tensor([[0, 1]])), torch.tensor([0.0]))
    assert_close(distribution.entropy(), torch.tensor([0.0]))
    for output in (distribution.logp(torch.tensor([[1, 0]])), distribution.entropy()):
        assert torch.isfinite(torch.autograd.grad(output.sum(), logits, retain_graph=True)[0]).all()


def masked_logits(mask: list[int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Logits [6] with FORBIDDEN where the mask is 0, and the mask as bool."""
    allowed = torch.tensor(mask, dtype=torch.bool)
    return torch.randn(6, generator=generator).masked_fill(~allowed, FORBIDDEN), allowed


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_forbidden_options_have_probability_zero_and_are_never_drawn(mask, torch_rng):
    logits, allowed = masked_logits(mask, torch_rng)
    options = torch.arange(6)
    probabilities = MultiHeadCategorical(logits.expand(6, 6), (6,)).logp(options).exp()
    assert_close(probabilities.sum(), torch.tensor(1.0))
    assert (probabilities[~allowed] == 0).all()
    assert (probabilities[allowed] > 0).all()
    drawn = MultiHeadCategorical(logits.expand(DRAWS, 6), (6,)).sample(generator=torch_rng)
    assert drawn.shape == (DRAWS,)
    assert set(drawn.unique().tolist()) == set(options[allowed].tolist())


@pytest.mark.parametrize("u", [0.0, 2**-24, 0.5, 1 - 2**-23, 1 - 2**-24])
@pytest.mark.parametrize("size", [6, 36])
def test_the_smallest_and_largest_uniform_numbers_draw_allowed_options_too(size, u, torch_rng, monkeypatch):
    """The edges of the inverse CDF, which random draws hardly ever meet; 1 - 2^-24 is the last float32 below 1."""
    allowed = torch.rand(2_000, size, generator=torch_rng) < 0.4
    allowed[:, 3] |= ~allowed.any(-1)
    logits = torch.randn(2_000, size, generator=torch_rng).mul(5).masked_fill(~allowed, FORBIDDEN)
    monkeypatch.setattr(torch, "rand", lambda shape, **options: torch.full(shape, u, dtype=options["dtype"]))
    drawn = MultiHeadCategorical(logits, (size,)).sample()
    assert (drawn < size).all()
    assert allowed.gather(-1, drawn[:, None].long()).all()


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_a_mask_leaves_the_distribution_over_what_it_allows(mask, torch_rng):
    """Entropy, log-probability and gradients are those of the allowed options alone, and 0 at forbidden ones."""
    masked, allowed = masked_logits(mask, torch_rng)
    beside = torch.randn(3, generator=torch_rng)  # another head, without a mask
    logits = torch.cat([beside, masked]).requires_grad_()
    alone = logits.detach()[torch.cat([torch.ones(3, dtype=torch.bool), allowed])].double().requires_grad_()
    sizes, count = (3, 6), int(allowed.sum())
    chosen = int(allowed.nonzero()[-1])
    distribution = MultiHeadCategorical(logits, sizes)
    for actual, expected in (
        (distribution.entropy(), entropy_by_head(alone, (3, count))),
        (distribution.logp(torch.tensor([1, chosen])), logp_by_head(alone, torch.tensor([1, count - 1]), (3, count))),
    ):
        assert_close(actual.double(), expected, rtol=1e-5, atol=1e-6)
        slopes = torch.autograd.grad(actual, logits, retain_graph=True)[0]
        assert (slopes[3:][~allowed] == 0).all()
        expected_slopes = torch.autograd.grad(expected, alone, retain_graph=True)[0]
        assert_close(torch.cat([slopes[:3], slopes[3:][allowed]]).double(), expected_slopes, rtol=1e-4, atol=1e-6)


def test_kl_between_equally_masked_distributions_is_finite():
    p, q = torch.tensor([0.3, FORBIDDEN, 1.0]), torch.tensor([1.5, FORBIDDEN, -0.2])
    expected = kl_divergence(Categorical(logits=p[[0, 2]]), Categorical(logits=q[[0, 2]]))
    assert_close(MultiHeadCategorical(p, (3,)).kl(MultiHeadCategorical(q, (3,))), expected)


def assert_frequencies(counts: Tensor, probabilities: Tensor, draws: int) -> None:
    """Within five standard deviations of a binomial count."""
    spread = (draws * probabilities * (1 - probabilities)).sqrt()
    assert ((counts - draws * probabilities).abs() <= 5 * spread + 1e-9).all(), (counts, draws * probabilities)


@pytest.mark.parametrize("head_sizes", [(5,), (3, 3), (2, 5, 5, 3)], ids=str)
def test_options_are_drawn_as_often_as_their_probability_says(head_sizes, torch_rng):
    logits = 1.5 * torch.randn(sum(head_sizes), generator=torch_rng)
    drawn = MultiHeadCategorical(logits.expand(DRAWS, -1), head_sizes).sample(generator=torch_rng)
    assert drawn.dtype == torch.int8
    assert drawn.shape == ((DRAWS,) if len(head_sizes) == 1 else (DRAWS, len(head_sizes)))
    columns = drawn.reshape(DRAWS, -1)
    for h, head in enumerate(by_head(logits, head_sizes)):
        assert_frequencies(columns[:, h].bincount(minlength=head_sizes[h]), head.probs, DRAWS)


@pytest.mark.parametrize(("options", "dtype"), [(128, torch.int8), (129, torch.int32)])
@pytest.mark.parametrize("explore", [True, False])
def test_choices_take_one_byte_where_the_last_option_fits_in_it(options, dtype, explore):
    logits = torch.zeros((2, 2 + options))
    logits[:, -1] = 100.0
    distribution = MultiHeadCategorical(logits, (2, options))
    drawn = (distribution if explore else distribution.to_deterministic()).sample()
    assert drawn.dtype == dtype
    assert drawn[:, 1].tolist() == [options - 1] * 2
    assert_close(distribution.logp(drawn), torch.full((2,), math.log(0.5)))


def test_heads_and_rows_are_drawn_independently(torch_rng):
    """Equal heads and equal rows would be drawn alike if they shared a uniform number."""
    logits = torch.tensor([0.5, -0.5]).repeat(3)
    drawn = MultiHeadCategorical(logits.expand(DRAWS // 2, 2, 6), (2, 2, 2)).sample(generator=torch_rng)
    p = torch.softmax(logits[:2], -1)
    joint = (p[:, None] * p[None, :]).flatten()
    columns = drawn.flatten(1)  # [draws, 2 rows x 3 heads]
    for first in range(6):
        for second in range(first + 1, 6):
            pairs = 2 * columns[:, first] + columns[:, second]
            assert_frequencies(pairs.bincount(minlength=4), joint, DRAWS // 2)


def test_the_same_seed_draws_the_same_and_leaves_torchs_own_generator_alone():
    distribution = MultiHeadCategorical(torch.zeros(100, 12), (5, 5, 2))
    before = torch.get_rng_state()
    first, second, other = (distribution.sample(generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("head_sizes", HEADS.values(), ids=HEADS)
def test_an_acting_policy_chooses_as_a_learning_one_and_leaves_its_logits_alone(head_sizes, torch_rng):
    logits = normal(50, sum(head_sizes), generator=torch_rng, scale=3.0)
    uniforms = torch.rand((len(head_sizes), 50), generator=torch_rng)
    learning, before = MultiHeadCategorical(logits, head_sizes), logits.clone()
    values = learning.sample(uniforms=uniforms)
    with torch.no_grad():
        acting = MultiHeadCategorical(logits, head_sizes)
        assert_close(acting.sample(uniforms=uniforms), values, rtol=0, atol=0)
        assert_close(acting.logp(values), learning.logp(values), rtol=0, atol=0)
        assert_close(acting.entropy(), learning.entropy(), rtol=0, atol=0)
    assert_close(logits, before, rtol=0, atol=0)


@pytest.mark.parametrize("head_sizes", HEADS.values(), ids=HEADS)
def test_to_deterministic_takes_the_most_likely_choice_of_every_head(head_sizes, torch_rng):
    logits = torch.randn(7, sum(head_sizes), generator=torch_rng)
    chosen = MultiHeadCategorical(logits, head_sizes).to_deterministic().sample(generator=torch_rng)
    expected = torch.stack([head.probs.argmax(-1) for head in by_head(logits, head_sizes)], dim=-1)
    assert torch.equal(chosen, expected[:, 0] if len(head_sizes) == 1 else expected)


def test_to_deterministic_takes_no_forbidden_option():
    logits = torch.tensor([-50.0, FORBIDDEN, -60.0, FORBIDDEN])
    assert MultiHeadCategorical(logits, (4,)).to_deterministic().sample() == 0
    assert MultiHeadCategorical(logits, (2, 2)).to_deterministic().sample().tolist() == [0, 0]


def test_head_sizes_of_spaces():
    space = spaces.MultiDiscrete([11, 11, 5, 2])
    assert head_sizes_of(space) == (11, 11, 5, 2)
    assert head_sizes_of(spaces.Discrete(30)) == (30,)
    assert MultiHeadCategorical.required_input_dim(space) == 29
