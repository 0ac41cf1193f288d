"""Machine code: it is the function it was made from, it is found again, and what cannot be compiled is refused."""

import shutil
import subprocess
import sys
import textwrap

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from algorithms.core.compiled import (
    SMALLEST_SIZE,
    CannotCompile,
    DependsOnSize,
    ahead_of_time,
    cpp,
    fingerprint,
    kept,
    read_by,
    sizes_for,
)
from algorithms.core.fused import SOURCE
from tests.tasks import needs_compiler

SCALE = torch.tensor([1.0, 2.0, 3.0])
INPUTS = (torch.arange(3.0), torch.ones(3))


def gradients(total, x, factor=2.0, scale=SCALE):
    """Two results, of which one is a gradient."""
    leaf = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad((factor * scale * leaf**2).sum(), leaf)
    return total + gradient, gradient


def code_of(cache, function, inputs, rows=None):
    """The machine code of `function` as a function, by way of Torch's own loader."""
    ahead_of_time(function, inputs, rows)
    package = cache / f"{fingerprint(function, inputs, rows)}.pt2"
    loader = torch._C._aoti.AOTIModelPackageLoader(str(package), "model", False, 1, -1)
    return lambda *tensors: loader.boxed_run(list(tensors))


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    """A folder for compiled code that holds none yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "policy-gradient-ladder"


@needs_compiler
def test_machine_code_returns_what_the_function_does(empty_cache):
    code = code_of(empty_cache, gradients, INPUTS)
    for x in (torch.tensor([1.0, -2.0, 0.5]), torch.tensor([3.0, 0.0, 1.0])):
        for ours, expected in zip(code(INPUTS[0], x), gradients(INPUTS[0], x), strict=True):
            torch.testing.assert_close(ours, expected)


def rows_weighted(x, weights, constant):
    """Has two inputs with an axis of steps, and one without."""
    total = (x * weights[:, None] + constant).square()
    return total.mean(), total / x.shape[0]


@needs_compiler
def test_code_for_batches_is_for_any_size_from_2(empty_cache):
    inputs, rows = (torch.ones(5, 3), torch.ones(5), torch.ones(3)), (True, True, False)
    code = code_of(empty_cache, rows_weighted, inputs, rows)
    for size in (2, 3, 64, 1000):
        given = torch.randn(size, 3), torch.randn(size), torch.randn(3)
        for ours, expected in zip(code(*given), rows_weighted(*given), strict=True):
            torch.testing.assert_close(ours, expected)
    assert len(list(empty_cache.glob("*.pt2"))) == 1


@needs_compiler
def test_an_axis_as_long_as_a_recorded_batch_is_not_taken_for_the_batch(empty_cache):
    """As many settings that are floats as Torch records steps, say."""

    def function(x, numbers):
        return ((x * numbers[0]).sum() + numbers.sum() / x.shape[0],)

    for length in (SMALLEST_SIZE, SMALLEST_SIZE + 2):
        inputs, rows = (torch.ones(5), torch.ones(length)), (True, False)
        assert length not in sizes_for(inputs, rows)
        code = code_of(empty_cache, function, inputs, rows)
        given = torch.randn(64), torch.randn(length)
        torch.testing.assert_close(code(*given), function(*given))


def divergence(x, old, mask):
    """KL(p ‖ q) of masked categoricals, and its gradient by the logits of q."""
    leaf = x.detach().requires_grad_()
    lowest = torch.finfo(torch.float32).min
    p, q = (Categorical(logits=torch.where(mask, y, lowest), validate_args=False) for y in (old, leaf))
    kl = kl_divergence(p, q).mean()
    return kl.detach(), *torch.autograd.grad(kl, leaf)


def masked():
    """Logits of two distributions, and a mask."""
    generator = torch.Generator().manual_seed(0)
    x, old = torch.randn(2, 16, 3, generator=generator)
    mask = torch.rand(16, 3, generator=generator) > 0.5
    mask[:, 0] = True
    return x, old, mask


@needs_compiler
def test_the_gradient_of_what_is_masked_twice_is_compiled_right(empty_cache):
    """As in Torch's KL of categoricals: its own compiler gives the gradient 0 to some rows (torch 2.13)."""

    x, old, mask = masked()
    code = code_of(empty_cache, divergence, (x, old, mask), (True, True, True))
    for ours, expected in zip(code(x, old, mask), divergence(x, old, mask), strict=True):
        torch.testing.assert_close(ours, expected)
    q, p = (torch.where(mask, y, -torch.inf).softmax(1) for y in (x, old))
    torch.testing.assert_close(code(x, old, mask)[1], (q - p) / 16)


@needs_compiler
def test_code_that_returns_other_numbers_is_refused(empty_cache, monkeypatch):
    """Also where the example hides it: the divergence of a policy from itself has the gradient 0."""
    monkeypatch.setattr("algorithms.core.compiled.put_where", lambda *_: NotImplemented)
    x, _, mask = masked()
    with pytest.raises(CannotCompile, match="other numbers"):
        ahead_of_time(divergence, (x, x, mask), (True, True, True))
    assert not list(empty_cache.glob("*.pt2"))


SIZED = [
    lambda x: ((x / len(x)).sum(),),
    lambda x: ((x * len(x) ** 0.5).sum(),),
    lambda x: ((x[: len(x) // 2]).sum(),),
    lambda x: ((x * torch.arange(len(x))).sum(),),
    lambda x: (x.sum() * float(x.numel() > 4),),
]


@needs_compiler
@pytest.mark.parametrize("function", SIZED)
def test_a_function_that_computes_with_the_size_is_never_given_the_code_of_another(empty_cache, function):
    inputs = (torch.arange(5.0),)
    try:
        code = code_of(empty_cache, function, inputs, (True,))
    except DependsOnSize as error:
        first = str(error)
        with pytest.raises(DependsOnSize) as again:  # remembered
            ahead_of_time(function, inputs, (True,))
        assert str(again.value) == first
        assert len(list(empty_cache.glob("*.txt"))) == 1
        torch.testing.assert_close(code_of(empty_cache, function, inputs)(*inputs)[0], function(*inputs)[0])
        return
    for size in (5, 8, 30):
        given = torch.randn(size)
        torch.testing.assert_close(code(given)[0], function(given)[0])


def test_what_is_read_is_known():
    assert read_by(lambda x, y, z: (x + 1, z), (*INPUTS, torch.ones(2))) == [True, False, True]
    assert read_by(lambda x, y: (x * y.shape[0],), INPUTS) == [True, False]


def test_a_fingerprint_does_not_depend_on_the_numbers_in_the_inputs():
    assert fingerprint(gradients, INPUTS) == fingerprint(gradients, (torch.randn(3), torch.randn(3)))


def test_a_fingerprint_for_batches_does_not_depend_on_their_size():
    def of(size, rows):
        return fingerprint(rows_weighted, (torch.ones(size, 3), torch.ones(size), torch.ones(3)), rows)

    assert of(5, (True, True, False)) == of(70, (True, True, False))
    assert of(5, None) != of(70, None)


def two(total, x):
    """Two results, of which a function may return either."""
    return total + 1, x * 2


@pytest.mark.parametrize(
    ("function", "inputs", "other"),
    [
        (lambda total, x: gradients(total, x, factor=2.5), INPUTS, gradients),
        (lambda total, x: gradients(total, x, scale=torch.tensor([1.0, 2.0, 4.0])), INPUTS, gradients),
        (lambda total, x: (gradients(total, x)[0].neg(), gradients(total, x)[1]), INPUTS, gradients),
        (lambda total, x: gradients(x, x), INPUTS, gradients),
        (lambda total, x: gradients(x, total), INPUTS, gradients),
        (lambda total, x: gradients(total, x, scale=1.0), (torch.zeros(4), torch.ones(4)), gradients),
        (gradients, tuple(x.double() for x in INPUTS), gradients),
        (lambda total, x: two(total, x)[:1], INPUTS, lambda total, x: two(total, x)[1:]),
        (lambda total, x: two(total, x)[::-1], INPUTS, two),
        (lambda total, x: (torch.add(total, x, alpha=2),), INPUTS, lambda total, x: (torch.add(total, x, alpha=3),)),
        (
            lambda total, x: (torch.addr(torch.ones(3, 3), total, x, beta=2),),
            INPUTS,
            lambda total, x: (torch.addr(torch.ones(3, 3), total, x, alpha=2),),
        ),
    ],
    ids=[
        "constant",
        "outside",
        "operation",
        "aliased",
        "swapped",
        "shape",
        "type",
        "result",
        "order",
        "keyword",
        "name",
    ],
)
def test_another_function_has_another_fingerprint(function, inputs, other):
    assert fingerprint(function, inputs) != fingerprint(other, INPUTS)


def test_a_fingerprint_is_of_this_torch_and_this_processor(monkeypatch):
    here = fingerprint(gradients, INPUTS)
    monkeypatch.setattr("algorithms.core.compiled._processor", lambda: "another")
    elsewhere = fingerprint(gradients, INPUTS)
    monkeypatch.undo()
    monkeypatch.setattr(torch, "__version__", "0.1")
    assert len({here, elsewhere, fingerprint(gradients, INPUTS)}) == 3


def process_that_compiles():
    """Compiles `gradients`, and prints whether the compiler was loaded for it, or why it could not."""
    program = textwrap.dedent("""
        import sys
        from algorithms.core.compiled import CannotCompile, ahead_of_time
        from tests.test_compiled import INPUTS, gradients
        try:
            ahead_of_time(gradients, INPUTS)
            print("torch._inductor" in sys.modules)
        except CannotCompile as error:
            print(error)
    """)
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


@needs_compiler
def test_a_later_process_finds_the_code_and_neither_compiles_nor_loads_the_compiler(empty_cache):
    together = [process_that_compiles(), process_that_compiles()]
    assert sorted(p.communicate()[0].strip() for p in together) == ["False", "True"]  # the second waits for the first
    assert process_that_compiles().communicate()[0].strip() == "False"
    assert len(list(empty_cache.glob("*.pt2"))) == 1


def branch(total, x):
    """Takes another path for other numbers."""
    return (total + 1 if x.sum() > 0 else total - 1,)


def pick(total, x):
    """Indexes by whole numbers, whose count is known."""
    return (total[torch.tensor([0, 2])] * x.sum(),)


@needs_compiler
def test_an_index_of_whole_numbers_is_compiled(empty_cache):
    torch.testing.assert_close(code_of(empty_cache, pick, INPUTS)(*INPUTS)[0], pick(*INPUTS)[0])


def test_what_draws_random_numbers_is_refused():
    with pytest.raises(CannotCompile, match="draws random numbers"):
        ahead_of_time(lambda total, x: (total + torch.rand(3),), INPUTS)


def select(total, x):
    """Has a result whose shape depends on the numbers."""
    return (total[x > 0],)


@pytest.mark.parametrize("function", [branch, select])
def test_a_function_whose_operations_depend_on_the_numbers_is_refused(function):
    with pytest.raises(CannotCompile, match="depends on the numbers"):
        ahead_of_time(function, INPUTS)


@pytest.mark.parametrize("compiled", [lambda: ahead_of_time(gradients, INPUTS), lambda: cpp(SOURCE)])
def test_without_a_compiler_the_reason_is_given(empty_cache, monkeypatch, compiled):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(CannotCompile, match=r"no C\+\+ compiler \(no-such-compiler\)"):
        compiled()


def test_a_compiler_that_fails_is_a_reason(empty_cache, monkeypatch):
    monkeypatch.setenv("CXX", shutil.which("false"))
    assert "No working C++ compiler" in process_that_compiles().communicate()[0]
    with pytest.raises(CannotCompile, match=r"the C\+\+ compiler \(.*false\) fails on fused.cpp"):
        cpp(SOURCE)
    assert not list(empty_cache.glob("*.pt2"))
    assert not list(empty_cache.glob("*.zip"))


@needs_compiler
def test_a_mistake_in_the_source_is_shown(empty_cache, tmp_path):
    source = tmp_path / "wrong.cpp"
    source.write_text("int f() { return nothing; }")
    with pytest.raises(CannotCompile, match=r"fails on wrong.cpp: .*error: .*nothing"):
        cpp(source)


@needs_compiler
def test_a_changed_header_is_compiled_and_an_unchanged_one_is_found(empty_cache, tmp_path):
    folder = tmp_path / "sources"
    folder.mkdir()
    source = folder / "constant.cpp"
    source.write_text('#include "constant.hpp"\nextern "C" int constant() { return CONSTANT; }')
    for value, files in ((7, 1), (8, 2), (7, 2)):
        (folder / "constant.hpp").write_text(f"const int CONSTANT = {value};")
        assert cpp(source).constant() == value
        assert len(list(empty_cache.glob("*.zip"))) == files


def test_a_place_where_nothing_can_be_kept_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(CannotCompile, match=r"cannot be kept in .*file.policy-gradient-ladder: Not a directory"):
        ahead_of_time(gradients, INPUTS)


@needs_compiler
def test_code_is_found_where_nothing_can_be_written(empty_cache, monkeypatch):
    cpp(SOURCE)

    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("algorithms.core.compiled.FileLock", refuse)
    cpp(SOURCE)
    with pytest.raises(CannotCompile, match=r"cannot be kept in .*: Permission denied"):
        kept("another.zip", refuse)


@needs_compiler
@pytest.mark.parametrize("keeping", [0.0, 0.3, 0.9])
def test_damaged_code_is_made_again(empty_cache, keeping):
    cpp(SOURCE)
    (package,) = empty_cache.glob("*.zip")
    whole = package.read_bytes()
    package.write_bytes(whole[: int(len(whole) * keeping)])
    cpp(SOURCE)
    assert package.stat().st_size > len(whole) / 2
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 255
    package.write_bytes(damaged)
    cpp(SOURCE)
    assert package.read_bytes() != bytes(damaged)
