"""When ComfyUI is started with `--cpu`, by what its torch was built for and by the arguments it is given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.backend_flag import chooses_device, with_backend_flag
from orchestrator.world import TorchBuild, TorchFacts

pytestmark = pytest.mark.scenario("B-37")

CPU = TorchFacts(TorchBuild.CPU, "2.9.1+cpu")
CUDA = TorchFacts(TorchBuild.ACCELERATED, "2.9.1+cu130")
NONE = TorchFacts(TorchBuild.UNKNOWN, problem="no torch was found in the environment")

CHOICES = [
    ("--cpu",),
    ("--gpu-only",),
    ("--highvram",),
    ("--normalvram",),
    ("--lowvram",),
    ("--novram",),
    ("--cuda-device", "0"),
    ("--cuda-device=0",),
    ("--default-device", "1"),
    ("--directml",),
    ("--directml", "0"),
    ("--oneapi-device-selector", "level_zero:0"),
    ("--lowv",),
    ("--g",),
    ("--cuda-d", "0"),
    ("--direct=1",),
    ("--one=x",),
    ("--port", "9000", "--lowvram", "--fast", "fp16_accumulation"),
]
OTHERS = [
    (),
    ("--port", "9000", "--listen", "0.0.0.0"),
    ("--cpu-vae",),
    ("--cuda-malloc",),
    ("--cache-lru", "10"),
    ("--reserve-vram", "1"),
    ("--disable-smart-memory", "--deterministic"),
    ("--output-directory", "lowvram"),
    ("--extra-model-paths-config", "cpu", "novram"),
]


def test_a_cpu_build_gets_the_flag_before_all_else_and_a_note_with_its_version():
    assert with_backend_flag(("--port", "9000"), CPU) == (
        ("--cpu", "--port", "9000"),
        ("--cpu was added: torch 2.9.1+cpu of the environment is a CPU build",),
    )


def test_a_torch_that_does_not_say_its_version_is_noted_without_one():
    _, (note,) = with_backend_flag((), TorchFacts(TorchBuild.CPU))
    assert note == "--cpu was added: torch of the environment is a CPU build"


@pytest.mark.parametrize("torch", [CUDA, None], ids=["built for a GPU", "not looked at"])
def test_any_other_build_gets_neither_flag_nor_note(torch):
    assert with_backend_flag(("--fast",), torch) == (("--fast",), ())


def test_without_a_torch_nothing_is_added_and_a_note_says_so():
    note = "no torch was found in the environment; --cpu was not added"
    assert with_backend_flag(("--fast",), NONE) == (("--fast",), (note,))


@pytest.mark.parametrize("arguments", CHOICES, ids=" ".join)
def test_arguments_that_choose_a_device_are_left_as_they_are(arguments):
    assert with_backend_flag(arguments, CPU) == (arguments, ())
    assert with_backend_flag(arguments, NONE) == (arguments, ())


@pytest.mark.parametrize("arguments", OTHERS, ids=" ".join)
def test_other_arguments_are_no_choice(arguments):
    assert with_backend_flag(arguments, CPU)[0] == ("--cpu", *arguments)


@pytest.mark.parametrize("arguments", [("--cuda-device",), ("--lowvram=1",), ("--cuda-device", "--fast")])
def test_nothing_is_added_to_arguments_that_comfyui_will_refuse(arguments, capfd):
    assert with_backend_flag(arguments, CPU) == (arguments, ())
    assert capfd.readouterr() == ("", "")


words = st.one_of(st.sampled_from([*(word for choice in CHOICES for word in choice), "--", "-", "="]), st.text())


@given(st.lists(words).map(tuple), st.sampled_from([CPU, CUDA, NONE, None]))
def test_whatever_the_arguments_the_flag_is_all_that_is_ever_added(arguments, torch):
    passed, notes = with_backend_flag(arguments, torch)
    assert passed in {arguments, ("--cpu", *arguments)}
    assert (passed != arguments) <= (torch is CPU and not chooses_device(arguments) and len(notes) == 1)
