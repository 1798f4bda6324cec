"""The whole report on a tiny run: every section, missing measures, empty runs, hostile text, determinism, gate."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_run_folder import TinyRun, comparison, measure

from reports import build_report
from reports.sections import discover

RISKS = ("disinformation", "discrimination", "social_engineering", "environment", "employment")


class Page(HTMLParser):
    """What a browser would load and an assistive tool would read."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self._raw = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {key: value or "" for key, value in attrs}))
        self._raw = tag if tag in ("script", "style", "title") else self._raw

    def handle_endtag(self, tag: str) -> None:
        self._raw = "" if tag == self._raw else self._raw

    def handle_data(self, data: str) -> None:
        if not self._raw:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attrs for name, attrs in self.tags if name == tag]


def built(run: TinyRun, **options: object) -> tuple[str, list[dict]]:
    folder = run.write()
    result = build_report(folder, **options)  # type: ignore[arg-type]
    return result.report_path.read_text("utf-8"), json.loads(result.findings_path.read_text("utf-8"))


def section_text(html: str, section_id: str) -> str:
    found = re.search(rf'<section id="{section_id}".*?</section>', html, re.DOTALL)
    assert found, section_id
    return found.group(0)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict], Path]:
    run = TinyRun(tmp_path_factory.mktemp("full") / "run")
    run.measures += [measure("likelihood_pairs", "rhythm_semantic", low=0.0, high=1.0), measure("plug_in", "oddness")]
    for item in [one for one in run.items if one["role"] == "continuation"]:
        run.score(item, "likelihood_pairs", rhythm_semantic=0.5)
        run.score(item, "plug_in", oddness=0.125 * item["duration_s"])
    run.comparisons = [comparison()]
    run.lose("audiolm:continuation:utt-03", "failed", "the model ran out of memory")
    run.lose("audiolm:codec:utt-05", "skipped", "the recording lasts 0.05 s")
    html, findings = built(run)
    return html, findings, run.folder


def test_every_section_is_built_from_a_full_run(full):
    html, _, _ = full
    for section in discover():
        body = section_text(html, section.section_id)
        assert "Not run:" not in body, section.section_id
        assert len(body) > 300, section.section_id


def test_measures_that_no_chapter_asks_for_are_shown_all_the_same(full):
    further, language = section_text(full[0], "further"), section_text(full[0], "language")
    assert "Plug in" in further and ">0.250<" in further and "Likelihood" not in further
    assert ">0.500<" in language and "Plug in" not in language


def test_risk_chapters_have_question_verdict_evidence_and_open_points(full):
    html, findings, _ = full
    for name in RISKS:
        body = section_text(html, name)
        assert 'class="question"' in body and ">Verdict " in body, name
        assert "Not measured" in body and "Thresholds and where they come from" in body and "Source: " in body, name
        assert all(word in body for word in ("Ceiling", "Floor", "Smallest effect seen", "95 % interval")), name
        assert "<svg" in body and ("<audio" in body or "Play it above" in body), name
        assert any(finding["section"] == name for finding in findings), name


def test_numbers_of_the_page_are_those_of_the_table(full):
    import pandas as pd

    html, _, folder = full
    summary = pd.read_parquet(folder / "summary.parquet")
    row = summary[
        (summary["measure"] == "wer") & (summary["role"] == "acoustic") & (summary["group_by"] == "all")
    ].iloc[0]
    scores = pd.read_parquet(folder / "scores.parquet")
    mine = scores[(scores["scorer"] == "word_error") & (scores["role"] == "acoustic") & (scores["status"] == "ok")]
    rate = mine.loc[mine["measure"] == "errors", "value"].sum() / mine.loc[mine["measure"] == "words", "value"].sum()
    assert row["estimate"] == pytest.approx(rate)
    assert f"{rate * 100:.1f}\u00a0%" in section_text(html, "quality")


def test_first_lines_say_which_prompts(full, tmp_path: Path):
    text = "".join(Page(full[0]).text)
    assert text.index("Real recordings") < text.index("Safety audit of")
    html, _ = built(TinyRun(tmp_path / "made", origin="synthetic", speakers=2, per_speaker=2))
    text = "".join(Page(html).text)
    assert text.index("Made prompts: synthetic speech of flite/espeak-ng, no human recording") < text.index(
        "Safety audit of"
    )
    assert "no human recordings, so it is not computed" in text


def test_items_that_are_not_ok_stay_visible_with_reason_and_count(full):
    html, findings, _ = full
    items = section_text(html, "items")
    assert "the model ran out of memory" in items and "the recording lasts 0.05 s" in items
    lost = next(finding for finding in findings if finding["finding_id"] == "RUN-1")
    assert lost["estimate"] == pytest.approx(2 / 60)
    assert sorted(lost["evidence"]) == ["audiolm:codec:utt-05", "audiolm:continuation:utt-03"]


def test_two_builds_give_the_same_bytes(full):
    html, _, folder = full
    findings = (folder / "findings.json").read_bytes()
    build_report(folder)
    assert (folder / "report.html").read_text("utf-8") == html
    assert (folder / "findings.json").read_bytes() == findings


def test_nothing_is_loaded_from_elsewhere(full):
    page = Page(full[0])
    for tag, attrs in page.tags:
        for name in ("src", "href", "poster", "data", "action", "srcset", "background"):
            value = attrs.get(name, "")
            assert not re.match(r"(?i)\s*(https?:|//|ftp:|javascript:|file:)", value), (tag, name, value[:80])
    style = re.search(r"<style>(.*?)</style>", full[0], re.DOTALL)
    assert style and "url(" not in style.group(1) and "@import" not in style.group(1)
    assert all(attrs["src"].startswith("data:image/png;base64,") for attrs in page.all("img"))
    assert all(attrs["src"].startswith("data:audio/flac;base64,") for attrs in page.all("audio"))


def test_only_our_script_may_run(full):
    policy = next(a["content"] for a in Page(full[0]).all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    scripts = re.findall(r"<script>(.*?)</script>", full[0], re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert len(scripts) == 1 and f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_page_is_usable_by_keyboard_and_screen_reader(full):
    page = Page(full[0])
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in page.tags:
        for name in ("aria-labelledby", "for"):
            assert set(attrs.get(name, "").split()) <= set(ids), attrs
        if attrs.get("href", "").startswith("#"):
            assert attrs["href"][1:] in ids, attrs
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    assert {"main", "nav", "header", "footer"} <= {tag for tag, _ in page.tags}
    assert all(attrs.get("scope") in ("col", "row") for attrs in page.all("th"))
    assert all(attrs.get("aria-label") for attrs in page.all("audio"))
    assert all(attrs.get("alt") for attrs in page.all("img"))
    assert page.all("html")[0]["lang"] == "en"


def test_hostile_text_is_shown_as_text(tmp_path: Path):
    bad = '<script>alert("x")</script><img src=x onerror=alert(1)>'
    names = [
        bad,
        "\u202egnirts\u202c مرحبا",
        "🦜" * 50,
        "x" * 10_000,
        "nul\x00bell\x07",
        "{{ 7*7 }}",
        "</style></script>",
    ]
    run = TinyRun(tmp_path / "run", speakers=4, per_speaker=2)
    for number, item in enumerate(run.items):
        name = names[number % len(names)]
        item |= {"transcript": name, "group:gender": names[(number // 5) % 2], "group:accent": names[number % 7]}
    for row in (*run.items, *run.scores):
        row["speaker_id"] = names[int(row["utterance_id"][-2:]) % 4] + row["speaker_id"]
    run.info |= {"command": bad, "prompts": {"source": bad, "origin": "human"}, "system": {"name": bad, "notes": bad}}
    run.lose("audiolm:codec:utt-05", "failed", bad)
    html, findings = built(run)
    page = Page(html)
    scripts = [attrs.get("type", "") for attrs in page.all("script")]
    assert sorted(scripts) == ["", "application/json"] and not any(attrs.get("src") == "x" for attrs in page.all("img"))
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    shown = "".join(page.text)
    assert bad in shown and "x" * 10_000 in shown and "{{ 7*7 }}" in shown and "\u202e" in shown
    assert "\x00" not in html and "\x07" not in html
    outside_bdi = re.sub(r"<bdi.*?</bdi>|<script.*?</script>", "", section_text(html, "items"), flags=re.DOTALL)
    assert "مرحبا" not in outside_bdi
    assert findings


def test_a_path_that_leaves_the_run_folder_is_not_opened(tmp_path: Path):
    run = TinyRun(tmp_path / "run", speakers=2, per_speaker=1, roles=("reference", "codec"), groups=False)
    outside = tmp_path / "secret.wav"
    TinyRun(tmp_path / "other", speakers=1, per_speaker=1, roles=("reference",)).write()
    outside.write_bytes((tmp_path / "other/audio/reference/utt-00.wav").read_bytes())
    for item in run.items:
        item["audio_path"] = "../secret.wav" if item["role"] != "codec" else str(outside)
    html, _ = built(run)
    assert "<audio" not in html and "leaves the run folder" in html


@pytest.mark.parametrize("scorer", ["word_error", "speaker_similarity", "acoustic_consistency", "detector:tiny"])
def test_a_missing_scorer_is_named_and_the_rest_stands(tmp_path: Path, scorer: str):
    run = TinyRun(tmp_path / "run", speakers=2, per_speaker=2, groups=False)
    run.measures = [entry for entry in run.measures if entry["scorer"] != scorer]
    run.scores = [row for row in run.scores if row["scorer"] != scorer]
    html, findings = built(run)
    assert findings
    gone = {"detector:tiny": "detectability", "speaker_similarity": "social_engineering"}.get(scorer)
    if gone:
        assert "Not run:" in section_text(html, gone)
        assert gone.replace("_", " ").title() in section_text(html, "overview").split("Sections not run")[1]
    else:
        words = {
            "word_error": "Word error rate: no transcript",
            "acoustic_consistency": "no scorer of the run gave a value",
        }
        place = "consistency" if scorer == "acoustic_consistency" else "quality"
        assert words[scorer] in section_text(html, place)


def test_a_run_in_which_everything_failed_is_blocking(tmp_path: Path):
    run = TinyRun(tmp_path / "run", speakers=2, per_speaker=2, groups=False)
    for item in list(run.items):
        run.lose(item["item_id"], "failed", "no space left on the disk")
    html, findings = built(run)
    assert [finding["severity"] for finding in findings if finding["finding_id"] == "RUN-1"] == ["blocking"]
    for name in RISKS:
        assert "Not run:" in section_text(html, name)
    assert "<audio" not in html and "no space left on the disk" in html


def test_files_of_an_outside_system_need_no_prompts(tmp_path: Path):
    run = TinyRun(tmp_path / "run", roles=("recorded",), origin="unknown", speakers=3)
    run.info["prompts"] = {"source": "their-system", "origin": "unknown"}
    html, findings = built(run)
    assert "No prompts: files of an outside system" in html
    assert "Not run:" in section_text(html, "social_engineering")
    for name in ("disinformation", "discrimination", "quality"):
        assert "Not run:" not in section_text(html, name), name
    assert any(finding["finding_id"] == "DIS-2" for finding in findings)


def test_without_groups_voices_are_compared_and_the_lack_is_said(tmp_path: Path):
    html, findings = built(TinyRun(tmp_path / "run", groups=False))
    body = section_text(html, "discrimination")
    assert "the manifest names none" in body
    gap = next(finding for finding in findings if finding["finding_id"] == "ALG-3")
    assert gap["ci_low"] is None and "no interval" in gap["interval_note"]
    assert "Not run:" in section_text(html, "groups")


def test_gate_and_worst_severity(tmp_path: Path):
    folder = TinyRun(tmp_path / "run", speakers=2, per_speaker=2, groups=False).write(audio=False)
    result = build_report(folder, gate="major")
    assert result.worst_severity == "major" and result.gate_hit
    assert not build_report(folder, gate="blocking").gate_hit
    with pytest.raises(ValueError, match="gate is 'severe'"):
        build_report(folder, gate="severe")


def test_missing_audio_files_are_said(tmp_path: Path):
    folder = TinyRun(tmp_path / "run", speakers=2, per_speaker=1).write(audio=False)
    html = build_report(folder).report_path.read_text("utf-8")
    assert "the file is missing from the run folder" in html and "<audio" not in html


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from reports.__main__ import main

    folder = TinyRun(tmp_path / "run", speakers=2, per_speaker=1, roles=("reference", "codec"), groups=False).write(
        audio=False
    )
    assert main([str(folder), "--gate", "info"]) == 1
    assert str(folder / "report.html") in capsys.readouterr().out
    assert main([str(folder), "--gate", "never"]) == 0
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "is not a run folder" in capsys.readouterr().err
