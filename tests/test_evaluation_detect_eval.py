"""``detect-eval``: protocols and score files as they come, hand-worked measures, what is missing, doubled or odd."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from detectors.tandem import CostModel, VerificationRates, a_dcf, t_dcf, t_dcf_2019, verification_rates
from evaluation.cli import main
from evaluation.detection_trials import pair, read_protocol, read_scores

PROTOCOLS = {
    "2019": "LA_0039 {n} - {a} {k}",
    "2021la": "LA_0009 {n} alaw ita_tx {a} {k} notrim progress",
    "2021df": "LA_0023 {n} nocodec asvspoof {a} {k} notrim progress traditional_vocoder - - - -",
    "5phase1": "T_0001 {n} F - {a} {k}",
    "5": "E_0001\t{n}\tM\tC05\t3\t-\tAC1\t{a}\t{k}\t-",
    "plain": "{n} {k}",
}


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def trials_text(line: str) -> str:
    return "\n".join(
        line.format(n=f"E_{index}", k="bonafide" if index < 4 else "spoof", a="-" if index < 4 else f"A0{index % 2}")
        for index in range(8)
    )


SCORES = "\n".join(f"E_{index} {score}" for index, score in enumerate([3, 2, 1, -1, 0, -2, -3, -4]))


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main(["detect-eval", *map(str, arguments), "--json", "--replicates", "20"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_protocols_of_all_years_give_the_same_hand_worked_rates(tmp_path, capsys, kind):
    protocol = written(tmp_path / "p.txt", trials_text(PROTOCOLS[kind]))
    found = evaluated(capsys, "--protocol", protocol, "--scores", written(tmp_path / "s.txt", SCORES))
    # bona fide 3 2 1 -1, synthetic 0 -2 -3 -4: one of four each way between -1 and 0
    assert found["pooled"]["eer_asvspoof"] == found["pooled"]["eer_interpolated"] == 0.25
    assert found["pooled"]["auc"] == roc_auc_score([1] * 4 + [0] * 4, [3, 2, 1, -1, 0, -2, -3, -4])
    assert (found["p_miss"], found["p_false_alarm"]) == (0.25, 0.25)  # at -0.6419
    assert found["pooled"]["act_dcf"] == pytest.approx(1.9 * 0.25 + 0.25)
    if kind != "plain":
        assert [row["name"] for row in found["by_attack"]] == ["A00", "A01"]
        assert found["worst_eer"] == max(row["eer_interpolated"] for row in found["by_attack"])


@pytest.mark.parametrize(
    "text",
    [
        "filename\tcm-score\nE_0\t1.5\nE_1\t-2",
        "E_0 1.5\nE_1 -2",
        "E_0.wav - bonafide 1.5\nfolder/E_1.flac A01 spoof -2",
        "E_0 1.5 real\nE_1 -2 fake",
        "E_0 1.5 0.99 0.1\nE_1 -2 0.98 0.2",
        "spk\tfilename\tcm-score\tasv-score\tsasv-score\ns1\tE_0\t1.5\t-\t-\ns1\tE_1\t-2\t0\t0",
    ],
)
def test_score_files_of_all_kinds(tmp_path, text):
    trials = read_protocol(written(tmp_path / "p.txt", "E_0 bonafide\nE_1 spoof"))
    paired = pair(trials, read_scores(written(tmp_path / "s.txt", text)))
    assert paired.scores == [1.5, -2.0] and not paired.missing


def test_unknown_columns_are_read_by_content(tmp_path):
    rows = [
        f"x{index % 2} 7 clip-{index} q {'A1' if index else '-'} {'fake' if index else 'real'} z" for index in range(4)
    ]
    trials = read_protocol(written(tmp_path / "p.txt", "\n".join(rows)))
    assert [trial.name for trial in trials] == [f"clip-{index}" for index in range(4)]
    assert [trial.is_bona_fide for trial in trials] == [True, False, False, False] and trials[1].attack == "A1"


def test_missing_doubled_conflicting_nan_and_extra_trials_are_listed(tmp_path, capsys):
    protocol = written(tmp_path / "p.txt", trials_text(PROTOCOLS["2019"]))
    text = SCORES.replace("E_7 -4", "E_7 nan").replace("E_6 -3\n", "") + "\nE_0 3\nE_1 9\nE_99 1"
    found = evaluated(capsys, "--protocol", protocol, "--scores", written(tmp_path / "s.txt", text))
    names = {kind: entry["first"] for kind, entry in found["trials"].items()}
    assert names == {
        "missing": ["E_6"],
        "not_a_number": ["E_7"],
        "doubled": ["E_0"],
        "conflicting": ["E_1"],
        "extra": ["E_99"],
    }
    assert (found["n_bona_fide"], found["n_synthetic"]) == (3, 2)


def test_a_sign_is_never_flipped_unless_the_user_says_so(tmp_path, capsys):
    protocol = written(tmp_path / "p.txt", trials_text(PROTOCOLS["2019"]))
    turned = "\n".join(f"{name} {-float(score)}" for name, score in map(str.split, SCORES.splitlines()))
    scores = written(tmp_path / "s.txt", turned)
    found = evaluated(capsys, "--protocol", protocol, "--scores", scores)
    assert found["pooled"]["eer_interpolated"] == 0.75 and "Nothing was flipped" in found["warnings"][0]
    told = evaluated(capsys, "--protocol", protocol, "--scores", scores, "--higher-means", "synthetic")
    assert told["pooled"]["eer_interpolated"] == 0.25


def test_one_class_only_gives_its_rate_and_says_so(tmp_path, capsys):
    protocol = written(tmp_path / "p.txt", "E_4 spoof\nE_5 spoof")
    found = evaluated(capsys, "--protocol", protocol, "--scores", written(tmp_path / "s.txt", SCORES))
    assert found["pooled"] is None and found["p_false_alarm"] == 0.5 and "no bona fide" in found["warnings"][0]


def test_threshold_transfer_and_figures(tmp_path, capsys):
    protocol = written(tmp_path / "p.txt", trials_text(PROTOCOLS["2019"]))
    shifted = "\n".join(f"{name} {float(score) - 5}" for name, score in map(str.split, SCORES.splitlines()))
    found = evaluated(
        capsys,
        *("--protocol", protocol, "--scores", written(tmp_path / "s.txt", shifted), "--plots", tmp_path / "figures"),
        *("--dev-protocol", protocol, "--dev-scores", written(tmp_path / "d.txt", SCORES)),
    )
    transfer = found["threshold_transfer"]
    assert (transfer["p_miss"], transfer["p_false_alarm"], transfer["p_error_half_total"]) == (1.0, 0.0, 0.5)
    assert transfer["eer_interpolated"] == 0.25
    assert [Path(path).name for path in found["figures"]] == ["det.svg", "tippett.svg", "reliability.svg"]
    assert all("</svg>" in Path(path).read_text() for path in found["figures"])


def test_same_file_name_in_two_folders_is_told_apart_and_never_guessed(tmp_path):
    trials = read_protocol(written(tmp_path / "p.txt", "a/1.wav bonafide\nb/1.wav spoof\n2.wav spoof"))
    paired = pair(trials, [("x/a/1.flac", 1.0), ("/y/b/1.wav", -1.0), ("1.wav", 9.0), ("deep/2", -2.0)])
    assert paired.scores == [1.0, -1.0, -2.0] and paired.extra == ["1.wav"]


def test_a_trial_with_two_keys_is_left_out_and_listed(tmp_path):
    paired = pair(
        read_protocol(written(tmp_path / "p.txt", "E_0 bonafide\nE_0 spoof\nE_1 spoof")), [("E_0", 1), ("E_1", 0)]
    )
    assert paired.conflicting == ["E_0"] and [trial.name for trial in paired.trials] == ["E_1"]


def test_a_header_of_unknown_names_is_no_trial(tmp_path):
    trials = read_protocol(written(tmp_path / "p.txt", "utt what\nE_0 bonafide\nE_1 spoof"))
    assert [trial.name for trial in trials] == ["E_0", "E_1"]


def test_manifest_rows_pair_by_path_and_rates_come_by_group(tmp_path, capsys):
    rows = [f"u{n},audio/{n}.wav,speech,s{n // 2},{'F' if n < 4 else 'M'}" for n in range(8)]
    text = "utterance_id,path,kind,speaker,gender\n" + "\n".join([*rows, "n,noise/1.wav,noise,,"])
    manifest = written(tmp_path / "manifest.csv", text)
    values = [1, 1, 1, -2, 1, -2, -2, -2]
    jsonl = "\n".join(json.dumps({"path": f"/x/audio/{n}.wav", "llr": value}) for n, value in enumerate(values))
    scores = written(tmp_path / "s.jsonl", jsonl)
    found = evaluated(capsys, "--protocol", manifest, "--scores", scores, "--groups", manifest, "--group-by", "gender")
    assert found["n_bona_fide"] == 8 and found["trials"]["missing"]["count"] == 0
    groups = {row["group"]: row for row in found["by_group"]}
    assert groups["F"]["p_miss"] == 0.25 and groups["M"]["p_miss"] == 0.75 and groups["F"]["speakers"] == 2
    assert groups["F"]["p_miss_interval"][0] is not None and groups["F"]["p_false_alarm"] is None
    assert main(["detect-eval", "--protocol", str(manifest), "--scores", str(scores), "--group-by", "age"]) == 2
    assert "go together" in capsys.readouterr().err
    arguments = ["detect-eval", "--protocol", str(manifest), "--scores", str(scores), "--groups", str(manifest)]
    assert main([*arguments, "--group-by", "accent"]) == 2 and "use gender" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("protocol", "scores", "says"),
    [
        ("E_0 bonafide\nE_1 perhaps", SCORES, "no column holds bonafide"),
        ("filename\tkey\nE_0\tperhaps", SCORES, "has the key 'perhaps'"),
        ("", SCORES, "is empty"),
        ("E_0 bonafide x\nE_1 spoof", SCORES, "line 2 has 2 columns"),
        ("E_0 bonafide\nE_1 spoof", "X 1\nY 2", "scores none of the trials"),
        ("E_0 bonafide\nE_1 spoof", "E_0 a\nE_1 b", "no column holds numbers"),
    ],
)
def test_bad_files_are_one_sentence_and_exit_2(tmp_path, capsys, protocol, scores, says):
    paths = written(tmp_path / "p.txt", protocol), written(tmp_path / "s.txt", scores)
    assert main(["detect-eval", "--protocol", str(paths[0]), "--scores", str(paths[1])]) == 2
    assert says in capsys.readouterr().err


def test_tandem_costs_are_the_hand_worked_ones(tmp_path, capsys):
    asv = VerificationRates(p_miss=0.05, p_fa_non=0.05, p_fa_spoof=0.4)
    # C0 = .9405 * .05 + .0095 * 10 * .05 = .051775; C1 = .9405 - C0 = .888725; C2 = .05 * 10 * .4 = .2
    assert t_dcf([2.0, 3.0], [0.0, 1.0], asv) == pytest.approx(0.051775 / 0.251775)
    assert t_dcf([0.0, 3.0], [1.0, 2.0], asv) == pytest.approx(min(1.0, (0.051775 + 0.888725 / 2) / 0.251775))
    assert t_dcf_2019([0.0, 3.0, 3.0, 3.0], [1.0, 2.0], asv) == pytest.approx(1.0)
    assert t_dcf_2019([2.0, 3.0], [0.0, 2.5], asv) == pytest.approx(0.5)
    rates = verification_rates([1, 2, 3, 0], [0, -1, -2, 1], [2, -3])
    assert (rates.p_miss, rates.p_fa_non, rates.p_fa_spoof) == (0.25, 0.25, 0.5)
    assert a_dcf([1.0, 2.0], [0.0], [-1.0]) == 0.0
    assert a_dcf([1.0], [1.0], [1.0], CostModel()) == pytest.approx(1.0)
    lines = [f"t{k} target {k}" for k in range(1, 4)] + [
        "n1 nontarget 0",
        "n2 nontarget -1",
        "s1 spoof 2",
        "s2 spoof 5",
    ]
    found = evaluated(
        capsys,
        *("--protocol", written(tmp_path / "p.txt", trials_text(PROTOCOLS["2019"]))),
        *(
            "--scores",
            written(tmp_path / "s.txt", SCORES),
            "--asv-scores",
            written(tmp_path / "a.txt", "\n".join(lines)),
        ),
        *("--sasv-scores", tmp_path / "a.txt"),
    )
    assert found["tandem"]["asv_p_fa_spoof"] == 1.0 and 0.0 < found["tandem"]["min_t_dcf_2020"] <= 1.0
    # best at threshold 1: no target missed, no other speaker accepted, both spoofs accepted
    assert found["a_dcf"]["min_a_dcf"] == pytest.approx(0.05 * 10 / (0.0095 * 10 + 0.05 * 10))
    np.testing.assert_equal(found["tandem"]["asv_p_miss"], 0.0)
