"""Names of merge functions against what waterz really ships."""

from __future__ import annotations

import pytest

from magneton_tasks.base.scoring import available, parse_scoring, shipped
from magneton_tasks.errors import ConfigError

codegen = pytest.importorskip("waterz._codegen", reason="needs the [compute] extra")

SPECS = list(codegen.iter_specs())


def _spec(function: str, bins: int) -> tuple[str, int]:
    return codegen.normalize(function), bins


def test_each_shipped_variant_has_one_canonical_name() -> None:
    ours = sorted(_spec(s.function, s.queue_bins) for s in shipped().values())
    assert ours == sorted(_spec(*spec) for spec in SPECS)


@pytest.mark.parametrize("name", list(shipped()))
def test_a_canonical_name_parses_to_itself_and_to_a_variant_found_prebuilt(name: str) -> None:
    agglomerate = pytest.importorskip("waterz._agglomerate")
    scoring = parse_scoring(name)
    assert scoring.canonical == name
    assert agglomerate._load_prebuilt(scoring.function, scoring.queue_bins) is not None


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s[0][:60]}-{s[1]}")
def test_waterz_own_names_are_taken(spec: tuple[str, int]) -> None:
    scoring = parse_scoring(f"{spec[0]}_que{spec[1]}")
    assert _spec(scoring.function, scoring.queue_bins) == _spec(*spec)


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("mean", "mean"),
        ("mean_que0", "mean"),  # the usual queue, said
        ("mean_que256", "mean_que256"),
        ("aff50_his256", "aff50_his256"),
        ("aff50_his256_que256", "aff50_his256"),
        ("aff50_his256_que0", "aff50_his256_que0"),
        ("aff50_his256_ini0", "aff50_his256_ini0"),
        ("aff50_his256_ini1", "aff50_his256"),
        ("aff85_his256_ran255", "aff85_his256"),  # 8-bit affinities: the volume's matter
        (" Aff50_His256 ", "aff50_his256"),
        ("OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>", "mean"),
        (
            "OneMinus<EdgeStatisticValue<RegionGraphType, "
            "MeanAffinityProvider<RegionGraphType, ScoreValue>>>",
            "mean",
        ),
        # C++'s default: InitWithMax = true
        ("OneMinus<HistogramQuantileAffinity<RegionGraphType, 50, ScoreValue, 256>>",
         "aff50_his256"),
        ("OneMinus<HistogramQuantileAffinity<RegionGraphType, 50, ScoreValue, 256, false>>_que0",
         "aff50_his256_ini0_que0"),
    ],
)  # fmt: skip
def test_spellings(name: str, canonical: str) -> None:
    assert parse_scoring(name).canonical == canonical


def test_kinds() -> None:
    assert parse_scoring("mean").kind == "mean"
    assert parse_scoring("aff10_his256").kind == "histogram"
    assert parse_scoring("size").kind == "size"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("aff52_his256", "aff50_his256"),  # a quantile between the shipped ones
        ("aff99_his256", "aff95_his256"),
        ("aff50", "aff50_his256"),  # exact quantiles aren't shipped
        ("aff50_his0", "aff50_his256"),
        ("aff50_his128", "aff50_his256"),
        ("men", "mean"),
        ("mean_que128", "mean_que256"),
        ("max10", "mean"),
        ("", "mean"),
        ("OneMinus<QuantileAffinity<RegionGraphType, 75, ScoreValue>>", "aff75_his256"),
        ("OneMinus<MaxAffinity<RegionGraphType, ScoreValue>>", "mean"),
    ],
)
def test_a_variant_that_is_not_shipped_is_refused_with_advice(name: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_scoring(name)
    assert repr(name) in error.value.what
    assert available() in str(error.value)
    if name and "Max" not in name and "max" not in name:
        assert f"nearest: {nearest}." in str(error.value)
