const drop = document.getElementById("drop"), input = document.getElementById("file");
const state = document.getElementById("state"), results = document.getElementById("results");
let facts = { clip_bytes: Infinity, threshold_llr: null }, waiting = 0;

fetch("facts").then((answer) => answer.json()).then((found) => {
  facts = found;
  state.textContent = `Detector ${facts.detector}, threshold ${number(facts.threshold_llr)} nats, ready.`;
});

const number = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);

function make(name, text = "", className = "") {
  const node = document.createElement(name);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}

function show(file, answer, problem) {
  const row = make("li", "", problem ? "" : answer.verdict.replace(" ", "-"));
  const words = { "synthetic": "Called synthetic", "bona fide": "Called bona fide", "no opinion": "No opinion" };
  row.append(make("h2", problem ? "Not examined" : words[answer.verdict]));
  const name = make("bdi", file.name);
  const line = make("p");
  line.append(name);
  row.append(line);
  if (problem) row.append(make("p", problem));
  else {
    if (answer.llr !== null) {
      const side = answer.llr < facts.threshold_llr ? "below" : "at or above";
      row.append(make("p", `Log-likelihood ratio ${number(answer.llr)} nats, ${side} the threshold of ${number(facts.threshold_llr)}.`));
    }
    if (answer.reason) row.append(make("p", answer.reason));
    if (answer.provenance) row.append(make("p", `The file carries the tag of this tool, role ${answer.provenance.role}.`));
    const sound = make("audio");
    sound.controls = true;
    sound.src = URL.createObjectURL(file);
    sound.setAttribute("aria-label", `Play ${file.name}`);
    sound.addEventListener("error", () => sound.remove());
    const fold = make("details"), raw = make("pre", JSON.stringify(answer, null, 1));
    fold.append(make("summary", "As detect --json prints it"), raw);
    row.append(sound, fold);
  }
  results.prepend(row);
}

async function examine(file) {
  if (file.size > facts.clip_bytes) return show(file, null, `The file has ${file.size} bytes and at most ${facts.clip_bytes} are taken. Cut it.`);
  try {
    const answer = await fetch("examine", { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
    const content = await answer.json();
    show(file, content, answer.ok ? "" : content.error);
  } catch (error) {
    show(file, null, "The desk did not answer; is audiolm-audit serve still running?");
  }
}

async function take(files) {
  for (const file of files) {
    waiting += 1;
    state.textContent = "Examining …";
    await examine(file);
    waiting -= 1;
  }
  if (!waiting) state.textContent = `${results.children.length} examined.`;
}

input.addEventListener("change", () => { take([...input.files]).then(() => { input.value = ""; }); });
drop.addEventListener("submit", (event) => event.preventDefault());
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  take([...event.dataTransfer.files]);
});
