"""What agents see. The shared part is the same for every agent of an economy; the private part is their own.

Amounts span many decades, so inventories and budgets are encoded as the paper does (`digits`: value mod 10^j / 10^j,
j = 1..10), as a signed logarithm (`log`), or as both.
"""

from typing import Literal

from rbc_rllib.arrays import Array, namespace
from rbc_rllib.economy.actions import GROUPS
from rbc_rllib.economy.constants import Constants
from rbc_rllib.economy.parameters import EconomyParameters
from rbc_rllib.economy.planner import Planner
from rbc_rllib.economy.state import AnnouncedState, State

Encoding = Literal["digits", "log"]
ENCODINGS: tuple[Encoding, ...] = ("digits", "log")
NUM_DIGITS = 10
LOG_SCALE = 12.0  # brings log(1 + amount) of everything from a cent to a firm's wealth into about [0, 1.5]


def encode_amount(amount: Array, encodings: tuple[Encoding, ...], powers_of_ten: Array) -> Array:
    """`[...]` amounts as `[..., encoding_size]` numbers of order one."""
    xp = namespace(amount)
    parts = []
    for encoding in encodings:
        if encoding == "digits":
            scaled = amount[..., None] / powers_of_ten
            parts.append(scaled - xp.floor(scaled))
        else:
            parts.append((xp.sign(amount) * xp.log1p(xp.abs(amount)) / LOG_SCALE)[..., None])
    return parts[0] if len(parts) == 1 else xp.concat(parts, axis=-1)


def encoding_size(encodings: tuple[Encoding, ...]) -> int:
    """Numbers that one amount becomes."""
    return sum(NUM_DIGITS if encoding == "digits" else 1 for encoding in encodings)


def shared_size(params: EconomyParameters, encodings: tuple[Encoding, ...], planner: Planner = Planner()) -> int:
    """Length G of the shared observation."""
    plan = 2 * (params.episode_length - 1) if planner.announces else 0
    return params.num_firms * (3 + encoding_size(encodings)) + 3 + plan


def private_sizes(
    params: EconomyParameters, encodings: tuple[Encoding, ...], planner: Planner = Planner()
) -> dict[str, int]:
    """Length P of each group's private observation; a planner's is its calendar, and with discretion it has none."""
    amount = encoding_size(encodings)
    sizes = (amount + 1, amount + 2 + params.num_firms, planner.num_pages(params))
    return dict(zip(GROUPS, sizes, strict=True))


def calendar_page(pages: int, page: int, sharpness: float, like: Array) -> Array:
    """`[E, 1, pages]` What a planner sees who makes the choice of one `page` of its plan: which page it is.

    The entry of the page is not 1 but `sharpness`, by which a table of logits becomes sharper (`PlanModule`).
    """
    xp = namespace(like)
    row = xp.astype(xp.arange(pages, device=like.device) == page, like.dtype) * sharpness
    return xp.broadcast_to(row, (like.shape[0], 1, pages)) + xp.zeros_like(row)  # memory of its own


def observe(
    params: EconomyParameters,
    state: State,
    encodings: tuple[Encoding, ...] = ENCODINGS,
    constants: Constants | None = None,
) -> dict[str, Array]:
    """The observations of all agents.

    Returns: shared `[E, G]` = prices, wages, inventories, overdemanded flags, tax rates, time, and the rates of all
    quarters after the first where they are announced;
    consumer `[E, C, P]` = budget, labor disutility (1 is the undiscounted base of the default economy);
    firm `[E, F, P]` = budget, capital, labor elasticity, one-hot identity. Prices, wages, capital and time are
    divided by the largest choice, the largest initial capital and the episode length. Whoever observes often gives the
    `constants` of `params`.
    """
    xp = namespace(state.prices)
    fixed = constants or Constants.like(state.prices, params)
    num_envs, num_firms = state.prices.shape

    def amount(values: Array) -> Array:
        return encode_amount(values, encodings, fixed.powers_of_ten)

    def column(values: Array) -> Array:
        return values[..., None]

    scalars = (state.income_tax_rate, state.corporate_tax_rate, state.time / params.episode_length)
    shared = [
        state.prices / _largest(params.price_choices),
        state.wages / _largest(params.wage_choices),
        xp.reshape(amount(state.inventories), (num_envs, -1)),
        state.overdemanded,
        *(column(values) for values in scalars),
    ]
    if isinstance(state, AnnouncedState):
        shared.append(xp.reshape(state.tax_plan[:, 1:, :], (num_envs, -1)))
    identity = xp.broadcast_to(fixed.firm_identity, (num_envs, num_firms, num_firms))
    firm = [
        amount(state.firm_budget),
        column(state.capital / _largest(params.initial_capital)),
        column(state.labor_elasticity),
        identity,
    ]
    consumer = [amount(state.consumer_budget), column(state.labor_disutility / DISUTILITY_SCALE)]
    return {
        "shared": xp.concat(shared, axis=-1),
        "consumer": xp.concat(consumer, axis=-1),
        "firm": xp.concat(firm, axis=-1),
    }


DISUTILITY_SCALE = EconomyParameters().labor_disutility


def _largest(values: tuple[float, ...]) -> float:
    return max(values) or 1.0
