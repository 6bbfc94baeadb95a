"""Economic indicators of whole episodes: pure functions from trajectories `[T, E, ...]` to one number an episode."""

from typing import Any

from rbc_rllib.arrays import Array, namespace
from rbc_rllib.economy.parameters import EconomyParameters

TRIVIAL_SHARE = 0.01  # of full employment, of its output: below it the economy counts as dead
TRIVIAL_FROM = 0.5  # share of trivial episodes from which a trial counts as trivial


def is_trivial(trivial_share: Any) -> Any:
    """Whether so large a share of trivial episodes, or each of several, makes the solution a trivial one: from a half
    on."""
    return trivial_share >= TRIVIAL_FROM


def gini(amounts: Array) -> Array:
    """Gini coefficient over the last axis of non-negative amounts: 0 all equal, (n-1)/n one has all; 0 if all are 0.

    sum_i (2 i - n - 1) x_(i) / (n sum x) with x sorted and i = 1..n.
    """
    xp = namespace(amounts)
    n = amounts.shape[-1]
    ranked = xp.sort(amounts, axis=-1)
    weights = xp.astype(2 * xp.arange(1, n + 1, device=ranked.device) - n - 1, ranked.dtype)
    total = xp.sum(ranked, axis=-1)
    spread = xp.sum(weights * ranked, axis=-1)
    return xp.where(total > 0, spread / (n * xp.where(total > 0, total, xp.ones_like(total))), xp.zeros_like(total))


def potential_output(params: EconomyParameters) -> float:
    """Units a quarter if every consumer worked the longest hours, spread evenly over the firms."""
    labor = params.num_consumers * params.hours_choices[-1] / params.num_firms
    return sum(
        params.total_factor_productivity * capital ** (1 - share) * labor**share
        for capital, share in zip(params.initial_capital, params.labor_elasticities, strict=True)
    )


def episode_indicators(
    params: EconomyParameters, states: dict[str, Array], outcomes: dict[str, Array]
) -> dict[str, Array]:
    """Indicators of each episode, `[E]` each; the mean over quarters (and over agents where not said otherwise).

    Args: states, the T states in which actions were taken, and outcomes: the fields of `State` and `Outcome`
    as arrays `[T, E, ...]`.
    Tax rates are means over the quarters after the first, in which they are given and not chosen (over that one where
    there is no other). An episode is trivial when hours, output or consumption stay below 1% of what full employment
    would give.
    """
    xp = namespace(states["prices"])

    def per_quarter(values: Array) -> Array:
        """Mean over time and agents."""
        axes = (0, *range(2, values.ndim))
        return xp.mean(values, axis=axes)

    consumption = xp.sum(outcomes["consumption"], axis=3)  # [T, E, C]
    hours, output = per_quarter(outcomes["hours_worked"]), per_quarter(outcomes["output"]) * params.num_firms
    consumed = per_quarter(consumption)
    potential = potential_output(params)
    trivial = (
        (hours <= TRIVIAL_SHARE * params.hours_choices[-1])
        | (output <= TRIVIAL_SHARE * potential)
        | (consumed <= TRIVIAL_SHARE * potential / params.num_consumers)
    )
    prices = states["prices"]
    chosen = slice(1, None) if prices.shape[0] > 1 else slice(None)
    return {
        "social_welfare": per_quarter(outcomes["planner_reward"]),  # of the whole economy
        "consumer_reward": per_quarter(outcomes["consumer_reward"]),
        "firm_reward": per_quarter(outcomes["firm_reward"]),
        "hours": hours,  # per consumer
        "output": output,  # units, all firms
        "consumption": consumed,  # units per consumer, all goods
        "exports": per_quarter(outcomes["exports"]) * params.num_firms,  # units, all firms
        "price": per_quarter(prices),
        "wage": per_quarter(states["wages"]),
        "inflation": xp.mean(prices[-1, ...] - prices[0, ...], axis=1) / max(params.initial_price, 1.0),
        "income_tax_rate": per_quarter(states["income_tax_rate"][chosen, ...]),
        "corporate_tax_rate": per_quarter(states["corporate_tax_rate"][chosen, ...]),
        "tax_revenue": per_quarter(outcomes["tax_revenue"]),  # of the whole economy
        "gini_consumption": gini(xp.sum(consumption, axis=0)),  # of what consumers got over the episode
        "firm_debt": xp.mean(xp.maximum(-states["firm_budget"][-1, ...], 0.0), axis=1),  # at the last decision
        "trivial_share": xp.astype(trivial, prices.dtype),
    }
