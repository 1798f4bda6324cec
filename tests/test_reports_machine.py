"""Machine-readable forms: schemas, SARIF, digests, plans and comparisons, each against files of a tiny run."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from report_run_folder import TinyRun

from evaluation.cli import main as cli
from reports import build_report
from reports.compare import compare_runs, open_audit
from reports.digests import verify_run
from reports.estimates import power_factor
from reports.plan import sample_sizes
from reports.policy import load_policy, shipped_policy_text
from reports.schemas import json_schemas

ROOT = Path(__file__).resolve().parents[1]
FILES = {"findings": "findings.json", "run": "run.json", "summary": "summary.json", "digests": "digests.json"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = TinyRun(tmp_path_factory.mktemp("machine") / "run")
    run.lose("audiolm:continuation:utt-03", "failed", "the model ran out of memory")
    folder = run.write()
    build_report(folder, clips=2)
    return folder


def read(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def copied(folder: Path, target: Path) -> Path:
    for path in folder.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    return target


@pytest.mark.parametrize("name", sorted(json_schemas()))
def test_published_schemas_are_those_of_the_models(name: str):
    assert read(ROOT / "docs" / "schemas" / f"{name}.schema.json") == json.loads(json.dumps(json_schemas()[name]))


@pytest.mark.parametrize("name", sorted(FILES))
def test_files_of_a_run_are_valid_and_broken_ones_are_not(built: Path, name: str):
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json_schemas()[name])
    value = read(built / FILES[name])
    assert not list(validator.iter_errors(value))
    broken = value[0] | {"severity": "dreadful"} if isinstance(value, list) else value | {"schema_version": 99}
    assert list(validator.iter_errors([broken] if isinstance(value, list) else broken))


def test_sarif_has_what_the_standard_requires(built: Path):
    log = read(built / "findings.sarif")
    assert log["version"] == "2.1.0" and len(log["runs"]) == 1
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    ids = [rule["id"] for rule in driver["rules"]]
    assert driver["name"] and len(set(ids)) == len(ids)
    findings = {row["finding_id"]: row for row in read(built / "findings.json")}
    assert len(run["results"]) == len(findings)
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"] and rule["help"]["text"]
        assert rule["defaultConfiguration"]["level"] in ("none", "note", "warning", "error")
    for result in run["results"]:
        row = findings[result["properties"]["finding_id"]]
        assert result["ruleId"] == ids[result["ruleIndex"]] and result["message"]["text"] == row["statement"]
        expected = {"info": "none", "minor": "warning", "major": "error", "blocking": "error"}[row["severity"]]
        assert result["level"] == expected
        assert (result["kind"] == "fail") == (row["severity"] != "info")
        for place in [*result["locations"], *result.get("relatedLocations", ())]:
            location = place["physicalLocation"]["artifactLocation"]
            assert location["uriBaseId"] in run["originalUriBaseIds"]
            path = location["uri"].partition("#")[0]
            assert not re.match(r"[a-z]+:|/", path) and (built / path).is_file()
    evidence = sum(len(result.get("relatedLocations", ())) for result in run["results"])
    assert evidence > 0 and len({r["partialFingerprints"]["finding/v1"] for r in run["results"]}) == len(findings)


def test_digests_are_those_of_the_files(built: Path):
    stored = read(built / "digests.json")
    listed = {entry["path"]: entry["sha256"] for entry in stored["files"]}
    for name in ("report.html", "findings.json", "findings.sarif", "summary.json", "scores.parquet"):
        assert listed[name] == hashlib.sha256((built / name).read_bytes()).hexdigest()
    assert sum(name.startswith("audio/") for name in listed) == len(list((built / "audio").rglob("*.wav")))
    lines = "".join(f"{listed[name]}  {name}\n" for name in sorted(listed))
    assert stored["root"] == hashlib.sha256(lines.encode()).hexdigest()


def test_verify_names_what_was_changed_missing_and_new(built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = copied(built, tmp_path / "run")
    root = read(folder / "digests.json")["root"]
    assert cli(["verify", str(folder), "--root", root]) == 0
    assert root in capsys.readouterr().out
    clip = folder / "audio" / "codec" / "utt-01.wav"
    content = bytearray(clip.read_bytes())
    content[-1] ^= 1
    clip.write_bytes(content)
    (folder / "audio" / "codec" / "utt-02.wav").unlink()
    (folder / "notes.txt").write_text("added")
    assert cli(["verify", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        "changed: audio/codec/utt-01.wav",
        "missing: audio/codec/utt-02.wav",
        "new: notes.txt",
    ]
    assert cli(["verify", str(folder), "--json"]) == 1
    assert [row["what"] for row in json.loads(capsys.readouterr().out)["differences"]] == ["changed", "missing", "new"]


def test_a_clip_changed_before_the_report_was_built_is_found(tmp_path: Path):
    run = TinyRun(tmp_path / "run", speakers=2, per_speaker=1, roles=("reference", "codec"), groups=False)
    folder = run.write()
    for item in run.items:
        item["content_sha256"] = hashlib.sha256((folder / item["audio_path"]).read_bytes()).hexdigest()
    folder = run.write()
    clip = folder / "audio" / "codec" / "utt-00.wav"
    clip.write_bytes(clip.read_bytes()[:-2])
    build_report(folder)
    _, differences = verify_run(folder)
    assert [str(one).split(" (")[0] for one in differences] == ["changed: audio/codec/utt-00.wav"]


def test_altered_or_absent_digests_are_refused(built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = copied(built, tmp_path / "run")
    stored = read(folder / "digests.json")
    stored["files"][0]["sha256"] = "0" * 64
    (folder / "digests.json").write_text(json.dumps(stored))
    assert cli(["verify", str(folder)]) == 2 and "the list itself was altered" in capsys.readouterr().err
    (folder / "digests.json").unlink()
    assert cli(["verify", str(folder)]) == 2 and "build the report first" in capsys.readouterr().err


def worsened(tmp_path: Path, name: str, add: float, version: str = "1+abc") -> Path:
    """A run whose continuations are judged less likely bona fide by ``add`` nats, by a detector of that version."""
    run = TinyRun(tmp_path / name, speakers=6, per_speaker=2, groups=False)
    run.info["run_id"], run.info["prompts"]["sha256"] = name, "aa"
    run.info["evaluators"][0]["version"] = version
    for row in run.scores:
        if row["role"] == "continuation" and row["measure"] == "llr":
            row["value"] += add
        if row["role"] == "continuation" and row["measure"] == "flagged":
            mine = [r["value"] for r in run.scores if r["item_id"] == row["item_id"] and r["measure"] == "llr"]
            row["value"] = float(mine[0] < 0)
    folder = run.write(audio=False)
    build_report(folder)
    return folder


def test_compare_tells_change_from_noise_and_refuses_unlike_evaluators(tmp_path: Path):
    base, worse = worsened(tmp_path, "old", 0.0), worsened(tmp_path, "worse", 4.0)
    same = compare_runs(open_audit(base), open_audit(base))
    assert {one.change for one in same.changes} <= {"same", "within noise"} and same.same_prompts
    found = {one.finding_id: one for one in compare_runs(open_audit(base), open_audit(worse)).changes}
    assert found["DIS-2"].change in ("new", "regressed") and "12 shared prompts" in found["DIS-2"].method
    passing = found["DIS-2"]
    assert passing.old is not None and passing.new is not None
    assert passing.difference == pytest.approx(passing.new - passing.old)
    assert found["QUA-1"].change == "same" or found["QUA-1"].difference == pytest.approx(0.0)
    back = {one.finding_id: one for one in compare_runs(open_audit(worse), open_audit(base)).changes}
    assert back["DIS-2"].change in ("fixed", "improved")
    other = compare_runs(open_audit(base), open_audit(worsened(tmp_path, "other", 4.0, "2+def")))
    assert any("detector:tiny" in text and "another one" in text for text in other.warnings)
    assert {one.finding_id: one.change for one in other.changes}["DIS-2"] == "not comparable"


def test_compare_command_writes_valid_files_and_gates(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    jsonschema = pytest.importorskip("jsonschema")
    base, worse = worsened(tmp_path, "old", 0.0), worsened(tmp_path, "worse", 4.0)
    assert cli(["compare", str(base), str(worse), "--out", str(tmp_path / "out")]) == 1
    assert "DIS-2" in capsys.readouterr().out
    jsonschema.validate(read(tmp_path / "out" / "comparison.json"), json_schemas()["comparison"])
    page = (tmp_path / "out" / "comparison.html").read_text("utf-8")
    assert "DIS-2" in page and page.count("<script") == 1
    assert cli(["compare", str(worse), str(base)]) == 0
    assert cli(["compare", str(base), str(tmp_path)]) == 2


def test_own_policy_is_kept_with_the_run_and_changes_the_verdict(tmp_path: Path):
    folder = TinyRun(tmp_path / "run", speakers=2, per_speaker=2, groups=False).write(audio=False)
    before = {row["finding_id"]: row["severity"] for row in (build_report(folder), read(folder / "findings.json"))[1]}
    own = tmp_path / "mine.toml"
    own.write_text(
        "schema_version = 1\ntitle = 'Ours'\n[rules.ENV-1]\nsection = 'environment'\nquantity = 'energy'\n"
        "direction = 'above'\nblocking = 0.000001\nsource = 'our board, minutes of March'\n"
        "[rules.OWN-1]\nsection = 'quality'\nquantity = 'pitch moves'\ndirection = 'above'\nmajor = 0.5\n"
        "source = 'our ears'\nmeasure = 'acoustic_consistency/f0_difference'\nrole = 'continuation'\n"
    )
    assert build_report(folder, policy=own).worst_severity == "blocking"
    build_report(folder)
    after = {row["finding_id"]: row for row in read(folder / "findings.json")}
    assert before["ENV-1"] == "info" and after["ENV-1"]["severity"] == "blocking"
    assert after["OWN-1"]["severity"] == "major" and after["OWN-1"]["estimate"] == pytest.approx(4.0)
    assert after["ENV-1"]["threshold_source"] == "our board, minutes of March"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[rules.ENV-11]\ndirection='above'\nminor=1\nsource='x'", "did you mean 'ENV-1'"),
        ("[assumptions.watts_per_cup]\nvalue=1\nsource='x'", "did you mean 'watts_per_cpu'"),
        ("[quantities]\nllr = ['detector:tiny/lrl']", "did you mean 'detector:tiny/llr'"),
        (
            "[rules.A-1]\ndirection='above'\nminor=1\nsource='x'\nmeasure='word_error/were'\nrole='codec'",
            "did you mean 'word_error/wer'",
        ),
        (
            "[rules.A-1]\ndirection='above'\nminor=1\nsource='x'\nmeasure='word_error/wer'\nrole='codecs'",
            "did you mean 'codec'",
        ),
    ],
)
def test_unknown_names_in_a_policy_are_refused_with_the_nearest(tmp_path: Path, text: str, message: str):
    folder = TinyRun(tmp_path / "run", speakers=2, per_speaker=1).write(audio=False)
    own = tmp_path / "mine.toml"
    own.write_text("schema_version = 1\n" + text)
    with pytest.raises(ValueError, match=message):
        build_report(folder, policy=own)
    assert not (folder / "policy.toml").exists()


def plan_facts(run: TinyRun) -> dict[str, Any]:
    return {
        "made_utc": "2026-01-01T00:00:00+00:00",
        "title": "test",
        "prompts": {"sha256": "aa", "n_speakers": 4},
        "config": {"seed": 7, "seconds": 4.0},
        "seeds": {"run": 7},
        "scorers": {"detector:tiny": "1+abc"},
        "slices": {"gender": {"female": 2, "male": 2}},
        "n_items": {"codec": 12},
    }


def test_deviations_from_the_plan_are_listed(tmp_path: Path):
    from reports import write_plan

    run = TinyRun(tmp_path / "run")
    run.info |= {"config": {"seed": 7, "seconds": 4.0}, "seeds": {"run": 7}, "created_utc": "2026-01-02T00:00:00+00:00"}
    run.info["prompts"]["sha256"] = "aa"
    path, _ = write_plan(tmp_path / "plan", plan_facts(run))
    folder = run.write(audio=False)
    build_report(folder, plan=path)
    assert read(folder / "summary.json")["deviations"] == []
    run.info |= {"config": {"seed": 8, "seconds": 4.0}, "created_utc": "2025-01-02T00:00:00+00:00"}
    run.info["prompts"]["sha256"] = "bb"
    run.info["evaluators"][0]["version"] = "2"
    run.lose("audiolm:codec:utt-05", "failed", "lost")
    for item in run.items:
        item["group:gender"] = "female"
    folder = run.write(audio=False)
    build_report(folder)
    text = "\n".join(read(folder / "summary.json")["deviations"])
    for words in ("after generation began", "seed: 8, planned 7", "prompts are others", "version 2, planned 1+abc",
                  "male: 0 speakers", "codec: 11 clips, planned 12"):  # fmt: skip
        assert words in text, words
    html = (folder / "report.html").read_text("utf-8")
    assert "codec: 11 clips, planned 12" in html


def test_plan_command_writes_a_valid_plan_and_needs_a_new_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    jsonschema = pytest.importorskip("jsonschema")
    assert cli(["plan", "--limit", "2", "--out", str(tmp_path / "p"), "--scorers", "signal_quality"]) == 0
    assert "smallest effect" in capsys.readouterr().out
    value = read(tmp_path / "p" / "plan.json")
    jsonschema.validate(value, json_schemas()["plan"])
    assert value["policy_sha256"] == load_policy().sha256
    assert (tmp_path / "p" / "policy.toml").read_text("utf-8") == shipped_policy_text()
    assert cli(["plan", "--limit", "2", "--out", str(tmp_path / "p")]) == 2


def test_sample_sizes_follow_the_spread_between_speakers():
    sizes = {size.rule: size for size in sample_sizes(load_policy(), 25, {"QUA-1": 0.1}, "pilot")}
    assert sizes["QUA-1"].minimum_detectable == pytest.approx(power_factor(25) * 0.1 / 5)
    needed = sizes["QUA-1"].speakers_needed
    assert needed is not None and power_factor(needed) * 0.1 / needed**0.5 <= 0.035
    assert power_factor(needed - 1) * 0.1 / (needed - 1) ** 0.5 > 0.035
    assert sizes["ENV-1"].minimum_detectable is None and "--pilot" in sizes["ENV-1"].sd_source
