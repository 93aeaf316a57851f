import os

import pytest

from codec.errors import NicMagicError
from codec.fuzz import Fuzzer, FuzzError, main
from tests.golden_codec import BUNDLE

CASES = int(os.environ.get("CODECSMITH_FUZZ_CASES", "1000000"))


def test_a_few_thousand_cases():
    report = Fuzzer(seed=0, bundle=BUNDLE).run(4000)
    assert sum(report.outcomes.values()) == 4000
    assert report.slowest_s < 2
    accepted = {name.split()[0] for name in report.outcomes if name.endswith("accepted")}
    kinds = {"file", "resealed", "whole", "stream", "tables", "alpha", "noise", "picture"}
    kinds |= {"clip", "resealed_clip"}
    assert accepted == kinds
    # Behind the checksum, damage shows in the stream, the model's digest, or the latents' checksum.
    refused = {name.split()[1] for name in report.outcomes if name.startswith("picture")}
    assert {"NicStreamError", "NicLatentsError", "NicModelError", "NicFieldError"} <= refused


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_million_cases():
    Fuzzer(seed=1, bundle=BUNDLE).run(CASES)


def test_the_fuzzer_notices_what_it_is_for():
    fuzzer = Fuzzer()

    def crash(data: bytes) -> None:
        raise IndexError("no such byte")

    fuzzer._targets = {"file": lambda: (b"abc", crash)}
    with pytest.raises(FuzzError, match=r"case 0, file: IndexError.*616263"):
        fuzzer.run(1)
    fuzzer._targets = {"whole": lambda: (fuzzer._whole + b"", fuzzer._read_whole)}
    assert fuzzer.run(1).outcomes == {"whole accepted": 1}
    fuzzer._targets = {"file": lambda: (b"abc", lambda data: (_ for _ in ()).throw(NicMagicError))}
    assert fuzzer.run(1).outcomes == {"file NicMagicError": 1}


def test_the_command_line(capsys):
    assert main(["70", "--seed", "3"]) == 0
    assert "70 cases in" in capsys.readouterr().out
