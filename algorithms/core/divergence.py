"""How far the policy has moved from the one that acted: KL(π_old ‖ π), in closed form and estimated."""

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, Normal, kl_divergence, register_kl

from .batch import Batch
from .policies import Parts, SquashedGaussian


def outputs_of(distribution: Distribution | Tensor) -> tuple[Tensor, ...]:
    """The tensors [B, A] that a policy's distribution is made of; of a critic, its values.

    Logits of a categorical distribution (those of an action's parts one after another), means and deviations of a
    Gaussian, squashed or not.
    """
    if isinstance(distribution, Tensor):
        return (distribution,)
    if isinstance(distribution, Categorical | Parts):
        return (distribution.logits,)
    gaussian = _gaussian(distribution)
    return gaussian.loc, gaussian.scale


def old_policy(distribution: Distribution, batch: Batch) -> Distribution:
    """The distribution of the policy that acted, at the batch's B steps; of the same kind as `distribution`.

    It is made from `batch.policy_outputs`, which an algorithm with a regularizer, gradients or step of its own has.
    """
    if batch.policy_outputs is None:
        raise ValueError("the batch carries no outputs of the policy that acted: see Batch.policy_outputs")
    if isinstance(distribution, Categorical):
        return Categorical(logits=batch.policy_outputs, validate_args=False)
    if isinstance(distribution, Parts):
        return Parts(batch.policy_outputs, distribution.parts)
    mean, deviation = batch.policy_outputs.chunk(2, dim=-1)
    gaussian = Normal(mean, deviation, validate_args=False)
    if isinstance(distribution, SquashedGaussian):
        return SquashedGaussian(gaussian, distribution.half_range)
    return Independent(gaussian, 1, validate_args=False)


def kl_from_old(distribution: Distribution, batch: Batch) -> Tensor:
    """KL(π_old ‖ π) at each of the batch's steps, [B]; `distribution` is π, that of the current policy."""
    return kl_divergence(old_policy(distribution, batch), distribution)


def _gaussian(distribution: Distribution) -> Normal:
    if isinstance(distribution, SquashedGaussian):
        return distribution.gaussian
    if isinstance(distribution, Independent) and isinstance(distribution.base_dist, Normal):
        return distribution.base_dist
    raise TypeError(f"a {type(distribution).__name__} has no outputs that are known here")


@register_kl(SquashedGaussian, SquashedGaussian)  # type: ignore[no-untyped-call, untyped-decorator]
def _kl_of_squashed(p: SquashedGaussian, q: SquashedGaussian) -> Tensor:
    """KL(p ‖ q) [B]: that of the Gaussians, because both are squashed by the same invertible function."""
    return kl_divergence(p.gaussian, q.gaussian).sum(-1)


def approximate_kl(log_prob: Tensor, batch: Batch) -> float:
    """An estimate of KL(π_old ‖ π) in nats: the mean of (ρ − 1) − log ρ, which is never negative (Schulman, 2020).

    `log_prob` is log π of the batch's actions, [B]; for actions with K parts it is [B, K]. The parts are independent,
    so their divergences are summed.
    """
    log_ratio = log_prob - batch.log_probs
    divergence = torch.expm1(log_ratio) - log_ratio
    return float((divergence if divergence.ndim == 1 else divergence.sum(1)).mean())
