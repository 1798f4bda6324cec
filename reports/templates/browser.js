(() => {
  const holder = document.getElementById("browser");
  const source = document.getElementById("browser-data");
  if (!holder || !source) return;
  const data = JSON.parse(source.textContent);
  const total = data.items.length, PAGE = 50;
  const text = (name, at) => data.texts[name].values[data.texts[name].codes[at]] ?? "";
  const group = (axis, at) => data.groups[axis].values[data.groups[axis].codes[at]] ?? "";
  const state = { words: [], role: "", status: "", groups: {}, by: -1, up: true, page: 0, open: -1 };
  let order = Array.from({ length: total }, (_, at) => at), found = order, index = null;

  function make(name, attributes = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key in node && key !== "list" && key !== "role") node[key] = value; else node.setAttribute(key, value);
    }
    node.append(...children);
    return node;
  }
  const foreign = (value) => make("bdi", {}, value);

  function shortNumber(value, column) {
    if (value === null) return "–";
    const scaled = column.percent ? value * 100 : value;
    const size = Math.abs(scaled);
    const digits = column.percent ? 1 : size === 0 || size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 4;
    return scaled.toFixed(digits).replace("-", "−") + (column.unit && column.unit !== "none" ? " " + column.unit : "");
  }

  function lines() {
    if (!index) {
      index = data.items.map((name, at) =>
        [name, text("role", at), text("speaker", at), text("status", at), text("reason", at), text("transcript", at),
          ...Object.keys(data.groups).map((axis) => group(axis, at))].join("\n").toLowerCase());
    }
    return index;
  }

  function refresh() {
    const texts = state.words.length ? lines() : null;
    const axes = Object.entries(state.groups).filter((pair) => pair[1]);
    found = order.filter((at) =>
      (!state.role || text("role", at) === state.role) && (!state.status || text("status", at) === state.status) &&
      axes.every(([axis, value]) => group(axis, at) === value) &&
      (!texts || state.words.every((word) => texts[at].includes(word))));
    state.page = 0;
    draw();
  }

  function key(at) {
    if (state.by >= 0) return data.columns[state.by].values[at];
    return { "-1": data.items[at], "-2": text("role", at), "-3": text("speaker", at), "-4": text("status", at),
      "-5": data.seconds[at] }[state.by];
  }

  function resort() {
    const keyed = Array.from({ length: total }, (_, at) => [key(at), at]);
    const sign = state.up ? 1 : -1;
    keyed.sort(([a, i], [b, j]) => {
      if (a === null || b === null) return a === b ? i - j : a === null ? 1 : -1;
      return (typeof a === "number" ? a - b : a < b ? -1 : a > b ? 1 : 0) * sign || i - j;
    });
    order = keyed.map((pair) => pair[1]);
    refresh();
  }

  const search = make("input", { type: "search", id: "browser-search", autocomplete: "off", spellcheck: false });
  const status = make("p", { role: "status", className: "count", id: "browser-count" });
  const head = make("tr"), body = make("tbody");
  const table = make("table", { id: "browser-table" },
    make("caption", { id: "browser-caption" }, "All items"), make("thead", {}, head), body);
  const detail = make("div", { className: "detail", id: "browser-detail", tabIndex: -1 });
  const back = make("button", { type: "button" }, "Previous page"), next = make("button", { type: "button" }, "Next page");
  const place = make("span", { className: "place" });

  function choice(label, values, names, change) {
    const select = make("select", { id: "browser-" + label.toLowerCase().replace(/[^a-z0-9]+/g, "-") });
    select.append(make("option", { value: "" }, "all"));
    values.forEach((value, at) => select.append(make("option", { value }, names[at])));
    select.addEventListener("change", () => { change(select.value); refresh(); });
    return make("span", { className: "field" }, make("label", { htmlFor: select.id }, foreign(label)), select);
  }

  function header(label, by, style) {
    const button = make("button", { type: "button" }, label);
    const cell = make("th", { scope: "col", className: style }, button);
    if (state.by === by) cell.setAttribute("aria-sort", state.up ? "ascending" : "descending");
    button.addEventListener("click", () => {
      state.up = state.by === by ? !state.up : true;
      state.by = by;
      resort();
      [...head.cells].find((one) => one.textContent === label)?.firstChild.focus();
    });
    return cell;
  }

  function draw() {
    const shown = data.columns.map((column, at) => [column, at]).filter((pair) => pair[0].shown);
    head.replaceChildren(header("Item", -1, "id"), header("Role", -2, "text"), header("Speaker", -3, "text"),
      header("Status", -4, "text"), header("Seconds", -5, "number"),
      ...shown.map(([column, at]) => header(column.label, at, "number")));
    const labels = ["", "Role", "Speaker", "Status", "Seconds", ...shown.map((pair) => pair[0].label)];
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    state.page = Math.min(state.page, pages - 1);
    const slice = found.slice(state.page * PAGE, (state.page + 1) * PAGE);
    body.replaceChildren(...slice.map((at) => {
      const open = make("button", { type: "button", className: "open" }, foreign(data.items[at]));
      open.addEventListener("click", () => show(at, open));
      const cells = [text("role", at), foreign(text("speaker", at)), text("status", at),
        data.seconds[at] === null ? "–" : data.seconds[at].toFixed(2), ...shown.map((p) => shortNumber(p[0].values[at], p[0]))];
      return make("tr", {}, make("th", { scope: "row", className: "id" }, open),
        ...cells.map((value, n) => make("td", { className: n < 3 ? "text" : "number", "data-label": labels[n + 1] },
          make("span", { className: n === 2 ? "status-" + value : "value" }, value))));
    }));
    status.textContent = found.length === total ? `${total} items` : `${found.length} of ${total} items`;
    place.textContent = `Page ${state.page + 1} of ${pages}`;
    back.disabled = state.page === 0;
    next.disabled = state.page >= pages - 1;
  }

  function aligned(words) {
    const line = make("p", { className: "aligned" });
    for (const [mark, said, heard] of words) {
      if (mark === "=") line.append(said, " ");
      else {
        const part = make("span", { className: "error error-" + mark });
        if (said) part.append(make("del", {}, said));
        if (said && heard) part.append(" ");
        if (heard) part.append(make("ins", {}, heard));
        line.append(part, " ");
      }
    }
    return line;
  }

  function player(at) {
    const pair = data.clips[at];
    if (pair && pair[0].startsWith("#")) {
      const there = document.getElementById(pair[0].slice(1));
      const sound = there && there.querySelector("audio"), image = there && there.querySelector("img");
      if (sound && image) return [image.cloneNode(), sound.cloneNode()];
    }
    const label = `Play ${text("role", at)} of ${data.items[at]}`;
    const parts = [];
    if (pair && pair[1]) parts.push(make("img", { src: pair[1], width: 320, height: 96, alt: `Spectrogram of ${data.items[at]}, low frequencies below, louder is brighter` }));
    if (pair) parts.push(make("audio", { controls: true, preload: "metadata", src: pair[0], "aria-label": label }));
    else if (data.href[at]) {
      parts.push(make("audio", { controls: true, preload: "none", src: data.href[at], "aria-label": label }),
        make("p", {}, make("a", { href: data.href[at] }, "Open the file"), " (it lies beside this page; no spectrogram travels with it)"));
    } else parts.push(make("p", { className: "note" }, "There is no clip."));
    return parts;
  }

  function show(at, opener) {
    const facts = make("dl", { className: "facts" });
    const fact = (name, value) => facts.append(make("div", {}, make("dt", {}, foreign(name)), make("dd", {}, value)));
    fact("Role", data.roles[text("role", at)] ?? text("role", at));
    fact("Speaker", foreign(text("speaker", at)));
    fact("Status", text("status", at));
    if (text("reason", at)) fact("Reason", foreign(text("reason", at)));
    for (const axis of Object.keys(data.groups)) if (group(axis, at)) fact(axis, foreign(group(axis, at)));
    if (text("transcript", at)) fact("Transcript of the recording", foreign(text("transcript", at)));
    const scores = make("dl", { className: "facts scores" });
    for (const column of data.columns) {
      if (column.values[at] === null) continue;
      scores.append(make("div", {}, make("dt", {}, `${column.label} (${column.scorer})`), make("dd", {}, shortNumber(column.values[at], column))));
    }
    const close = make("button", { type: "button" }, "Close");
    close.addEventListener("click", () => { detail.replaceChildren(); opener.isConnected ? opener.focus() : search.focus(); });
    const words = data.words[at];
    const heard = words ? [make("h4", {}, "Heard by the recogniser"), aligned(words),
      make("p", { className: "note" }, "Struck out: said and not heard. Underlined: heard and not said.")] : [];
    detail.replaceChildren(make("h3", { id: "browser-item" }, foreign(data.items[at])), ...player(at), facts, ...heard,
      make("h4", {}, "All scores"), scores, close);
    detail.focus();
  }

  search.addEventListener("input", () => {
    state.words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    refresh();
  });
  const turn = (step) => { state.page += step; draw(); table.parentNode.scrollTop = 0; };
  back.addEventListener("click", () => turn(-1));
  next.addEventListener("click", () => turn(1));

  const roles = Object.keys(data.roles), statuses = data.texts.status.values;
  const fields = [
    make("span", { className: "field" }, make("label", { htmlFor: search.id }, "Filter by words"), search),
    choice("Role", roles, roles.map((role) => data.roles[role]), (value) => { state.role = value; }),
    choice("Status", statuses, statuses, (value) => { state.status = value; }),
    ...Object.keys(data.groups).map((axis) => {
      const values = data.groups[axis].values.filter(Boolean).slice(0, 200);
      return choice(axis, values, values, (value) => { state.groups[axis] = value; });
    }),
  ];
  const boxes = data.columns.map((column, at) => {
    const box = make("input", { type: "checkbox", id: `browser-column-${at}`, checked: column.shown });
    box.addEventListener("change", () => { column.shown = box.checked; draw(); });
    return make("span", { className: "box" }, box, make("label", { htmlFor: box.id }, `${column.label} (${column.scorer})`));
  });
  holder.append(
    make("div", { className: "fields", role: "search", "aria-label": "Items" }, ...fields),
    make("details", { className: "fold" }, make("summary", {}, "Choose the scores that the table shows"), make("div", { className: "boxes" }, ...boxes)),
    status,
    make("div", { className: "scroll", role: "group", "aria-labelledby": "browser-caption", tabIndex: 0 }, table),
    make("p", { className: "pager" }, back, " ", place, " ", next), detail);
  document.getElementById("browser-static").hidden = true;
  holder.hidden = false;
  draw();
})();
