"use strict";
// The page's numbers come from #data; texts from runs are only ever set as text, never as HTML.
(() => {
  const NS = "http://www.w3.org/2000/svg";
  const state = { x: "bytes", y: "", off: new Set(), run: 0, problem: 0 };
  let data = JSON.parse(document.getElementById("data").textContent);

  // ---- small parts -------------------------------------------------------------------------------------------------

  const el = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes))
      name.startsWith("on") ? made.addEventListener(name.slice(2), value) : made.setAttribute(name, value);
    made.append(...children.filter((child) => child !== null));
    return made;
  };
  const draw = (parent, tag, attributes = {}, text = null) => {
    const made = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== null) made.textContent = text;
    parent.append(made);
    return made;
  };
  const UNITS = ["B", "kB", "MB", "GB", "TB"];
  const bytes = (value) => {
    let unit = 0;
    while (Math.abs(value) >= 1000 && unit < UNITS.length - 1) { value /= 1000; unit += 1; }
    return `${+value.toPrecision(3)} ${UNITS[unit]}`;
  };
  const short = (value) => (value === null || value === undefined ? "–" : String(+value.toPrecision(4)));
  const shown = (kind, value) => (kind.startsWith("bytes") ? bytes(value) : short(value));
  const LABELS = { rounds: "rounds", bytes: "bytes of training, both ways", "bytes up": "bytes of training, up",
    "bytes down": "bytes of training, down", "simulated seconds": "simulated seconds",
    "simulated joules": "simulated joules" };
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const known = (value) => value !== null && value !== undefined;

  const tip = el("div", { id: "tip", role: "status" });
  document.body.append(tip);
  const tell = (event, text) => {
    tip.textContent = text;
    tip.style.display = "block";
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 12, innerWidth - width - 4))}px`;
    tip.style.top = `${Math.max(4, event.clientY - height - 10)}px`;
  };
  const hush = () => { tip.style.display = "none"; };

  const choice = (label, options, value, change) => el("label", {}, `${label} `, (() => {
    const list = el("select", { "aria-label": label, onchange: () => { change(list.value); render(); } },
      ...options.map(([key, text]) => el("option", { value: key }, text)));
    list.value = value;
    return list;
  })());

  const room = (parent) => {  // inside its padding
    const { paddingLeft, paddingRight } = getComputedStyle(parent);
    return Math.max(240, Math.floor((parent.clientWidth || 600) - parseFloat(paddingLeft) - parseFloat(paddingRight)));
  };

  // ---- scales ------------------------------------------------------------------------------------------------------

  const ticks = (low, high, count) => {
    const span = high - low || 1, step = 10 ** Math.floor(Math.log10(span / count));
    const factor = [1, 2, 5, 10].find((each) => span / (each * step) <= count);
    const found = [];
    for (let at = Math.ceil(low / (factor * step)); at * factor * step <= high + 1e-9 * span; at += 1)
      found.push(+(at * factor * step).toPrecision(12));
    return found;
  };
  const bounds = (values, pad) => {
    const some = values.filter(known), low = Math.min(...some), high = Math.max(...some);
    const more = (high - low || Math.abs(high) || 1) * pad;
    return [low - more, high + more];
  };
  const frame = (parent, height, xs, ys, xKind, xText, yText) => {
    const width = room(parent), left = 52, right = 14, top = 26, bottom = 40;
    const root = draw(parent, "svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
      "aria-label": `${yText} against ${xText}` });
    const [x0, x1] = bounds(xs, 0.02), [y0, y1] = bounds(ys, 0.05);
    const x = (value) => left + ((value - x0) / (x1 - x0)) * (width - left - right);
    const y = (value) => height - bottom - ((value - y0) / (y1 - y0)) * (height - top - bottom);
    for (const each of ticks(y0, y1, 6)) {
      draw(root, "line", { class: "grid", x1: left, x2: width - right, y1: y(each), y2: y(each) });
      draw(root, "text", { x: left - 6, y: y(each) + 4, "text-anchor": "end" }, short(each));
    }
    for (const each of ticks(Math.max(x0, 0), x1, Math.max(2, Math.floor(width / 110)))) {
      draw(root, "line", { class: "axis", x1: x(each), x2: x(each), y1: height - bottom, y2: height - bottom + 4 });
      draw(root, "text", { x: x(each), y: height - bottom + 17, "text-anchor": "middle" }, shown(xKind, each));
    }
    draw(root, "line", { class: "axis", x1: left, x2: width - right, y1: height - bottom, y2: height - bottom });
    draw(root, "text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, xText);
    draw(root, "text", { x: 0, y: 12 }, yText);
    return { root, x, y, width, height };
  };

  // ---- panels ------------------------------------------------------------------------------------------------------

  const active = () => data.runs.map((run, number) => ({ ...run, number }))
    .filter((run) => !state.off.has(run.folder) && data.groups[run.group].problem === problems()[state.problem]);
  const problems = () => [...new Set(data.groups.map((group) => group.problem))];
  const valuesOf = (run) => (state.y === "" ? run.score : run.tasks[state.y] || []);
  const yText = () => (state.y === "" ? "mean score" : `${state.y}, ${data.tasks[state.y].metric}`);

  const curves = (parent) => {
    const kinds = [...new Set(data.runs.flatMap((run) => Object.keys(run.along)))];
    if (!kinds.includes(state.x)) state.x = "rounds";
    parent.append(el("div", { class: "controls" },
      choice("against", kinds.map((kind) => [kind, LABELS[kind] || kind]), state.x, (value) => { state.x = value; }),
      choice("of", [["", "all tasks"], ...Object.keys(data.tasks).map((task) => [task, task])], state.y,
        (value) => { state.y = value; })));
    const lines = active().map((run) => ({ run, points: (run.along[state.x] || []).map((at, k) => [at, valuesOf(run)[k],
      run.along.rounds[k]]).filter(([at, value]) => known(at) && known(value)) })).filter((line) => line.points.length);
    if (!lines.length) { parent.append(el("p", { class: "note" }, "No run is chosen, or none has a number here.")); return; }
    const points = lines.flatMap((line) => line.points);
    const { root, x, y, width } = frame(parent, 340, points.map((p) => p[0]), points.map((p) => p[1]), state.x,
      LABELS[state.x] || state.x, yText());
    const path = (some) => some.map(([at, value], k) => `${k ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    const byGroup = Map.groupBy ? Map.groupBy(lines, (line) => line.run.group) : lines.reduce((found, line) =>
      found.set(line.run.group, [...(found.get(line.run.group) || []), line]), new Map());
    for (const [number, several] of byGroup) {
      const { color, dash, name } = data.groups[number];
      for (const line of several)
        draw(root, "path", { d: path(line.points), fill: "none", stroke: color, "stroke-dasharray": dash, class: "curve",
          "stroke-width": several.length > 1 ? 1 : 2, opacity: several.length > 1 ? 0.35 : 1, "data-run": line.run.number });
      if (several.length > 1) {
        const common = several[0].points.map((p) => p[2])
          .filter((round) => several.every((line) => line.points.some((p) => p[2] === round)));
        const at = (round) => several.map((line) => line.points.find((p) => p[2] === round));
        const middle = common.map((round) => [mean(at(round).map((p) => p[0])), mean(at(round).map((p) => p[1]))]);
        draw(root, "path", { d: path(middle), fill: "none", stroke: color, "stroke-dasharray": dash, "stroke-width": 2.4,
          class: "mean", "data-group": name });
      }
    }
    const dot = draw(root, "circle", { r: 4, fill: "none", stroke: "currentColor", "stroke-width": 2, visibility: "hidden" });
    const near = (event) => {
      const box = root.getBoundingClientRect(), scale = width / box.width;
      const px = (event.clientX - box.left) * scale, py = (event.clientY - box.top) * scale;
      let best = null;
      for (const line of lines) for (const p of line.points) {
        const far = (x(p[0]) - px) ** 2 + (y(p[1]) - py) ** 2;
        if (best === null || far < best.far) best = { far, line, p };
      }
      dot.setAttribute("cx", x(best.p[0])); dot.setAttribute("cy", y(best.p[1])); dot.setAttribute("visibility", "visible");
      const { run } = best.line;
      tell(event, `${data.groups[run.group].name}, seed ${run.seed}\nround ${best.p[2]}\n` +
        `${LABELS[state.x] || state.x}: ${shown(state.x, best.p[0])}\n${yText()}: ${short(best.p[1])}`);
    };
    root.addEventListener("pointermove", near);
    root.addEventListener("pointerdown", near);
    root.addEventListener("pointerleave", () => { hush(); dot.setAttribute("visibility", "hidden"); });
  };

  const legend = (parent) => {
    const shownRuns = data.runs.filter((run) => data.groups[run.group].problem === problems()[state.problem]);
    parent.append(el("div", { class: "controls" },
      el("button", { type: "button", onclick: () => { state.off.clear(); render(); } }, "all runs"),
      el("button", { type: "button", onclick: () => { for (const run of shownRuns) state.off.add(run.folder); render(); } },
        "none")));
    const box = el("div", { class: "legend" });
    for (const run of shownRuns) {
      const group = data.groups[run.group], input = el("input", { type: "checkbox", onchange: () => {
        input.checked ? state.off.delete(run.folder) : state.off.add(run.folder); render(); } });
      input.checked = !state.off.has(run.folder);
      const key = document.createElementNS(NS, "svg");
      key.setAttribute("width", 26); key.setAttribute("height", 10);
      draw(key, "line", { x1: 0, x2: 26, y1: 5, y2: 5, stroke: group.color, "stroke-width": 3, "stroke-dasharray": group.dash });
      box.append(el("label", { title: run.folder }, input, key,
        `${group.name}, seed ${run.seed}${run.failure ? " (" + run.failure.split(":")[0] + ")" : ""}`));
    }
    parent.append(box);
  };

  const table = (parent) => {
    const head = ["method", "runs", "mean score", "95 %", "bytes of training"];
    const rows = data.groups.filter((group) => group.problem === problems()[state.problem]).map((group) => el("tr", {},
      el("td", { title: group.label }, group.name), el("td", {}, group.status), el("td", {}, short(group.score[0])),
      el("td", {}, known(group.score[1]) ? `± ${+group.score[1].toPrecision(2)}` : "–"),
      el("td", {}, known(group.bytes[0]) ? bytes(group.bytes[0]) : "–")));
    parent.append(el("div", { class: "scroll" }, el("table", {},
      el("thead", {}, el("tr", {}, ...head.map((text) => el("th", {}, text)))), el("tbody", {}, ...rows))));
  };

  const front = (parent) => {
    const kind = state.x === "rounds" ? "bytes" : state.x;
    const cost = (run) => (run.along[kind] || []).at(-1);
    const points = data.groups.map((group, number) => {
      const own = active().filter((run) => run.group === number && !run.failure && known(cost(run)) && known(run.score.at(-1)));
      return { group, own, x: own.length ? mean(own.map(cost)) : null,
        y: known(group.score[0]) ? group.score[0] : null, half: group.score[1] };
    }).filter((point) => point.own.length && known(point.y));
    if (!points.length) { parent.append(el("p", { class: "note" }, "No finished run is chosen.")); return; }
    const ys = points.flatMap((p) => [p.y - (p.half || 0), p.y + (p.half || 0)]);
    const { root, x, y, width } = frame(parent, 300, [0, ...points.map((p) => p.x)], ys, kind, LABELS[kind] || kind, "mean score");
    const best = [...points].sort((a, b) => a.x - b.x || b.y - a.y).reduce((found, p) =>
      (!found.length || p.y > found.at(-1).y ? [...found, p] : found), []);
    draw(root, "path", { class: "front", fill: "none", stroke: "currentColor", opacity: 0.5, "stroke-dasharray": "2 3",
      d: best.map((p, k) => (k ? `H${x(p.x)}V${y(p.y)}` : `M${x(p.x)} ${y(p.y)}`)).join("") });
    const taken = [];  // left, right and height of the labels so far: the next one goes below those that it would meet
    for (const p of [...points].sort((a, b) => b.y - a.y)) {
      if (known(p.half)) draw(root, "line", { x1: x(p.x), x2: x(p.x), y1: y(p.y - p.half), y2: y(p.y + p.half),
        stroke: p.group.color, "stroke-width": 1.5 });
      const mark = draw(root, "circle", { cx: x(p.x), cy: y(p.y), r: 5, fill: best.includes(p) ? p.group.color : "none",
        stroke: p.group.color, "stroke-width": 2, "stroke-dasharray": p.group.dash ? "3 2" : "", class: "point" });
      const words = `${p.group.name}\n${LABELS[kind] || kind}: ${shown(kind, p.x)}\nmean score: ${short(p.y)}` +
        (known(p.half) ? ` ± ${+p.half.toPrecision(2)}` : "");
      mark.addEventListener("pointermove", (event) => tell(event, words));
      mark.addEventListener("pointerleave", hush);
      const end = x(p.x) > width / 2, at = x(p.x) + (end ? -9 : 9), long = 6.6 * p.group.name.length;
      const [left, right] = end ? [at - long, at] : [at, at + long];
      let high = y(p.y) - 6;
      while (taken.some(([a, b, h]) => a < right && left < b && Math.abs(h - high) < 13)) high += 13;
      taken.push([left, right, high]);
      draw(root, "text", { x: at, y: high, "text-anchor": end ? "end" : "start" }, p.group.name);
    }
    parent.append(el("p", { class: "note" }, "Filled: reached by none for less. Bars: 95 % intervals over seeds, from three on."));
  };

  const SHADES = ["#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#B8A800", "#888888"];
  const bars = (parent, rows, unit) => {
    const names = [...new Set(rows.flatMap((row) => Object.keys(row.parts)))];
    const top = Math.max(...rows.map((row) => Object.values(row.parts).reduce((a, b) => a + b, 0)), 1);
    const width = room(parent), height = rows.length * 38 + 4;
    const root = draw(parent, "svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "bytes by part" });
    rows.forEach((row, k) => {
      let at = 0;
      const total = Object.values(row.parts).reduce((a, b) => a + b, 0);
      draw(root, "text", { x: 0, y: k * 38 + 12 }, `${row.name}: ${unit(total)}`);
      names.forEach((name, n) => {
        const value = row.parts[name] || 0, wide = (value / top) * width;
        const one = draw(root, "rect", { x: at, y: k * 38 + 17, width: wide, height: 14, fill: SHADES[n % 8], class: "bar" });
        one.addEventListener("pointermove", (event) => tell(event, `${row.name}\n${name}: ${unit(value)}`));
        one.addEventListener("pointerleave", hush);
        at += wide;
      });
    });
    const box = el("div", { class: "legend" });
    names.forEach((name, n) => {
      const key = document.createElementNS(NS, "svg");
      key.setAttribute("width", 12); key.setAttribute("height", 12);
      draw(key, "rect", { width: 12, height: 12, fill: SHADES[n % 8] });
      box.append(el("label", {}, key, name));
    });
    parent.append(box);
  };
  const perGroup = (of) => data.groups.map((group, number) => {
    const own = active().filter((run) => run.group === number), parts = {};
    for (const run of own) for (const [name, value] of Object.entries(of(run))) parts[name] = (parts[name] || 0) + value / own.length;
    return { name: group.name, parts };
  }).filter((row) => Object.keys(row.parts).length);
  const sent = (parent) => {
    const rows = perGroup((run) => run.bytes);
    if (rows.length) bars(parent, rows, bytes);
    const lines = data.groups.flatMap((group, number) => ["down", "up"].map((way) => {
      const own = active().filter((run) => run.group === number).map((run) => run.columns[way]);
      return own.length ? el("tr", {}, el("td", { title: group.label }, group.name), el("td", {}, way),
        ...data.columns.names.map((_, k) => el("td", {}, bytes(mean(own.map((one) => one[k])))))) : null;
    })).filter((line) => line !== null);
    if (lines.length) {
      parent.append(el("h2", {}, "Bytes by column"), el("div", { class: "scroll" }, el("table", {},
        el("thead", {}, el("tr", {}, ...["method", "", ...data.columns.names].map((text) => el("th", {}, text)))),
        el("tbody", {}, ...lines))), el("p", { class: "note" }, data.columns.note));
    }
    const parameters = perGroup((run) => run.layers);
    if (parameters.length) {
      parent.append(el("h2", {}, "Shared parameters by layer"));
      bars(parent, parameters, (value) => `${short(value)} numbers`);
    }
  };

  // Cividis, which all kinds of colour vision see alike, in five steps.
  const RAMP = [[0, 34, 78], [66, 78, 108], [124, 123, 120], [187, 174, 106], [254, 232, 56]];
  const shade = (part) => {
    const at = Math.max(0, Math.min(1, part)) * 4, k = Math.min(3, Math.floor(at));
    const mixed = RAMP[k].map((from, c) => Math.round(from + (RAMP[k + 1][c] - from) * (at - k)));
    return `rgb(${mixed.join(",")})`;
  };
  const heat = (parent, rows, columns, values, words, top, size) => {
    const some = values.flat().filter(known);
    if (!some.length) { parent.append(el("p", { class: "note" }, "Nothing was measured.")); return; }
    const low = top === null ? Math.min(...some) : 0, high = top === null ? Math.max(...some) : top;
    const labelled = Math.min(150, 8 + 6.5 * Math.max(...rows.map((name) => name.length), 2));
    const wide = Math.max(6, Math.min(size * 3, (room(parent) - labelled - 4) / columns.length)), tall = Math.max(6, Math.min(size, 18));
    const box = el("div", { class: "scroll" });
    parent.append(box);
    const width = labelled + wide * columns.length + 4, height = tall * rows.length + 24;
    const root = draw(box, "svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "heat map", class: "heat" });
    columns.forEach((name, c) => {
      if (wide >= 28 || columns.length < 4)
        draw(root, "text", { x: labelled + wide * (c + 0.5), y: 13, "text-anchor": "middle" }, name.slice(0, Math.floor(wide / 6.5)));
    });
    rows.forEach((name, r) => {
      if (tall >= 10) draw(root, "text", { x: 0, y: 20 + tall * (r + 0.75) }, name.length > 22 ? `${name.slice(0, 21)}…` : name);
      columns.forEach((column, c) => {
        const value = values[r][c];
        if (!known(value)) return;
        const one = draw(root, "rect", { x: labelled + wide * c, y: 20 + tall * r, width: Math.max(1, wide - 1),
          height: Math.max(1, tall - 1), fill: shade((value - low) / (high - low || 1)) });
        one.addEventListener("pointermove", (event) => tell(event, words(name, column, value)));
        one.addEventListener("pointerleave", hush);
      });
    });
    parent.append(el("p", { class: "note" }, `dark ${short(low)}, bright ${short(high)}`));
  };

  const chosen = () => {
    const some = data.runs.map((run, number) => ({ ...run, number }))
      .filter((run) => data.groups[run.group].problem === problems()[state.problem]);
    return some.find((run) => run.number === state.run) || some[0];
  };
  const clients = (parent) => {
    const run = chosen(), tasks = Object.keys(run.tasks), { rows, count } = run.clients;
    if (!rows.length) { parent.append(el("p", { class: "note" }, "No client was measured.")); return; }
    heat(parent, rows.map((row) => row[0]), ["mean", ...tasks],
      rows.map((row) => [row[1], ...tasks.map((task) => (task in row[2] ? row[2][task] : null))]),
      (client, task, value) => `client ${client}\n${task}: ${short(value)}`, null, 18);
    parent.append(el("p", { class: "note" }, count > rows.length ? `${rows.length} of ${count} clients, from the lowest mean score to the highest.`
      : "From the lowest mean score to the highest."));
  };
  const matrices = (parent) => {
    const run = chosen();
    for (const one of run.relations) {
      parent.append(el("h2", {}, one.name));
      heat(parent, one.clients, one.clients, one.values, (a, b, value) => `${a}, ${b}: ${short(value)}`, null, 16);
    }
    for (const one of run.confusion) {
      const classes = one.classes.map(String);
      parent.append(el("h2", {}, `${one.name}: true class by row, predicted by column`));
      const shares = one.counts.map((row) => { const all = row.reduce((a, b) => a + b, 0); return row.map((n) => (all ? n / all : null)); });
      heat(parent, classes, classes, shares, (a, b, value) => `${a} predicted as ${b}: ${(100 * value).toFixed(1)} %`, 1, 18);
    }
    if (!run.relations.length && !run.confusion.length) parent.append(el("p", { class: "note" }, "This run has none."));
  };
  const settings = (parent) => {
    const run = chosen();
    if (run.failure) parent.append(el("p", {}, run.failure));
    for (const [title, rows] of [["Experiment", run.experiment], ["Environment", run.environment]]) {
      if (!rows.length) continue;
      parent.append(el("details", title === "Experiment" ? { open: "" } : {}, el("summary", {}, title),
        el("div", { class: "scroll" }, el("table", { class: "settings" }, el("tbody", {},
          ...rows.map(([key, value]) => el("tr", {}, el("td", {}, key), el("td", {}, value))))))));
    }
  };

  // ---- the page ----------------------------------------------------------------------------------------------------

  const PANELS = [["Score", "wide", curves], ["Runs", "wide", legend], ["Methods", "wide", table],
    ["Score and cost at the end", "", front], ["Bytes sent", "", sent]];
  const OF_RUN = [["Clients and tasks", "", clients], ["Matrices", "", matrices], ["Settings", "wide", settings]];
  const render = () => {
    const opened = scrollY;
    hush();
    const main = document.querySelector("main");
    if (!data.runs.length) { main.replaceChildren(el("p", {}, "No run has begun.")); return; }
    state.problem = Math.min(state.problem, problems().length - 1);
    const made = [];
    const panel = ([title, kind, fill]) => {
      const one = el("section", kind ? { class: kind } : {}, el("h2", {}, title));
      made.push([one, fill]);
      return one;
    };
    const top = problems().length > 1 ? [choice("data", problems().map((name, k) => [String(k), name]), String(state.problem),
      (value) => { state.problem = +value; })] : [];
    const some = data.runs.map((run, k) => [k, run]).filter(([, run]) => data.groups[run.group].problem === problems()[state.problem]);
    main.replaceChildren(...top, el("div", { class: "panels" }, ...PANELS.map(panel)),
      el("p", { class: "controls" }, choice("Of one run:", some.map(([k, run]) =>
        [String(k), `${data.groups[run.group].name}, seed ${run.seed}`]), String(chosen() ? chosen().number : 0), (value) => { state.run = +value; })),
      el("div", { class: "panels" }, ...OF_RUN.map(panel)));
    for (const [one, fill] of made) fill(one);
    scrollTo(0, opened);
  };
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; render(); } });
  render();

  const live = document.body.dataset.live;
  if (live) setInterval(async () => {
    try {
      const found = await (await fetch(live)).json();
      if (JSON.stringify(found) !== JSON.stringify(data)) { data = found; render(); }
    } catch { document.querySelector("#live").textContent = "the server has ended; the page shows its last numbers"; }
  }, 2000);
})();
