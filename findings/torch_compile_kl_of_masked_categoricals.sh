#!/usr/bin/env bash
# torch 2.13.0: torch.compile of kl_divergence(Categorical, Categorical) with masked logits: a wrong gradient, in silence.
# One would guess: the compiled function has the function's gradient, (softmax(q) - softmax(p)) / rows, up to rounding.
# Seen: the value is right. The gradient of every row whose last action is masked is zero (where the closed form is up to
#   0.05). Eager mode and the backend aot_eager are right, and so is the compiled sum written by hand.
# Why: kl_divergence writes with a boolean mask twice, and the gradient of its sum is one element a row, expanded. Inductor
#   turns the first index_put of the backward graph into a write in place, into that one element: the row's last entry
#   stays. One index_put with a boolean mask is right, and so are two into a tensor that is not expanded.
# Looked for in: PyTorch's documentation (by search: nothing) and its issues. The cause is reported there with other
#   operations: 183986 (index_add, index_copy, index_put) and 188084 (gradients under vmap), both closed; 2.13.0 has no
#   mending. 2.14.1 no longer writes in place into such a tensor, as pull request 184488 proposes, and is right here. No
#   issue was found that names distributions or masks.
# Needs a C++ compiler, as torch.compile on a CPU does.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet 'torch==2.13.0' 'numpy==2.4.6'
cd "$folder"
TMPDIR="$folder" TORCHINDUCTOR_CACHE_DIR="$folder/cache" venv/bin/python - <<'PYTHON'
import torch
from torch.distributions import Categorical, kl_divergence

ROWS, ACTIONS = 16, 3
FORBIDDEN = torch.finfo(torch.float32).min
torch.manual_seed(0)
allowed = torch.rand(ROWS, ACTIONS) > 0.4
allowed[:, 0] = True  # every row has an action
forbidden = ~allowed
old = torch.where(allowed, torch.randn(ROWS, ACTIONS), FORBIDDEN)
start = torch.randn(ROWS, ACTIONS)


def distributions(logits):
    return Categorical(logits=old), Categorical(logits=torch.where(allowed, logits, FORBIDDEN))


def divergence(logits):
    return kl_divergence(*distributions(logits)).mean()


def by_hand(logits):
    p, q = distributions(logits)
    return (p.probs * (p.logits - q.logits)).sum(-1).mean()


def value_and_gradient(function):
    logits = start.clone().requires_grad_()
    value = function(logits)
    value.backward()
    return value.item(), logits.grad


def index_put(target, times):
    for _ in range(times):
        target = torch.ops.aten.index_put(target, [forbidden], torch.zeros(()))
    return target * start


def once_expanded():
    return index_put(torch.ones(ROWS, 1).expand(ROWS, ACTIONS), 1)


def twice_expanded():
    return index_put(torch.ones(ROWS, 1).expand(ROWS, ACTIONS), 2)


def twice_full():
    return index_put(torch.ones(ROWS, ACTIONS), 2)


closed = (torch.softmax(torch.where(allowed, start, FORBIDDEN), -1) - torch.softmax(old, -1)) / ROWS
print("version: torch", torch.__version__.split("+")[0])
print("guess:   each gradient is the closed form (softmax(q) - softmax(p)) / rows, up to rounding")
right, values, gradients = {}, {}, {}
for name, function in {
    "eager": divergence,
    "compiled, aot_eager": torch.compile(divergence, backend="aot_eager"),
    "compiled": torch.compile(divergence),
    "compiled, by hand": torch.compile(by_hand),
}.items():
    values[name], gradients[name] = value_and_gradient(function)
    error = (gradients[name] - closed).abs().amax(1)
    right[name] = bool(error.max() < 1e-6)
    count = int((error > 1e-6).sum())
    print(f"seen:    {name}: value {values[name]:.6f}, error {error.max():.1e}, in {count} of {ROWS} rows")
wrong = (gradients["compiled"] - closed).abs().amax(1) > 1e-6
zeros = bool((gradients["compiled"][wrong] == 0).all())
last_masked = forbidden[:, -1] & (closed.abs().amax(1) > 1e-6)
print("seen:    the wrong rows' gradients are all zero:", zeros)
print("seen:    the wrong rows are those whose last action is masked:", wrong.equal(last_masked))
for function in (once_expanded, twice_expanded, twice_full):
    error = (torch.compile(function)() - function()).abs().max().item()
    right[function.__name__] = error < 1e-6
    print(f"seen:    index_put with a mask, {function.__name__}: compiled and eager differ by {error:.1e}")
print("means:   with 2.13.0, write the sum of p * (log p - log q) by hand (right above), or do not compile kl_divergence")
same = (
    {name for name, is_right in right.items() if not is_right} == {"compiled", "twice_expanded"}
    and max(values.values()) - min(values.values()) < 1e-6
    and zeros
    and wrong.equal(last_masked)
)
raise SystemExit(0 if same else "the behaviour has changed: the finding no longer holds")
PYTHON
