"""Markets that need not clear: goods are rationed, labor is always hired, the rest may be exported."""

from rbc_rllib.arrays import Array, namespace, sum_inner
from rbc_rllib.economy.actions import choose
from rbc_rllib.economy.parameters import EconomyParameters


def ration(demand: Array, inventories: Array) -> tuple[Array, Array, Array]:
    """Goods sold when demand may exceed the inventory (paper, section 3.2).

    With D[f] = sum_c d[c,f]: everybody gets x[c,f] = d[c,f] min(1, y[f] / D[f]); the good is flagged as
    overdemanded where D[f] > y[f].

    Args: demand `[E, C, F]` affordable units; inventories `[E, F]` units.
    Returns: consumption `[E, C, F]`, sold `[E, F]`, overdemanded `[E, F]` (0 or 1).
    """
    xp = namespace(demand)
    total = sum_inner(demand, axis=1)
    short = total > inventories
    share = xp.where(short, inventories / xp.where(short, total, xp.ones_like(total)), xp.ones_like(total))
    # Sold is capped, so that rounding never leaves a negative inventory.
    sold = xp.where(short, inventories, total)
    return demand * share[:, None, :], sold, xp.astype(short, demand.dtype)


def hire(hours: Array, employer: Array, wages: Array, firm_identity: Array) -> tuple[Array, Array]:
    """Labor at each firm L[f] = sum over its workers of h[c], and the wage income w[e(c)] h[c] of each consumer.

    Args: hours `[E, C]`, employer `[E, C]`, wages `[E, F]`, firm_identity `[F, F]` one-hot rows.
    Returns: labor `[E, F]` hours, wage_income `[E, C]`.
    """
    xp = namespace(hours)
    works_at = choose(firm_identity, employer)  # [E, C, F] one-hot
    labor = xp.matmul(hours[:, None, :], works_at)[:, 0, :]
    return labor, hours * xp.matmul(works_at, wages[:, :, None])[:, :, 0]


def export(params: EconomyParameters, prices: Array, unsold: Array) -> Array:
    """`[E, F]` units bought by the foreign market: min(export_quantity, unsold) where p >= export_price."""
    xp = namespace(prices)
    if not params.export_market:
        return xp.zeros_like(unsold)
    wanted = xp.minimum(unsold, params.export_quantity)
    return xp.where(prices >= params.export_price, wanted, xp.zeros_like(wanted))
