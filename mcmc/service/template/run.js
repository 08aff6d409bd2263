"use strict";
// Asks for the run every second. What the server says goes into the page as text, never as HTML.
const source = location.pathname.replace(/\/page$/, "");
const token = new URLSearchParams(location.hash.slice(1)).get("token");
const at = (id) => document.getElementById(id);
const whole = (x) => Math.round(x).toLocaleString("en");
const known = (x, write) => (x === null || x === undefined ? "-" : write(x));
const ratio = (x) => x.toFixed(3);
const figure = (x) => (Math.abs(x) >= 1e5 || (x !== 0 && Math.abs(x) < 1e-3) ? x.toExponential(2) : String(Number(x.toPrecision(4))));

function span(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

function put(id, text, mark) {
  at(id).textContent = text;
  at(id).className = mark || "";
}

function show(run) {
  document.title = `${run.title}: MCMC run`;
  at("title").textContent = run.title;
  const silent = run.silent_seconds > 15 ? `, silent for ${span(run.silent_seconds)}` : "";
  put("state", run.status === "running" ? `${run.phase}${silent}` : `${run.status}${run.why ? `: ${run.why}` : ""}`, run.status === "failed" ? "lost" : "");
  const share = run.total ? run.done / run.total : null;
  at("progress").value = share === null ? (run.status === "finished" ? 1 : 0) : Math.min(share, 1);
  const pace = [`${whole(run.done)}${run.total ? ` of ${whole(run.total)}` : ""} iterations of ${whole(run.chains)} chains`];
  if (run.elapsed > 0) pace.push(`${whole(run.draws / run.elapsed)} draws/s`, `${span(run.elapsed)} passed`);
  if (share > 0 && share < 1) pace.push(`${span(run.elapsed * (1 / share - 1))} left`);
  at("pace").textContent = pace.join(", ");
  put("draws", run.phase === "sampling" ? whole(run.draws) : "0");
  put("rhat", run.non_finite.rhat || known(run.rhat, ratio), run.rhat === null ? "" : run.rhat > 1.01 ? "bad" : "good");
  put("ess", run.non_finite.ess || known(run.ess, whole), run.ess === null ? "" : run.ess < 400 ? "bad" : "good");
  put("divergences", whole(run.divergences), run.divergences ? "bad" : "good");
  put("acceptance", known(run.acceptance, (x) => x.toFixed(2)));
  chart("rhat-chart", run.history, "rhat", 1.01, ratio, (x) => Math.log(Math.max(x - 1, 1e-4)));
  chart("ess-chart", run.history, "ess", 400, whole, (x) => x);
  table(run);
}

function part(svg, name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  svg.append(made);
}

function chart(id, history, key, limit, write, scale) {
  const svg = at(id), width = svg.clientWidth || 300, height = svg.clientHeight || 140, edge = 6;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const points = history.filter((p) => p[key] !== null && p.draws > 0);
  if (!points.length) return part(svg, "text", { x: edge, y: 16 }, "not known yet");
  const levels = [...points.map((p) => scale(p[key])), scale(limit)];
  const low = Math.min(...levels), high = Math.max(...levels), most = Math.max(...points.map((p) => p.draws));
  const y = (value) => height - edge - ((scale(value) - low) / (high - low || 1)) * (height - 2 * edge - 14) - 4;
  const x = (draws) => edge + (draws / most) * (width - 2 * edge);
  part(svg, "line", { x1: edge, x2: width - edge, y1: y(limit), y2: y(limit) });
  part(svg, "text", { x: edge, y: y(limit) - 3 }, write(limit));
  part(svg, "polyline", { points: points.map((p) => `${x(p.draws).toFixed(1)},${y(p[key]).toFixed(1)}`).join(" ") });
}

function table(run) {
  at("parameters").hidden = !run.parameters.length;
  const some = run.parameters.length < run.parameters_in_all ? `The ${run.parameters.length} worst of ${whole(run.parameters_in_all)} parameters` : "Parameters";
  at("parameters-title").textContent = `${some}, so far`;
  at("rows").replaceChildren(...run.parameters.map((p) => {
    const row = document.createElement("tr");
    const lost = (key, write) => p.non_finite[key] || known(p[key], write);
    for (const text of [p.parameter, lost("mean", figure), lost("sd", figure), lost("r_hat", ratio), lost("ess", whole)]) {
      const cell = document.createElement("td");
      cell.textContent = text;
      row.append(cell);
    }
    return row;
  }));
}

async function ask() {
  let wait = 1000;
  try {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const answer = await fetch(source, { headers, cache: "no-store", credentials: "omit" });
    if (answer.ok) {
      const run = await answer.json();
      show(run);
      if (run.status !== "running") wait = 5000;
    } else {
      const failure = await answer.json().catch(() => ({ message: `status ${answer.status}` }));
      put("state", answer.status === 401 ? "this server needs a token: add #token=... to the address, and load again" : answer.status === 404 ? "the run has not reported yet" : failure.message, answer.status === 404 ? "" : "lost");
    }
  } catch {
    put("state", "the server does not answer", "lost");
    wait = 3000;
  }
  setTimeout(ask, wait);
}
addEventListener("hashchange", () => location.reload());
ask();
