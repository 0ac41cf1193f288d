"""Machine code: it is the function it was made from, it is found again, and what cannot be compiled is refused."""

import shutil
import subprocess
import sys
import textwrap

import pytest
import torch

from algorithms.core.compiled import CannotCompile, MachineCode, ahead_of_time, fingerprint
from tests.tasks import needs_compiler

SCALE = torch.tensor([1.0, 2.0, 3.0])
INPUTS = (torch.arange(3.0), torch.ones(3))


def accumulate(total, x, factor=2.0, scale=SCALE):
    """Changes its first argument and returns a gradient."""
    leaf = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad((factor * scale * leaf**2).sum(), leaf)
    total.add_(gradient)
    return gradient


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    """A folder for compiled code that holds none yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "policy-gradient-ladder"


@needs_compiler
def test_machine_code_returns_and_changes_what_the_function_does():
    compiled = ahead_of_time(accumulate, INPUTS)
    assert INPUTS[0].tolist() == [0, 1, 2]  # compiling ran it on copies
    total, expected = torch.zeros(3), torch.zeros(3)
    for x in (torch.tensor([1.0, -2.0, 0.5]), torch.tensor([3.0, 0.0, 1.0])):
        torch.testing.assert_close(compiled(total, x), accumulate(expected, x))
        torch.testing.assert_close(total, expected)
    assert expected.tolist() == [16.0, -16.0, 18.0]


def test_a_fingerprint_does_not_depend_on_the_numbers_in_the_inputs():
    assert fingerprint(accumulate, INPUTS) == fingerprint(accumulate, (torch.randn(3), torch.randn(3)))


def two(total, x):
    """Two results, of which a function may return either."""
    return total + 1, x * 2


@pytest.mark.parametrize(
    ("function", "inputs", "other"),
    [
        (lambda total, x: accumulate(total, x, factor=2.5), INPUTS, accumulate),
        (lambda total, x: accumulate(total, x, scale=torch.tensor([1.0, 2.0, 4.0])), INPUTS, accumulate),
        (lambda total, x: accumulate(total, x).neg(), INPUTS, accumulate),
        (lambda total, x: accumulate(x, x), INPUTS, accumulate),
        (lambda total, x: accumulate(x, total), INPUTS, accumulate),
        (lambda total, x: accumulate(total, x, scale=1.0), (torch.zeros(4), torch.ones(4)), accumulate),
        (accumulate, tuple(x.double() for x in INPUTS), accumulate),
        (lambda total, x: two(total, x)[0], INPUTS, lambda total, x: two(total, x)[1]),
        (lambda total, x: torch.add(total, x, alpha=2), INPUTS, lambda total, x: torch.add(total, x, alpha=3)),
        (
            lambda total, x: torch.addr(torch.ones(3, 3), total, x, beta=2),
            INPUTS,
            lambda total, x: torch.addr(torch.ones(3, 3), total, x, alpha=2),
        ),
    ],
    ids=["constant", "outside", "operation", "aliased", "swapped", "shape", "type", "result", "keyword", "its name"],
)
def test_another_function_has_another_fingerprint(function, inputs, other):
    assert fingerprint(function, inputs) != fingerprint(other, INPUTS)


def test_a_fingerprint_is_of_this_torch_and_this_processor(monkeypatch):
    here = fingerprint(accumulate, INPUTS)
    monkeypatch.setattr("algorithms.core.compiled._processor", lambda: "another")
    elsewhere = fingerprint(accumulate, INPUTS)
    monkeypatch.undo()
    monkeypatch.setattr(torch, "__version__", "0.1")
    assert len({here, elsewhere, fingerprint(accumulate, INPUTS)}) == 3


def process_that_compiles():
    """Compiles `accumulate`, and prints whether the compiler was loaded for it, or why it could not."""
    program = textwrap.dedent("""
        import sys
        from algorithms.core.compiled import CannotCompile, ahead_of_time
        from tests.test_compiled import INPUTS, accumulate
        try:
            ahead_of_time(accumulate, INPUTS)
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
    return total + 1 if x.sum() > 0 else total - 1


def pick(total, x):
    """Indexes by whole numbers, whose count is known."""
    return total[torch.tensor([0, 2])] * x.sum()


@needs_compiler
def test_an_index_of_whole_numbers_is_compiled():
    torch.testing.assert_close(ahead_of_time(pick, INPUTS)(*INPUTS), pick(*INPUTS))


def late(total, *more):
    """Takes one tensor more from some time on."""
    return total + sum(more)


@needs_compiler
def test_what_takes_a_further_tensor_from_some_time_on_is_compiled_again(caplog):
    code = MachineCode("sum", late, 3)
    for inputs in (INPUTS, INPUTS, (*INPUTS, torch.ones(3)), (*INPUTS, torch.ones(3))):
        assert code(3, *inputs).tolist() == late(*inputs).tolist()
        assert code.compiled
    assert code(2, torch.ones(2), torch.ones(2)).tolist() == [2, 2]  # of another size: operation by operation
    assert not [r for r in caplog.records if r.name == "algorithms.core.compiled"]


def test_what_cannot_be_compiled_runs_and_says_why_by_name(empty_cache, monkeypatch, caplog):
    monkeypatch.setenv("CXX", "no-such-compiler")
    code = MachineCode("the sum", late, 3)
    for _ in range(2):
        assert code(3, *INPUTS).tolist() == [1, 2, 3]
        assert not code.compiled
    assert caplog.text.count("the sum: not compiled, and slower for it: there is no C++ compiler") == 1


def test_what_draws_random_numbers_is_refused():
    with pytest.raises(CannotCompile, match="draws random numbers"):
        ahead_of_time(lambda total, x: total + torch.rand(3), INPUTS)


def select(total, x):
    """Has a result whose shape depends on the numbers."""
    return total[x > 0]


@pytest.mark.parametrize("function", [branch, select])
def test_a_function_whose_operations_depend_on_the_numbers_is_refused(function):
    with pytest.raises(CannotCompile, match="depends on the numbers"):
        ahead_of_time(function, INPUTS)


def test_without_a_compiler_the_reason_is_given(empty_cache, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(CannotCompile, match=r"no C\+\+ compiler \(no-such-compiler\)"):
        ahead_of_time(accumulate, INPUTS)


def test_a_compiler_that_fails_is_a_reason(empty_cache, monkeypatch):
    monkeypatch.setenv("CXX", shutil.which("false"))
    assert "No working C++ compiler" in process_that_compiles().communicate()[0]
    assert not list(empty_cache.glob("*.pt2"))


def test_a_place_where_nothing_can_be_kept_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(CannotCompile, match=r"cannot be kept in .*file.policy-gradient-ladder: Not a directory"):
        ahead_of_time(accumulate, INPUTS)


@needs_compiler
def test_damaged_code_is_made_again(empty_cache):
    empty_cache.mkdir()
    damaged = empty_cache / f"{fingerprint(accumulate, INPUTS)}.pt2"
    damaged.write_bytes(b"PK\x03\x04")
    compiled = ahead_of_time(accumulate, INPUTS)
    torch.testing.assert_close(compiled(torch.zeros(3), INPUTS[1]), accumulate(torch.zeros(3), INPUTS[1]))
    assert damaged.stat().st_size > 1000
