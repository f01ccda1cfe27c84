// An answer to look at: values, posterior, error budget, verdict, and what theory says.

import { digits, drawn, element } from "./dom.js";

const VERDICTS = {
  trusted: "Nothing speaks against this answer.",
  doubtful: "Take this answer with care:",
  refused: "This answer cannot be trusted:",
};
const THEORY = { stripe_theory: "Stripe theory, from the period alone", rescaling: "Rescaling, from the domains" };
const COMPARED = {
  period: ["period", 1e9, "nm"],
  "wall density": ["length of walls per area", 1e-6, "per µm"],
  "wall width": ["width of walls", 1e9, "nm"],
};
const WIDTH = 360;

let practical = {};

export function usePracticalUnits(units) {
  practical = units;
}

// A picture shows no sign of D; an estimator of one material knows it from its films.
const nameOf = (name, record) => (name === "D" && record.budget ? "|D|" : name);

export function inPractice(unit) {
  const [factor, name] = practical[unit] ?? [1, unit];
  return { factor, unit: name };
}

export function answerNodes(record, force) {
  const nodes = [verdict(record)];
  if (record.reasons.length) nodes.push(element("ul", { class: "reasons" }, ...record.reasons.map((one) => element("li", {}, one))));
  const names = Object.keys(record.parameters);
  if (!names.length && force) {
    const button = element("button", { type: "button", id: "force" }, "Show the values all the same");
    button.addEventListener("click", force);
    nodes.push(button);
  }
  nodes.push(...names.map((name) => parameter(record, name)));
  const beside = [...pairs(record), ...remarks(record)];
  if (beside.length) nodes.push(element("div", { class: "parameter" }, ...beside));
  if (record.nearest?.length) nodes.push(nearest(record.nearest));
  if (record.resimulation) nodes.push(resimulation(record));
  return nodes;
}

// Films that the server has, with the constants of the copies that are as large as what the network saw.
function nearest(films) {
  const figures = films.map(({ picture, D, Aex, dmi, history }, k) => {
    const said = [`|D| ${practicalText(Math.abs(D), "J/m2")}`, `Aex ${practicalText(Aex, "J/m")}`, dmi, history];
    const caption = element("figcaption", { class: "fact" }, said.join(", "));
    return element("figure", {}, element("img", { src: picture, alt: `Nearest simulated film ${k + 1}` }), caption);
  });
  return element("div", { class: "nearest" }, element("h3", {}, "The nearest of this server's simulated films, at the picture's scale"), element("div", { class: "films" }, ...figures));
}

// Films with the answer's constants, beside the picture by three lengths.
function resimulation({ resimulation: { comparisons, cells, history }, films }) {
  const head = element("tr", {}, ...["", "films", "picture", ""].map((one) => element("th", {}, one)));
  const rows = Object.entries(comparisons).map(([name, one]) => {
    const [label, factor, unit] = COMPARED[name] ?? [name, 1, ""];
    const [mean, scatter, picture] = [one.films, one.scatter, one.picture].map((value, k) => digits(value * factor, k === 1 ? 2 : 3));
    const cellsOf = [label, `${mean} ± ${scatter} ${unit}`, `${picture} ${unit}`].map((text) => element("td", {}, text));
    return element("tr", {}, ...cellsOf, element("td", { class: one.agrees ? "trusted" : "doubtful" }, one.agrees ? "agrees" : "differs"));
  });
  const pictures = films.map((source, k) => element("img", { src: source, alt: `Simulated film ${k + 1}` }));
  const said = `${films.length} films of this answer, ${history}, simulated in ${cells} × ${cells} cells; each is as large as what the network sees of the picture.`;
  return element(
    "div",
    { class: "parameter" },
    element("div", {}, element("h3", {}, "Simulated films of this answer"), element("div", { class: "films" }, ...pictures), element("p", { class: "fact" }, said)),
    element("div", { class: "table" }, element("table", {}, head, ...rows)),
  );
}

// What theory says, and what the picture cannot tell.
function remarks(record) {
  const theories = Object.entries(record.baselines ?? {}).filter(([, one]) => one.D.value !== null);
  const lists = [
    ["What theory says", theories.map(theory)],
    ["Notes", (record.notes ?? []).map((one) => element("li", {}, one))],
  ].filter(([, items]) => items.length);
  const nodes = lists.flatMap(([title, items]) => [element("h3", {}, title), element("ul", { class: "reasons" }, ...items)]);
  return nodes.length ? [element("div", {}, ...nodes)] : [];
}

function verdict(record) {
  return element("p", { class: "verdict" }, element("span", { class: `badge ${record.trust}` }, record.trust), VERDICTS[record.trust]);
}

function theory([name, { D }]) {
  return element("li", {}, `${THEORY[name] ?? name}: |D| = ${practicalText(D.value, D.unit)}`);
}

function practicalText(value, si) {
  const { factor, unit } = inPractice(si);
  return `${digits(value * factor, 3)} ${unit}`;
}

export function valueText(estimate) {
  const { factor, unit } = inPractice(estimate.unit);
  return `${digits(estimate.value * factor, 3)} ± ${digits(estimate.error * factor, 2)} ${unit}`;
}

function parameter(record, name) {
  const estimate = record.parameters[name];
  const { factor, unit } = inPractice(estimate.unit);
  const answer = element("div", {}, element("p", { class: "value" }, `${nameOf(name, record)} = ${valueText(estimate)}`));
  if (Number.isFinite(estimate.low95)) {
    const ends = [estimate.low95, estimate.high95].map((end) => digits(end * factor, 3));
    answer.append(element("p", { class: "fact" }, `95 %: ${ends.join(" … ")} ${unit}`));
  }
  answer.append(posterior(estimate, record.draws?.[name] ?? [], nameOf(name, record)));
  const made = element("div", { class: "parameter" }, answer);
  const shares = Object.entries(record.budget?.[name] ?? {});
  if (shares.length) {
    const heading = element("h3", {}, `Where the error of ${nameOf(name, record)} comes from`);
    made.append(element("div", {}, heading, budget(shares, factor, unit)));
  }
  return made;
}

// The density of the draws, and below it the calibrated intervals of 68 and 95 %.
function posterior(estimate, draws, name) {
  const { factor, unit } = inPractice(estimate.unit);
  const low = estimate.low95 ?? estimate.low68;
  const high = estimate.high95 ?? estimate.high68;
  const margin = 0.25 * (high - low) || Math.abs(estimate.value) || 1;
  const [from, to] = [low - margin, high + margin].map((end) => (low >= 0 ? Math.max(end, 0) : end));
  const x = (value) => 10 + ((WIDTH - 20) * (value - from)) / (to - from);
  const heights = densities(draws, from, to);
  const points = heights.map((height, k) => `${(10 + ((WIDTH - 20) * k) / (heights.length - 1)).toFixed(1)} ${(96 - 86 * height).toFixed(1)}`);
  const plot = drawn("svg", { class: "plot", viewBox: `0 0 ${WIDTH} 140`, role: "img" }, drawn("title", {}, `Posterior of ${name}`));
  if (draws.length) {
    plot.append(
      drawn("path", { class: "area", d: `M10 96L${points.join("L")}L${WIDTH - 10} 96Z` }),
      drawn("path", { class: "edge", d: `M${points.join("L")}` }),
    );
  }
  plot.append(drawn("line", { class: "axis", x1: 10, x2: WIDTH - 10, y1: 96, y2: 96 }));
  const bar = (kind, ends) => drawn("line", { class: kind, x1: x(ends[0]), x2: x(ends[1]), y1: 108, y2: 108 });
  plot.append(bar("bar95", [low, high]), bar("bar68", [estimate.low68, estimate.high68]));
  plot.append(drawn("circle", { class: "median", cx: x(estimate.value), cy: 108, r: 4.5 }));
  for (const value of ticks(from * factor, to * factor)) {
    plot.append(drawn("text", { x: x(value / factor), y: 132, "text-anchor": "middle" }, digits(value, 4)));
  }
  plot.append(drawn("text", { x: WIDTH - 10, y: 12, "text-anchor": "end" }, unit));
  return plot;
}

function densities(draws, from, to) {
  const count = 120;
  const width = (1.06 * deviation(draws)) / Math.max(draws.length, 1) ** 0.2 || 1; // Silverman's rule
  const found = Array.from({ length: count + 1 }, (_, k) => {
    const at = from + ((to - from) * k) / count;
    return draws.reduce((sum, draw) => sum + Math.exp(-0.5 * ((draw - at) / width) ** 2), 0);
  });
  const most = Math.max(...found);
  return found.map((height) => (most ? height / most : 0));
}

function deviation(draws) {
  const mean = draws.reduce((sum, draw) => sum + draw, 0) / draws.length;
  return Math.sqrt(draws.reduce((sum, draw) => sum + (draw - mean) ** 2, 0) / draws.length);
}

function ticks(from, to) {
  const rough = (to - from) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let k = Math.ceil(from / step); k * step <= to; k++) found.push(Number((k * step).toPrecision(6)));
  return found;
}

function budget(shares, factor, unit) {
  const most = Math.max(...shares.map(([, share]) => share)) || 1;
  const plot = drawn("svg", { class: "plot", viewBox: `0 0 ${WIDTH} ${shares.length * 24}`, role: "img" }, drawn("title", {}, "Error budget"));
  shares.forEach(([name, share], k) => {
    const length = Math.max(1, (170 * share) / most);
    plot.append(
      drawn("text", { class: "name", x: 0, y: 24 * k + 16 }, name),
      drawn("rect", { class: "share", x: 80, y: 24 * k + 6, width: length, height: 12, rx: 2 }),
      drawn("text", { x: 86 + length, y: 24 * k + 16 }, `${digits(share * factor, 2)} ${unit}`),
    );
  });
  return plot;
}

// D against Aex: which of them the picture can tell apart.
function pairs(record) {
  const { D, Aex } = record.draws ?? {};
  if (!D || !Aex) return [];
  const range = (values) => [Math.min(...values), Math.max(...values)];
  const [[x0, x1], [y0, y1]] = [range(Aex), range(D)];
  const plot = drawn("svg", { class: "plot", viewBox: `0 0 ${WIDTH} 190`, role: "img" }, drawn("title", {}, "D against Aex"));
  plot.append(drawn("path", { class: "axis", fill: "none", d: `M40 10V160H${WIDTH - 10}` }));
  for (let k = 0; k < D.length; k += Math.ceil(D.length / 400)) {
    const cx = 40 + ((WIDTH - 50) * (Aex[k] - x0)) / (x1 - x0 || 1);
    plot.append(drawn("circle", { class: "dot", cx: cx.toFixed(1), cy: (160 - (150 * (D[k] - y0)) / (y1 - y0 || 1)).toFixed(1), r: 1.8 }));
  }
  const [a, d] = [inPractice(record.parameters.Aex.unit), inPractice(record.parameters.D.unit)];
  for (const value of ticks(x0 * a.factor, x1 * a.factor)) {
    const x = 40 + ((WIDTH - 50) * (value / a.factor - x0)) / (x1 - x0);
    plot.append(drawn("text", { x, y: 178, "text-anchor": "middle" }, digits(value, 4)));
  }
  for (const value of ticks(y0 * d.factor, y1 * d.factor)) {
    plot.append(drawn("text", { x: 34, y: 164 - (150 * (value / d.factor - y0)) / (y1 - y0), "text-anchor": "end" }, digits(value, 4)));
  }
  const title = `|D|, ${d.unit}, against Aex, ${a.unit}`;
  return [element("div", {}, element("h3", {}, title), plot)];
}
