"""The report in a real browser: item browser, axe-core, narrow screens; and the parts behind it without one."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from report_browser import CHROMIUM, run_in_page
from report_run_folder import TinyRun

from reports import build_report
from reports.item_payload import script_safe
from reports.misheard import spelled
from reports.transcripts import error_kinds, read_alignments

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
WORDS = [("hit", "a", "a"), ("substitution", "plain", "plane"), ("deletion", "to", ""), ("insertion", "", "now")]


def with_words(folder: Path, item_ids: list[str]) -> None:
    steps = [{"operation": name, "reference": said, "heard": heard} for name, said, heard in WORDS]
    rows = [{"item_id": name, "scorer": "word_error", "operations": steps} for name in item_ids]
    pq.write_table(pa.Table.from_pylist(rows), folder / "transcripts.parquet")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = TinyRun(tmp_path_factory.mktemp("browser") / "run")
    run.lose("audiolm:codec:utt-05", "failed", "the disk was full")
    for item in run.items:
        if item["utterance_id"] == "utt-01":
            item["transcript"] = "</script><script>window.broken = true</script>"
    folder = run.write()
    with_words(folder, [item["item_id"] for item in run.items if item["role"] == "acoustic"])
    build_report(folder, clips=6)
    return folder


def test_words_are_read_and_spelled(built: Path):
    words = read_alignments(built)["audiolm:acoustic:utt-00"]
    assert spelled(words) == "a [plain → plane] [to → nothing] [nothing → now]"
    assert error_kinds([words, words])["s", "plain", "plane"] == 2
    html = (built / "report.html").read_text("utf-8")
    assert "Kinds of word errors" in html and "[plain → plane]" in html


def test_a_truncated_table_of_words_is_named(tmp_path: Path):
    run = TinyRun(tmp_path / "run", speakers=2, per_speaker=1, groups=False)
    folder = run.write(audio=False)
    with_words(folder, ["audiolm:acoustic:utt-00"])
    (folder / "transcripts.parquet").write_bytes((folder / "transcripts.parquet").read_bytes()[:90])
    with pytest.raises(ValueError, match="transcripts.parquet: is truncated"):
        build_report(folder)


def test_payload_cannot_leave_its_script_element():
    text = script_safe({"a": "</script><!--<script>", "b": "\u2028&"})
    assert not re.search(r"[<>&\u2028]", text)
    assert json.loads(text) == {"a": "</script><!--<script>", "b": "\u2028&"}


def test_payload_holds_every_item_with_its_scores(built: Path):
    html = (built / "report.html").read_text("utf-8")
    found = re.search(r'<script type="application/json" id="browser-data">(.*?)</script>', html, re.DOTALL)
    assert found
    data = json.loads(found.group(1))
    scores = pd.read_parquet(built / "scores.parquet")
    assert len(data["items"]) == 60 and data["items"][0] == "audiolm:codec:utt-05"
    column = next(
        one for one in data["columns"] if one["scorer"] == "speaker_similarity" and one["label"] == "Speaker similarity"
    )
    mine = scores[(scores["measure"] == "cosine") & (scores["status"] == "ok")].set_index("item_id")["value"]
    given = {name: value for name, value in zip(data["items"], column["values"], strict=True) if value is not None}
    assert set(given) == set(mine.index)
    assert all(given[name] == pytest.approx(mine[name], rel=1e-3) for name in given)
    word_error = next(one for one in data["columns"] if one["label"] == "Word error rate")
    assert all(value is None or 0 <= value <= 1 for value in word_error["values"])
    assert len(data["clips"]) == 6


def test_oracle_results_stand_on_the_method_cards(tmp_path: Path):
    run = TinyRun(tmp_path / "run", speakers=2, per_speaker=1, groups=False)
    folder = run.write(audio=False)
    html = build_report(folder).report_path.read_text("utf-8")
    assert "Self tests were not measured" in html
    rows = [
        {
            "scorer": "word_error",
            "name": "one word of four",
            "value": 0.25,
            "unit": "share",
            "against": 0.25,
            "met": True,
        },
        {"scorer": "detector:tiny", "name": "silence", "value": 1.0, "unit": "", "against": 0.0, "met": False},
    ]
    (folder / "selftests.json").write_text(json.dumps(rows))
    html = build_report(folder).report_path.read_text("utf-8")
    assert "all 1 passed" in html and "1 of 1 failed: treat its numbers as unverified" in html


def test_training_energy_is_summed_and_its_absence_said(tmp_path: Path):
    run = TinyRun(tmp_path / "run", speakers=2, per_speaker=1, groups=False)
    folder = run.write(audio=False)
    build_report(folder)

    def indicator() -> dict:
        rows = json.loads((folder / "summary.json").read_text())["indicators"]
        return next(row for row in rows if row["name"].startswith("Energy of training"))

    assert indicator()["estimate"] is None
    run.info["system"]["description"]["training"] = {
        "wall_s": 7200.0, "hardware": ["2 CPU cores"], "energy_wh": 150.0, "energy_sources": ["measured: RAPL"],
        "parts_without_energy_record": ["codec"],
    }  # fmt: skip
    build_report(run.write(audio=False))
    assert indicator()["estimate"] == pytest.approx(0.15) and "without codec" in indicator()["name"]
    run.info["system"]["description"]["training"] = {"wall_s": 7200.0, "hardware": ["2 CPU cores, 1 threads"]}
    html = build_report(run.write(audio=False)).report_path.read_text("utf-8")
    assert "only the time was recorded" in html and "(15.89\u00a0Wh)" in html  # 2 h x 2 cores x 3.5 W x 1.135


@needs_chromium
def test_items_are_filtered_sorted_and_shown(built: Path):
    script = """
    const get = (name) => document.querySelector(name), out = {};
    const rows = () => [...get("#browser-table").tBodies[0].rows];
    out.start = get("#browser-count").textContent; out.page = rows().length; out.static = get("#browser-static").hidden;
    const box = get("#browser-search");
    box.value = "UTT-03 female"; box.dispatchEvent(new Event("input")); out.none = get("#browser-count").textContent;
    box.value = "utt-02"; box.dispatchEvent(new Event("input")); out.filtered = get("#browser-count").textContent;
    const role = get("#browser-role"); role.value = "acoustic"; role.dispatchEvent(new Event("change"));
    out.one = get("#browser-count").textContent;
    get("#browser-table .open").click();
    const detail = get("#browser-detail");
    out.focus = document.activeElement === detail; out.errors = detail.querySelectorAll(".error").length;
    out.audio = detail.querySelector("audio").getAttribute("src").slice(0, 20); out.text = detail.textContent;
    box.value = ""; box.dispatchEvent(new Event("input"));
    const head = [...get("#browser-table").tHead.rows[0].cells];
    const at = head.findIndex((cell) => cell.textContent === "Word error rate");
    head[at].firstChild.click();
    out.sorted = rows().map((row) => parseFloat(row.cells[at].textContent));
    out.aria = get("#browser-table").tHead.rows[0].cells[at].getAttribute("aria-sort");
    out.kept = document.activeElement.textContent; out.broken = window.broken === true;
    return out;
    """
    out = run_in_page(built / "report.html", script)
    assert (out["start"], out["page"], out["static"]) == ("60 items", 50, True)
    assert out["filtered"] == "5 of 60 items" and out["one"] == "1 of 60 items"
    assert out["focus"] and out["errors"] == 3 and out["audio"].startswith(("data:audio/flac", "audio/acoustic"))
    assert "Word error rate" in out["text"] and "Struck out" in out["text"]
    assert out["sorted"] == sorted(out["sorted"]) and len(out["sorted"]) == 12
    assert (out["aria"], out["kept"]) == ("ascending", "Word error rate") and not out["broken"]


@needs_chromium
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_no_violation(built: Path, dark: bool):
    spec = importlib.util.find_spec("axe_core_python")
    if spec is None or spec.origin is None:
        pytest.skip("axe-core-python, which carries axe.min.js, is not installed")
    axe = Path(spec.origin).with_name("axe.min.js").read_text("utf-8").replace("</script", "<\\/script")
    script = f"""
    const plain = document.createElement("style"); plain.textContent = ".scroll {{ background: none !important }}";
    document.head.append(plain);
    document.querySelector("#browser-table .open").click();
    {axe}
    const result = await axe.run(document, {{ resultTypes: ["violations"] }});
    return {{ dark: matchMedia("(prefers-color-scheme: dark)").matches,
              found: result.violations.map((v) => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 200)]) }};
    """
    out = run_in_page(built / "report.html", script, dark=dark, patience_s=300)
    assert out == {"dark": dark, "found": []}


@needs_chromium
def test_nothing_is_wider_than_a_narrow_screen(built: Path):
    page = built / "narrow.html"
    page.write_text((built / "report.html").read_text("utf-8"), "utf-8")
    script = """
    const frame = document.createElement("iframe");
    frame.style.width = "360px";
    frame.srcdoc = document.documentElement.outerHTML.replace(/<script(?! type)[^]*?<\\/script>/g, "");
    document.body.append(frame);
    await new Promise((done) => { frame.onload = done; });
    const root = frame.contentDocument.documentElement;
    return { inner: frame.contentWindow.innerWidth, width: root.scrollWidth };
    """
    out = run_in_page(page, script)
    page.unlink()
    assert out["inner"] <= 364 and out["width"] <= out["inner"]
